"""Learning curves of the probe."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aekit.images.probe.figure import STYLES, plot_probe

SIZES = [10, 20, 40, 80, 100, 160, 500, 1000]


def _accuracies(n_panels=1, sizes=SIZES, n_draws=3):
    generator = np.random.default_rng(0)
    rows = [
        {"panel": f"latent {panel}", "method": method, "labels": size, "accuracy": generator.uniform(0.4, 0.9)}
        for panel in range(n_panels)
        for method in STYLES
        for size in sizes
        for _ in range(n_draws)
    ]
    return pd.DataFrame(rows)


def _lines(axes):
    return [line for line in axes.get_lines() if len(line.get_xdata()) == len(SIZES)]


def test_lines_are_means_over_draws_and_bands_their_standard_deviation():
    table = _accuracies()
    (axes,) = plot_probe(table, chance=0.1).axes
    for method, line in zip(dict.fromkeys(table["method"]), _lines(axes), strict=True):
        own = table[table["method"] == method].groupby("labels")["accuracy"]
        np.testing.assert_allclose(line.get_ydata(), own.mean())
        assert line.get_color() == STYLES[method][0]
    band = axes.collections[0].get_paths()[0].vertices
    first = table[table["method"] == next(iter(STYLES))].groupby("labels")["accuracy"]
    assert band[:, 1].max() == pytest.approx((first.mean() + first.std()).max())


@pytest.mark.slow
def test_there_is_one_panel_per_checkpoint_and_the_legend_has_every_method_once():
    figure = plot_probe(_accuracies(5), chance=0.1, title="x" * 40 + " " + "y" * 90)
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in visible] == [f"latent {i}" for i in range(5)]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(STYLES) + 1  # and chance


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_panels", "sizes"),
    [(1, SIZES), (1, [20]), (1, [47, 94, 188, 376, 470, 752, 2350, 4700]), (3, SIZES), (9, [10, 100, 1000])],
)
def test_no_text_overlaps_another_or_the_edge(n_panels, sizes):
    figure = plot_probe(_accuracies(n_panels, sizes, 1), chance=0.1, title="a title of some length " * 5)
    renderer = figure.canvas.get_renderer()
    width, height = figure.canvas.get_width_height()
    texts = [text for axes in figure.axes if axes.get_visible() for text in axes.get_xticklabels()]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text() and text.get_visible()]
    assert boxes
    boxes += [text.get_window_extent(renderer) for text in figure.texts]
    boxes.append(figure.legends[0].get_window_extent(renderer))
    for number, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
        for other in boxes[:number]:
            assert not box.overlaps(other)
