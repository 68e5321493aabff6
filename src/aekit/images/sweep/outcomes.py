"""How the cells of a grid ended, and the table of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from aekit.core.artifacts import write_atomically
from aekit.core.checkpoint import Header
from aekit.images.sweep.plan import Cell, cell_settings
from aekit.images.term_names import own_terms

MEASURES = ("total", "elbo", "reconstruction", "kl", "mse")  # elbo is reconstruction + KL, the negative bound
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Done:
    """A cell that was trained.

    Attributes:
        cell: The cell.
        header: The header of its checkpoint.
        is_old: Whether it had been trained before.
    """

    cell: Cell
    header: Header
    is_old: bool = False

    def __str__(self) -> str:
        """Return what it reached on held-out images, in a few words."""
        rows = [row for row in self.header.result["history"] if row["split"] != "train"]
        row = next((row for row in reversed(rows) if row["split"] == "val"), rows[-1])
        kl = "" if row["kl"] is None else f" (reconstruction {row['reconstruction']:.5g}, KL {row['kl']:.4g})"
        return f"{row['split']} {row['total']:.5g}{kl}, MSE {row['mse']:.4g}"


@dataclass(frozen=True)
class Failed:
    """A cell that could not be trained.

    Attributes:
        cell: The cell.
        error: Why, in one line.
    """

    cell: Cell
    error: str

    def __str__(self) -> str:
        """Return that it failed, and why."""
        return f"failed: {self.error}"


Outcome = Done | Failed


class ResultsTable:
    """The table of a grid: a row per cell that has ended, in the order of the cells; on disk it is whole at any time.

    Args:
        path: The CSV file.
        cells: All cells of the grid.
    """

    def __init__(self, path: Path, cells: Sequence[Cell]) -> None:
        self._path = path
        self._order = [cell.path for cell in cells]
        own = [own_terms(cell.config.model, cell.config.train) for cell in cells]
        self._terms = tuple(dict.fromkeys(name for names in own for name in names))
        # A row is made once: a grid of a thousand cells writes its table a thousand times.
        self._rows: dict[Path, dict[str, Any]] = {}
        self._lines: dict[Path, str] = {}

    def add(self, outcome: Outcome) -> None:
        """Add the row of a cell that has ended."""
        row = result_row(outcome, self._terms)
        self._rows[outcome.cell.path] = row
        self._lines[outcome.cell.path] = _line(list(row.values()))

    def write(self) -> None:
        """Write the rows, with floats to nine significant digits."""
        ended = [path for path in self._order if path in self._rows]
        header = _line(list(self._rows[ended[0]])) if ended else ""
        text = header + "".join(self._lines[path] for path in ended)
        write_atomically(self._path, lambda file: file.write(text.encode()))

    def to_frame(self) -> pd.DataFrame:
        """Return the rows."""
        return pd.DataFrame([self._rows[path] for path in self._order if path in self._rows])


def result_row(outcome: Outcome, terms: Sequence[str] = ()) -> dict[str, Any]:
    """Return the row of a cell: its settings, how it ended, its results, and its path.

    Results of a split are those with the weights that were kept: ``train_total``, ``val_mse`` and so on; those of a
    split that was not measured are missing, as is ``elbo`` without a KL divergence. ``active_units`` are those of
    held-out images, ``seconds`` those of all epochs.

    Args:
        outcome: How the cell ended.
        terms: Terms of its objective, or of those of other cells, that have columns as well.
    """
    measures = (*MEASURES, *terms)
    settings = {
        key: "x".join(map(str, value)) if isinstance(value, tuple) else value
        for key, value in cell_settings(outcome.cell.config).items()
    }
    if isinstance(outcome, Failed):
        results = ("parameters", "epoch", "trained_epochs", *_measured({}, measures))
        others = ("test_total_correlation", "active_units", "seconds", "path")
        return settings | {"status": "failed", "error": outcome.error} | dict.fromkeys((*results, *others))
    result = outcome.header.result
    kept = {row["split"]: _with_elbo(row) for row in result["history"] if row["epoch"] == result["epoch"]}
    return {
        **settings,
        "status": "done",
        "error": None,
        "parameters": result["parameters"],
        "epoch": result["epoch"],
        "trained_epochs": max(row["epoch"] for row in result["history"]),
        **_measured(kept, measures),
        "test_total_correlation": _total_correlation(result.get("total_correlation")),
        "active_units": kept.get("val", kept.get("test", {})).get("active_units"),
        "seconds": training_seconds(outcome.cell.path.with_suffix(".csv")),
        "path": str(outcome.cell.path),
    }


def _total_correlation(recorded: Any) -> float | None:
    """Return the total correlation under all posteriors of a header, which earlier versions and some models lack."""
    value = recorded.get("all") if isinstance(recorded, Mapping) else None
    return value if isinstance(value, float) else None


def _measured(kept: Mapping[str, Mapping[str, Any]], measures: Sequence[str]) -> dict[str, Any]:
    return {f"{split}_{name}": kept.get(split, {}).get(name) for split in _SPLITS for name in measures}


def _with_elbo(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a history with the negative evidence lower bound, which does not depend on beta."""
    return {**row, "elbo": None if row["kl"] is None else row["reconstruction"] + row["kl"]}


def training_seconds(history: Path) -> float | None:
    """Return how long a run took, or None if its history is missing or damaged, which must not fail a whole grid."""
    try:
        return float(pd.to_numeric(pd.read_csv(history)["seconds"]).sum())
    except (OSError, ValueError, TypeError, LookupError, OverflowError):
        return None


def _line(values: Sequence[object]) -> str:
    """Return values as a line of CSV, as :func:`aekit.core.artifacts.write_csv` writes them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_text(value) for value in values])
    return line.getvalue()


def _text(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)
