"""Differences between each two models on the same images, which are more certain than those of their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aekit.core.artifacts import write_csv
from aekit.core.intervals import mean_interval
from aekit.core.later import Later
from aekit.core.progress import Progress
from aekit.errors import count
from aekit.images.evaluation.models_table import EvaluatedModel
from aekit.images.measures.metrics import METRICS
from aekit.images.run_settings import MINIMISED

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = Later("pandas")

COLUMNS = ("first", "second", "measure", "n", "difference", "low", "high", "larger")
_OF_ANY_LOSS = tuple(METRICS)  # that compare the images and not what was minimised


def write_differences(path: Path, models: Sequence[EvaluatedModel]) -> pd.DataFrame:
    """Write and return the differences of each two models, a row per measure that both have and that compares.

    Args:
        path: The table.
        models: Two or more, with their values of each image; those on other images are not compared.
    """
    rows = [row for first, second in combinations(models, 2) for row in _compare(first, second)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_csv(path, table)
    return table


def show_differences(path: Path, table: pd.DataFrame, progress: Progress) -> None:
    """Show the differences of two models, or say where those of several are."""
    if table.empty:
        return
    if len(table.groupby(["first", "second"])) == 1:
        names = table["first"][0], table["second"][0]
        rows = [
            (row.measure, f"{row.difference:.4g}", f"[{row.low:.4g}, {row.high:.4g}]", f"{100 * row.larger:.0f} %")
            for row in table.itertuples()
        ]
        n = count(int(table["n"][0]), "image")
        title = f"{names[0]} minus {names[1]} on the same {n}"
        progress.table(title, ["measure", "difference", "95 % interval", "first is larger"], rows)
    progress.notice(f"{path}: has the difference of each two models on the same images, with 95 % intervals")


def _compare(first: EvaluatedModel, second: EvaluatedModel) -> list[dict[str, Any]]:
    """Return the rows of two models; none if they were measured on different images."""
    if first.images != second.images:
        return []
    rows = []
    for measure in first.per_image:
        if measure not in second.per_image or not _compares(measure, first.settings, second.settings):
            continue
        own, other = (model.per_image[measure].astype(float) for model in (first, second))
        value, low, high = mean_interval(own - other)
        names = {"first": first.checkpoint, "second": second.checkpoint, "measure": measure, "n": len(own)}
        rows.append({**names, "difference": value, "low": low, "high": high, "larger": float((own > other).mean())})
    return rows


def _compares(measure: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether a measure means the same for models of two settings."""
    if measure in _OF_ANY_LOSS:
        return True
    if any(first.get(name) != second.get(name) for name in ("loss", "condition")):
        return False
    return measure != "total" or all(first.get(name) == second.get(name) for name in MINIMISED)
