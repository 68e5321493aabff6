"""Curves and matrices of the figure, from tables that were made for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from recorded import Recorded
from scipy import stats

from aekit.images.decorrelation import curves
from aekit.images.decorrelation.curves import build_curves, build_panels


def _table(rows):
    table = pd.DataFrame(rows, columns=["group", "latent", "seed", "mean_abs"])
    value = table["mean_abs"]
    return table.assign(mean_abs_low=value - 0.1, mean_abs_high=value + 0.1, mean_abs_rotated=value + 0.01)


def test_three_seeds_have_an_interval_of_student_t_two_have_none_and_one_has_that_over_images():
    values = [0.3, 0.4, 0.6]
    rows = [("a", 2, seed, value) for seed, value in enumerate(values)]
    rows += [("a", 4, 0, 0.2), ("a", 4, 1, 0.4), ("a", 8, 0, 0.5), ("b", 1, 0, np.nan)]
    first, second = build_curves(_table(rows), "mean_abs")
    assert first.d.tolist() == [2, 4, 8]
    assert first.n_seeds.tolist() == [3, 2, 1]
    assert first.value.tolist() == pytest.approx([np.mean(values), 0.3, 0.5])
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (first.low[0], first.high[0]) == pytest.approx((max(low, 0), high))
    assert first.low[1:].tolist() == pytest.approx([0.3, 0.4])
    assert first.high[1:].tolist() == pytest.approx([0.3, 0.6])
    assert first.points.shape == (6, 2)
    assert second.n_seeds.tolist() == [0]
    assert np.isnan([second.value[0], second.low[0]]).all()


def test_an_interval_of_correlations_stays_between_zero_and_one():
    rows = [("a", 2, seed, value) for seed, value in enumerate([0.0, 0.9, 1.0])]
    (curve,) = build_curves(_table(rows), "mean_abs")
    assert (curve.low[0], curve.high[0]) == (0, 1)


def test_each_number_of_dimensions_shows_the_matrix_of_its_lowest_seed(monkeypatch):
    table = _table([("b", 4, 1, 0.25), ("b", 4, 0, 0.5), ("a", 3, 0, np.nan), ("b", 2, 0, 0.125)])
    matrices = [np.full((1, 1), number) for number in range(4)]
    progress = Recorded()
    panels = build_panels(table, matrices, "mean_abs", progress=progress)
    assert [(panel.label, panel.caption, panel.matrix.item()) for panel in panels] == [
        ("b", "d = 2: 0.125", 3),
        ("b", "d = 4: 0.5", 1),
        ("a", "d = 3: no value", 2),
    ]
    assert progress.notices == ["the figure shows 3 of 4 matrices, each of the lowest seed"]
    monkeypatch.setattr(curves, "MAX_PANELS", 2)
    assert [panel.label for panel in build_panels(table, matrices, "mean_abs")] == ["b", "a"]
