"""Rows of a path lie where they should, with both ends on either side, and the extrapolation beyond them is marked."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from aekit.images.figures.mosaic import build_layout
from aekit.images.interpolation.figure import PathBlock, PathRow, plot_paths
from aekit.plotting.style import VERMILION

RNG = np.random.default_rng(0)


def _row(label="", n_steps=5, shape=(1, 8, 8), *, end=True):
    images = RNG.integers(0, 256, (n_steps + 2, *shape), dtype=np.uint8)
    return PathRow(label, images[1:-1], images[0], images[-1] if end else None)


def _pixels(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def _contains(pixels, image, scale) -> tuple[int, int]:
    """Return the left edge and the top of an enlarged image within a picture."""
    tile = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1)
    height, width = tile.shape[:2]
    for top, left in np.argwhere((pixels == tile[0, 0]).all(axis=2)):
        if np.array_equal(pixels[top : top + height, left : left + width], tile):
            return int(left), int(top)
    raise AssertionError("the image is not there")


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def _text_boxes(figure: Figure):
    figure.canvas.draw()
    return [text.get_window_extent() for text in [*figure.axes[0].texts, *figure.texts] if text.get_text()]


def _assert_texts_fit(figure: Figure) -> None:
    boxes, canvas = _text_boxes(figure), figure.bbox
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= canvas.width + 1
        assert box.y1 <= canvas.height + 1
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_a_row_shows_its_start_then_the_path_then_its_end():
    row = _row()
    figure = plot_paths([PathBlock("4 → 7", [row])], np.linspace(0, 1, 5), title="a model: paths")
    pixels = _pixels(figure)
    places = [_contains(pixels, image, 16) for image in (row.start, *row.images, row.end)]
    lefts = np.array([left for left, _ in places])
    assert len({top for _, top in places}) == 1
    gaps = np.diff(lefts) - 8 * 16
    assert gaps[0] == gaps[-1] > gaps[1] == gaps[2]
    assert _texts(figure) == ["4 → 7", "alpha", "start", "end", "0", "0.25", "0.5", "0.75", "1"]
    _assert_texts_fit(figure)


def test_a_walk_has_no_end():
    row = _row(end=False)
    row = PathRow("", row.images, row.start)
    figure = plot_paths([PathBlock("#3", [row])], np.linspace(-2, 2, 5), inside=None)
    assert _texts(figure) == ["#3", "alpha", "start", "-2", "-1", "0", "1", "2"]
    assert not figure.axes[0].lines


def test_what_lies_beyond_the_ends_is_coloured_and_parted_by_lines():
    alphas = np.array([-0.5, 0, 0.5, 1, 1.5])
    figure = plot_paths([PathBlock("", [_row("a"), _row("b")]), PathBlock("", [_row("a"), _row("b")])], alphas)
    axes = figure.axes[0]
    coloured = {text.get_text() for text in axes.texts if text.get_color() == VERMILION}
    assert coloured == {"-0.5", "1.5"}
    assert len(axes.lines) == 4  # two a block
    xs = sorted({float(line.get_xdata()[0]) for line in axes.lines})
    centres = [float(text.get_position()[0]) for text in axes.texts if text.get_text() in ("-0.5", "0", "1", "1.5")]
    assert centres[0] < xs[0] < centres[1] < centres[2] < xs[1] < centres[3]


def test_rows_of_several_models_are_named_below_a_heading():
    blocks = [PathBlock(heading, [_row("latent 2"), _row("latent 10")]) for heading in ("4 → 7", "8 → 9")]
    figure = plot_paths(blocks, np.linspace(0, 1, 5))
    texts = _texts(figure)
    assert texts.count("latent 2") == texts.count("latent 10") == 2
    assert {"4 → 7", "8 → 9"} <= set(texts)
    pixels = _pixels(figure)
    tops = [_contains(pixels, row.start, 16)[1] for block in blocks for row in block.rows]
    assert tops == sorted(tops)
    assert tops[2] - tops[1] > tops[1] - tops[0]  # room for the heading
    _assert_texts_fit(figure)


@pytest.mark.slow
def test_many_blocks_lie_side_by_side_and_each_image_is_in_its_place():
    rows = [f"latent {k}" for k in range(12)]
    blocks = [PathBlock(f"pair {n}", [_row(row, 7, (3, 8, 8)) for row in rows]) for n in range(3)]
    figure = plot_paths(blocks, np.linspace(0, 1, 7))
    width, height = figure.get_size_inches()
    assert height < 1.7 * width
    assert _texts(figure).count("latent 3") == 2  # two blocks share their labels, the third is below
    pixels = _pixels(figure)
    scale = build_layout(24, 18, (8, 8)).scale
    places = np.array([[_contains(pixels, block.rows[k].end, scale) for k in (0, 11)] for block in blocks])
    assert (places[0, :, 1] == places[1, :, 1]).all()
    assert places[0, 0, 0] < places[1, 0, 0]
    assert places[2, 0, 1] > places[0, -1, 1]
    _assert_texts_fit(figure)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_rows", "n_steps", "shape"),
    [(40, 3, (1, 8, 8)), (40, 3, (1, 28, 28)), (1, 60, (1, 28, 28)), (2, 150, (1, 8, 8)), (2, 2, (3, 218, 178))],
)
def test_no_text_is_cut_or_covers_another(n_rows, n_steps, shape):
    rows = [_row(f"a model with a long name, number {k}", n_steps, shape) for k in range(n_rows)]
    block = PathBlock("Ankle boot (#1234), T-shirt/top (#9999), a heading of some length", rows)
    alphas = np.linspace(-0.123, 1.456, n_steps)
    _assert_texts_fit(plot_paths([block, block], alphas, title="x"))
