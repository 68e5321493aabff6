"""``aekit report``: folders of results as one page, for people who would rather look than read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aekit.errors import AekitError
from aekit.terminal import options
from aekit.terminal.console import Console

if TYPE_CHECKING:
    from aekit.commands.report_files import Results

SUFFIXES = (".html", ".htm")
MEGABYTE = 1_000_000


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of results, searched with those inside.")
    ],
    title: Annotated[
        str | None,
        typer.Option(
            "--title",
            rich_help_panel="Page",
            metavar="TEXT",
            help="Heading of the page.",
            show_default="the folder's name",
        ),
    ] = None,
    max_rows: Annotated[
        int, typer.Option("--max-rows", rich_help_panel="Page", min=1, help="Rows that are shown of a table.")
    ] = 200,
    max_mb: Annotated[
        float,
        typer.Option(
            "--max-mb",
            rich_help_panel="Page",
            min=0,
            help="Megabytes of figures; of those beyond, the names are shown.",
        ),
    ] = 50,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="PATH",
            help="The page, .html. Without a suffix it is a folder.",
            show_default="FOLDER/report.html",
        ),
    ] = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Gather folders of results in one HTML page: runs side by side, figures, tables, and the options of each run.

    Reads checkpoints, figures and tables in the folders and in those inside. Writes one page (.html). Runs stand in one
    table with the options in which they differ; a click on a heading sorts it, as all others. Every figure says what
    made it, and every run of an autoencoder gives the command that trains it again. The page holds all of it and needs
    no network. Files that cannot be read are named in it. Prints its path.

    Example: aekit report runs/grid -o grid.html
    """
    from aekit import __version__
    from aekit.commands.report_files import read_results
    from aekit.commands.report_page import build_sections
    from aekit.core.artifacts import check_writable, write_html
    from aekit.plotting.html import build_report

    console = Console(quiet=quiet, json=json)
    if not math.isfinite(max_mb):
        raise AekitError(f"--max-mb: {max_mb} is no number of megabytes; give one, as 50")
    target = _target(folders, output)
    results = read_results(folders, output=target, max_rows=max_rows, max_bytes=round(max_mb * MEGABYTE))
    if results.is_empty:
        named = ", ".join(map(str, folders))
        raise AekitError(f"{named}: holds no checkpoint, figure or table; give a folder of results")
    check_writable(target)
    names = [folder.resolve().name or "results" for folder in folders]
    heading = title or ", ".join(names)
    page = build_report(
        build_sections(results, title=_shared(folders).name or "results", max_rows=max_rows, max_mb=max_mb),
        title=heading,
        footer=f"aekit {__version__} report.",
        parameters={
            "aekit": __version__,
            "command": "report",
            "folders": names,
            "max_rows": max_rows,
            "max_mb": max_mb,
        },
        is_wide=True,
    )
    write_html(target, page)
    _say(results, console)
    console.result(target, **_counts(results))


def _shared(folders: list[Path]) -> Path:
    return Path(os.path.commonpath([folder.resolve() for folder in folders]))


def _target(folders: list[Path], output: Path | None) -> Path:
    if output is None:
        # Not the resolved path, so that what is printed is as relative as what was given.
        return (folders[0] if len(folders) == 1 else Path(os.path.relpath(_shared(folders)))) / "report.html"
    if output.is_dir() or not output.suffix:
        return output / "report.html"
    if output.suffix.lower() not in SUFFIXES:
        raise AekitError(f"--output {output}: a report cannot be a {output.suffix} file; end it in .html")
    return output


def _counts(results: Results) -> dict[str, int]:
    return {
        "runs": len(results.runs),
        "unfinished": len(results.unfinished),
        "figures": len(results.figures),
        "figures_left_out": len(results.left_out),
        "tables": len(results.tables) + len(results.values),
        "unreadable": len(results.unreadable),
    }


def _say(results: Results, console: Console) -> None:
    counts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in _counts(results).items() if n)
    for name, reason in results.unreadable.items():
        console.message(f"{name}: {reason}; named in the report")
    console.message(counts)
