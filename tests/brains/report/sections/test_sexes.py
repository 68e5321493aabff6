import numpy as np
import pytest

from aekit.brains.report.analysis import Comparison
from aekit.brains.report.sections.sexes import h1_sentences
from aekit.core.intervals import Interval


def interval(value, half):
    return Interval(value, value - half, value + half)


@pytest.mark.parametrize(
    ("d_proportion", "given_age", "gained", "sexes", "ages"),
    [
        (interval(0.05, 0.1), interval(0.1, 0.05), interval(0.2, 0.1), "as H1 predicts", "This agrees with H1"),
        (
            interval(0.5, 0.1),
            interval(0.6, 0.1),
            interval(-0.2, 0.1),
            "evidence against",
            "This is evidence against H1",
        ),
        (interval(0.0, 0.3), interval(0.6, 0.1), interval(0.02, 0.01), "only because", "neither shown nor refuted"),
        (interval(0.5, 0.1), interval(0.0, 0.3), interval(0.1, 0.3), "explained by age", "neither shown nor refuted"),
        (interval(0.0, 0.3), interval(0.1, 0.3), interval(0.2, 0.1), "up to |d| = 0.40", "This agrees with H1"),
        (interval(np.nan, 1), interval(0.1, 0.3), interval(np.nan, 1), "cannot be judged", "cannot be judged"),
    ],
)
def test_the_sentences_on_h1_follow_from_the_intervals(d_proportion, given_age, gained, sexes, ages):
    found = [Comparison(key, interval(1.2, 0.2), d_proportion, given_age, 0.5, 0.7, gained) for key in ("gmv", "csfv")]
    about_sexes, about_age = h1_sentences(found)
    assert sexes in about_sexes
    assert ages in about_age
