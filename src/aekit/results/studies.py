"""What studies found, for the top of ``aekit report``: their tables with each value in one cell with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aekit.errors import count
from aekit.plotting.html import Block, Section, Table
from aekit.results.files import TableFile

N_ROWS = 40  # of a study; its whole table is shown further below

Cell = str | float | None


@dataclass(frozen=True)
class _Study:
    """How to recognise the table of a study, and what to show of it.

    Attributes:
        title: What it answers, and which way is better.
        keys: Columns that say what a row is of, which every table of the study has.
        measures: Columns of values, with or without the ends of an interval; it has at least the first two.
        optional: Keys that not every table has.
    """

    title: str
    keys: tuple[str, ...]
    measures: tuple[str, ...]
    optional: tuple[str, ...] = ()


_STUDIES = (
    _Study(
        "Disentanglement, 1 is best; turned, permuted, factors, pca and projection are trivial codes",
        ("code",),
        ("mig", "dci_disentanglement", "sap", "factor_vae", "modularity", "explicitness", "irs", "udr"),
        optional=("checkpoint", "beta", "seed"),
    ),
    _Study(
        "Known outliers, AUROC 0.5 is chance; trivial scores need no network",
        ("score", "trivial"),
        ("auroc", "average_precision", "fpr95"),
        optional=("checkpoint",),
    ),
    _Study(
        "Samples against held-out images, smaller distances are better; train is the best that can be expected",
        ("source", "features"),
        ("frechet", "kernel", "precision", "recall", "density", "coverage"),
        optional=("checkpoint",),
    ),
    _Study(
        "Differences of samples, the first minus the second",
        ("first", "first_source", "second", "second_source", "features"),
        ("frechet", "kernel"),
    ),
    _Study("How alike codes are", ("first", "second"), ("cka", "procrustes", "neighbours")),
    _Study(
        "Models on the same images, the first minus the second",
        ("first", "second", "measure"),
        ("difference", "larger"),
    ),
)


def studies_section(tables: Mapping[str, TableFile]) -> Section | None:
    """Return a section with a short table for each study among the tables, by name; None without any."""
    blocks: list[Block] = []
    for study in _STUDIES:
        blocks += [_short(study, name, table) for name, table in tables.items() if _is_of(study, table)]
    return Section("What studies found", blocks) if blocks else None


def _is_of(study: _Study, table: TableFile) -> bool:
    has_interval = _ends(study.measures[0], table) is not None
    return has_interval and {*study.keys, *study.measures[:2]} <= set(table.columns) and bool(table.rows)


def _ends(measure: str, table: TableFile) -> tuple[str, str] | None:
    """Return the columns with the ends of the interval of a measure; None if it has none."""
    for ends in ((f"{measure}_low", f"{measure}_high"), ("low", "high")):
        if set(ends) <= set(table.columns):
            return ends
    return None


def _short(study: _Study, name: str, table: TableFile) -> Table:
    keys = [key for key in (*study.optional, *study.keys) if key in table.columns]
    measures = [measure for measure in study.measures if measure in table.columns]
    rows: list[list[Cell]] = []
    for cells in table.rows[:N_ROWS]:
        row = dict(zip(table.columns, cells, strict=True))
        rows.append([*(row[key] for key in keys), *(_with_interval(measure, row, table) for measure in measures)])
    n = f"the first {N_ROWS} of {table.n_rows:,} rows" if table.n_rows > N_ROWS else count(table.n_rows, "row")
    return Table([*keys, *measures], rows, caption=f"{study.title}. {name}: {n}", n_left=len(keys), sortable=True)


def _with_interval(measure: str, row: Mapping[str, Cell], table: TableFile) -> Cell:
    value, ends = row[measure], _own_ends(measure, table)
    number = _number(value)
    low, high = (None, None) if ends is None else (_number(row[ends[0]]), _number(row[ends[1]]))
    if number is None or low is None or high is None:
        return number if number is not None else value
    return f"{number:.3g} [{low:.3g}, {high:.3g}]"


def _own_ends(measure: str, table: TableFile) -> tuple[str, str] | None:
    ends = _ends(measure, table)
    return None if ends == ("low", "high") and measure != "difference" else ends


def _number(value: Cell) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
