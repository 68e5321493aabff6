"""Figures of predictions show the numbers they were given, can be read, and are the same for the same call."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score

from aekit.brains.figures.predictions import Predicted, plot_bland_altman, plot_predictions

LONG = "Gaussian process on the true tissue volumes $of$ this cohort, and a few words more"


def _people(
    n: int = 90, *, split: str = "", quantity: str = "age", unit: str = "years", name: str = "chain"
) -> Predicted:
    generator = np.random.default_rng(n)
    truth = generator.uniform(18, 85, n)
    prediction = truth * 0.7 + 15 + generator.normal(0, 6, n)
    splits = np.array([split] * n if split else ["train", "val", "test"] * n, dtype=object)[:n]
    return Predicted(name, truth, prediction, splits, quantity, unit)


def _chain(**options: str) -> list[Predicted]:
    tissues = [_people(quantity=name, unit="mL") for name in ("grey matter", "white matter", "cerebrospinal fluid")]
    return [*tissues, _people(**options)]


FIGURES = {
    "predictions-chain": lambda: plot_predictions(_chain(), title="IXI, 181 participants, strided, 4 mm"),
    "predictions-cv": lambda: plot_predictions([_people(split="cv")]),
    "predictions-9-long": lambda: plot_predictions([_people(name=LONG)] * 9, title=f"{LONG}, " * 3),
    "predictions-proportions": lambda: plot_predictions([_people(unit="", quantity="grey matter, share")]),
    "predictions-one-person": lambda: plot_predictions([_people(1)]),
    "predictions-5000": lambda: plot_predictions([_people(5000)] * 2),
    "bland-altman-chain": lambda: plot_bland_altman(_chain(name=LONG), title="agreement"),
    "bland-altman-one-person": lambda: plot_bland_altman([_people(1)]),
    "bland-altman-two-people": lambda: plot_bland_altman([_people(2, split="test")]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_overlaps_another(name, check_readable):
    check_readable(FIGURES[name]())


@pytest.mark.parametrize("name", ["predictions-cv"])
def test_the_same_call_makes_the_same_bytes_whatever_the_users_settings(name, png):
    expected = png(FIGURES[name]())
    with mpl.rc_context({"font.size": 20, "figure.dpi": 60, "axes.grid": False, "boxplot.notch": True}):
        assert png(FIGURES[name]()) == expected


def test_each_split_has_its_error_in_the_panel_and_axes_are_equal():
    panel = _people()
    axes = plot_predictions([panel]).axes[0]
    lines = axes.texts[0].get_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["train", "val", "test"]
    rows = panel.split == "val"
    mae = mean_absolute_error(panel.truth[rows], panel.prediction[rows])
    assert lines[1] == f"val: MAE {mae:.2f} years, R² {r2_score(panel.truth[rows], panel.prediction[rows]):.2f}"
    assert axes.get_xlim() == axes.get_ylim()
    drawn = np.vstack([points.get_offsets() for points in axes.collections])
    assert sorted(map(tuple, drawn)) == sorted(zip(panel.truth, panel.prediction, strict=True))
    styles = {
        (tuple(points.get_facecolor()[0][:3]), points.get_paths()[0].vertices.shape) for points in axes.collections
    }
    assert len(styles) == 3
    assert axes.get_xlabel() == "true age (years)"


def test_few_participants_have_an_error_but_no_r2_and_the_figure_says_why():
    few, enough = (plot_predictions([_people(n, split="test")]).axes[0].texts[0].get_text() for n in (9, 10))
    assert few.startswith("test: MAE")
    assert few.endswith(", no R² from only 9")
    assert ", R² " in enough
    equal = Predicted("x", np.full(20, 30.0), np.arange(20.0), ["test"] * 20)
    assert plot_predictions([equal]).axes[0].texts[0].get_text().endswith(", no R² as all are equal")


def test_the_errors_are_written_where_no_points_are():
    figure = plot_predictions(_chain(name=LONG))
    figure.draw_without_rendering()
    for axes in figure.axes:
        (errors,) = axes.texts
        assert errors.get_window_extent().y0 > axes.bbox.y1
        assert errors.get_window_extent().y1 < axes._left_title.get_window_extent().y0


def test_every_line_of_agreement_is_in_the_legend():
    def words(n: int) -> list[str]:
        return [text.get_text() for text in plot_bland_altman([_people(n, split="test")]).legends[0].get_texts()]

    assert words(30) == [
        "test", "predicted = true", "bias: mean difference", "limits of agreement: bias ± 1.96 SD",
        "95 % intervals of the bias and the limits",
    ]  # fmt: skip
    assert words(1) == ["test", "predicted = true", "bias: mean difference"]


def test_bland_altman_shows_bias_and_limits_with_their_intervals_for_held_out_participants():
    panel = _people(300)
    axes = plot_bland_altman([panel]).axes[0]
    rows = panel.split != "train"
    difference = panel.prediction[rows] - panel.truth[rows]
    bias, spread, n = difference.mean(), difference.std(ddof=1), 200
    levels = [float(line.get_ydata()[0]) for line in axes.lines]
    assert levels == pytest.approx([0, bias, bias + 1.96 * spread, bias - 1.96 * spread])
    heights = [patch.get_height() for patch in axes.patches]
    assert heights[0] == pytest.approx(2 * 1.96 * stats.sem(difference))
    # Bland & Altman 1999: the standard error of a limit is about sqrt(3 / n) SD.
    assert heights[1:] == pytest.approx([2 * 1.96 * np.sqrt(2.92 / n) * spread] * 2, rel=0.01)
    drawn = np.vstack([points.get_offsets() for points in axes.collections])
    assert len(drawn) == n
    assert sorted(drawn[:, 1]) == pytest.approx(sorted(difference))
    assert axes.texts[0].get_text() == f"{bias:+.2f}".replace("-", "\N{MINUS SIGN}")


def test_train_participants_are_shown_if_there_are_no_others():
    axes = plot_bland_altman([_people(30, split="train")]).axes[0]
    assert sum(len(points.get_offsets()) for points in axes.collections) == 30
