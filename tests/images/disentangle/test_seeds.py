"""Means over seeds, and the spread over seeds and beta, against an analysis of variance and numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aekit.images.disentangle.seeds import Scored, seed_table, spread, spread_table


def _model(seed, beta, mig, *, width=32, limit=100):
    settings = {"objective": "elbo", "beta": beta, "seed": seed}
    return Scored(settings, {"limit": limit}, {"width": width, "beta": beta}, {"seed": seed}, {"mig": mig})


def test_spread_is_that_of_a_one_way_analysis_of_variance():
    groups = list(np.random.default_rng(0).normal([[0.0], [1.0], [3.0]], 0.5, size=(3, 5)))
    within, between = spread(groups)
    f = stats.f_oneway(*groups).statistic
    assert within**2 == pytest.approx(np.mean([np.var(values, ddof=1) for values in groups]))
    assert between**2 == pytest.approx((f - 1) * within**2 / 5)


def test_spread_finds_the_deviations_that_values_were_drawn_with():
    generator = np.random.default_rng(1)
    means = generator.normal(0, 2, 3000)
    groups = [
        generator.normal(mean, 0.7, int(n)) for mean, n in zip(means, generator.integers(2, 8, 3000), strict=True)
    ]
    assert spread(groups) == pytest.approx((0.7, 2), rel=0.05)


def test_means_that_differ_by_less_than_seeds_explain_have_no_spread():
    within, between = spread([np.array([0.0, 1.0]), np.array([1.0, 0.0])])
    assert (within, between) == (pytest.approx(0.5**0.5), 0)
    assert np.isnan(spread([np.array([0.0, 1.0])])[1])


def test_models_that_differ_in_their_seed_alone_are_averaged():
    models = [_model(0, 1, 0.1), _model(1, 1, 0.3), _model(0, 4, 0.5), _model(1, 4, 0.7), _model(5, 4, 0.9, width=64)]
    table = seed_table([*models, models[0]])  # a copy of a run is the same model
    assert table[["beta", "seeds"]].to_numpy().tolist() == [[1, 2], [4, 2]]
    assert "seed" not in table
    assert table["mig"].tolist() == pytest.approx([0.2, 0.6])
    assert table["mig_sd"].tolist() == pytest.approx([0.02**0.5] * 2)
    half = stats.t.ppf(0.975, 1) * 0.1
    assert table["mig_high"].tolist() == pytest.approx([0.2 + half, 0.6 + half])
    (row,) = spread_table(models).to_dict("records")
    assert (row["betas"], row["models"], row["score"]) == (2, 4, "mig")
    assert row["sd_seeds"] == pytest.approx(0.02**0.5)
    assert row["sd_beta"] == pytest.approx((0.08 - 0.01) ** 0.5)


def test_models_of_other_images_are_not_taken_for_other_seeds():
    assert seed_table([_model(0, 1, 0.1), _model(1, 1, 0.3, limit=50)]).empty
