import numpy as np
import pytest

from aekit.plotting.outside import is_outside, mark_outside, padded, usual_range
from aekit.plotting.style import build_figure, figure_style, finish_figure

VALUES = np.random.default_rng(0).normal(1400, 100, 60)


@pytest.mark.parametrize("absurd", [7000.0, 1.0, -1e9, 1e12])
def test_one_absurd_value_hardly_moves_the_range_of_the_others(absurd):
    without, found = usual_range(VALUES), usual_range(np.r_[VALUES, absurd])
    assert np.abs(np.subtract(found, without)).max() <= 0.02 * np.ptp(VALUES)


def test_values_that_press_nothing_together_are_all_usual():
    high = VALUES.min() + 2.9 * np.ptp(VALUES)
    assert usual_range(np.r_[VALUES, high]) == pytest.approx((VALUES.min(), high))
    assert usual_range(np.r_[1e6, VALUES, high]) == pytest.approx((VALUES.min(), high))  # whatever else is absurd


def test_the_widest_of_several_arrays_decides_what_is_usual():
    same = np.full(60, 1400.0) + np.linspace(0, 1, 60)  # a model that predicts nearly the same for everyone
    assert usual_range(VALUES, same) == (VALUES.min(), VALUES.max())


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], (0, 1)), ([np.nan, np.inf], (0, 1)), ([3.0], (3, 3)), ([1.0, 2, 900], (1, 900)), ([5.0] * 9 + [6], (5, 6))],
)
def test_without_a_usual_spread_all_finite_values_are_shown(values, expected):
    assert usual_range(np.array(values)) == expected


def test_padding_moves_equal_limits_apart():
    low, high = padded((0.0, 0.0))
    assert low < 0 < high
    assert padded((0.0, 10.0), 0.1) == (-1, 11)


def draw(x, y, names=()):
    with figure_style():
        figure = build_figure(4, 3)
        axes = figure.subplots()
        axes.set(xlim=(0, 10), ylim=(0, 10))
        n = mark_outside(axes, np.array(x, float), np.array(y, float), names)
        return n, axes, finish_figure(figure)


def test_points_beyond_the_axes_are_marked_at_the_edge_with_name_and_value():
    n, axes, _ = draw([5, 5, 99, 5, np.nan], [7005, -3.5, 5, 5, 400], ["high", "low", "right", "inside", "unknown"])
    assert n == 3
    assert {text.get_text() for text in axes.texts} == {"high: 7,005", "low: \N{MINUS SIGN}3.5", "right: 99"}
    marks = {line.get_marker(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    assert marks.keys() == {"^", "v", ">"}
    assert marks["^"] == pytest.approx((0.5, 1), abs=0.02)
    assert marks["v"] == pytest.approx((0.5, 0), abs=0.02)
    assert marks[">"] == pytest.approx((1, 0.5), abs=0.02)
    assert is_outside(np.array([-1, 5, 11, np.nan]), (10, 0)).tolist() == [True, False, True, False]


def test_of_many_points_beyond_the_axes_the_farthest_are_named_and_the_others_counted():
    y = [20.0 + number for number in range(30)]
    n, axes, figure = draw([5] * 30, y, [f"p{number}" for number in range(30)])
    assert (n, len(axes.lines)) == (30, 30)
    assert [text.get_text() for text in axes.texts] == ["p29: 49", "p28: 48", "p27: 47", "p26: 46 and 26 more"]
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_points_within_the_axes_are_left_alone():
    n, axes, _ = draw([0, 5, 10], [0, 5, 10])
    assert (n, len(axes.lines), len(axes.texts)) == (0, 0, 0)
