"""Figures of predictions show the numbers they were given, can be read, and are the same for the same call."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score

from aekit.brains.figures.cohort import GROUPS
from aekit.brains.figures.regression import (
    Predicted,
    plot_bland_altman,
    plot_brain_history,
    plot_decades,
    plot_hypotheses,
    plot_predictions,
    plot_residuals,
)

LONG = "Gaussian process on the true tissue volumes $of$ this cohort, and a few words more"


@dataclass(frozen=True)
class Row:
    group: str
    n: int
    mae: float
    low: float
    high: float


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


def _residuals(n: int = 90, *, sites: int = 3, site_name: str = "S", title: str = "") -> Figure:
    generator = np.random.default_rng(1)
    site = np.array([f"{site_name}{i % max(sites, 1)}" for i in range(n)], dtype=object)
    sex = np.array(["F", "M", None] * n, dtype=object)[:n]
    ages = generator.uniform(20, 80, n)
    return plot_residuals(generator.normal(0, 6, n), age_years=ages, sex=sex, site=site if sites else None, title=title)


def _decades(models: list[str], n_groups: int = 7) -> Figure:
    errors = {
        model: [
            Row(f"{10 * i}-{10 * i + 9}", 12 * i + 1, 5 + i + k, *((4 + i + k, 7 + i + k) if i else (np.nan, np.nan)))
            for i in range(n_groups)
        ]
        for k, model in enumerate(models)
    }
    return plot_decades(errors, title="by decade")


def _history(n_epochs: int = 30, n_runs: int = 6, *, start: float = 8.0) -> pd.DataFrame:
    rows = [
        {"stage": stage, "fold": run % 3, "seed": run // 3, "epoch": epoch, "split": split, "loss": value + 0.01 * run}
        for stage in ("volumes", "age from the true volumes", "chain")
        for run in range(n_runs)
        for epoch in range(1, n_epochs + 1)
        for split, value in (("train", start / epoch**1.3), ("val", start / epoch + 0.3))
    ]
    return pd.DataFrame(rows)


def _hypotheses() -> pd.DataFrame:
    rows = [
        {"hypothesis": name, "model": model, "split": split, "mae": mae, "mae_low": mae - 0.9, "mae_high": mae + 1.1}
        for model in ("volumes", "chain")
        for number, name in enumerate(("base", "H1 proportions", "H2 without outliers in train", "H3 deeper"))
        for split, mae in (("val", 8.0 - 0.4 * number), ("test", 6.0 - 0.3 * number))
    ]
    return pd.DataFrame(rows)


FIGURES = {
    "predictions-chain": lambda: plot_predictions(_chain(), title="IXI, 181 people, strided, 4 mm"),
    "predictions-cv": lambda: plot_predictions([_people(split="cv")]),
    "predictions-9-long": lambda: plot_predictions([_people(name=LONG)] * 9, title=f"{LONG}, " * 3),
    "predictions-proportions": lambda: plot_predictions([_people(unit="", quantity="grey matter, share")]),
    "predictions-one-person": lambda: plot_predictions([_people(1)]),
    "predictions-5000": lambda: plot_predictions([_people(5000)] * 2),
    "bland-altman-chain": lambda: plot_bland_altman(_chain(name=LONG), title="agreement"),
    "bland-altman-one-person": lambda: plot_bland_altman([_people(1)]),
    "bland-altman-two-people": lambda: plot_bland_altman([_people(2, split="test")]),
    "residuals": lambda: _residuals(title=LONG),
    "residuals-no-site": lambda: _residuals(sites=0),
    "residuals-40-long-sites": lambda: _residuals(400, sites=40, site_name="University hospital number ", title="t"),
    "residuals-one-person": lambda: _residuals(1, sites=1),
    "decades-4": lambda: _decades(["chain", "gp", "mean", "ridge-histogram"]),
    "decades-9-long": lambda: _decades([f"{k} {LONG}" for k in range(9)], 11),
    "decades-one": lambda: _decades(["chain"], 1),
    "history-runs": lambda: plot_brain_history(_history(), title="5 folds, 2 seeds"),
    "history-log": lambda: plot_brain_history(_history(60, start=900.0)),
    "history-one-epoch": lambda: plot_brain_history(_history(1, 1).drop(columns=["fold", "seed"])),
    "hypotheses": lambda: plot_hypotheses(_hypotheses(), floor={"val": 10.4, "test": 10.1}, title="466 people"),
    "hypotheses-test-only": lambda: plot_hypotheses(_hypotheses().query("split == 'test' and model == 'chain'")),
}


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _texts(figure: Figure) -> list[mpl.text.Text]:
    found = [*figure.texts, *([figure._suptitle] if figure._suptitle else [])]
    for legend in figure.legends:
        found += legend.get_texts()
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    unique = {id(text): text for text in found if text.get_text() and text.get_visible()}
    return list(unique.values())


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_lies_on_another(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    tolerance = 1 / figure.dpi
    assert min(box.x0, box.y0) >= -tolerance
    assert box.x1 <= width + tolerance
    assert box.y1 <= height + tolerance
    assert max(width, height) < 15
    boxes = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in _texts(figure)]
    assert not [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    assert not [text for text, _ in boxes if "mathdefault" in text or "nan" in text]


@pytest.mark.parametrize("name", ["predictions-cv", "residuals", "decades-one", "hypotheses-test-only"])
def test_the_same_call_makes_the_same_bytes_whatever_the_settings_of_the_user(name):
    expected = _png(FIGURES[name]())
    with mpl.rc_context({"font.size": 20, "figure.dpi": 60, "axes.grid": False, "boxplot.notch": True}):
        assert _png(FIGURES[name]()) == expected


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


def test_few_people_have_an_error_and_no_share_of_variance():
    few, enough = (plot_predictions([_people(n, split="test")]).axes[0].texts[0].get_text() for n in (9, 10))
    assert few.startswith("test: MAE")
    assert "R²" not in few
    assert "R²" in enough


def test_the_errors_stand_where_no_points_are():
    above = np.full(20, 20.0)
    over = plot_predictions([Predicted("x", above, above + np.arange(20.0) + 30, ["test"] * 20)]).axes[0]
    under = plot_predictions([Predicted("x", above + np.arange(20.0) + 30, above, ["test"] * 20)]).axes[0]
    assert over.texts[0].get_position()[0] > 0.5 > over.texts[0].get_position()[1]
    assert under.texts[0].get_position()[0] < 0.5 < under.texts[0].get_position()[1]


def test_bland_altman_shows_bias_and_limits_with_their_intervals_for_people_held_out():
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


def test_people_of_train_are_shown_where_there_are_no_others():
    axes = plot_bland_altman([_people(30, split="train")]).axes[0]
    assert sum(len(points.get_offsets()) for points in axes.collections) == 30


def test_residuals_by_age_are_joined_by_means_of_as_many_people_each():
    ages = np.linspace(20, 80, 120)
    residuals = 10 - 0.2 * ages
    figure = plot_residuals(residuals, age_years=ages, sex=["F", "M"] * 60)
    line = figure.axes[0].lines[0]
    assert len(line.get_xdata()) == 10
    assert line.get_ydata() == pytest.approx(10 - 0.2 * np.asarray(line.get_xdata()))
    assert len(figure.axes) == 2


def test_every_person_is_a_point_of_the_own_sex_and_site():
    figure = _residuals(90, sites=3)
    for axes, groups in zip(figure.axes[1:], (3, 3), strict=True):
        assert [len(points.get_offsets()) for points in axes.collections] == [30] * groups
        for place, points in enumerate(axes.collections):
            assert (np.abs(points.get_offsets()[:, 0] - place) < 0.5).all()
    labels = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert labels == ["F\n(30)", "M\n(30)", "missing\n(30)"]


def test_the_sexes_have_the_colours_of_the_report_of_a_cohort():
    axes = _residuals(90, sites=0).axes[1]
    drawn = [to_hex(points.get_facecolor()[0]).upper() for points in axes.collections]
    assert drawn == [GROUPS[name].colour for name in ("F", "M", "")]


def test_of_many_sites_the_largest_are_shown_and_it_says_so():
    sizes = 1 + np.random.default_rng(0).permutation(40)
    site = np.repeat([f"S{i}" for i in range(40)], sizes)
    ages = np.random.default_rng(1).uniform(20, 80, len(site))
    axes = plot_residuals(ages - 50, age_years=ages, sex=["F"] * len(site), site=site).axes[2]
    assert [len(points.get_offsets()) for points in axes.collections] == list(range(40, 28, -1))
    assert axes.get_title(loc="left") == "the 12 largest of 40 sites"
    long = _residuals(40, sites=4, site_name="University hospital number ").axes[2]
    names = [label.get_text() for label in long.get_xticklabels()]
    assert len(set(names)) == 4
    assert names[1] == "University hos…umber 1\n(10)"


def test_bars_of_a_decade_are_the_errors_with_intervals_where_there_are_any():
    axes = _decades(["chain", "gp"], 3).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [5, 6, 7, 6, 7, 8]
    segments = [each.get_segments()[0] for each in axes.collections]
    assert [(segment[0, 1], segment[1, 1]) for segment in segments] == [(5, 8), (6, 9), (6, 9), (7, 10)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0-9\n(1)", "10-19\n(13)", "20-29\n(25)"]
    assert axes.patches[0].get_x() < axes.patches[3].get_x() < axes.patches[1].get_x()


def test_a_model_without_a_decade_has_no_bar_there():
    rows = [Row("20-29", 4, 5.0, 4.0, 6.0), Row("30-39", 4, 6.0, 5.0, 7.0)]
    axes = plot_decades({"chain": rows, "gp": rows[1:]}).axes[0]
    assert len(axes.patches) == 3
    assert axes.patches[2].get_x() > 0.9


def test_runs_are_thin_lines_and_their_mean_goes_as_far_as_all_of_them():
    history = _history(10, 6)
    history = history[(history["fold"] != 2) | (history["epoch"] <= 7)]  # two runs that stopped early
    axes = plot_brain_history(history).axes[0]
    thick = [line for line in axes.lines if line.get_linewidth() > 1]
    assert len(axes.lines) - len(thick) == 12
    assert [len(line.get_xdata()) for line in thick] == [7, 7]
    expected = history.query("stage == 'volumes' and split == 'train' and epoch == 5")["loss"].mean()
    assert thick[0].get_ydata()[4] == pytest.approx(expected)


def test_a_single_run_is_one_line_a_split():
    axes = plot_brain_history(_history(6, 1)).axes
    assert [len(each.lines) for each in axes] == [2, 2, 2]
    assert axes[0].get_yscale() == "linear"
    assert plot_brain_history(_history(60, 1, start=900.0)).axes[0].get_yscale() == "log"


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


def test_a_hundred_thousand_people_are_drawn_as_pixels():
    figure = _residuals(100_000, sites=3)
    assert all(points.get_rasterized() for axes in figure.axes for points in axes.collections[:1])
    assert len(_png(figure)) < 600_000
