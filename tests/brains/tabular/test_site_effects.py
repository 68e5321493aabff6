import numpy as np
import pytest

from aekit.brains.tabular.site_effects import fit_site_effects
from aekit.errors import AekitError


@pytest.fixture
def two_sites():
    """Return features of two sites, of which B adds 4 SDs and doubles the noise, and the same without a site."""
    random = np.random.default_rng(0)
    n = 200
    ages, sex = random.uniform(20, 80, n), np.where(random.random(n) < 0.5, "F", "M").astype(object)
    site = np.array(["A", "B"], object)[np.arange(n) % 2]
    noise = random.normal(size=(n, 12))
    trend = np.outer(ages, np.linspace(-0.1, 0.1, 12)) + (sex == "M")[:, None]
    is_b = (site == "B")[:, None]
    return trend + noise * np.where(is_b, 2, 1) + 4 * is_b, trend + noise, site, sex, ages


def test_what_a_site_adds_is_removed_and_the_trend_with_age_is_kept(two_sites):
    features, _, site, sex, ages = two_sites
    effects, own = fit_site_effects(features, site, sex, ages)
    for values in (own, effects.remove(features, site, sex)):
        residuals = values - np.outer(ages, np.linspace(-0.1, 0.1, 12)) - (sex == "M")[:, None]
        difference = residuals[site == "B"].mean(axis=0) - residuals[site == "A"].mean(axis=0)
        assert np.abs(difference).max() < 0.5
        slopes = [np.polyfit(ages[site == name], values[site == name], 1)[0] for name in "AB"]
        ratios = [one @ np.linspace(-0.1, 0.1, 12) / (np.linspace(-0.1, 0.1, 12) ** 2).sum() for one in slopes]
        np.testing.assert_allclose(ratios, 1, atol=0.15)


def test_the_noise_of_sites_becomes_the_same(two_sites):
    features, _, site, sex, ages = two_sites
    effects, _ = fit_site_effects(features, site, sex, ages)
    values = effects.remove(features, site, sex)

    def ratio(of):
        residuals = of - np.column_stack([np.poly1d(np.polyfit(ages, column, 1))(ages) for column in of.T])
        return (residuals[site == "B"].std(axis=0) / residuals[site == "A"].std(axis=0)).mean()

    assert ratio(features - 4 * (site == "B")[:, None]) > 1.8
    assert ratio(values) == pytest.approx(1, abs=0.15)


def test_new_participants_are_corrected_one_by_one_whoever_comes_with_them(two_sites):
    features, _, site, sex, ages = two_sites
    effects, _ = fit_site_effects(features[:150], site[:150], sex[:150], ages[:150])
    together = effects.remove(features[150:], site[150:], sex[150:])
    alone = np.vstack([effects.remove(features[[row]], site[[row]], sex[[row]]) for row in range(150, 200)])
    np.testing.assert_allclose(together, alone, rtol=1e-10)


def test_participants_of_an_unknown_site_or_none_stay_as_they_are(two_sites):
    features, _, site, sex, ages = two_sites
    effects, _ = fit_site_effects(features, site, sex, ages)
    unknown = np.array(["C", None, ""], object)
    assert effects.knows(unknown).tolist() == [False] * 3
    assert np.array_equal(effects.remove(features[:3], unknown, sex[:3]), features[:3])


def test_sex_as_a_feature_stays_as_it_is(two_sites):
    features, _, site, sex, ages = two_sites
    with_sex = np.column_stack([features, sex == "M"])
    effects, own = fit_site_effects(with_sex, site, sex, ages)
    assert np.array_equal(own[:, -1], with_sex[:, -1])
    assert np.array_equal(effects.remove(with_sex, site, sex)[:, -1], with_sex[:, -1])


def test_one_site_has_no_effects_to_compare(two_sites):
    features, _, site, sex, ages = two_sites
    assert fit_site_effects(features, np.full(len(site), "A", object), sex, ages) is None
    assert fit_site_effects(features, np.where(np.arange(len(site)) == 0, "B", "A").astype(object), sex, ages) is None


def test_age_that_follows_from_the_site_is_refused(two_sites):
    features, _, site, sex, _ = two_sites
    with pytest.raises(AekitError, match=r"--combat: age can be told from the site.*leave --combat out"):
        fit_site_effects(features, site, sex, np.where(site == "A", 30.0, 60.0))


def test_sex_that_follows_from_the_site_is_refused_by_name(two_sites):
    features, _, site, _, ages = two_sites
    with pytest.raises(AekitError, match="--combat: sex can be told from the site"):
        fit_site_effects(features, site, np.where(site == "A", "F", "M").astype(object), ages)
