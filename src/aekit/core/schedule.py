"""The learning-rate schedule, and the momenta of Adam that go with it."""

from __future__ import annotations

import math

from aekit.core.settings import Schedule

WARMUP = 0.1  # fraction of a one-cycle run in which the learning rate rises
ADAM_BETAS = (0.9, 0.99)


def learning_rate(peak: float, schedule: Schedule, progress: float, n_steps: float = math.inf) -> float:
    """Return the learning rate after a fraction ``progress`` in [0, 1) of a run of ``n_steps`` steps.

    ``one-cycle`` rises linearly from a hundredth of the peak during the first tenth, then falls to zero along half a
    cosine; ``linear`` rises in the same way and falls along a line. Where a tenth of the run is not more than one step,
    every step takes the rate at its middle instead of its beginning: the only step of a run would otherwise be taken at
    a hundredth of the peak.

    Source:
        Smith & Topin 2018, arXiv:1708.07120, for one-cycle with a cosine in place of the second line.
    """
    if schedule == "constant":
        return peak
    if n_steps * WARMUP <= 1:
        progress += 0.5 / n_steps
    if progress < WARMUP:
        return peak * (0.01 + 0.99 * progress / WARMUP)
    falling = (progress - WARMUP) / (1 - WARMUP)
    return peak * (1 - falling if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * falling)))
