"""SAP and explicitness: what linear predictors read from one dimension, and from all of them."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from aekit.images.disentangle.binning import Floats, Integers

Split = tuple[Floats, Integers]


def attribute_scores(train: Split, test: Split, *, is_numeric: tuple[bool, ...]) -> Floats:
    """Return how well each dimension alone predicts each factor linearly, 0 to 1, (L, F).

    For a numeric factor it is the squared correlation; for one with names, the balanced accuracy of a logistic
    regression on the held-out images, above chance.

    Args:
        train: Codes, (N, L), and factors, (N, F).
        test: Others, held out.
        is_numeric: Whether the values of each factor are numbers.

    Source:
        Kumar, Sattigeri & Balakrishnan 2018, arXiv:1711.00848, section 3, who use a linear support vector machine.
    """
    (codes, factors), (held_out, truth) = train, test
    scores = np.zeros((codes.shape[1], factors.shape[1]))
    for k, numeric in enumerate(is_numeric):
        for j in range(codes.shape[1]):
            if numeric:
                scores[j, k] = _squared_correlation(held_out[:, j], truth[:, k])
            else:
                own = _logistic().fit(codes[:, [j]], factors[:, k])
                accuracy = balanced_accuracy_score(truth[:, k], own.predict(held_out[:, [j]]))
                chance = 1 / len(np.unique(truth[:, k]))
                scores[j, k] = max((accuracy - chance) / (1 - chance), 0.0) if chance < 1 else 0.0
    return scores


def separation(scores: Floats) -> Floats:
    """Return the gap between the two best dimensions for each factor, (F,), of which the mean is SAP; see above."""
    ordered = np.sort(np.vstack([scores, np.zeros(scores.shape[1])]), axis=0)
    gap: Floats = ordered[-1] - ordered[-2]
    return gap


def explicitness(train: Split, test: Split) -> Floats:
    """Return how well a logistic regression on the whole code tells the values of each factor, 0 to 1, (F,).

    It is the area under the ROC curve of one value against the others on held-out images, averaged over values, and
    scaled so that chance is 0.

    Source:
        Ridgeway & Mozer 2018, arXiv:1802.05312, section 3.
    """
    (codes, factors), (held_out, truth) = train, test
    found = np.zeros(factors.shape[1])
    for k in range(factors.shape[1]):
        model = _logistic().fit(codes, factors[:, k])
        scores = model.predict_proba(held_out)
        areas = [
            roc_auc_score(truth[:, k] == value, scores[:, place])
            for place, value in enumerate(model.classes_)
            if 0 < (truth[:, k] == value).mean() < 1
        ]
        found[k] = 2 * np.mean(areas) - 1 if areas else np.nan
    return found


def _logistic() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def _squared_correlation(first: Floats, second: Integers) -> float:
    if not first.std() or not second.std():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1] ** 2)
