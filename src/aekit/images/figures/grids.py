"""Grids of images: samples, reconstructions, a latent plane, latent traversals."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.images.figures.mosaic import (
    PAD,
    Array,
    FloatArray,
    Layout,
    as_unit_floats,
    build_layout,
    draw_mosaic,
    label_step,
    overhang,
)
from aekit.plotting.style import SMALL_FONT_SIZE, figure_style, lay_out, text_size

_MAX_LABEL = 30  # characters of a name beside a row


def plot_images(images: Array, *, columns: int | None = None, title: str = "") -> Figure:
    """Return a figure of the images in a grid, row by row.

    Args:
        images: The images, (N, C, H, W) with C 1 or 3, uint8 or floats in [0, 1].
        columns: Images per row; by default 8, or 16 for more than 64 images. Hundreds of images get longer rows.
        title: Title above the grid.
    """
    n_columns = _n_columns(len(images), columns or (8 if len(images) <= 64 else 16))
    layout = build_layout(ceil(len(images) / n_columns), n_columns, images.shape[2:])
    with figure_style():
        return draw_mosaic(images, layout, title=title)[0]


def plot_rows(images: Array, labels: Sequence[str], *, columns: int = 16, title: str = "") -> Figure:
    """Return a figure of groups of images, each with its label left of its first row.

    Args:
        images: K groups of n images, (K, n, C, H, W) with C 1 or 3, uint8 or floats in [0, 1].
        labels: One for each group.
        columns: Images per row at most.
        title: Title above the grid.
    """
    n_groups, n_images = images.shape[:2]
    n_columns = min(columns, n_images)
    n_rows = ceil(n_images / n_columns)
    places = np.ones((n_groups, n_rows * n_columns, *images.shape[2:]), np.float32)
    places[:, :n_images] = as_unit_floats(images.reshape(-1, *images.shape[2:])).reshape(images.shape)
    layout = build_layout(n_groups * n_rows, n_columns, images.shape[3:])
    shown = [text for label in labels for text in (_shortened(label), *[""] * (n_rows - 1))]
    with figure_style():
        left = PAD + max(text_size(label)[0] for label in shown) + PAD
        figure, axes = draw_mosaic(places.reshape(-1, *images.shape[2:]), layout, left=left, title=title)
        if n_rows == 1:
            _label_rows(axes, layout, shown)
        else:
            for y, label in zip(layout.centres_y, shown, strict=True):
                axes.text(-PAD, y, label, ha="right", va="center", fontsize=SMALL_FONT_SIZE)
    return figure


def plot_reconstructions(x: Array, x_hat: Array, *, columns: int = 8, title: str = "") -> Figure:
    """Return a figure of originals with their reconstructions directly below them, in pairs of rows.

    Args:
        x: Originals, (N, C, H, W) with C 1 or 3, uint8 or floats in [0, 1].
        x_hat: Their reconstructions, of the same shape.
        columns: Images per row; hundreds of images get longer rows.
        title: Title above the grid.
    """
    n_columns = min(len(x), _n_columns(2 * len(x), columns))
    n_pairs = ceil(len(x) / n_columns)
    layout = build_layout(2 * n_pairs, n_columns, x.shape[2:], pair_gap=PAD)
    places = np.ones((n_pairs, 2, n_columns, *x.shape[1:]), np.float32)
    for half, images in enumerate((x, x_hat)):
        padded = np.ones((n_pairs * n_columns, *x.shape[1:]), np.float32)
        padded[: len(images)] = as_unit_floats(images)
        places[:, half] = padded.reshape(n_pairs, n_columns, *x.shape[1:])
    labels = ["original", "reconstruction"] * n_pairs
    with figure_style():
        left = PAD + max(text_size(label)[0] for label in labels) + PAD
        figure, axes = draw_mosaic(places.reshape(-1, *x.shape[1:]), layout, left=left, title=title)
        _label_rows(axes, layout, labels)
    return figure


def plot_manifold(images: Array, z0: FloatArray, z1: FloatArray, *, title: str = "") -> Figure:
    """Return a figure of decoded images over a plane of two latent dimensions, z0 to the right and z1 upwards.

    Args:
        images: images[i, j] was decoded from (z0[j], z1[i]), (len(z1), len(z0), C, H, W).
        z0: Values of the first dimension, ascending.
        z1: Values of the second dimension, ascending.
        title: Title above the grid.
    """
    layout = build_layout(len(z1), len(z0), images.shape[3:], gap=1)
    x_labels, y_labels = _value_labels(z0), _value_labels(z1)
    line = text_size("0")[1]
    with figure_style():
        left = 4 * PAD + line + max(text_size(label)[0] for label in y_labels)
        flat = images[::-1].reshape(-1, *images.shape[2:])
        right = PAD + overhang(x_labels, layout.tile_width)
        bottom = 5 * PAD + 2 * line
        figure, axes = draw_mosaic(flat, layout, left=left, right=right, top=PAD + line, bottom=bottom, title=title)
        step = label_step(x_labels, layout.tile_width)
        axes.set_xticks(layout.centres_x[::step], x_labels[::step])
        step = label_step(y_labels, layout.tile_height, horizontal=False)
        axes.set_yticks(layout.centres_y[::-1][::step], y_labels[::step])
        axes.set(xlabel="z0", ylabel="z1")
        return lay_out(figure)


def plot_traversal(
    images: Array,
    values: FloatArray,
    kl: npt.NDArray[np.floating] | None,
    *,
    dimensions: Array,
    title: str = "",
    heading: str = "KL (nats)",
) -> Figure:
    """Return a figure of latent traversals: in each row, one dimension takes all values.

    Args:
        images: images[i, j] was decoded with values[j] in dimension dimensions[i], (D, V, C, H, W).
        values: Values of each dimension, (V,), ascending; they label the columns.
        kl: Mean KL divergence of each of these dimensions in nats, (D,), which sorts and labels the rows; None, as for
            an autoencoder, keeps their order.
        dimensions: Number of each dimension, (D,).
        title: Title above the grid.
        heading: What ``kl`` is called.
    """
    order = np.arange(len(images)) if kl is None else np.argsort(-kl, kind="stable")
    labels = [f"z{dimensions[i]}" if kl is None else f"z{dimensions[i]}   {kl[i]:.2f}" for i in order]
    columns = _value_labels(values)
    heading = "" if kl is None else heading
    layout = build_layout(len(images), len(values), images.shape[3:])
    with figure_style():
        beyond = overhang(columns, layout.tile_width)
        left = PAD + max(text_size(label)[0] for label in [*labels, heading]) + PAD + beyond
        flat = images[order].reshape(-1, *images.shape[2:])
        top = 2 * PAD + text_size("0")[1]
        figure, axes = draw_mosaic(flat, layout, left=left, right=PAD + beyond, top=top, title=title)
        _label_rows(axes, layout, labels)
        step = label_step(columns, layout.tile_width)
        middle = len(columns) // 2 % step  # so that the middle column, usually zero, has a label
        for x, label in list(zip(layout.centres_x, columns, strict=True))[middle::step]:
            axes.text(x, -PAD, label, ha="center", va="bottom", fontsize=SMALL_FONT_SIZE)
        axes.text(-PAD - beyond, -PAD, heading, ha="right", va="bottom", fontsize=SMALL_FONT_SIZE)
    return figure


def _shortened(label: str) -> str:
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…"


def _n_columns(n_images: int, columns: int) -> int:
    return min(n_images, max(columns, ceil(sqrt(n_images / 2))))  # at most twice as high as wide


def _label_rows(axes: Axes, layout: Layout, labels: list[str]) -> None:
    step = label_step(labels, layout.tile_height, horizontal=False)
    for y, label in list(zip(layout.centres_y, labels, strict=True))[::step]:
        axes.text(-PAD, y, label, ha="right", va="center", fontsize=SMALL_FONT_SIZE)


def _value_labels(values: FloatArray) -> list[str]:
    # As few digits as distinguish neighbours: 2.5, but -0.67 and -0.68.
    for n_digits in range(4):
        labels = [f"{value:.{n_digits}f}" for value in values]
        if len(set(labels)) == len(values) and np.allclose(values, [float(label) for label in labels], atol=5e-3):
            break
    else:
        return [f"{value:.3g}" for value in values]
    return ["0" if float(label) == 0 else label for label in labels]
