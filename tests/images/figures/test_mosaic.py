"""Images of a mosaic are enlarged or reduced by whole numbers and never overlap."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.figures.mosaic import GAP, as_unit_floats, build_layout, draw_mosaic, label_step, overhang
from aekit.plotting.style import figure_style, text_size


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "size", "scale", "reduction"),
    [(2, 8, (28, 28), 4, 1), (1, 1, (8, 8), 16, 1), (30, 30, (28, 28), 1, 1), (20, 20, (600, 500), 1, 3)],
)
def test_few_images_are_enlarged_and_large_mosaics_reduced(n_rows, n_columns, size, scale, reduction):
    layout = build_layout(n_rows, n_columns, size)
    assert (layout.scale, layout.reduction) == (scale, reduction)
    assert (layout.tile_height, layout.tile_width) == (size[0] * scale // reduction, size[1] * scale // reduction)
    assert np.diff(layout.lefts).tolist() == [layout.tile_width + GAP] * (n_columns - 1)
    assert layout.height == n_rows * layout.tile_height + (n_rows - 1) * GAP


def test_pairs_of_rows_are_separated_by_more_than_rows_of_a_pair():
    layout = build_layout(4, 1, (8, 8), gap=2, pair_gap=5)
    assert np.diff(layout.tops).tolist() == [layout.tile_height + gap for gap in (2, 7, 2)]


def test_bytes_and_floats_become_floats_in_the_unit_interval():
    np.testing.assert_array_equal(as_unit_floats(np.uint8([0, 255])), [0, 1])
    np.testing.assert_array_equal(as_unit_floats(np.array([-1.0, 0.25, 2.0])), np.float32([0, 0.25, 1]))


def test_each_pixel_is_a_square_of_its_colour_and_free_positions_are_white():
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 9), dtype=np.uint8)
    layout = build_layout(2, 2, (8, 9))
    with figure_style():
        _, axes = draw_mosaic(images, layout)
    drawn = axes.images[0].get_array()
    assert drawn.shape == (layout.height, layout.width, 3)
    for number, image in enumerate(images):
        y, x = layout.tops[number // 2], layout.lefts[number % 2]
        tile = drawn[y : y + layout.tile_height, x : x + layout.tile_width]
        np.testing.assert_array_equal(tile[:: layout.scale, :: layout.scale], image.transpose(1, 2, 0))
        np.testing.assert_array_equal(tile[layout.scale - 1 :: layout.scale, :: layout.scale], image.transpose(1, 2, 0))
    assert (drawn[layout.tops[1] :, layout.lefts[1] :] == 255).all()


@pytest.mark.parametrize("horizontal", [True, False])
def test_labels_that_would_touch_are_thinned_out(horizontal):
    labels = ["-2.5", "0", "2.5"]
    extent = max(text_size(label)[0 if horizontal else 1] for label in labels)
    assert label_step(labels, 2 * extent + 20, horizontal=horizontal) == 1
    for pitch in (5, 13, 29):
        step = label_step(labels, pitch, horizontal=horizontal)
        assert step * pitch >= extent
        assert (step - 2) * pitch < extent


def test_a_label_wider_than_its_column_overhangs_on_both_sides():
    width = text_size("-2.5")[0]
    assert overhang(["0", "-2.5"], width) == 0
    assert overhang(["0", "-2.5"], width - 10) == 5
