import numpy as np

from aekit.brains.figures.outliers import plot_outliers

N = 60
GENERATOR = np.random.default_rng(0)
NASTY = "$a_b$ <i>"


def draw_outliers():
    z = GENERATOR.normal(size=(N, 3))
    flagged = np.zeros(N, dtype=bool)
    flagged[:12] = True
    squared = np.square(z).sum(axis=1)
    squared[0] = np.nan
    return plot_outliers(
        z,
        squared,
        flagged,
        names=["a", "b", "c"],
        ids=[f"participant-with-a-long-name-{NASTY}-{i}" for i in range(N)],
        z_limit=3.5,
        squared_limit=16.3,
        title=NASTY,
    )


def test_no_text_is_cut_off_or_overlaps_another(check_readable):
    check_readable(draw_outliers())


def test_the_most_extreme_outliers_are_named():
    named = [text.get_text() for text in draw_outliers().axes[1].texts]
    assert len(named) == 8
    assert all(text.startswith("participant") for text in named)
