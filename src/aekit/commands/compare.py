"""``aekit compare``: results beside the figures of a study, a paper or a colleague."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.errors import AekitError, nearest
from aekit.images import config as image_config
from aekit.terminal import completion, options
from aekit.terminal.console import LOG_WIDTH, Console
from aekit.terminal.streams import stderr_console, with_stdin

if TYPE_CHECKING:
    import pandas as pd

    from aekit.results.comparison import Comparison

COMPARISON = "Comparison"
FILE = "file"  # the column that says which table a row of ours is from
# Rows that differ in one of these are other experiments, not other seeds of the same.
SETTINGS = {*image_config.SETTINGS, "epoch", "split", "stage", "target", "hypothesis", "method", "labels"}
REPETITIONS = {"seed", "split_seed"}
N_NAMED = 8

Ours = Annotated[
    list[str],
    typer.Argument(
        autocompletion=completion.tables,
        metavar="OURS.csv...",
        help="Tables of results, taken together; - reads their paths from stdin, one a line.",
    ),
]
Study = Annotated[
    Path,
    typer.Option(
        "--with",
        rich_help_panel=COMPARISON,
        autocompletion=completion.tables,
        metavar="STUDY.csv",
        help="The reference: key columns, and figures under the names that they have in our tables.",
    ),
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        rich_help_panel=COMPARISON,
        metavar="COLUMN,...",
        help="Key columns, which both have, or file: the name of our table without .csv. 0.1 and 0.10 are equal.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        rich_help_panel=COMPARISON,
        metavar="COLUMN=VALUE",
        help="Take only our rows with this value; again for other columns, or for other values of one.",
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
        help="The table, .csv, with .md beside it; or a folder for comparison.csv.",
        show_default="runs/<name of the study>-comparison.csv",
    ),
]


def compare(
    ours: Ours,
    study: Study,
    by: By,
    where: Where = None,
    label: Label = "study",
    output: Output = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Put results beside reference figures, row by row.

    Reads tables that aekit wrote (results.csv of a sweep, the history of a training, pca.csv, x.metrics.csv and so
    on) or any others, and a table of reference figures. Rows of ours with equal keys, such as seeds, are averaged.

    Writes a table (.csv) with a row a key and measure: ours (mean), sd, n, study, difference (ours - study) and ratio
    (ours / study); and beside it the same for people (.md), a row a key, with the digits that the reference has.
    Prints the path of the .csv file.

    Example: aekit compare runs/grid/results.csv --with paper.csv --by beta,latent
    """
    from aekit.results.comparison import compare_tables

    console = Console(quiet=quiet, json=json)
    paths = _paths(ours)
    target = _target(output, study, paths)
    table, reference = _read_all(paths), _read(study)
    keys = _keys(by, table, reference, study, paths)
    rows = _filtered(table, where or [])
    measures = _measures(rows, reference, keys, study, console)
    comparison = compare_tables(rows, reference, keys, measures)
    _refuse_strangers(comparison, rows, reference, keys, study)
    _warn(comparison, rows, reference, keys, study, console)
    _write(target, comparison, keys, label, _footer(paths, study, keys, where or [], comparison, label))
    if not quiet:
        _show(comparison, keys, label, console)
    records = comparison.table.to_dict("records")
    console.result(target, rows=[{key: _plain(value) for key, value in record.items()} for record in records])


def _paths(arguments: list[str]) -> list[Path]:
    texts = with_stdin(arguments, kind="table")
    return list(dict.fromkeys(Path(text) for text in texts))


def _target(output: Path | None, study: Path, paths: list[Path]) -> Path:
    from aekit.core.artifacts import check_writable

    target = output or Path("runs") / f"{study.stem}-comparison.csv"
    if target.is_dir() or not target.suffix:
        target = target / "comparison.csv"
    if target.suffix != ".csv":
        raise AekitError(f"--output {target}: cannot be written as {target.suffix}; end it in .csv")
    if target.resolve() in {path.resolve() for path in (study, *paths)}:
        raise AekitError(f"--output {target}: is one of the tables that are compared; choose another name")
    if target.with_suffix(".safetensors").exists():
        raise AekitError(f"--output {target}: is the history of a checkpoint; choose another name")
    check_writable(target)
    return target


def _read_all(paths: list[Path]) -> pd.DataFrame:
    """Return our tables as one, with a column that says which one a row is from; cells of other columns are empty."""
    import pandas as pd

    tables = []
    for path in paths:
        table = _read(path)
        if FILE not in table:
            table[FILE] = path.name.removesuffix(".csv")
        tables.append(table)
    return pd.concat(tables, ignore_index=True).fillna("")


