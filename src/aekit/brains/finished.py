"""A finished training of brain networks: its checkpoint, and its metrics as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from aekit.brains.cases import show_group_deltas
from aekit.brains.measures.conformal import describe_level
from aekit.brains.verdict import describe_verdict
from aekit.core.checkpoint import Header
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.errors import AekitError, count

_NUMBERS = ("mae", "mae_low", "mae_high", "mse_z", "r2", "skill")
_UNITS = {"years": "years", "ml": "mL"}  # by the last word of a target


@dataclass(frozen=True)
class FinishedRun:
    """A training that is done.

    Attributes:
        path: The checkpoint.
        header: Its header.
        metrics: A row per model, target and split; see :func:`aekit.brains.scores.metrics_table`.
    """

    path: Path
    header: Header = field(repr=False)
    metrics: pd.DataFrame = field(repr=False)

    def to_result(self) -> Result:
        """Return the checkpoint with the metrics of the split by which it is judged."""
        result = self.header.result
        rows = [row for row in result["metrics"] if row["split"] == result["judged"]]
        values = {"split": result["judged"], "parameters": result["parameters"], "metrics": rows}
        if result.get("deltas"):
            values["cases"] = [row for row in result["metrics"] if row["split"] == "cases"]
            values["deltas"] = result["deltas"]
        if (level := interval_level(self.header)) is not None:
            values["interval_level"] = level
        return Result(self.path, values)

    def show(self, progress: Progress) -> None:
        """Show the metrics of each target, ages of cases, mean deltas of both, and what to know about new scans.

        That is: no network beats the baselines, and the level of intervals if it is not 90 %.
        """
        judged = self.header.result["judged"]
        self._show_split(judged, self.metrics, progress)
        self._show_split("cases", self.metrics[self.metrics["target"] == "age_years"], progress)
        show_group_deltas(self.header.result.get("deltas", []), self.path.name, progress)
        if text := describe_verdict(self.header.result):
            progress.notice(f"{self.path.name}: {text}")
        if text := describe_interval_level(self.header):
            progress.notice(f"{self.path.name}: of new scans, {text}")

    def _show_split(self, split: str, metrics: pd.DataFrame, progress: Progress) -> None:
        own = metrics[metrics["split"] == split]
        for target, rows in own.groupby("target", sort=False):
            cells: list[tuple[Any, ...]] = [
                (row.model, _error(row.mae, row.mae_low, row.mae_high), _score(row.r2), _score(row.skill))
                for row in rows.itertuples()
            ]
            level = "[95 %]" if rows["mae_low"].notna().any() else None  # not for a few participants
            mae = " ".join(["MAE", *filter(None, [_UNITS.get(str(target).rpartition("_")[2]), level])])
            title = f"{self.path.name}: {target}, {split}, {count(int(rows['n'].iloc[0]), 'participant')}"
            progress.table(title, ["model", mae, "R2", "skill"], cells)


def interval_level(header: Header) -> float | None:
    """Return the level of the intervals of new scans, in (0, 1); None if no participants were held out."""
    return min((interval["coverage"] for interval in header.result.get("conformal", [])), default=None)


def describe_interval_level(header: Header) -> str:
    """Return why the level of the intervals of new scans is not 90 %; an empty text if it is, or if there are none."""
    found = min(header.result.get("conformal", []), key=lambda interval: interval["coverage"], default=None)
    if found is None:
        return ""
    n = found.get("n")
    return describe_level(found["coverage"], n if isinstance(n, int) and n > 0 else None)


def _error(value: float, low: float, high: float) -> str | None:
    """Return an error with its interval, where it has one; None for NaN, of predictions that are not finite."""
    if value != value:
        return None
    return f"{value:.3g}" if low != low or high != high else f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _score(value: float) -> str | None:
    """Return R^2 or a skill with three decimals, as it is in the order of 1 or means nothing; None for NaN."""
    text = f"{value:.3f}"
    return None if value != value else text.lstrip("-") if float(text) == 0 else text


def plain_rows(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table of metrics as JSON has them: NaN, which JSON lacks, becomes null."""
    return [
        {str(key): None if isinstance(value, float) and value != value else value for key, value in row.items()}
        for row in metrics.to_dict("records")
    ]


def from_header(path: Path, header: Header) -> FinishedRun:
    """Return the finished training whose checkpoint has this header.

    Raises:
        AekitError: There are no metrics in the header.
    """
    try:
        metrics = pd.DataFrame(header.result["metrics"]).astype(dict.fromkeys(_NUMBERS, float))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AekitError(f"{path}: its header is damaged; train it again with --overwrite") from error
    return FinishedRun(path, header, metrics)
