"""The figure of correlations: one line per curve with its intervals, and matrices on one fixed scale."""

from __future__ import annotations

import io

import numpy as np
import pytest

from aekit.images.decorrelation.figure import Curve, Panel, plot_decorrelation


def _curve(label="ae conv", d=(2, 5, 10), n_seeds=(1, 1, 1)):
    places = np.array(d, float)
    value = 1 / places
    points = np.stack([places, value], axis=1)
    return Curve(label, places, value, value / 2, value * 1.5, np.array(n_seeds), value + 0.01, points)


def _panels(labels, d=5):
    return [Panel(label, f"d = {d}", np.eye(d)) for label in labels]


def _plot(curves, panels=(), **options):
    return plot_decorrelation(curves, panels, ylabel="mean |r|", **options)


def _legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_seeds_make_a_band_and_a_single_model_a_bar():
    axes = _plot([_curve(n_seeds=(1, 3, 3))]).axes[0]
    band, bars = axes.collections
    ends = band.get_paths()[0].vertices
    assert {tuple(end) for end in ends.round(6)} >= {(5, 0.1), (5, 0.3), (10, 0.05), (10, 0.15)}
    assert ends[:, 0].min() == 5
    assert [segment.tolist() for segment in bars.get_segments()] == [[[2, 0.25], [2, 0.75]]]
    assert {"95 % interval over seeds", "95 % interval over images"} <= set(_legend(_plot([_curve(n_seeds=(1, 3, 3))])))


def test_references_are_drawn_where_they_belong():
    figure = _plot([_curve()], floor=0.01, pca=(np.array([2, 5, 10]), np.zeros(3)))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert set(lines["independent dimensions"].get_ydata()) == {0.01}
    assert list(lines["PCA of these images"].get_ydata()) == [0, 0, 0]
    ideal = _plot([_curve()], ideal_is_d=True).axes[0].lines[-1]
    np.testing.assert_array_equal(ideal.get_xdata(), ideal.get_ydata())
    assert (ideal.get_xdata().min(), ideal.get_xdata().max()) == (2, 10)


def test_every_matrix_has_one_scale_centred_on_zero_and_dead_dimensions_are_grey():
    matrix = np.array([[1, np.nan, 0.1], [np.nan] * 3, [0.1, np.nan, 1]])
    figure = _plot([_curve()], [Panel("ae", "d = 3", matrix), *_panels(["ae"])])
    images = [image for axes in figure.axes for image in axes.images]
    assert [image.get_clim() for image in images] == [(-1, 1)] * 2
    red, green, blue, _ = images[0].cmap(np.ma.masked_invalid(matrix))[1, 1]
    assert red == green == blue < 0.8


@pytest.mark.slow
def test_a_block_of_matrices_starts_a_row_with_its_label():
    figure = _plot([_curve("a"), _curve("b")], _panels(["a"] * 10 + ["b"]))
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.images] == ["d = 5"] * 11
    headings = [
        [text.get_text() for text in axes.texts if text.get_text().strip()] for axes in figure.axes if axes.images
    ]
    assert headings == [["a"], *[[]] * 9, ["b"]]
    tops = [round(axes.get_position().y0, 2) for axes in figure.axes if axes.images]
    assert len(set(tops[:8])) == len(set(tops[8:10])) == 1
    assert tops[0] > tops[8] > tops[10]


@pytest.mark.parametrize(("d", "scale"), [((2, 10, 30), "linear"), ((1, 10, 100), "log"), ((10,), "linear")])
def test_the_axis_is_logarithmic_if_dimensions_are_far_apart(d, scale):
    axes = _plot([_curve(d=d, n_seeds=[1] * len(d))]).axes[0]
    assert axes.get_xscale() == scale
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert all(label.isdecimal() for label in labels)


NOTHING = np.array([np.nan])
CASES = {
    "one": lambda: _plot([_curve(d=(10,), n_seeds=(3,))], _panels(["ae"]), title="Correlations of codes"),
    "no value": lambda: _plot(
        [Curve("ae", np.array([1.0]), NOTHING, NOTHING, NOTHING, np.array([0]), NOTHING, np.empty((0, 2)))],
        _panels(["ae"], 1),
        floor=0.01,
    ),
    "no matrices": lambda: _plot([_curve()], ideal_is_d=True),
    "ten groups": lambda: _plot(
        [_curve(f"ae strided, 2 layers, epochs {i}", n_seeds=(3, 3, 3)) for i in range(10)],
        _panels([f"ae strided, 2 layers, epochs {i}" for i in range(3)]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_cut_off(case):
    figure = CASES[case]()
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= width
    assert box.y1 <= height


@pytest.mark.parametrize("d", [(2,), (2, 3), (2, 3, 8)])
def test_few_matrices_leave_no_part_of_the_figure_empty(d):
    figure = _plot([_curve(d=d, n_seeds=[1] * len(d))], [Panel("ae", f"d = {n}", np.eye(n)) for n in d], title="t")
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert max(box.x1 for box in boxes) > 0.95 * width
    matrices = [axes.bbox for axes in figure.axes if axes.images]
    assert min(box.y0 for box in matrices) < 0.1 * height
    assert sum(box.width * box.height for box in matrices) > 0.1 * width * height


def test_the_axis_marks_the_dimensions_that_were_measured():
    axes = _plot([_curve(d=(2, 3, 8))]).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "3", "8"]


def test_long_labels_and_titles_of_a_single_matrix_are_not_cut_off():
    long = "vae conv, batch size 200, weight decay 0.0001, beta 0.5, hidden layers 512x256x128"
    figure = _plot([_curve(long), _curve("b")], _panels([long, "b"]), title=f"Correlations of {long}")
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= figure.get_figwidth()
    texts = figure.subfigs[0].texts
    assert max(text.get_window_extent().x1 for text in texts) <= figure.subfigs[1].bbox.x0


@pytest.mark.slow
def test_equal_calls_make_equal_bytes():
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        CASES["one"]().savefig(file, format="png", metadata={"Software": None})
    assert files[0].getvalue() == files[1].getvalue()
