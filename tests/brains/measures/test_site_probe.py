"""The site probe finds sites where there are traces of them, and chance where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.brains.measures.site_probe import openbhb_score, probe_sites


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _names(*sizes):
    return np.repeat(np.array([f"s{number}" for number in range(len(sizes))], dtype=object), sizes)


def test_sites_that_differ_are_recognised(rng):
    site = _names(30, 30, 60)
    x = rng.normal(size=(120, 3)) + 6.0 * np.array([int(name[1]) for name in site])[:, None]
    found = probe_sites(x, site)
    assert found is not None
    assert found.accuracy > 0.98
    assert (found.sites, found.n, found.chance) == (("s0", "s1", "s2"), 120, pytest.approx(1 / 3))
    assert found.low < found.accuracy <= found.high <= 1


@pytest.mark.slow
def test_without_traces_the_accuracy_is_that_of_chance_and_its_interval_contains_it(rng):
    found = [probe_sites(rng.normal(size=(60, 3)), _names(40, 20), seed=seed) for seed in range(40)]
    assert np.mean([one.accuracy for one in found]) == pytest.approx(0.5, abs=0.05)
    # Binomial: of 40 intervals of 95 %, at least 33 contain chance but in 1 of 1,000 cases.
    assert sum(one.low <= 0.5 <= one.high for one in found) >= 33


def test_sites_of_unequal_size_are_not_told_by_their_size(rng):
    found = probe_sites(rng.normal(size=(220, 2)), _names(200, 20))
    assert found.accuracy < 0.7  # the larger one always: 91 % of participants, but 50 % of sites


def test_sites_that_only_differ_in_age_are_told_by_it_unless_it_is_removed(rng):
    site = _names(80, 80)
    age = rng.uniform(20, 50, 160) + np.where(site == "s1", 25.0, 0.0)
    sex = np.where(rng.random(160) < 0.5, "F", "M").astype(object)
    x = 0.1 * age[:, None] + rng.normal(size=(160, 2)) * 0.3
    raw = probe_sites(x, site)
    given = probe_sites(x, site, age_years=age, sex=sex)
    assert raw.accuracy > 0.85
    assert given.low <= 0.5 <= given.high


def test_many_features_are_reduced_and_still_show_the_site(rng):
    site = _names(40, 40)
    x = rng.normal(size=(80, 500)) + np.where(site == "s1", 1.0, 0.0)[:, None]
    assert probe_sites(x, site).accuracy > 0.9


def test_small_sites_missing_names_and_features_that_are_not_finite_are_left_out(rng):
    site = np.concatenate([_names(20, 20), np.full(5, "small", object), np.array([np.nan, None], object)])
    x = rng.normal(size=(47, 2))
    x[0] = np.nan
    found = probe_sites(x, site)
    assert (found.n, found.sites) == (39, ("s0", "s1"))
    assert probe_sites(x[20:], site[20:]) is None


def test_the_score_weighs_errors_by_what_is_known_of_sites():
    assert openbhb_score(5.0, 1.0) == 5.0
    assert openbhb_score(6.0, 0.5) == pytest.approx(6.0 * 0.5**0.3)
