"""Two sessions of the same participants: the table of how well gap and predicted age repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from aekit.brains.associate.agreement import MIN_PAIRS, Agreement, measure_agreement
from aekit.brains.associate.sample import Sample


@dataclass(frozen=True)
class Retest:
    """How well one measure repeats.

    Attributes:
        measure: ``gap`` or ``predicted age``.
        agreement: In years.
    """

    measure: str
    agreement: Agreement


def compare_sessions(sample: Sample) -> list[Retest]:
    """Return how well gap and predicted age of the first two sessions agree; nothing for fewer than three pairs."""
    pairs = np.array([rows[:2] for rows in sample.sessions.values()], np.int64).reshape(-1, 2)
    if len(pairs) < MIN_PAIRS:
        return []
    measures = {"gap": sample.gap_years, "predicted age": sample.predicted_years}
    return [
        Retest(name, measure_agreement(values[pairs[:, 0]], values[pairs[:, 1]])) for name, values in measures.items()
    ]


def to_table(found: Sequence[Retest]) -> pd.DataFrame:
    """Return a row per measure."""
    return pd.DataFrame(
        [
            {
                "measure": one.measure,
                "n": one.agreement.n,
                "icc": one.agreement.icc.value,
                "icc_low": one.agreement.icc.low,
                "icc_high": one.agreement.icc.high,
                "difference": one.agreement.difference.value,
                "low": one.agreement.difference.low,
                "high": one.agreement.difference.high,
                "sd_within": one.agreement.sd_within,
                "smallest_change": one.agreement.smallest_change,
            }
            for one in found
        ]
    )
