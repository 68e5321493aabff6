"""Maps as a figure: panels, legends, and what is drawn of too many points."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from aekit.images.tsne.figure import MAX_DOTS, EmbeddingPanel, plot_embeddings, point_size, square_range
from aekit.plotting.style import DPI, SMALL_FONT_SIZE, text_size


def _panels(n_panels=1, n_points=60, seed=0):
    rng = np.random.default_rng(seed)
    axis_names = ("t-SNE 1", "t-SNE 2")
    return [
        EmbeddingPanel(f"latent {number}", ("trustworthiness@5 0.99",), rng.standard_normal((n_points, 2)), axis_names)
        for number in range(n_panels)
    ]


@pytest.mark.parametrize("n_panels", [1, 3, 4, 20])
def test_there_is_one_panel_per_model_and_one_legend_that_covers_none(n_panels):
    labels = np.arange(60) % 12
    names = [f"a rather long class name {kind}" for kind in range(12)]
    figure = plot_embeddings(_panels(n_panels), labels, names, title="Codes")
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left").splitlines()[0] for axes in drawn] == [f"latent {n}" for n in range(n_panels)]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    box = legend.get_window_extent()
    for axes in drawn:
        assert not axes.get_window_extent().overlaps(box)
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


def test_no_title_is_wider_than_its_panel():
    panels = _panels(20)
    panels = [EmbeddingPanel("a-checkpoint-of-a-very-long-name-" * 3, *_rest(panel)) for panel in panels]
    figure = plot_embeddings(panels, None)
    for axes in figure.axes[:20]:
        widest = max(text_size(line, SMALL_FONT_SIZE)[0] for line in axes.get_title(loc="left").splitlines())
        assert widest <= axes.get_window_extent().width + 0.25 * DPI


def _rest(panel):
    return panel.measures, panel.points, panel.axis_names


def test_a_legend_of_forty_seven_classes_fits_the_figure_in_columns():
    labels = np.arange(470) % 47
    figure = plot_embeddings(_panels(n_points=470), labels, [f"class {kind}" for kind in range(47)])
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert box.x1 <= figure.bbox.x1
    styles = {(key.get_color(), key.get_marker()) for key in legend.legend_handles}
    assert len(styles) == 47


def test_without_labels_points_are_grey_and_there_is_no_legend():
    figure = plot_embeddings(_panels(), None)
    assert not figure.legends
    (points,) = figure.axes[0].collections
    assert len(np.unique(points.get_facecolors(), axis=0)) == 1


def test_both_axes_have_the_same_scale():
    (x_low, x_high), (y_low, y_high) = square_range(np.array([[0.0, 5.0], [10.0, 6.0], [2.0, 4.0]]))
    assert x_high - x_low == pytest.approx(y_high - y_low)
    assert x_low < 0
    assert x_high > 10
    assert (y_low + y_high) / 2 == 5
    (low, high), _ = square_range(np.ones((3, 2)))
    assert low < 1 < high


@pytest.mark.parametrize("n_panels", [1, 2])
def test_a_few_points_reach_the_edges_of_a_smaller_panel(n_panels):
    rng = np.random.default_rng(0)
    wide = [EmbeddingPanel("", (), rng.uniform(size=(12, 2)) * [10, 7 - n], ("x", "y")) for n in range(n_panels)]
    figure = plot_embeddings(wide, None)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.bbox.width < 4.5 * DPI
    places = axes.transAxes.inverted().transform(axes.transData.transform(wide[0].points))
    assert np.all(np.ptp(places, axis=0) > 0.85)
    scale = axes.bbox.width / np.ptp(axes.get_xlim())
    assert axes.bbox.height / np.ptp(axes.get_ylim()) == pytest.approx(scale, rel=0.01)
    assert np.sqrt(axes.collections[0].get_sizes()).max() > 9


def test_points_are_smaller_the_more_there_are():
    assert point_size(100, 6.0) > point_size(10_000, 6.0) > point_size(60_000, 6.0) >= 1.0


def test_more_points_than_a_panel_holds_are_drawn_as_density_in_a_small_file(tmp_path):
    places = np.random.default_rng(0).normal(size=(MAX_DOTS + 1, 2))
    labels = (places[:, 0] > 0).astype(np.int64)
    panel = EmbeddingPanel("", ("trustworthiness@5 0.99",), places, ("t-SNE 1", "t-SNE 2"))
    figure = plot_embeddings([panel], labels, ["left", "right"])
    figure.savefig(tmp_path / "x.png")
    assert not figure.axes[0].collections
    assert (tmp_path / "x.png").stat().st_size < 1e6
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB")).astype(int)
    row = pixels[len(pixels) // 2]
    assert (row[:100].sum(axis=1) > 600).mean() > 0.5  # light at the edge, where points are few
    assert row[350:450].sum(axis=1).min() < 500
