"""``aekit report``: folders of results as one page that opens in any browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.terminal import options
from aekit.terminal.console import Console

PAGE = "Page"


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of results; the folders inside are searched too.")
    ],
    title: Annotated[
        str | None,
        typer.Option(
            "--title",
            rich_help_panel=PAGE,
            metavar="TEXT",
            help="Heading of the page.",
            show_default="the folder's name",
        ),
    ] = None,
    max_rows: Annotated[
        int, typer.Option("--max-rows", rich_help_panel=PAGE, min=1, help="Rows to show per table.")
    ] = 200,
    max_mb: Annotated[
        float,
        typer.Option(
            "--max-mb",
            rich_help_panel=PAGE,
            min=0,
            help="Megabytes of figures to show; further figures are only named.",
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
    """Collect folders of results in one HTML page: runs compared, figures, tables, and the options of each run.

    Reads checkpoints, figures and tables in the folders and in those inside. Writes one page (.html). A table compares
    the runs, with the options in which they differ; click a column heading to sort, as in all tables. Each figure shows
    the parameters that made it, and each autoencoder the command that retrains it. The page is one file and needs
    no network. Files that cannot be read are named in it. Prints its path.

    Example: aekit report runs/grid -o grid.html
    """
    from aekit.results.report import run_report

    with Console(quiet=quiet, json=json) as console:
        console.result(run_report(folders, output, title=title, max_rows=max_rows, max_mb=max_mb, progress=console))
