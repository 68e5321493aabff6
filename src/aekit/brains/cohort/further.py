"""Columns of a table that a model does not use, such as diagnosis, scores and site: they go with its predictions."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from aekit.brains.cohort.columns import TISSUES
from aekit.brains.cohort.table import Cohort
from aekit.core.text_table import named
from aekit.errors import count

MAX_COLUMNS = 30  # of which all are repeated
_OWN = frozenset({"participant_id", "age", *TISSUES, "file"})
_MOST, _MAX_DISTINCT = 1000.0, 50  # of a score or code: regional volumes are larger, finer or both


def further_columns(cohort: Cohort, taken: Collection[str] = ()) -> pd.DataFrame:
    """Return the columns of a table that belong to its participants but are not predicted, a row per participant.

    Those are sex, site and all of unknown meaning. If there are more than ``MAX_COLUMNS``, as with regional volumes,
    only texts, and scores and codes: whole numbers below 1,000, at most 50 different ones.

    Args:
        cohort: The participants.
        taken: Names of other columns; one of the same name gets the prefix ``table_``.
    """
    kept, _ = _divided(cohort)
    names: dict[str, str] = {}
    for name in kept:
        new = str(name)
        while new in taken or new in names.values() or (new != name and new in kept):
            new = f"table_{new}"
        names[name] = new
    return cohort.table[kept].rename(columns=names)


def describe_left(cohort: Cohort) -> str:
    """Return a sentence about the columns that are not repeated; empty if all are."""
    _, left = _divided(cohort)
    if not left:
        return ""
    return f"{count(len(left), 'column')} of measurements not repeated in the predictions: {named(left)}"


def _divided(cohort: Cohort) -> tuple[list[str], list[str]]:
    """Return the columns that are repeated and those that are not."""
    table = cohort.table
    further = [str(name) for name in table.columns if name not in _OWN]
    if len(further) <= MAX_COLUMNS:
        return further, []
    kept = [name for name in further if _is_label(table[name])]
    known = set(kept)
    return kept, [name for name in further if name not in known]


def _is_label(column: pd.Series[object]) -> bool:
    """Return whether a column is of texts, or of whole numbers as scores and codes have them."""
    if not pd.api.types.is_numeric_dtype(column):
        return True
    values = column.to_numpy(np.float64)
    values = np.unique(values[np.isfinite(values)])
    is_small = bool(np.all(np.abs(values) < _MOST) and np.all(values == np.round(values)))
    return is_small and len(values) <= _MAX_DISTINCT
