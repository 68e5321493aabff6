"""Correlations of codes: measures against closed forms, intervals against coverage, rotations against an integral."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from aekit.images.decorrelation import correlation
from aekit.images.decorrelation.correlation import (
    MEASURES,
    bootstrap_ends,
    correlation_matrix,
    effective_rank,
    measure_codes,
    measure_matrix,
    noise_floor,
    participation_ratio,
    root_mean_square,
)


def _gaussian(n: int, matrix: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, len(matrix))) @ np.linalg.cholesky(matrix).T


def _alike(d: int, r: float) -> np.ndarray:
    return np.full((d, d), r) + (1 - r) * np.eye(d)


def _mixed(d: int, n_sources: int = 200) -> np.ndarray:
    mixing = np.random.default_rng(d).standard_normal((d, n_sources)) * np.linspace(1, 0.01, n_sources) ** 2
    covariance = mixing @ mixing.T
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def test_the_matrix_is_that_of_numpy_and_dead_dimensions_are_left_out():
    codes = _gaussian(500, _mixed(6)).astype(np.float32) * 30 + 1000
    codes[:, 2] = 0.3
    matrix = correlation_matrix(codes)
    live = [0, 1, 3, 4, 5]
    expected = np.corrcoef(codes[:, live].astype(np.float64), rowvar=False)
    np.testing.assert_allclose(matrix[np.ix_(live, live)], expected, atol=1e-9)
    assert np.isnan(matrix[2]).all()
    assert np.isnan(matrix[:, 2]).all()
    off_diagonal = np.abs(expected[~np.eye(5, dtype=bool)])
    assert measure_matrix(matrix)["mean-abs"] == pytest.approx(off_diagonal.mean(), rel=1e-9)


@pytest.mark.parametrize("d", [2, 5, 30])
@pytest.mark.parametrize("r", [0.0, 0.3, 1.0])
def test_measures_of_equal_correlations_are_those_of_their_two_eigenvalues(d, r):
    eigenvalues = np.array([1 + (d - 1) * r, *[1 - r] * (d - 1)])
    values = measure_matrix(_alike(d, r))
    assert values["mean-abs"] == pytest.approx(r)
    assert values["rms"] == pytest.approx(r)
    assert values["participation"] == pytest.approx(d**2 / (eigenvalues**2).sum())
    assert values["effective-rank"] == pytest.approx(np.exp(stats.entropy(eigenvalues)))


def test_participation_ratio_and_root_mean_square_are_equivalent():
    matrices = np.stack([_mixed(8), _alike(8, 0.2)])
    expected = 8 / (1 + 7 * root_mean_square(matrices) ** 2)
    np.testing.assert_allclose(participation_ratio(matrices), expected)
    assert (effective_rank(matrices) > expected).all()  # Renyi's entropies fall with their order


def test_one_or_no_live_dimension_has_no_pair_and_no_value():
    codes = np.zeros((50, 3))
    found = measure_codes(codes)
    assert not found.live.any()
    assert all(np.isnan(interval).all() for interval in found.values.values())
    codes[:, 1] = np.arange(50)
    found = measure_codes(codes)
    assert found.live.tolist() == [False, True, False]
    assert np.isnan(found.values["mean-abs"].value)
    assert found.values["participation"].value == 1.0


@pytest.mark.parametrize("name", ["mean-abs", "rms"])
def test_the_noise_floor_is_the_value_of_independent_dimensions(name):
    codes = np.random.default_rng(0).standard_normal((400, 60))
    assert measure_matrix(correlation_matrix(codes))[name] == pytest.approx(noise_floor(name, 400), rel=0.03)
    assert np.isnan(noise_floor("participation", 400))


def test_the_interval_of_one_pair_is_as_wide_as_the_theory_of_r():
    r, n = 0.5, 2000
    interval = measure_codes(_gaussian(n, _alike(2, r)), n_resamples=2000).values["mean-abs"]
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * (1 - r**2) / np.sqrt(n), rel=0.1)


def test_the_resamples_spread_as_those_drawn_with_replacement():
    codes = _gaussian(300, _mixed(4))
    rows = np.random.default_rng(0).integers(0, 300, (800, 300))
    drawn = [np.abs(np.corrcoef(codes[chosen].T)[np.triu_indices(4, 1)]).mean() for chosen in rows]
    resampled = correlation._measure_all(correlation._resampled_matrices(codes, 800, 0))["mean-abs"]
    assert resampled.mean() == pytest.approx(np.mean(drawn), rel=0.03)
    assert resampled.std() == pytest.approx(np.std(drawn), rel=0.12)


@pytest.mark.parametrize("d", [2, 10])
def test_the_interval_of_independent_dimensions_holds_zero_and_the_measured_value(d):
    codes = np.random.default_rng(d).standard_normal((2000, d))
    for name in ("mean-abs", "rms"):
        value, low, high = measure_codes(codes).values[name]
        assert low < 0.4 * value
        assert value < high < value + 3 / np.sqrt(2000)
    for name in ("participation", "effective-rank"):
        value, low, high = measure_codes(codes).values[name]
        assert low < value < high == pytest.approx(d, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 30])
def test_nineteen_of_twenty_intervals_contain_the_true_value_where_a_percentile_interval_fails(d):
    matrix = _mixed(d)
    hits = dict.fromkeys(MEASURES, 0)
    percentile_hits = 0
    for seed in range(40):
        codes = _gaussian(600, matrix, seed)
        for name, interval in measure_codes(codes, n_resamples=100, n_rotations=1).values.items():
            hits[name] += interval.low <= MEASURES[name](matrix) <= interval.high
        resampled = correlation._measure_all(correlation._resampled_matrices(codes, 100, 0))["rms"]
        percentile_hits += np.quantile(resampled, 0.025) <= root_mean_square(matrix)
    assert min(hits.values()) >= 33  # 38 on average; fewer than 34 of 40 in 1 % of such tests
    assert percentile_hits == 0 or d == 2


@pytest.mark.parametrize(("d", "n", "matrix"), [(20, 50, np.eye(20)), (20, 50, _mixed(20)), (5, 50, _alike(5, 0.3))])
def test_intervals_of_dimension_counts_hold_with_few_images(d, n, matrix):
    truth = {name: measure(matrix) for name, measure in MEASURES.items()}
    hits = dict.fromkeys(("participation", "effective-rank"), 0)
    for seed in range(40):
        found = measure_codes(_gaussian(n, matrix, seed), n_resamples=100, n_rotations=1).values
        for name in hits:
            hits[name] += found[name].low - 1e-9 <= truth[name] <= found[name].high + 1e-9
    assert hits["participation"] >= 34  # with its own bootstrap it was 0, 9 and 32
    assert hits["effective-rank"] >= 34 or (n < 10 * d and np.isnan(found["effective-rank"]).tolist() == [0, 1, 1])


def test_the_interval_of_the_participation_ratio_is_that_of_the_root_mean_square():
    found = measure_codes(_gaussian(80, _mixed(8))).values
    ends = [8 / (1 + 7 * end**2) for end in (found["rms"].high, found["rms"].low)]
    assert found["participation"][1:] == pytest.approx(ends)
    assert found["participation"].low < found["participation"].value < found["participation"].high


def test_the_bias_is_subtracted_at_the_lower_end_only():
    resampled = np.linspace(1.1, 1.5, 401)  # 0.3 above the value, as noise would put them
    low, high = bootstrap_ends(1.0, resampled)
    assert (low, high) == pytest.approx((1 - 0.3 - 0.19, 1 + 0.19))


def test_blocks_do_not_change_the_resamples(monkeypatch):
    codes = _gaussian(200, _mixed(7))
    whole = np.concatenate(list(correlation._resampled_matrices(codes, 9, 3)))
    monkeypatch.setattr(correlation, "MAX_FLOATS", 200)
    np.testing.assert_allclose(np.concatenate(list(correlation._resampled_matrices(codes, 9, 3))), whole, atol=1e-12)


def test_a_dimension_that_varies_in_one_image_is_live_in_every_resample():
    codes = np.random.default_rng(0).standard_normal((100, 3))
    codes[:, 2] = 0
    codes[7, 2] = 1
    assert np.isfinite(measure_codes(codes).values["mean-abs"]).all()


def test_random_rotations_give_the_mean_over_all_angles():
    widths = np.array([3.0, 1.0])  # variances 9 and 1 along the principal axes
    codes = np.random.default_rng(0).standard_normal((4000, 2)) * widths
    large, small = np.linalg.eigvalsh(np.cov(codes, rowvar=False))[::-1]

    def absolute_r(angle):
        first = large * np.cos(angle) ** 2 + small * np.sin(angle) ** 2
        second = large * np.sin(angle) ** 2 + small * np.cos(angle) ** 2
        return abs((large - small) * np.sin(angle) * np.cos(angle)) / np.sqrt(first * second)

    expected = integrate.quad(absolute_r, 0, np.pi / 2)[0] / (np.pi / 2)
    rotated = measure_codes(codes, n_rotations=2000).rotated["mean-abs"]
    assert rotated.value == pytest.approx(expected, rel=0.03)
    assert 0 <= rotated.low < rotated.value < rotated.high <= 0.8 + 0.01  # (9 - 1) / (9 + 1)


def test_the_same_seed_gives_the_same_intervals():
    codes = _gaussian(100, _mixed(5))
    assert measure_codes(codes, seed=4).values == measure_codes(codes, seed=4).values
    assert measure_codes(codes, seed=4).values != measure_codes(codes, seed=5).values


@pytest.mark.parametrize(("n", "size"), [(1, 2), (7, 5), (3, 1)])
def test_rotations_are_those_of_scipy_to_the_last_bit(n, size):
    theirs = stats.ortho_group.rvs(size, size=n, random_state=np.random.default_rng(3)).reshape(n, size, size)
    mine = correlation.random_rotations(n, size, np.random.default_rng(3))
    assert np.array_equal(mine, theirs)
    assert np.allclose(mine @ mine.transpose(0, 2, 1), np.eye(size))
