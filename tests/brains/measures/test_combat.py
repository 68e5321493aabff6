"""ComBat agrees with its reference implementation, removes what was planted, and keeps what covariates explain."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.brains.measures.combat import fit_combat
from aekit.errors import AekitError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _small():
    """Return the input of the reference numbers: features, sites, ages."""
    i, f = np.arange(14)[:, None], np.arange(3)[None]
    site = np.array(["a"] * 6 + ["b"] * 8, dtype=object)
    x = np.sin(1.7 * i + 2.3 * f) * (1 + f) + np.where(site == "a", 2.0, -1.0)[:, None] * (1 + 0.5 * f) + 0.1 * i
    x = np.where((site == "b")[:, None], x * 1.5, x)
    return x, site, (20 + 7 * i[:, 0] * 3 % 41).astype(float)


# Of neuroCombat 0.2.12 for the same input, with and without empirical Bayes; rows 0, 5, 6 and 13.
REFERENCE = np.array(
    [
        [0.61061, 2.52554, -3.15591],
        [2.16927, -1.06836, 2.84371],
        [-0.37909, 0.27164, 3.5024],
        [1.2299, -0.34759, 5.25611],
    ]
)


def test_it_agrees_with_the_reference_implementation():
    x, site, age = _small()
    found = fit_combat(x, site, age[:, None], shrink=True).transform(x, site, age[:, None])
    np.testing.assert_allclose(found[[0, 5, 6, 13]], REFERENCE, atol=2e-5)


def test_without_shrinking_sites_have_equal_means_and_spreads_at_equal_covariates(rng):
    site = np.repeat(np.array(["a", "b", "c"], dtype=object), [20, 30, 25])
    x = rng.normal(size=(75, 4)) * np.where(site == "b", 3.0, 1.0)[:, None] + np.where(site == "c", 5.0, 0.0)[:, None]
    found = fit_combat(x, site, shrink=False).transform(x, site)
    for one in "abc":
        np.testing.assert_allclose(found[site == one].mean(axis=0), x.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(
            found[site == one].std(axis=0, ddof=1), found[site == "a"].std(axis=0, ddof=1), rtol=1e-9
        )


@pytest.mark.parametrize("shrink", [False, True])
def test_planted_effects_of_sites_are_removed_from_others_and_the_trend_with_age_is_kept(rng, shrink):
    n, n_features = 600, 12
    site = rng.permutation(np.repeat(np.array(["a", "b"], dtype=object), n // 2))
    # Older participants at one of the sites: without covariates their ages would be taken for an effect of the site.
    age = rng.uniform(20, 60, n) + np.where(site == "b", 20.0, 0.0)
    clean = 0.05 * age[:, None] + rng.normal(size=(n, n_features))
    dirty = np.where((site == "b")[:, None], 2.0 * (clean - 0.05 * age[:, None]) + 0.05 * age[:, None] + 4.0, clean)
    train = np.arange(n) < n // 2
    fitted = fit_combat(dirty[train], site[train], age[train, None], shrink=shrink)
    found = fitted.transform(dirty[~train], site[~train], age[~train, None])
    slope = np.polyfit(age[~train], found.mean(axis=1), 1)[0]
    assert slope == pytest.approx(0.05, abs=0.006)
    for one in "ab":
        own = site[~train] == one
        residual = found[own] - 0.05 * age[~train][own, None]
        assert residual.std() == pytest.approx(1.5, abs=0.15)  # between those of the sites
    difference = (found - 0.05 * age[~train][:, None])[site[~train] == "b"].mean() - (
        found - 0.05 * age[~train][:, None]
    )[site[~train] == "a"].mean()
    assert abs(difference) < 0.25  # planted: 4


def test_shrinking_brings_small_sites_closer_to_the_truth(rng):
    errors = {True: [], False: []}
    for _ in range(40):
        site = np.repeat(np.array(["a", "b"], dtype=object), [100, 5])
        x = rng.normal(size=(105, 40)) + np.where(site == "b", 1.0, 0.0)[:, None]
        for shrink in errors:
            fitted = fit_combat(x, site, shrink=shrink)
            effects = (fitted.location[1] - fitted.location[0]) * fitted.sd
            errors[shrink].append(np.sqrt(np.square(effects - 1.0).mean()))
    assert np.mean(errors[True]) < 0.8 * np.mean(errors[False])


def test_many_features_are_shrunk_and_few_are_not(rng):
    site = np.repeat(np.array(["a", "b"], dtype=object), 12)
    for n_features in (3, 10):
        x = rng.normal(size=(24, n_features))
        same = [
            np.array_equal(fit_combat(x, site).location, fit_combat(x, site, shrink=shrink).location)
            for shrink in (True, False)
        ]
        assert same == [n_features == 10, n_features == 3]


def test_a_constant_feature_stays_as_it_is(rng):
    site = np.repeat(np.array(["a", "b"], dtype=object), 10)
    x = np.column_stack([rng.normal(size=20), np.full(20, 7.0)])
    np.testing.assert_allclose(fit_combat(x, site).transform(x, site)[:, 1], 7.0)


def test_a_site_of_three_is_moved_but_not_scaled(rng):
    site = np.repeat(np.array(["a", "b"], dtype=object), [30, 3])
    x = rng.normal(size=(33, 2)) + np.where(site == "b", 9.0, 0.0)[:, None]
    fitted = fit_combat(x, site)
    assert (fitted.scale[1] == 1).all()
    assert abs(fitted.transform(x, site)[site == "b"].mean() - x.mean()) < 0.5


def test_an_unseen_site_is_refused_by_name(rng):
    site = np.repeat(np.array(["a", "b"], dtype=object), 10)
    x = rng.normal(size=(20, 2))
    with pytest.raises(AekitError, match=r"site: c was not among the sites of the fit \(a, b\)"):
        fit_combat(x, site).transform(x[:2], np.array(["a", "c"], dtype=object))


@pytest.mark.parametrize(
    ("sites", "covariates", "message"),
    [
        (["a"] * 12, None, "one site only"),
        (["a"] * 11 + ["b"], None, "b has a single participant"),
        (["a"] * 6 + ["b"] * 6, [0.0] * 6 + [1.0] * 6, "cannot be told from that of the sites"),
        (["a", "a", "b", "b"], [1.0, 2.0, 1.0, 3.0], "4 participants are too few"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rng, sites, covariates, message):
    x = rng.normal(size=(len(sites), 2))
    own = None if covariates is None else np.array(covariates)[:, None]
    with pytest.raises(AekitError, match=message):
        fit_combat(x, np.array(sites, dtype=object), own)
