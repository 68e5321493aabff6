"""The best cell of a grid, by a metric on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from aekit.core.settings import as_text
from aekit.images.sweep.outcomes import Done, result_row
from aekit.images.sweep.plan import REPETITIONS, Metric


def choose_best(done: Sequence[Done], swept: Sequence[str], metric: Metric) -> Done:
    """Return the cell with the least of a metric on validation images.

    Settings are compared by the mean over their seeds and random splits. Of the runs with the best settings, the one
    with the best seed is returned, by its mean over splits; and of these the first, as results on the validation images
    of different splits do not compare. Labels change no weights: of cells that differ in them alone, the first is
    returned.

    Args:
        done: Cells that were trained, at least one.
        swept: The settings in which they differ.
        metric: What is compared; ``elbo`` is reconstruction + KL, the negative bound.
    """
    table = pd.DataFrame([result_row(outcome) for outcome in done])
    values = table[f"val_{metric}"]
    settings = [name for name in swept if name not in REPETITIONS]
    groups = [table[name].map(as_text) for name in settings]
    means = values.groupby(groups).transform("mean") if settings else values * 0
    among = table[means == means.min()]
    seed = values[among.index].groupby(among["seed"]).mean().idxmin()
    return done[int(among.loc[among["seed"] == seed, "split_seed"].idxmin())]
