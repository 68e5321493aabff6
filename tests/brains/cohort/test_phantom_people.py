import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LinearRegression

from aekit.brains.cohort.phantom_people import draw_person, draw_scan


@pytest.fixture(scope="module")
def people():
    return [draw_person(1, number) for number in range(2000)]


@pytest.fixture(scope="module")
def volumes(people):
    return np.array([person.volumes_ml for person in people])


@pytest.fixture(scope="module")
def ages(people):
    return np.array([person.age_years for person in people])


@pytest.fixture(scope="module")
def is_female(people):
    return np.array([person.sex == "F" for person in people])


def test_mean_volumes_of_both_sexes_are_those_of_the_cohort_that_was_fitted(volumes, is_female):
    # Means of 225 women and 241 men; the tolerance is three standard errors of 1,000 people.
    women, men = volumes[is_female].mean(axis=0), volumes[~is_female].mean(axis=0)
    np.testing.assert_allclose(women, (643.91, 479.13, 235.75), atol=8)
    np.testing.assert_allclose(men, (730.28, 546.01, 269.96), atol=9)


def test_proportions_and_their_scatter_are_those_of_the_cohort_and_independent_of_sex(volumes, is_female):
    shares = volumes / volumes.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares.mean(axis=0)[[0, 2]], (0.473, 0.174), atol=0.003)
    np.testing.assert_allclose(shares.std(axis=0)[[0, 2]], (0.044, 0.043), atol=0.002)
    assert np.abs(shares[is_female].mean(axis=0) - shares[~is_female].mean(axis=0)).max() < 0.006


def test_ages_and_sexes_are_those_of_the_cohort(ages, is_female):
    assert (ages.min(), ages.max()) >= (6, 70)
    assert ages.max() <= 86
    assert is_female.mean() == pytest.approx(0.48, abs=0.03)
    # 9.85 years by 400,000 draws of the mixture of ages with other code.
    assert np.abs(ages - ages.mean()).mean() == pytest.approx(9.85, abs=0.25)


@pytest.mark.parametrize("n", [60, 466])
def test_every_cohort_has_enough_old_people(n):
    for seed in range(5):
        ages = np.array([draw_person(seed, number).age_years for number in range(n)])
        assert np.count_nonzero(ages >= 45) == pytest.approx(0.08 * n, abs=1.5)
        assert np.count_nonzero(ages >= 25) == pytest.approx((0.22 + 0.47 * 0.174) * n, abs=0.05 * n)


def test_volumes_predict_age_as_well_as_in_the_cohort_and_no_better(volumes, ages):
    train, test = slice(0, 500), slice(500, 2000)
    scaled = (volumes - volumes[train].mean(axis=0)) / volumes[train].std(axis=0)
    linear = LinearRegression().fit(scaled[train], ages[train]).predict(scaled[test])
    kernel = ConstantKernel(1.0) * RBF([2.0, 2.0, 2.0]) + WhiteKernel(0.2)
    process = GaussianProcessRegressor(kernel, normalize_y=True).fit(scaled[train], ages[train])
    assert 5.5 <= np.abs(linear - ages[test]).mean() <= 6.3
    assert 4.5 <= np.abs(process.predict(scaled[test]) - ages[test]).mean() <= 6.0


def test_how_a_person_is_scanned_is_independent_of_age_sex_and_volume(people, volumes, ages, is_female):
    scans = [draw_scan(1, number) for number in range(len(people))]
    drawn = np.array([(*scan.contrast, *scan.rotation_deg, *scan.shift_mm, np.log(scan.gain)) for scan in scans])
    sites = np.array([[person.site == site for site in "ABC"] for person in people])
    known = np.column_stack([ages, is_female, volumes])
    r = np.corrcoef(np.column_stack([drawn, sites, known]).T)[: -known.shape[1], -known.shape[1] :]
    assert np.abs(r).max() < 0.09  # 65 correlations with a standard error of 0.022


def test_a_person_depends_on_seed_and_number_alone():
    assert draw_person(3, 7) == draw_person(3, 7)
    assert len({draw_person(seed, number).volumes_ml for seed in range(3) for number in range(3)}) == 9
    assert (draw_person(0, 0).participant_id, draw_person(0, 12_344).participant_id) == ("sub-0001", "sub-12345")
