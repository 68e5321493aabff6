"""Each pixel of an image is a square of equal pixels in the figure, in the right place."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from aekit.images.figures.grids import plot_images, plot_manifold, plot_reconstructions, plot_traversal
from aekit.images.figures.mosaic import build_layout

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 64, 48), (3, 33, 21)]


def _images(shape: tuple[int, int, int], *n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*n, *shape), dtype=np.uint8)


def _drawn(figure: Figure) -> np.ndarray:
    """Return the pixels that were drawn within the axes, (H, W, 3)."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    box = figure.axes[0].get_window_extent()
    left, bottom, width, height = (round(value) for value in (box.x0, box.y0, box.width, box.height))
    top = len(pixels) - bottom - height
    return pixels[top : top + height, left : left + width]


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


@pytest.mark.parametrize(("n_images", "n_columns"), [(5, 5), (32, 8), (64, 8), (256, 16)])
def test_few_images_are_large_and_many_are_in_rows_of_sixteen(n_images, n_columns):
    pixels = plot_images(np.zeros((n_images, 1, 28, 28), np.uint8)).axes[0].images[0].get_array()
    layout = build_layout(-(-n_images // n_columns), n_columns, (28, 28))
    assert pixels.shape[:2] == (layout.height, layout.width)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_becomes_a_square_of_its_colour(shape):
    images = _images(shape, 21)
    layout = build_layout(2, 16, shape[1:])
    drawn = _drawn(plot_images(images, columns=16))
    assert drawn.shape == (layout.height, layout.width, 3)
    for number, image in enumerate(images):
        top, left = layout.tops[number // 16], layout.lefts[number % 16]
        tile = drawn[top : top + layout.tile_height, left : left + layout.tile_width]
        np.testing.assert_array_equal(tile, _enlarged(image, layout.scale))
    assert (drawn[layout.tops[1] :, layout.lefts[6] :] == 255).all()  # unused positions


def test_floats_and_bytes_look_the_same_and_floats_are_clipped():
    images = _images((3, 9, 8), 4)
    np.testing.assert_array_equal(_drawn(plot_images(images)), _drawn(plot_images(images / 255)))
    wild = np.array([-0.5, 1.5], np.float32).repeat(64).reshape(2, 1, 8, 8)
    drawn = _drawn(plot_images(wild))
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert drawn[0, -1].tolist() == [255, 255, 255]


def test_grey_images_are_not_stretched_to_full_contrast():
    drawn = _drawn(plot_images(np.full((1, 1, 8, 8), 100, np.uint8)))
    assert (drawn == 100).all()


def test_each_reconstruction_is_below_its_original():
    x, x_hat = _images((1, 8, 8), 11), _images((1, 8, 8), 11)[::-1]
    drawn = _drawn(plot_reconstructions(x, x_hat, columns=8))
    layout = build_layout(4, 8, (8, 8), pair_gap=8)
    for number in range(11):
        for half, images in enumerate((x, x_hat)):
            top, left = layout.tops[number // 8 * 2 + half], layout.lefts[number % 8]
            tile = drawn[top : top + layout.tile_height, left : left + layout.tile_width]
            np.testing.assert_array_equal(tile, _enlarged(images[number], layout.scale))


def test_rows_of_reconstructions_are_named():
    figure = plot_reconstructions(_images((1, 8, 8), 9), _images((1, 8, 8), 9))
    assert [text.get_text() for text in figure.axes[0].texts] == ["original", "reconstruction"] * 2


def test_a_plane_has_the_first_dimension_to_the_right_and_the_second_upwards():
    images = np.zeros((2, 3, 1, 8, 8), np.uint8)
    images[1, 0] = 200  # the smallest z0 and the largest z1
    figure = plot_manifold(images, np.array([-1.5, 0, 1.5]), np.array([-0.6745, 0.6745]))
    drawn = _drawn(figure)
    assert drawn[0, 0, 0] == 200
    assert drawn[-1, -1, 0] == 0
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z0", "z1")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-1.5", "0", "1.5"]
    by_height = sorted(zip(axes.get_yticks(), (label.get_text() for label in axes.get_yticklabels()), strict=True))
    assert [label for _, label in by_height] == ["0.67", "-0.67"]  # pixels count downwards


def test_a_traversal_is_sorted_by_the_divergence():
    images = _images((1, 8, 8), 3, 5)
    kl = np.array([0.5, 2.25, 0.004])
    figure = plot_traversal(images, np.linspace(-3, 3, 5), kl, dimensions=np.arange(3))
    rows = [text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("z")]
    assert rows == ["z1   2.25", "z0   0.50", "z2   0.00"]
    layout = build_layout(3, 5, (8, 8))
    first = _drawn(figure)[: layout.tile_height, : layout.tile_width]
    np.testing.assert_array_equal(first, _enlarged(images[1, 0], layout.scale))


def test_the_values_of_a_traversal_are_above_it():
    figure = plot_traversal(_images((1, 8, 8), 2, 5), np.linspace(-3, 3, 5), None, dimensions=np.arange(2))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["z0", "z1", "-3.0", "-1.5", "0", "1.5", "3.0", ""]


def test_hundreds_of_large_photographs_are_reduced_by_averaging():
    layout = build_layout(2, 40, (200, 178))
    assert layout.reduction == 2
    assert layout.width <= 5100
    images = np.zeros((1, 3, 200, 178), np.uint8)
    images[:, :, ::2] = 200
    drawn = _drawn(plot_images(np.repeat(images, 80, axis=0), columns=40))
    assert (drawn[: layout.tile_height, : layout.tile_width] == 100).all()


def test_a_thousand_images_are_nearly_a_square():
    width, height = plot_images(_images((1, 8, 8), 1000)).get_size_inches()
    assert 0.4 < width / height < 1
