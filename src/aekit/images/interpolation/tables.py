"""Paths as tables: a row per step, and means over the paths of a group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aekit.core.intervals import mean_interval
from aekit.images.interpolation.latent_paths import CodeCloud, Floats, LatentPath
from aekit.images.interpolation.measures import nearest_distances, path_shape, step_lengths

MEASURES = {
    "length_ratio": "length ratio",
    "unevenness": "unevenness",
    "farthest": "farthest code",
    "start_error": "MSE at start",
    "end_error": "MSE at end",
}  # measures of a path, with their headings on the terminal


def path_table(path: LatentPath, cloud: CodeCloud, alphas: Floats) -> pd.DataFrame:
    """Return a row per step: alpha, length of the step, and how far its code lies from the codes of other images."""
    nearest = np.full(len(alphas), np.nan)
    if path.z is not None and cloud.used.any():
        left_out = None if path.left_out is None else np.tile(path.left_out, (len(alphas), 1))
        nearest = nearest_distances(path.z[:, cloud.used], cloud.codes[:, cloud.used], left_out)
    table = pd.DataFrame({"step": np.arange(len(alphas)), "alpha": alphas, "step_length": step_lengths(path.images)})
    table["nearest_code"], table["nearest_code_ratio"] = nearest, nearest / cloud.typical
    for end, error in zip(("start", "end"), path.errors, strict=False):
        table[f"{end}_error"] = error
    return table


def path_measures(path: LatentPath, table: pd.DataFrame) -> dict[str, float]:
    """Return one number per path for each of :data:`MEASURES`, NaN for those that it does not have."""
    shape = path_shape(path.images)
    start_error, end_error = [*path.errors, np.nan][:2]  # a walk has no end
    return {
        "length_ratio": shape.length_ratio,
        "unevenness": shape.unevenness,
        "farthest": float(table["nearest_code_ratio"].max()),
        "start_error": start_error,
        "end_error": end_error,
    }


def summarise(measures: list[dict[str, float]]) -> dict[str, Any]:
    """Return the mean of each measure over paths with the ends of its 95 % interval, None for those without values."""
    summary: dict[str, Any] = {"n_paths": len(measures)}
    for name in MEASURES:
        values = np.array([measure[name] for measure in measures])
        values = values[np.isfinite(values)]
        interval = mean_interval(values) if len(values) else (np.nan,) * 3
        for key, value in zip((name, f"{name}_low", f"{name}_high"), interval, strict=True):
            summary[key] = float(value) if np.isfinite(value) else None
    return summary


def auc_text(auc: float) -> str:
    """Return an area under the ROC curve with three decimals, never as 1 if it is below."""
    return ">0.999" if 0.9995 <= auc < 1 else f"{auc:.3f}"


def join_tables(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of all paths below each other."""
    # As objects, since blends of images leave columns of numbers empty that models fill.
    return pd.concat([table.astype(object) for table in tables], ignore_index=True).convert_dtypes()
