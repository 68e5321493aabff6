from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from aekit.brains.figures.errors import plot_decades, plot_hypotheses
from aekit.brains.measures.regression import GroupError

LONG = "Gaussian process on the true tissue volumes $of$ this cohort, and a few words more"


def _decades(models: list[str], n_groups: int = 7) -> Figure:
    errors = {}
    for k, model in enumerate(models):
        ends = [(4 + i + k, 7 + i + k) if i else (np.nan, np.nan) for i in range(n_groups)]
        errors[model] = [
            GroupError(f"{10 * i}-{10 * i + 9}", 12 * i + 1, 5 + i + k, *ends[i], 0.0) for i in range(n_groups)
        ]
    return plot_decades(errors, title="by decade")


def _hypotheses() -> pd.DataFrame:
    rows = [
        {"hypothesis": name, "model": model, "split": split, "mae": mae, "mae_low": mae - 0.9, "mae_high": mae + 1.1}
        for model in ("volumes", "chain")
        for number, name in enumerate(("base", "H1 proportions", "H2 without outliers in train", "H3 deeper"))
        for split, mae in (("val", 8.0 - 0.4 * number), ("test", 6.0 - 0.3 * number))
    ]
    return pd.DataFrame(rows)


FIGURES = {
    "decades-4": lambda: _decades(["chain", "gp", "mean", "ridge-histogram"]),
    "decades-9-long": lambda: _decades([f"{k} {LONG}" for k in range(9)], 11),
    "decades-one": lambda: _decades(["chain"], 1),
    "hypotheses": lambda: plot_hypotheses(_hypotheses(), floor={"val": 10.4, "test": 10.1}, title="466 participants"),
    "hypotheses-test-only": lambda: plot_hypotheses(_hypotheses().query("split == 'test' and model == 'chain'")),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_overlaps_another(name, check_readable):
    check_readable(FIGURES[name]())


@pytest.mark.parametrize("name", ["decades-one", "hypotheses-test-only"])
def test_the_same_call_makes_the_same_bytes_whatever_the_users_settings(name, png):
    expected = png(FIGURES[name]())
    with mpl.rc_context({"font.size": 20, "figure.dpi": 60, "axes.grid": False, "boxplot.notch": True}):
        assert png(FIGURES[name]()) == expected


def test_bars_of_a_decade_are_the_errors_with_any_intervals():
    axes = _decades(["chain", "gp"], 3).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [5, 6, 7, 6, 7, 8]
    segments = [each.get_segments()[0] for each in axes.collections]
    assert [(segment[0, 1], segment[1, 1]) for segment in segments] == [(5, 8), (6, 9), (6, 9), (7, 10)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0-9\n(1)", "10-19\n(13)", "20-29\n(25)"]
    assert axes.patches[0].get_x() < axes.patches[3].get_x() < axes.patches[1].get_x()


def test_the_legend_explains_error_bars_and_has_no_column_that_stands_out():
    figure = _decades(["mean", "gp", "ridge-histogram", "volumes", "chain", "direct"], 3)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][-2:] == [
        "direct",
        "95 % interval, with at least 5 participants",
    ]
    figure.draw_without_rendering()
    heights = np.array([text.get_window_extent().y0 for text in legend.get_texts()])
    n_columns = max(int(np.sum(np.abs(heights - height) < 6)) for height in heights)
    n_lines = 1 + int(np.sum(np.diff(np.sort(heights)) > 6))
    assert (n_columns, n_lines) == (3, 3)  # not five in the first line and two in the second


def test_a_model_without_a_decade_has_no_bar_there():
    rows = [GroupError("20-29", 4, 5.0, 4.0, 6.0, 0.0), GroupError("30-39", 4, 6.0, 5.0, 7.0, 0.0)]
    axes = plot_decades({"chain": rows, "gp": rows[1:]}).axes[0]
    assert len(axes.patches) == 3
    assert axes.patches[2].get_x() > 0.9


def test_hypotheses_are_points_in_the_given_order_with_intervals_and_the_mean_predictor():
    figure = plot_hypotheses(_hypotheses(), floor={"val": 10.4})
    axes = figure.axes[0]
    names = ["base", "H1 proportions", "H2 without outliers in train", "H3 deeper"]
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == names
    val, test = (container[0] for container in axes.containers)
    assert val.get_xdata() == pytest.approx([8.0, 7.6, 7.2, 6.8])
    assert test.get_xdata() == pytest.approx([6.0, 5.7, 5.4, 5.1])
    assert np.round(np.asarray(val.get_ydata(), float)).tolist() == [0, 1, 2, 3]
    low, high = axes.containers[0][2][0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((7.1, 9.1))
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [10.4]
    top, bottom = axes.get_ylim()[::-1]
    assert top < bottom  # the first at the top
