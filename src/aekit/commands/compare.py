"""``aekit compare``: our results next to those of a study, a paper or a colleague."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.core.text_tables import TableFormat
from aekit.terminal import completion, options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin

COMPARISON = "Comparison"

Ours = Annotated[
    list[str],
    typer.Argument(
        autocompletion=completion.tables,
        metavar="OURS.csv...",
        help="Tables of results, combined; - reads their paths from stdin, one per line.",
    ),
]
Study = Annotated[
    Path,
    typer.Option(
        "--with",
        rich_help_panel=COMPARISON,
        autocompletion=completion.tables,
        metavar="STUDY.csv",
        help="The reference: key columns, and columns of numbers that have the same names as in our tables.",
    ),
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        rich_help_panel=COMPARISON,
        metavar="COLUMN,...",
        help="Key columns present in both tables, or file: the name of our table without .csv. 0.1 and 0.10 are equal.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        rich_help_panel=COMPARISON,
        metavar="COLUMN=VALUE",
        help="Take only our rows with this value; repeat it for other columns, or for other values of the same one.",
        show_default="all rows",
    ),
]
Label = Annotated[
    str,
    typer.Option("--label", rich_help_panel=COMPARISON, metavar="TEXT", help="What the table calls the reference."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        rich_help_panel=options.OUTPUT,
        metavar="PATH",
        help="The table, .csv with .md next to it, .md or .tex; in a folder it is comparison.csv.",
        show_default="runs/<name of the study>-comparison.csv",
    ),
]


Format = Annotated[
    TableFormat | None,
    typer.Option(
        "--format",
        rich_help_panel=options.OUTPUT,
        help="Table whose path is printed. tex, a LaTeX tabular (booktabs), is written only if it is chosen.",
        show_default="that of --output, or csv",
    ),
]


def compare(
    ours: Ours,
    study: Study,
    by: By,
    where: Where = None,
    label: Label = "study",
    output: Output = None,
    form: Format = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Compare results with those of a reference, row by row.

    Reads tables that aekit wrote (results.csv of a sweep, the history of a training, pca.csv, x.metrics.csv and so
    on) or any others, and a table of reference results. Our rows with equal keys (for example,
    different seeds) are averaged.

    Writes a table (.csv) with one row per key and measure: ours (mean), sd, n, study, difference (ours - study) and
    ratio (ours / study); and next to it a readable version (.md, with --format tex also .tex), one row per key, rounded
    as in the reference. Prints the path of the table.

    Example: aekit compare runs/grid/results.csv --with paper.csv --by beta,latent
    """
    tables = with_stdin(ours, kind="table")
    from aekit.results.compare import run_compare

    with Console(quiet=quiet, json=json) as console:
        result = run_compare(
            tables,
            study,
            by,
            output,
            where=where or (),
            label=label,
            form=form,
            width=console.width,
            progress=console,
        )
        console.result(result)
