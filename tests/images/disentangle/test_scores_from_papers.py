"""Each score against its definition, written again from the paper in plain loops, on codes that mix factors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score

from aekit.images.disentangle.agreement import agreement
from aekit.images.disentangle.importance import completeness, disentanglement
from aekit.images.disentangle.request import DisentangleRequest
from aekit.images.disentangle.scores import measure_scores

N, SIZES = 600, (3, 5, 8)
IS_NUMERIC = (False, True, True)
HALF = N // 2


def _data(seed):
    """Return codes, (600, 5), and factors, (600, 3): sums and a product of factors with noise, and noise alone."""
    generator = np.random.default_rng(seed)
    factors = np.stack([generator.integers(size, size=N) for size in SIZES], axis=1)
    a, b, c = factors.T
    noise = generator.normal(size=(5, N))
    codes = [a + 0.4 * b + 0.3 * noise[0], b - 0.3 * c + 0.5 * noise[1], c + noise[2], noise[3], a * c + noise[4]]
    return np.stack(codes, axis=1), factors


@pytest.fixture(scope="module", params=[0, 1])
def measured(request):
    codes, factors = _data(request.param)
    return codes, factors, measure_scores(codes, factors, is_numeric=IS_NUMERIC, request=DisentangleRequest())


def _information(codes, factors):
    """Return mutual information in nats by scikit-learn, of 20 bins of equal width."""
    table = np.zeros((codes.shape[1], factors.shape[1]))
    for j, own in enumerate(codes.T):
        width = (own.max() - own.min()) / 20
        bins = [min(int((value - own.min()) / width), 19) for value in own]
        for k, factor in enumerate(factors.T):
            table[j, k] = mutual_info_score(bins, factor)
    return table


def _gap(values):
    second, first = sorted(values)[-2:]
    return first - second


def test_mig_is_the_gap_in_the_entropy_of_each_factor(measured):
    codes, factors, found = measured
    information = _information(codes, factors)
    gaps = []
    for k, factor in enumerate(factors.T):
        p = [np.mean(factor == value) for value in set(factor.tolist())]
        gaps.append(_gap(information[:, k]) / -sum(x * np.log(x) for x in p))
    assert found.by_factor["mig"] == pytest.approx(gaps, abs=1e-9)
    assert found.values["mig"] == pytest.approx(np.mean(gaps), abs=1e-9)
    assert 0.05 < found.values["mig"] < 0.9  # neither end, where a wrong formula may be right


def test_modularity_is_the_distance_from_a_template_with_one_factor(measured):
    codes, factors, found = measured
    scores = []
    for row in _information(codes, factors):
        template = np.where(row == row.max(), row.max(), 0)
        scores.append(1 - np.sum((row - template) ** 2) / (row.max() ** 2 * (len(row) - 1)))
    assert found.values["modularity"] == pytest.approx(np.mean(scores), abs=1e-9)
    assert 0.1 < found.values["modularity"] < 0.95


def _dci(importance):
    """Return disentanglement and completeness of importances, (L, F), by the equations of section 2 in loops."""
    n_dimensions, n_factors = importance.shape
    d = c = 0.0
    for row in importance:
        if row.sum():
            d += row.sum() / importance.sum() * (1 - stats.entropy(row / row.sum(), base=n_factors))
    for column in importance.T:
        c += (1 - stats.entropy(column / column.sum(), base=n_dimensions)) / n_factors
    return d, c


def test_dci_of_any_importances_is_that_of_its_equations():
    for seed in range(20):
        importance = np.random.default_rng(seed).dirichlet(np.full(6, 0.5), size=4).T  # columns add up to 1
        importance[2] = 0
        importance /= importance.sum(0)
        assert (disentanglement(importance), completeness(importance)) == pytest.approx(_dci(importance), abs=1e-12)


def test_dci_of_codes_is_that_of_a_forest_per_factor_on_one_half_of_the_images(measured):
    codes, factors, found = measured
    importance, accuracy = [], []
    for factor in factors.T:
        forest = RandomForestClassifier(30, max_features=None, min_samples_leaf=3, random_state=0)
        forest.fit(codes[:HALF], factor[:HALF])
        importance.append(forest.feature_importances_)
        accuracy.append(np.mean(forest.predict(codes[HALF:]) == factor[HALF:]))
    d, c = _dci(np.transpose(importance))
    np.testing.assert_allclose(found.importance, np.transpose(importance), atol=1e-12)
    assert found.values["dci_disentanglement"] == pytest.approx(d)
    assert found.values["dci_completeness"] == pytest.approx(c)
    assert found.values["dci_informativeness"] == pytest.approx(np.mean(accuracy))


def _standard(values):
    """Return columns in units of the training half."""
    return (values - values[:HALF].mean(0)) / values[:HALF].std(0)


def test_sap_is_the_gap_between_predictions_from_single_dimensions(measured):
    codes, factors, found = measured
    gaps = []
    for factor, numeric in zip(factors.T, IS_NUMERIC, strict=True):
        scores = []
        for own in _standard(codes).T:
            if numeric:  # R^2 of the line through the held-out half
                slope, intercept = np.polyfit(own[HALF:], factor[HALF:], 1)
                left = factor[HALF:] - slope * own[HALF:] - intercept
                scores.append(1 - left.var() / factor[HALF:].var())
                continue
            said = LogisticRegression(max_iter=300).fit(own[:HALF, None], factor[:HALF]).predict(own[HALF:, None])
            recall = [np.mean(said[factor[HALF:] == value] == value) for value in range(3)]
            scores.append(max((np.mean(recall) - 1 / 3) / (2 / 3), 0))
        gaps.append(_gap(scores))
    assert found.by_factor["sap"] == pytest.approx(gaps, abs=1e-9)
    assert found.values["sap"] == pytest.approx(np.mean(gaps), abs=1e-9)
    assert 0.05 < found.values["sap"] < 0.9


def test_explicitness_is_how_often_an_image_of_a_value_ranks_above_one_of_another(measured):
    codes, factors, found = measured
    scores = []
    for factor, size in zip(factors.T, SIZES, strict=True):
        model = LogisticRegression(max_iter=300).fit(_standard(codes)[:HALF], factor[:HALF])
        p = model.predict_proba(_standard(codes)[HALF:])
        areas = []
        for value in range(size):
            own, other = p[factor[HALF:] == value, value], p[factor[HALF:] != value, value]
            areas.append(np.mean((own[:, None] > other) + 0.5 * (own[:, None] == other)))
        scores.append(2 * np.mean(areas) - 1)
    assert found.by_factor["explicitness"] == pytest.approx(scores, abs=1e-6)
    assert found.values["explicitness"] == pytest.approx(np.mean(scores), abs=1e-6)


def test_irs_is_the_mean_over_values_of_the_distances_from_their_mean(measured):
    codes, factors, found = measured
    best, weights = [], []
    for own in codes.T:
        largest = max(abs(own - own.mean()))
        moved = []
        for factor, size in zip(factors.T, SIZES, strict=True):
            of_value = [own[factor == value] for value in range(size)]
            moved.append(np.mean([np.percentile(abs(z - z.mean()), 99) for z in of_value]))
        best.append(1 - min(moved) / largest)
        weights.append(largest)
    expected = sum(b * w for b, w in zip(best, weights, strict=True)) / sum(weights)
    assert found.values["irs"] == pytest.approx(expected, abs=1e-9)
    assert 0.1 < found.values["irs"] < 0.9


def _votes(codes, factors, n, generator):
    deviation = codes.std(0)
    votes = []
    for _ in range(n):
        k = generator.integers(3)
        value = generator.integers(SIZES[k])
        rows = generator.choice(np.flatnonzero(factors[:, k] == value), 64)
        votes.append((int(np.argmin((codes[rows] / deviation).var(0))), int(k)))
    return votes


def test_the_score_of_factor_vae_is_that_of_a_loop_over_votes(measured):
    codes, factors, found = measured
    generator = np.random.default_rng(7)
    counts = np.zeros((5, 3))
    for dimension, k in _votes(codes, factors, 3000, generator):
        counts[dimension, k] += 1
    score = np.mean([counts[dimension].argmax() == k for dimension, k in _votes(codes, factors, 3000, generator)])
    assert 0.4 < score < 0.98
    error = np.sqrt(score * (1 - score) * (1 / 3000 + 1 / 5000))  # other votes on the same images
    assert found.values["factor_vae"] == pytest.approx(score, abs=4 * error)


def test_udr_is_the_best_rank_correlation_of_each_dimension_in_the_sum_of_all():
    first, second = _data(0)[0], _data(0)[0] @ np.random.default_rng(0).normal(size=(5, 4))
    kl = np.array([1, 2, 0.001, 0.5, 3]), np.array([1, 0.0, 1, 1])
    terms = []
    kept = [(codes[:, own > 0.01]) for codes, own in zip((first, second), kl, strict=True)]
    for a, b in (kept, kept[::-1]):
        for x in a.T:
            matches = [abs(stats.spearmanr(x, y).statistic) for y in b.T]
            terms.append(max(matches) ** 2 / sum(matches))
    assert agreement(first, second, *kl) == pytest.approx(np.mean(terms), abs=1e-9)
