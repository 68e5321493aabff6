"""Our results next to those of a study, row by row: the body of ``aekit compare``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from aekit import __version__
from aekit.core.artifacts import check_writable, write_atomically, write_csv
from aekit.core.latex import font_note, to_latex
from aekit.core.output import Result
from aekit.core.process import keeps_settings
from aekit.core.progress import SILENT, Progress
from aekit.core.text_tables import TableFormat, TextTable
from aekit.errors import AekitError, UsageError
from aekit.results.comparison import Comparison, compare_tables, wide_rows
from aekit.results.matching import Pair, check_overlap, choose_keys, few, find_measures, read_pair, warnings

WIDTH = 120  # characters of a table that is shown


@keeps_settings
def run_compare(
    ours: Sequence[str | Path],
    study: Path,
    by: str,
    output: Path | None = None,
    *,
    where: Sequence[str] = (),
    label: str = "study",
    form: TableFormat | None = None,
    width: int = WIDTH,
    progress: Progress = SILENT,
) -> Result:
    """Return the table that compares our results with a reference, and its rows.

    Args:
        ours: Our tables, taken together.
        study: The table of the reference.
        by: Key columns, separated by commas; rows of ours with equal keys are averaged.
        output: The table, ``.csv``, ``.md`` or ``.tex``, or a folder; None is ``runs/<study>-comparison.csv``. The
            first two are written in any case.
        where: Conditions on our rows, each ``column=value``.
        label: What the table calls the reference.
        form: Which of the three is the result; None is that of ``output``, or ``csv``.
        width: Characters per line of the table that is shown; a wider one is shown by measure.
        progress: Told of the table, and of what it hides.

    Raises:
        AekitError: A table cannot be read, or the two have no keys or no numbers in common.
    """
    paths = list(dict.fromkeys(map(Path, ours)))
    target = _target(output, study, paths, form)
    pair = read_pair(paths, study)
    keys = choose_keys(pair, by)
    pair = pair.where(where)
    measures, lacking = find_measures(pair, keys)
    comparison = compare_tables(pair.ours, pair.study, keys, measures)
    check_overlap(pair, comparison, keys)
    for text in warnings(pair, comparison, keys, lacking):
        progress.notice(text)
    _write(target, _readable(comparison, keys, label, _footer(pair, comparison, keys, where, label)), progress)
    write_csv(target.with_suffix(".csv"), comparison.table)
    _show(comparison, keys, label, width, progress)
    records = comparison.table.to_dict("records")
    return Result(target, {"rows": [{key: _plain(value) for key, value in record.items()} for record in records]})


def _target(output: Path | None, study: Path, paths: list[Path], form: TableFormat | None) -> Path:
    target = output or Path("runs") / f"{study.stem}-comparison.{form or 'csv'}"
    if target.is_dir() or not target.suffix:
        target = target / f"comparison.{form or 'csv'}"
    if target.suffix not in [f".{each}" for each in get_args(TableFormat)]:
        raise AekitError(f"--output {target}: cannot be written as {target.suffix}; end it in .csv, .md or .tex")
    if form is not None and target.suffix != f".{form}":
        raise UsageError(f"--format {form}: --output {target} is another format; give one of the two")
    own = {target.with_suffix(suffix).resolve() for suffix in (".csv", ".md", target.suffix)}
    if own & {path.resolve() for path in (study, *paths)}:
        raise AekitError(f"--output {target}: is one of the tables that are compared; choose another name")
    if target.with_suffix(".safetensors").exists():
        raise AekitError(f"--output {target}: is the history of a checkpoint; choose another name")
    check_writable(target)
    return target


def _readable(comparison: Comparison, keys: list[str], label: str, footer: str) -> TextTable:
    """Return the table for reading: a row per key, and three columns per measure."""
    wide = wide_rows(comparison, keys, names=("ours", label))
    columns = [("", key) for key in keys]
    columns += [(name, what) for name in comparison.measures for what in ("ours", label, "difference")]
    return TextTable(columns, list(wide.itertuples(index=False, name=None)), len(keys), [footer])


def _write(target: Path, table: TextTable, progress: Progress) -> None:
    """Write the table in Markdown, and in LaTeX if that is asked for."""
    write_atomically(target.with_suffix(".md"), lambda file: file.write(table.to_markdown().encode()))
    if target.suffix == ".tex":
        write_atomically(target, lambda file: file.write(to_latex(table).encode()))
        if note := font_note(table):
            progress.notice(f"{target}: {note}")


def _footer(pair: Pair, comparison: Comparison, keys: list[str], where: Sequence[str], label: str) -> str:
    """Return the line below the table that records what made it."""
    counts = sorted(set(comparison.table["n"]) - {0})
    rows = " to ".join(str(n) for n in (counts[:1] + counts[-1:] if len(counts) > 1 else counts))
    spread = f", mean ± standard deviation of {rows} rows" if counts and counts[-1] > 1 else ""
    chosen = f" where {', '.join(where)}" if where else ""
    return (
        f"ours: {few([path.name for path in pair.paths])}{chosen}{spread}; {label}: {pair.study_path.name}; by "
        f"{', '.join(keys)}; difference: ours - {label}. Made by aekit {__version__} compare."
    )


def _show(comparison: Comparison, keys: list[str], label: str, width: int, progress: Progress) -> None:
    """Show the table, or where there is no room for it one for each measure."""
    wide = wide_rows(comparison, keys, names=("ours", label))
    needed = sum(max(len(name), int(wide[name].str.len().max())) + 2 for name in wide.columns)
    if needed <= width:
        progress.table(f"ours and {label}", list(wide.columns), wide.itertuples(index=False, name=None))
        return
    for name in comparison.measures:
        columns = [*keys, *(f"{name} {what}" for what in ("ours", label, "difference"))]
        part = wide.loc[wide[f"{name} {label}"] != "", columns]
        progress.table(name, [*keys, "ours", label, "difference"], part.itertuples(index=False, name=None))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: what is missing or not finite is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
