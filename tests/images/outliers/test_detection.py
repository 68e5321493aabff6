"""AUROC, average precision, FPR95 and thresholds: independent implementations, nulls, and what thresholds promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from aekit.images.outliers.detection import detection, p_values, threshold


def _scores(n=300, shift=1.0, seed=0, digits=None):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=n), generator.normal(shift, 2, size=n // 2)
    return values if digits is None else tuple(np.round(each, digits) for each in values)


@pytest.mark.parametrize("digits", [None, 1, 0], ids=["no ties", "ties", "many ties"])
def test_measures_are_those_of_scikit_learn(digits):
    inliers, outliers = _scores(digits=digits)
    truth = np.repeat([0, 1], [len(inliers), len(outliers)])
    values = np.concatenate([inliers, outliers])
    false, true, _ = roc_curve(truth, values, drop_intermediate=False)
    found = detection(inliers, outliers, n_resamples=2)
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, values))
    assert found.average_precision.value == pytest.approx(average_precision_score(truth, values))
    assert found.fpr95.value == pytest.approx(false[np.argmax(true >= 0.95)])


def test_copies_of_inliers_cannot_be_told_from_them():
    inliers, _ = _scores()
    found = detection(inliers, inliers[::-1].copy())
    assert found.auroc.value == 0.5
    assert found.auroc.low < 0.5 < found.auroc.high
    assert found.fpr95.value == pytest.approx(0.95, abs=0.01)


def test_outliers_above_all_inliers_are_found_and_those_below_are_not():
    found = detection(np.arange(10.0), np.arange(10.0) + 20)
    assert (found.auroc.value, found.average_precision.value, found.fpr95.value) == (1, 1, 0)
    assert detection(np.arange(10.0) + 20, np.arange(10.0)).auroc.value == 0


def test_intervals_hold_the_truth_as_often_as_they_say():
    truth = 0.76024993890652  # P(a > b) of normal distributions one apart: the normal distribution at 1 / sqrt 2
    held = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        found = detection(generator.normal(size=60), generator.normal(1, size=60), n_resamples=200, seed=seed)
        held += found.auroc.low <= truth <= found.auroc.high
    assert 0.90 <= held / 200 <= 0.99


@pytest.mark.parametrize(("fpr", "n"), [(0.05, 19), (0.05, 100), (0.1, 57), (0.5, 1)])
def test_further_inliers_exceed_a_threshold_as_often_as_was_asked_at_most(fpr, n):
    generator = np.random.default_rng(1)
    draws = generator.exponential(size=(20_000, n + 1))
    flagged = np.mean([row[-1] > threshold(row[:-1], fpr) for row in draws])
    assert flagged <= fpr + 4 * np.sqrt(fpr * (1 - fpr) / len(draws))
    assert flagged >= fpr - 1 / (n + 1) - 0.01


def test_too_few_scores_have_no_threshold():
    with pytest.raises(ValueError, match=r"18 scores have no threshold for 0\.05"):
        threshold(np.arange(18.0), 0.05)


def test_p_values_count_inliers_that_score_as_high():
    inliers = np.array([1.0, 2.0, 2.0, 3.0])
    assert p_values(inliers, np.array([0.0, 2.0, 2.5, 4.0])).tolist() == pytest.approx([1, 0.8, 0.4, 0.2])
    assert p_values(inliers, inliers, are_same=True).tolist() == [1, 0.75, 0.75, 0.25]


def test_an_image_is_flagged_exactly_if_its_p_value_is_no_larger_than_the_fraction():
    inliers, outliers = _scores(n=500, digits=2)
    for fpr in (0.01, 0.05, 0.2):
        flagged = outliers > threshold(inliers, fpr)
        assert (flagged == (p_values(inliers, outliers) <= fpr + 1e-12)).all()
