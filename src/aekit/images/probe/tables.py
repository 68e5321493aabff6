"""The tables of a probe: one row per draw, paired differences between methods, and means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from aekit.core.progress import Progress
from aekit.images.probe.classifiers import DIFFERENCE_COLUMNS, paired_differences
from aekit.images.probe.measure import Measured
from aekit.images.probe.task import Task

COLUMNS = ("method", "labels", "draw", "accuracy")


def build_table(measured: Sequence[Measured], task: Task) -> pd.DataFrame:
    """Return one row per draw: settings of the checkpoint, method, labels, draw and accuracy."""
    return pd.DataFrame(
        [
            {**each.settings, **dict(zip(COLUMNS, (method, size, draw, value), strict=True))}
            for each in measured
            for method, accuracies in each.accuracies.items()
            for size, of_size in zip(task.sizes, accuracies, strict=True)
            for draw, value in enumerate(of_size)
        ]
    )


def build_difference_table(measured: Sequence[Measured], task: Task) -> pd.DataFrame:
    """Return how much better each method is than each later one on the same draws; no rows for a single method."""
    rows = [
        {**each.settings, **difference}
        for each in measured
        for difference in paired_differences(each.accuracies, task.sizes)
    ]
    return pd.DataFrame(rows, columns=[*measured[0].settings, *DIFFERENCE_COLUMNS])


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and standard deviation (NaN for one draw) for each checkpoint, method and number of labels."""
    groups = table.groupby(["checkpoint", "method", "labels"], sort=False)["accuracy"]
    return groups.agg(["mean", "std"]).reset_index()


def show_means(
    means: pd.DataFrame, labels: Mapping[str, str], methods: Sequence[str], sizes: Sequence[int], progress: Progress
) -> None:
    """Show a table per checkpoint: means and standard deviations in per cent, one row per method.

    Args:
        means: As returned by :func:`summarise`.
        labels: What to call each checkpoint.
        methods: The methods, in the order of the rows.
        sizes: The numbers of labels, ascending.
        progress: Shows the tables.
    """
    for checkpoint, label in labels.items():
        own = means[means["checkpoint"] == checkpoint]
        rows = []
        for method in methods:
            values = own[own["method"] == method].sort_values("labels")
            cells = zip(values["mean"], values["std"], strict=True)
            rows.append([method, *(_in_per_cent(mean, std) for mean, std in cells)])
        progress.table(f"{label}: accuracy in % by number of labels", ["method", *(f"{n:,}" for n in sizes)], rows)


def _in_per_cent(mean: float, std: float) -> str:
    return f"{100 * mean:.1f}" + ("" if pd.isna(std) else f" ± {100 * std:.1f}")
