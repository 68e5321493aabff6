import numpy as np
import pytest

from aekit.brains.figures.measures import (
    Estimate,
    plot_against_age,
    plot_brain_volume,
    plot_correlations,
    plot_distributions,
    plot_sex_differences,
)
from aekit.brains.figures.sexes import MAX_POINTS
from aekit.brains.measures.age_trend import SmoothLine

N = 60
GENERATOR = np.random.default_rng(0)
AGE = GENERATOR.uniform(10, 80, N)
SEX = np.array(["F", "M"] * 29 + [np.nan, "F"], dtype=object)
VALUES = np.column_stack([700 - AGE, 500 + GENERATOR.normal(0, 20, N), 200 + AGE])
VALUES[3, 1] = np.nan
NASTY = "$a_b$ <i>"


def draw_distributions():
    return plot_distributions(VALUES, SEX, names=["a", "b", NASTY], unit="mL", title=NASTY)


def draw_correlations():
    matrix = np.array([[1.0, -0.5], [-0.5, np.nan]])
    return plot_correlations(
        [matrix, matrix], [["age", NASTY], ["age", "b"]], captions=["volumes", "proportions"], title=NASTY
    )


def draw_against_age():
    line = SmoothLine(np.array([10.0, 80]), np.array([690.0, 620]), np.array([680.0, 610]), np.array([700.0, 630]))
    return plot_against_age(
        AGE, VALUES, SEX, names=["a", "b", "c"], trends=[{"F": line, "M": line}, {}, {"": line}], unit="mL", title=NASTY
    )


def draw_sex_differences():
    rows = [Estimate("grey matter", 1.2, 0.9, 1.5, "volumes"), Estimate(NASTY, 0.1, -0.2, 0.3, "proportions")]
    return plot_sex_differences(rows, rows, title=NASTY)


def draw_brain_volume():
    total = VALUES.sum(axis=1)
    return plot_brain_volume(total, 1.1 * total, SEX, slope=1.1, caption="r = 1.000", title=NASTY)


@pytest.mark.parametrize(
    "draw", [draw_distributions, draw_correlations, draw_against_age, draw_sex_differences, draw_brain_volume]
)
def test_no_text_is_cut_off_or_overlaps_another(draw, check_readable):
    check_readable(draw())


def test_a_large_cohort_is_thinned_and_says_so(texts):
    n = 20_000
    age = np.random.default_rng(1).uniform(10, 80, n)
    sex = np.array(["F", "M"] * (n // 2), dtype=object)
    figure = plot_against_age(age, age[:, None], sex, names=["a"], trends=[{}])
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == MAX_POINTS
    assert "5,000 of 20,000 participants drawn; lines from all" in texts(figure)


def test_absurd_values_do_not_squeeze_the_others_into_a_line():
    values = np.r_[GENERATOR.normal(700, 50, N - 1), 7e5][:, None]
    against = plot_against_age(AGE, values, SEX, names=["a"], trends=[{}]).axes[0]
    assert against.get_ylim()[1] < 2000
    distribution = plot_distributions(values, SEX, names=["a"]).axes[0]
    assert distribution.get_xlim()[1] < 2000


def test_equal_values_and_no_values_are_drawn():
    sex = np.array(["F"] * 5, dtype=object)
    plot_distributions(np.full((5, 1), 3.0), sex, names=["a"])
    plot_distributions(np.full((5, 1), np.nan), sex, names=["a"])