def _read(path: Path) -> pd.DataFrame:
    """Return a table with a text a cell, without the blanks around it.

    Raises:
        AekitError: Not there, empty, no text, without rows, or with a row of another length than the header.
    """
    import pandas as pd

    rows = _rows(path)
    header = rows[0][1] if rows else []
    if not any(header) or len(rows) < 2:
        raise AekitError(f"{path}: holds no table; give a CSV file with a header and at least one row")
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise AekitError(f"{path}: has two columns named {twice[0]!r}; give each a name of its own")
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise AekitError(
                f"{path}: line {line} has {len(row)} fields, the header has {len(header)}; mend its commas and quotes"
            )
    table = pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=object)
    return table.loc[:, [bool(name) for name in header]]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows with something in them, each with its line."""
    if path.suffix == ".safetensors":
        raise AekitError(f"{path}: is a checkpoint, no table; {path.with_suffix('.csv').name} is its history")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AekitError(f"{path}: is not a CSV file, or not in UTF-8; save it as CSV in UTF-8") from error
    except OSError as error:
        reason = "is a folder" if path.is_dir() else f"cannot be read ({error.strerror})"
        raise AekitError(f"{path}: {reason}; give the path of a CSV file") from error
    if not text.strip():
        raise AekitError(f"{path}: is empty; give a CSV file with a header and at least one row")
    lines = text.lstrip().splitlines()
    separator = max(",;\t", key=lines[0].count)  # a spreadsheet writes semicolons where a comma is the decimal point
    if "\0" in text or lines[0].lstrip().startswith(("{", "[", "<")):
        raise AekitError(f"{path}: is not a CSV file; give a table with a header and a row a line")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except csv.Error as error:
        raise AekitError(f"{path}: line {reader.line_num} is not CSV ({error}); mend its quotes") from error
    return [(line, row) for line, row in rows if any(row)]


def _keys(by: str, table: pd.DataFrame, reference: pd.DataFrame, study: Path, paths: list[Path]) -> list[str]:
    """Return the key columns, each in both tables, that tell the rows of the study apart."""
    from aekit.results.comparison import RESULT_COLUMNS, repeated_keys

    keys = list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    if not keys:
        raise AekitError("--by: names no column; give those that both tables have, as --by beta,latent")
    for name in keys:
        if name in RESULT_COLUMNS:
            raise AekitError(f"--by {name}: is a column of the result; rename it in both tables")
        for where, found in ((paths[0] if len(paths) == 1 else "our tables", table), (study, reference)):
            if name not in found:
                near = nearest(name, found.columns) or f"; there are {', '.join(found.columns)}"
                raise AekitError(f"--by {name}: {where} has no such column{near}")
    if repeated := repeated_keys(reference, keys):
        raise AekitError(
            f"{study}: two rows have {_said(reference, repeated[0], keys)}; name what tells them apart in --by, or "
            "leave one out"
        )
    return keys


def _filtered(table: pd.DataFrame, where: list[str]) -> pd.DataFrame:
    from aekit.results.comparison import as_key

    wanted: dict[str, list[str]] = {}
    for text in where:
        name, sign, value = text.partition("=")
        if not sign:
            raise AekitError(f"--where {text}: has no =; give a column and a value, as split=test")
        if name.strip() not in table:
            near = nearest(name.strip(), table.columns) or f"; there are {', '.join(table.columns)}"
            raise AekitError(f"--where {text}: our tables have no such column{near}")
        wanted.setdefault(name.strip(), []).append(as_key(value))
    for name, values in wanted.items():
        there = table[name].map(as_key)
        for value in values:
            if not (there == value).any():
                found = list(dict.fromkeys(there))
                raise AekitError(f"--where {name}={value}: no row has it; there is {_few(found)}")
        table = table[there.isin(values)]
    return table.reset_index(drop=True)


def _measures(rows: pd.DataFrame, reference: pd.DataFrame, keys: list[str], study: Path, console: Console) -> list[str]:
    """Return the columns of figures that both tables have; those that ours lacks are said."""
    from aekit.results.comparison import to_number

    measures, lacking = [], []
    for name in (name for name in reference.columns if name not in keys):
        figures = [to_number(text) for text in reference[name]]
        n_figures = sum(figure is not None and not math.isnan(figure) for figure in figures)
        if name not in rows:
            if n_figures and None not in figures:
                lacking.append(name)
            continue
        values = [to_number(text) for text in rows[name]]
        if not n_figures and (None in values or None not in figures):
            continue  # text in both, or an empty column
        if None in figures:
            place = figures.index(None)
            raise AekitError(
                f"{study}: {name} is {reference[name][place]!r} where {_said(reference, place, keys)}; give a plain "
                "number, or leave the cell empty"
            )
        if None in values:
            place = values.index(None)
            raise AekitError(
                f"{rows[FILE][place]}: {name} is {rows[name][place]!r}, no number to stand beside {study}; choose rows "
                "with --where, or call the column otherwise"
            )
        measures.append(name)
    if not measures:
        raise AekitError(
            f"{study}: shares no column of figures with our tables besides {', '.join(keys)}; name its figures as "
            f"they do: {_few([name for name in rows.columns if _is_figure(rows[name]) and name not in (*keys, FILE)])}"
        )
    for name in lacking:
        near = nearest(name, rows.columns)
        console.message(f"{study}: {name} is left out, our tables have no such column{near}")
    return measures


def _is_figure(column: pd.Series) -> bool:
    from aekit.results.comparison import to_number

    return None not in [to_number(text) for text in column]


def _refuse_strangers(
    comparison: Comparison, rows: pd.DataFrame, reference: pd.DataFrame, keys: list[str], study: Path
) -> None:
    """Refuse tables of which no row has a key of the other, and say in which column."""
    from aekit.results.comparison import as_key

    if len(comparison.unmatched) < len(reference):
        return
    for name in keys:
        there, wanted = (list(dict.fromkeys(table[name].map(as_key))) for table in (rows, reference))
        if not set(there) & set(wanted):
            raise AekitError(
                f"--by {name}: no value of it in {study} is in our tables; there it is {_few(wanted)}, here "
                f"{_few(there)}"
            )
    raise AekitError(
        f"--by {','.join(keys)}: no row of ours has a key of {study}; there the first is {_said(reference, 0, keys)}, "
        f"here {_said(rows, 0, keys)}"
    )


def _warn(
    comparison: Comparison, rows: pd.DataFrame, reference: pd.DataFrame, keys: list[str], study: Path, console: Console
) -> None:
    """Say what the table hides: figures with nothing beside them, and rows averaged that are other experiments."""
    from aekit.results.comparison import differing_columns

    if comparison.unmatched:
        first = _said(reference, comparison.unmatched[0], keys)
        console.message(
            f"{study}: {len(comparison.unmatched)} of {len(reference)} rows have none of ours beside them, the first "
            f"with {first}"
        )
    if comparison.n_averaged > 1:
        candidates = [name for name in rows.columns if name in SETTINGS - REPETITIONS - set(keys)]
        if other := differing_columns(rows, keys, candidates):
            console.message(
                f"--by {','.join(keys)}: rows are averaged that differ in {', '.join(other)}; add it to --by, or "
                "choose one with --where"
            )
        elif FILE not in keys and differing_columns(rows, keys, [FILE]):
            console.message(f"rows of {rows[FILE].nunique()} tables are averaged; --by {FILE} keeps them apart")


def _write(target: Path, comparison: Comparison, keys: list[str], label: str, footer: str) -> None:
    from aekit.core.artifacts import write_atomically, write_csv
    from aekit.results.comparison import wide_rows

    wide = wide_rows(comparison, keys, names=("ours", label))
    lines = [list(wide.columns), ["---"] * len(keys) + ["---:"] * (len(wide.columns) - len(keys))]
    lines += [list(row) for row in wide.itertuples(index=False, name=None)]
    text = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
    write_atomically(target.with_suffix(".md"), lambda file: file.write(f"{text}\n{footer}\n".encode()))
    write_csv(target, comparison.table)


def _footer(
    paths: list[Path], study: Path, keys: list[str], where: list[str], comparison: Comparison, label: str
) -> str:
    """Return the line below the table that says what made it."""
    from aekit import __version__

    counts = sorted(set(comparison.table["n"]) - {0})
    rows = " to ".join(str(n) for n in (counts[:1] + counts[-1:] if len(counts) > 1 else counts))
    spread = f", mean ± standard deviation of {rows} rows" if counts and counts[-1] > 1 else ""
    chosen = f" where {', '.join(where)}" if where else ""
    return (
        f"ours: {_few([path.name for path in paths])}{chosen}{spread}; {label}: {study.name}; by {', '.join(keys)}; "
        f"difference: ours - {label}. Made by aekit {__version__} compare."
    )


def _show(comparison: Comparison, keys: list[str], label: str, console: Console) -> None:
    """Show the table, or where the terminal is too narrow for it one for each measure."""
    from aekit.results.comparison import wide_rows

    wide = wide_rows(comparison, keys, names=("ours", label))
    terminal = stderr_console()
    width = terminal.width if terminal.is_terminal else LOG_WIDTH
    needed = sum(max(len(name), int(wide[name].str.len().max())) + 2 for name in wide.columns)
    if needed <= width:
        console.table(f"ours and {label}", list(wide.columns), wide.itertuples(index=False, name=None))
        return
    for name in comparison.measures:
        columns = [*keys, *(f"{name} {what}" for what in ("ours", label, "difference"))]
        part = wide.loc[wide[f"{name} {label}"] != "", columns]
        console.table(name, [*keys, "ours", label, "difference"], part.itertuples(index=False, name=None))


def _said(table: pd.DataFrame, place: int, keys: list[str]) -> str:
    return ", ".join(f"{name}={table[name].iloc[place]}" for name in keys)


def _few(values: list[str]) -> str:
    """Return the first values as one text."""
    more = f" and {len(values) - N_NAMED} more" if len(values) > N_NAMED else ""
    return ", ".join(value or "(empty)" for value in values[:N_NAMED]) + more


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: what is missing or not finite is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
