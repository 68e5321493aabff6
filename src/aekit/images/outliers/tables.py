"""Tables of a search for outliers: ranked images, scores, near duplicates, suspect labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from aekit.images.data.image_set import ImageSet
from aekit.images.outliers.detection import Detection, Floats
from aekit.images.outliers.request import TRIVIAL, OutlierRequest, Score
from aekit.images.outliers.scores import DESCRIPTIONS, Scored
from aekit.images.outliers.suspects import Contradicted, Pairs


def ranked_table(
    name: str, sets: Mapping[str, Scored], p: Mapping[str, Floats], limit: float, request: OutlierRequest
) -> pd.DataFrame:
    """Return a row per image, the most unusual first.

    Args:
        name: The checkpoint, as tables call it.
        sets: Scored images by the name of their set.
        p: Of each set the probability that an inlier scores as high, (N,).
        limit: Threshold of the score that ranks.
        request: Which score that is.
    """
    parts = []
    for which, scored in sets.items():
        images = scored.images
        own = scored.scores[request.rank_by]
        columns: dict[str, Any] = {"checkpoint": name, "set": which, "data": images.name}
        columns |= {"index": np.arange(len(images)), **images.origin_columns()}
        columns |= {"label": [images.label_text(index) for index in range(len(images))]}
        columns |= {"score": own, "p": p[which], "flagged": own > limit}
        columns |= {score.replace("-", "_"): values for score, values in scored.scores.items()}
        parts.append(pd.DataFrame(columns))
    table = pd.concat(parts, ignore_index=True)
    table = table.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def scores_table(
    name: str,
    inliers: Scored,
    limits: Mapping[Score, float],
    flagged: Mapping[str, Mapping[Score, float]],
    found: Mapping[Score, Detection],
    request: OutlierRequest,
) -> pd.DataFrame:
    """Return a row per score: its threshold, the fractions that it flags, and how well it finds known outliers.

    Args:
        name: The checkpoint, as tables call it.
        inliers: The held-out images that belong.
        limits: Threshold of each score.
        flagged: Of each set of images the fraction above the threshold, by score.
        found: How well each score finds known outliers; empty without them.
        request: What was asked for.
    """
    rows = []
    for score, limit in limits.items():
        row: dict[str, Any] = {"checkpoint": name, "score": score, "trivial": score in TRIVIAL}
        row |= {"inliers": inliers.images.name, "n_inliers": len(inliers.images), "fpr": request.fpr}
        row |= {"threshold": limit} | {f"flagged_{which}": share[score] for which, share in flagged.items()}
        for measure in Detection._fields if found else ():
            value, low, high = getattr(found[score], measure)
            row |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
        rows.append({**row, "definition": DESCRIPTIONS[score]})
    return pd.DataFrame(rows)


def duplicates_table(name: str, images: ImageSet, pairs: Mapping[str, tuple[ImageSet, Pairs]]) -> pd.DataFrame:
    """Return a row per pair of near duplicates, the most alike first.

    Args:
        name: The checkpoint, as tables call it.
        images: The images that were searched.
        pairs: By the name of the set of the second images, these and the pairs.
    """
    parts = []
    for which, (others, found) in pairs.items():
        columns: dict[str, Any] = {"checkpoint": name, "data": images.name, "index": found.first}
        columns |= images.origin_columns(found.first)
        columns |= {"label": [images.label_text(int(row)) for row in found.first]}
        columns |= {"other_set": which, "other_data": others.name, "other_index": found.second}
        columns |= {f"other_{key}": values for key, values in others.origin_columns(found.second).items()}
        columns |= {"other_label": [others.label_text(int(row)) for row in found.second]}
        parts.append(pd.DataFrame({**columns, "difference": found.difference}))
    return pd.concat(parts, ignore_index=True).sort_values("difference", kind="stable", ignore_index=True)


def labels_table(name: str, images: ImageSet, found: Contradicted) -> pd.DataFrame:
    """Return a row per image whose neighbours have another label, the most contradicted first."""
    columns: dict[str, Any] = {"checkpoint": name, "data": images.name, "index": found.rows}
    columns |= images.origin_columns(found.rows)
    columns |= {"label": [images.label_text(int(row)) for row in found.rows]}
    columns |= {"neighbours_label": [images.class_names[int(other)] for other in found.other]}
    return pd.DataFrame({**columns, "own_share": found.own_share, "neighbours_share": found.other_share})
