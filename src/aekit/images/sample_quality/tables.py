"""Tables of sample quality: a row per set of images and feature space, and the differences of each two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from aekit.images.sample_quality.features import FeatureSpace
from aekit.images.sample_quality.measure import Difference, Row
from aekit.images.sample_quality.request import SampleQualityRequest


def quality_rows(
    rows: Sequence[Row],
    spaces: Sequence[FeatureSpace],
    checkpoints: Sequence[dict[str, Any]],
    n: int,
    data: str,
    request: SampleQualityRequest,
) -> list[dict[str, Any]]:
    """Return the columns of a row per set of images and feature space.

    Args:
        rows: The sets of images.
        spaces: The feature spaces.
        checkpoints: The columns that say which model a row is of.
        n: Images of each set.
        data: Name of the images.
        request: What was asked for.
    """
    found = []
    for row in rows:
        model = {} if row.checkpoint is None else checkpoints[row.checkpoint]
        for space, quality in zip(spaces, row.quality, strict=True):
            head = {"source": row.source, "features": space.name, "data": data, "split": request.split, "n": n}
            values: dict[str, float] = {}
            for name, estimate in (("frechet", quality.frechet), ("kernel", quality.kernel)):
                values |= {name: estimate.value, f"{name}_error": estimate.error}
                values |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            found.append({**model, **head, **values, **quality.overlap._asdict()})
    return found


def differences_table(
    found: Sequence[Difference], rows: Sequence[Row], spaces: Sequence[FeatureSpace], names: Sequence[str]
) -> pd.DataFrame:
    """Return a row per pair of sets of samples and feature space: the first minus the second.

    Args:
        found: The differences.
        rows: The sets of images.
        spaces: The feature spaces.
        names: Name of each checkpoint.
    """
    columns = []
    for each in found:
        row: dict[str, Any] = {}
        for which, number in (("first", each.first), ("second", each.second)):
            checkpoint = rows[number].checkpoint
            assert checkpoint is not None
            row |= {which: names[checkpoint], f"{which}_source": rows[number].source}
        row["features"] = spaces[each.space].name
        for name, (value, low, high) in (("frechet", each.frechet), ("kernel", each.kernel)):
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        columns.append(row)
    return pd.DataFrame(columns)
