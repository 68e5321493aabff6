"""The checkpoint of a training on columns of a table, read for new participants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.brains.config import TableColumns
from aekit.brains.predictions import FEATURE_MODELS
from aekit.brains.stacking import STACK
from aekit.brains.tabular.ensemble import FoldModels, from_tensors, predict_folds
from aekit.brains.tabular.limits import FeatureLimits
from aekit.brains.tabular.request import ARCH
from aekit.core.checkpoint import Header
from aekit.core.weights import read_tensors
from aekit.errors import AekitError

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class FeatureCheckpoint:
    """Models of age from columns of a table.

    Attributes:
        header: Of the checkpoint.
        models: Of each fold.
        limits: Usual values of the features.
        names: Features, (F,).
        patterns: Names and patterns that they were chosen by.
        ignored: Columns that fitted a pattern and were not used.
        columns: Columns of the table that were named by options.
    """

    header: Header
    models: list[FoldModels]
    limits: FeatureLimits
    names: tuple[str, ...]
    patterns: tuple[str, ...]
    ignored: tuple[str, ...]
    columns: TableColumns

    @property
    def has_site_effects(self) -> bool:
        """Return whether effects of sites are removed."""
        return any(one.effects is not None for one in self.models)

    def sites(self) -> set[str]:
        """Return the sites whose effects all folds know."""
        known = [set(one.effects.sites) for one in self.models if one.effects is not None]
        return set.intersection(*known) if known else set()

    def predict(self, features: Floats, site: Names, sex: Names) -> dict[str, Floats]:
        """Return ages in years by model, (M,) each, the stack last, if there is one."""
        ages = predict_folds(self.models, features, site, sex)
        stack = self.header.result.get("stack")
        if not stack:
            return ages
        known = {"mean": np.full(len(features), stack["mean_years"]), **ages}
        parts = [weight * known[name] for name, weight in zip(stack["models"], stack["weights"], strict=True)]
        return {**ages, STACK: np.sum(parts, axis=0)}


def is_of_features(header: Header) -> bool:
    """Return whether a checkpoint has models of columns of a table, not networks for scans."""
    return header.kind == "brain" and header.model.get("arch") == ARCH


def read_feature_checkpoint(path: Path, header: Header) -> FeatureCheckpoint:
    """Return the models of a checkpoint.

    Raises:
        AekitError: It is damaged.
    """
    damaged = AekitError(f"{path}: its header is damaged; train it again")
    found = header.result.get("features")
    patterns = header.model.get("features")
    columns = {name: header.data.get(option) for name, option in _COLUMNS.items()}
    if not _is_usable(found, patterns, columns) or not isinstance(found, dict) or not isinstance(patterns, list):
        raise damaged
    stack = header.result.get("stack")
    if stack and not (
        len(stack["models"]) == len(stack["weights"]) and set(stack["models"]) <= {"mean", *FEATURE_MODELS}
    ):
        raise damaged
    tensors = read_tensors(path, header)
    models, limits = from_tensors(path, tensors, len(found["names"]), found["sites"])
    return FeatureCheckpoint(
        header, models, limits, tuple(found["names"]), tuple(patterns), tuple(found["ignored"]), TableColumns(**columns)
    )


_COLUMNS = {"participant_id": "id", "age": "age", "sex": "sex", "site": "site"}


def _is_usable(found: Any, patterns: Any, columns: Mapping[str, Any]) -> bool:
    if not isinstance(found, dict) or not isinstance(patterns, list):
        return False
    has_all = all(key in found for key in ("names", "ignored", "sites")) and found["names"] and found["sites"]
    are_texts = all(isinstance(one, str) for one in patterns)
    return bool(has_all and are_texts and all(one is None or isinstance(one, str) for one in columns.values()))
