import numpy as np
import pytest

from aekit.brains.figures.outliers import plot_outliers

N = 60
GENERATOR = np.random.default_rng(0)
NASTY = "$a_b$ <i>"


def draw_outliers(n_outliers=12):
    z = GENERATOR.normal(size=(N, 3))
    flagged = np.zeros(N, dtype=bool)
    flagged[:n_outliers] = True
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


@pytest.mark.parametrize(("n", "words"), [(12, "outliers: 12 participants"), (1, "outliers: 1 participant,"), (0, "")])
def test_the_legend_counts_participants_and_names_outliers_only_if_there_are_any(n, words):
    labels = [text.get_text() for text in draw_outliers(n).legends[0].get_texts()]
    assert [label[: len(words)] for label in labels if "outlier" in label] == ([words] if n else [])


def test_the_limit_of_the_distance_spans_its_panel():
    axes = draw_outliers().axes[1]
    (limit,) = axes.lines
    assert list(limit.get_ydata()) == [16.3**0.5] * 2
    assert list(limit.get_transform().transform([(0, 0), (1, 0)])[:, 0]) == [axes.bbox.x0, axes.bbox.x1]
