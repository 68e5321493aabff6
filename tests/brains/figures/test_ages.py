import numpy as np
import pytest

from aekit.brains.figures.ages import plot_ages, plot_split

N = 60
GENERATOR = np.random.default_rng(0)
AGE = GENERATOR.uniform(10, 80, N)
SEX = np.array(["F", "M"] * 29 + [np.nan, "F"], dtype=object)
NASTY = "$a_b$ <i>"


def draw_ages():
    return plot_ages(AGE, SEX, mean_years=44.0, median_years=46.0, title=NASTY)


def draw_split():
    return plot_split(AGE, SEX, np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10, dtype=object))


@pytest.mark.parametrize("draw", [draw_ages, draw_split])
def test_no_text_is_cut_off_or_overlaps_another(draw, check_readable):
    check_readable(draw())


def test_the_bars_of_the_age_histogram_count_everyone_once(texts):
    figure = draw_ages()
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == N
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[:3] == ["female (30)", "male (29)", "sex unknown (1)"]
    assert "participants per 2-year bin" in texts(figure)


def test_equal_ages_are_drawn():
    sex = np.array(["F"] * 5, dtype=object)
    plot_ages(np.full(5, 21.0), sex, mean_years=21, median_years=21)


def test_a_curve_of_ages_rises_from_the_first_participant_to_one():
    left = draw_split().axes[0]
    for line, n in zip(left.lines, (40, 10, 10), strict=True):
        assert line.get_ydata() == pytest.approx((np.arange(n) + 1) / n)
        assert (np.diff(line.get_xdata()) >= 0).all()
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["train (40)", "val (10)", "test (10)"]
