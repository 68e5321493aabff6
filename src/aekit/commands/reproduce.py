"""``aekit reproduce``: recipes of published results are run, and what they give is compared with the publication."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from aekit.results.recipe import shipped_recipes
from aekit.terminal import completion, options
from aekit.terminal.command_lines import CommandLines
from aekit.terminal.console import Console

RECIPES = "Comparison"


def reproduce(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=completion.either(lambda: [*shipped_recipes(), "all"], ".toml"),
            metavar="NAME...",
            help="Recipes: names that --list shows, paths of your own (.toml), or all.",
        ),
    ] = None,
    list_known: Annotated[
        bool,
        typer.Option(
            "--list",
            rich_help_panel=RECIPES,
            help="Run nothing: list recipes, the data that they need and the minutes that they take.",
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            rich_help_panel=RECIPES,
            help="Run a reduced protocol, and compare with what aekit gave on it before, not with the publication.",
        ),
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            rich_help_panel=RECIPES,
            metavar="N,...",
            help="Seeds to run: numbers and ranges, such as 0,1,2 or 0-4.",
            show_default="those of the recipe",
        ),
    ] = None,
    data_root: options.DataRoot = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="FOLDER",
            help="Where tables and the files of each recipe go.",
            show_default="runs/reproduce",
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Run recipes of published results, and compare what they give with the publication.

    Reads recipes: files (.toml) of aekit command lines, the published values, and where the results are. Runs the
    commands; those that ended well before are not run again unless they have changed, so the same line continues after
    Ctrl-C. Writes for each recipe a table (.csv, .md) of ours (mean over seeds, 95 % interval), published, difference
    and verdict: better (reached, and the interval of the difference excludes zero), reached (as good, or worse by no
    more than the tolerance), missed, or failed. Prints the path of each table. The exit code is 1 if a value is missed
    or a command fails; the other recipes are run all the same.

    Example: aekit reproduce mnist-vae --quick
    """
    from aekit.results.reproduce import list_recipes, run_reproduce

    with Console(quiet=quiet, json=json) as console:
        run = functools.partial(run_reproduce, quick=quick, seeds=seeds, data_root=data_root, device=device)
        if list_known:
            results = list_recipes(names or [], console)
        else:
            results = run(names or [], CommandLines(ctx), output, threads=threads, progress=console)
        console.result(results)
