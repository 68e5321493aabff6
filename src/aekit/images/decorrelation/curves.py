"""What the figure of a study of correlations shows of its table: a curve per group, and matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.core.intervals import Interval, mean_interval
from aekit.core.progress import SILENT, Progress
from aekit.images.decorrelation.figure import Curve, Panel

Floats = npt.NDArray[np.floating]

MAX_PANELS = 40


def build_curves(table: pd.DataFrame, key: str) -> list[Curve]:
    """Return a line per group: means over seeds with Student's t intervals, or single values with bootstrap intervals.

    Args:
        table: One row per checkpoint.
        key: The column of the measure.
    """
    curves = []
    for label, group in table.groupby("group", sort=False):
        rows = []
        for d, same in group.groupby("latent"):
            known = same.dropna(subset=key)  # a model with one live dimension has no value
            rows.append((d, *_interval(known, key), len(known), same[f"{key}_rotated"].mean()))
        d, value, low, high, n_seeds, rotated = np.array(rows, float).T
        points = group[["latent", key]].to_numpy(float)
        curves.append(Curve(str(label), d, value, low, high, n_seeds.astype(int), rotated, points))
    return curves


def _interval(known: pd.DataFrame, key: str) -> Interval:
    """Return the mean and interval of models that differ in their seed only."""
    if len(known) == 0:
        return Interval(np.nan, np.nan, np.nan)
    if len(known) == 1:
        return Interval(*known[[key, f"{key}_low", f"{key}_high"]].to_numpy(float)[0])
    value, low, high = mean_interval(known[key].to_numpy(float))
    if len(known) == 2:  # Student's t gives 13 standard errors for two, which would hide the values themselves
        return Interval(value, value, value)
    if key in ("mean_abs", "rms"):
        low, high = np.clip([low, high], 0, 1)
    return Interval(value, low, high)


def build_panels(
    table: pd.DataFrame, matrices: Sequence[Floats], key: str, *, progress: Progress = SILENT
) -> list[Panel]:
    """Return the matrices to show: for each group and number of dimensions that of the lowest seed.

    Args:
        table: One row per checkpoint.
        matrices: The correlations of each, (L, L).
        key: The column of the measure.
        progress: Receives a notice if some are not shown.
    """
    order = {label: number for number, label in enumerate(dict.fromkeys(table["group"]))}
    ranked = table.assign(order=table["group"].map(order)).sort_values(["order", "latent", "seed"], kind="stable")
    first = ranked.drop_duplicates(["group", "latent"])
    if len(first) > MAX_PANELS:
        first = first.iloc[np.linspace(0, len(first) - 1, MAX_PANELS).round().astype(int)]
    if len(first) < len(table):
        progress.notice(f"the figure shows {len(first)} of {len(table)} matrices, each of the lowest seed")
    panels = []
    for index, row in first.iterrows():
        value = ": no value" if np.isnan(row[key]) else f": {row[key]:.3g}"
        panels.append(Panel(row["group"], f"d = {row['latent']}{value}", matrices[index]))
    return panels
