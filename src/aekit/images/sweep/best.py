"""The best cell of a grid, by a metric on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from aekit.core.settings import as_text
from aekit.images.sweep.outcomes import Done, result_row
from aekit.images.sweep.plan import Metric


def choose_best(done: Sequence[Done], swept: Sequence[str], metric: Metric) -> Done:
    """Return the cell with the least of a metric on validation images.

    Settings are compared by the mean over their seeds; of the runs with the best settings, the best one is returned.

    Args:
        done: Cells that were trained, at least one.
        swept: The settings in which they differ.
        metric: What is compared; ``elbo`` is reconstruction + KL.
    """
    table = pd.DataFrame([result_row(outcome) for outcome in done])
    if metric == "elbo":
        values = table["val_reconstruction"] + table["val_kl"].fillna(0.0).astype(float)
    else:
        values = table[f"val_{metric}"]
    settings = [name for name in swept if name != "seed"]
    groups = [table[name].map(as_text) for name in settings]
    means = values.groupby(groups).transform("mean") if settings else values
    among = values[means == means.min()]
    return done[int(among.idxmin())]
