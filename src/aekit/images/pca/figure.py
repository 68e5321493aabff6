"""Models and principal components: curves against the number of dimensions, and planes of two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from aekit.images.figures.mosaic import PAD, as_unit_floats, label_step
from aekit.plotting.scatter import class_keys, draw_classes
from aekit.plotting.style import (
    BLACK,
    COLOURS,
    DPI,
    FONT_SIZE,
    GREY,
    SMALL_FONT_SIZE,
    build_figure,
    figure_style,
    hide_axes,
    keep_places,
    lay_out,
    mark_values,
    text_inches,
    text_size,
    wrap_text,
    write_title,
)

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.floating]

PCA, CLIPPED = "PCA", "PCA clipped to [0, 1]"
_MARKERS = "osD^vP"
_MODEL_COLOURS = tuple(colour for colour in COLOURS if colour != BLACK)
_WIDTH = 10.5  # inches of the figure of curves
# Panels of planes per row of the figure, and the side of each in pixels, rounded to whole pixels of an image.
_MAX_COLUMNS = 5
_SIDE = 400
_MIN_WIDTH = 750  # pixels, so that the title fits above a single panel


@dataclass(frozen=True)
class Plane:
    """A two-dimensional code, and images decoded from it.

    Attributes:
        label: Name of the model.
        codes: Codes of images, (N, 2).
        z0: Values of the first dimension that were decoded, (A,), ascending.
        z1: Values of the second dimension, (B,), ascending.
        images: images[i, j] was decoded from (z0[j], z1[i]), (B, A, C, H, W).
        over: Which part of the codes the values cover.
    """

    label: str
    codes: FloatArray
    z0: FloatArray
    z1: FloatArray
    images: FloatArray
    over: str


def plot_against_pca(
    runs: pd.DataFrame,
    means: pd.DataFrame,
    pca: pd.DataFrame,
    elbows: Mapping[str, float | None],
    *,
    elbow_method: str,
    title: str = "",
) -> Figure:
    """Return three panels against the number of dimensions: the error, its ratio to PCA's, and the explained variance.

    Each run is a point, and the mean of the runs of a model a line, with a band for its confidence interval. Elbows are
    rings on the curves of the error, and listed in the legend.

    Args:
        runs: Columns ``model``, ``latent``, ``mse``, ``ratio`` and ``explained_variance``, one row per run.
        means: Columns ``model``, ``latent``, ``quantity`` (one of the last three, or ``ratio_clipped``), ``mean``,
            ``low`` and ``high`` (NaN where there is one run).
        pca: Columns ``latent``, ``mse``, ``clipped_mse`` and ``explained_variance``, one row per number of components.
        elbows: Position of the elbow of each model and of the two curves of PCA, None if there is none.
        elbow_method: Name of the method that found them.
        title: Written above all panels.
    """
    models = {model: _style(number) for number, model in enumerate(dict.fromkeys(runs["model"]))}
    with figure_style():
        keys = _curve_keys(models, elbows, elbow_method)
        widest = max(text_inches(str(key.get_label()))[0] for key in keys)
        n_across = max(1, min(5, int((_WIDTH - 0.3) / (widest + 0.55))))
        figure = build_figure(_WIDTH, 3.7 + 0.165 * ceil(len(keys) / n_across))
        panels = figure.subplots(1, 3, width_ratios=(1.35, 1, 1))
        half = 0.04 * float(np.ptp(pca["latent"])) or 0.3
        _draw_pca(panels, pca, elbows, half=half)
        for model, style in models.items():
            own = {quantity: rows for quantity, rows in means[means["model"] == model].groupby("quantity")}
            for axes, quantity in zip(panels, ("mse", "ratio", "explained_variance"), strict=True):
                _draw_model(axes, runs[runs["model"] == model], own[quantity], quantity, style)
            clipped = own["ratio_clipped"]
            _draw_dashed(panels[1], clipped["latent"], clipped["mean"], style[0], half=half)
            _ring(panels[0], own["mse"]["latent"], own["mse"]["mean"], elbows.get(model), style[0])
        _label_panels(panels)
        # From the runs, not their intervals, which are too wide with few runs.
        panels[0].set_ylim(0, 1.06 * max(runs["mse"].max(), pca["mse"].max()))
        panels[1].set_ylim(0, 1.06 * max(runs["ratio"].max(), 1))
        lowest = min(runs["explained_variance"].min(), pca["explained_variance"].min())
        panels[2].set_ylim(1.06 * lowest - 0.06 if lowest < 0 else 0, 1.02)
        _mark_latents(panels, runs["latent"], pca["latent"])
        figure.legend(handles=keys, loc="outside lower left", ncols=n_across)
        write_title(figure, title, _WIDTH)
        return lay_out(figure)


def _style(number: int) -> tuple[str, str]:
    """Return colour and marker of a model."""
    return _MODEL_COLOURS[number % len(_MODEL_COLOURS)], _MARKERS[number % len(_MARKERS)]


def _curve_keys(
    models: Mapping[str, tuple[str, str]], elbows: Mapping[str, float | None], elbow_method: str
) -> list[Line2D]:
    keys = [
        Line2D([], [], color=BLACK, label=_with_elbow(PCA, elbows)),
        Line2D([], [], color=GREY, linestyle="--", label=_with_elbow(CLIPPED, elbows)),
    ]
    for model, (colour, marker) in models.items():
        keys.append(
            Line2D(
                [],
                [],
                color=colour,
                marker=marker,
                markersize=3.5,
                label=wrap_text(_with_elbow(model, elbows), _WIDTH - 1),
            )
        )
    if any(elbow is not None for elbow in elbows.values()):
        label = f"elbow: {elbow_method}"
        keys.append(Line2D([], [], color="none", marker="o", markersize=9, markeredgecolor=BLACK, label=label))
    return keys


def _draw_pca(panels: Sequence[Axes], pca: pd.DataFrame, elbows: Mapping[str, float | None], *, half: float) -> None:
    error, ratio, explained = panels
    if len(pca) == 1:
        _draw_dashed(error, pca["latent"], pca["clipped_mse"], GREY, half=half)
    marker = "." if len(pca) == 1 else ""
    for name, column, colour, style in ((PCA, "mse", BLACK, "-"), (CLIPPED, "clipped_mse", GREY, "--")):
        error.plot(pca["latent"], pca[column], color=colour, linestyle=style, marker=marker)
        _ring(error, pca["latent"], pca[column], elbows.get(name), colour)
    ratio.axhline(1, color=BLACK)
    explained.plot(pca["latent"], pca["explained_variance"], color=BLACK, marker=marker)


def _draw_model(axes: Axes, runs: pd.DataFrame, mean: pd.DataFrame, quantity: str, style: tuple[str, str]) -> None:
    colour, marker = style
    axes.plot(mean["latent"], mean["mean"], color=colour)
    axes.fill_between(mean["latent"], mean["low"], mean["high"], color=colour, alpha=0.2, linewidth=0)
    axes.vlines(mean["latent"], mean["low"], mean["high"], color=colour, linewidth=0.8)
    axes.plot(runs["latent"], runs[quantity], color=colour, linestyle="none", marker=marker, markersize=3)


def _ring(axes: Axes, latents: pd.Series, values: pd.Series, elbow: float | None, colour: str) -> None:
    if elbow is not None:
        at = values[latents == elbow]
        axes.plot([elbow], at, "o", markersize=9, markerfacecolor="none", markeredgecolor=colour, zorder=4)


def _with_elbow(name: str, elbows: Mapping[str, float | None]) -> str:
    elbow = elbows.get(name)
    return name if elbow is None else f"{name} (elbow at {elbow:g})"


def _draw_dashed(axes: Axes, latents: pd.Series, values: pd.Series, colour: str, *, half: float) -> None:
    """Draw a dashed line; one of a single point, which would be invisible, becomes twice ``half`` long."""
    x, y = latents.to_numpy(float), values.to_numpy()
    if len(x) == 1:
        x, y = x + np.array([-half, half]), y.repeat(2)
    axes.plot(x, y, color=colour, linestyle="--", linewidth=1)


def _label_panels(panels: Sequence[Axes]) -> None:
    texts = [
        ("Mean squared error", "MSE per pixel"),
        ("Gain over PCA (dashed: clipped)", "MSE of PCA / MSE of the model"),
        ("Explained variance", "fraction of the variance"),
    ]
    for axes, (heading, ylabel) in zip(panels, texts, strict=True):
        axes.set(title=heading, xlabel="latent dimensions or components", ylabel=ylabel)


def _mark_latents(panels: Sequence[Axes], measured: pd.Series, components: pd.Series) -> None:
    """Give all panels the same axis, with ticks where models were measured and at the ends of PCA's curves."""
    low, high = panels[0].get_xlim()
    first, last = float(components.min()), float(components.max())
    if first == last:
        low, high = first - 1, first + 1
    for axes in panels:
        axes.set_xlim(low, high)
        mark_values(axes, [*measured.tolist(), first, last], gap=0.09)


def plot_planes(
    planes: Sequence[Plane], labels: npt.NDArray[np.integer] | None, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Return for each plane its codes coloured by class, and below them the images decoded over the part in the box.

    Args:
        planes: Any number, in rows of at most five; their images have the same shape.
        labels: Class of each image, (N,), the same for all planes; None draws the codes in grey.
        class_names: One name per class.
        title: Written above all panels.
    """
    n_columns = ceil(len(planes) / ceil(len(planes) / _MAX_COLUMNS))
    n_rows = ceil(len(planes) / n_columns)
    mosaics = [_mosaic(plane.images) for plane in planes]
    height, width = mosaics[0].shape[:2]
    side = max(width, _SIDE * 3 // 4)
    small = text_size("0")[1]
    left = text_size("-1.5e-04")[0] + small + 3 * PAD
    gap, below = 3 * PAD, 2 * small + 4 * PAD
    headings = [wrap_text(plane.label, side / DPI, FONT_SIZE) for plane in planes]
    above = max(_pixels_high(heading, FONT_SIZE) for heading in headings) + PAD
    captions = [wrap_text(f"decoded over {plane.over}", side / DPI) for plane in planes]
    between = max(_pixels_high(caption, SMALL_FONT_SIZE) for caption in captions) + PAD
    pitch = above + side + below + between + height + below + PAD
    keys = [] if labels is None else class_keys(labels, class_names)
    total_width = max(n_columns * (left + side) + gap, _MIN_WIDTH)
    title = wrap_text(title, (total_width - 2 * PAD) / DPI, FONT_SIZE)
    per_line, legend = _legend_size(keys, total_width)
    head = _pixels_high(title, FONT_SIZE) + 2 * PAD if title else PAD
    total_height = head + n_rows * pitch + legend
    with figure_style():
        figure = build_figure(total_width / DPI, total_height / DPI)
        keep_places(figure)

        def add_axes(x: int, y: int, w: int, h: int) -> Axes:  # pixels from the left and the top
            return figure.add_axes((x / total_width, 1 - (y + h) / total_height, w / total_width, h / total_height))

        if title:
            figure.text(PAD / total_width, 1 - PAD / total_height, title, ha="left", va="top", fontsize=FONT_SIZE)
        for number, (plane, mosaic) in enumerate(zip(planes, mosaics, strict=True)):
            x = left + number % n_columns * (left + side)
            y = head + number // n_columns * pitch + above
            axes = add_axes(x, y, side, side)
            _draw_codes(axes, plane, labels)
            axes.set_title(headings[number])
            axes = add_axes(x, y + side + below + between, width, height)
            _draw_decoded(axes, plane, mosaic, captions[number])
        if keys:
            figure.legend(handles=keys, loc="lower left", ncols=per_line, handlelength=1, columnspacing=1)
        return lay_out(figure)


def _pixels_high(text: str, points: float) -> int:
    return ceil(text_inches(text, points)[1] * DPI)


def _legend_size(keys: Sequence[Line2D], total_width: int) -> tuple[int, int]:
    """Return the entries per line of the legend, and the height in pixels of all its lines."""
    if not keys:
        return 1, 0
    widest = max(text_size(str(key.get_label()))[0] for key in keys)
    per_line = max(1, min(len(keys), (total_width - 4 * PAD) // (widest + 48)))
    per_line = ceil(len(keys) / ceil(len(keys) / per_line))
    return per_line, ceil(len(keys) / per_line) * 25 + 3 * PAD


def _draw_codes(axes: Axes, plane: Plane, labels: npt.NDArray[np.integer] | None) -> None:
    draw_classes(axes, plane.codes, labels, size=1.6 if len(plane.codes) > 2000 else 3.0)
    corner, far = (plane.z0[0], plane.z1[0]), (plane.z0[-1], plane.z1[-1])
    box = Rectangle(corner, far[0] - corner[0], far[1] - corner[1], fill=False, linestyle="--", linewidth=0.8)
    axes.add_patch(box)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlabel("z0", fontsize=SMALL_FONT_SIZE, labelpad=1)
    axes.set_ylabel("z1", fontsize=SMALL_FONT_SIZE, labelpad=1)


def _draw_decoded(axes: Axes, plane: Plane, mosaic: npt.NDArray[np.uint8], caption: str) -> None:
    hide_axes(axes)
    n_rows, n_columns = plane.images.shape[:2]
    axes.imshow(mosaic, interpolation="nearest", extent=(-0.5, n_columns - 0.5, -0.5, n_rows - 0.5), aspect="auto")
    axes.set_title(caption, fontsize=SMALL_FONT_SIZE)
    for axis, values, pixels, horizontal in (
        (axes.xaxis, plane.z0, mosaic.shape[1], True),
        (axes.yaxis, plane.z1, mosaic.shape[0], False),
    ):
        texts = _value_labels(values)
        step = label_step(texts, pixels / len(values), horizontal=horizontal)
        axis.set_major_locator(FixedLocator(list(range(0, len(values), step))))
        axis.set_ticklabels(texts[::step])
    axes.set_xlabel("z0", fontsize=SMALL_FONT_SIZE, labelpad=1)
    axes.set_ylabel("z1", fontsize=SMALL_FONT_SIZE, labelpad=1)


def _short(value: float, position: int | None = None) -> str:
    text = f"{value:.3g}"
    return text if len(text) < 8 else f"{value:.1e}"


def _value_labels(values: FloatArray) -> list[str]:
    # Enough digits to distinguish neighbours.
    step = float(np.diff(values).min())
    n_digits = max(0, 1 - floor(log10(step))) if step > 0 else 1
    if n_digits > 4:
        return [f"{value:.1e}" for value in values]
    texts = [f"{value:.{n_digits}f}" for value in values]
    return ["0" if float(text) == 0 else text for text in texts]


def _mosaic(images: FloatArray) -> npt.NDArray[np.uint8]:
    """Return images, (B, A, C, H, W), side by side in colour, first row at the bottom, enlarged or reduced to fit."""
    n_rows, n_columns, n_channels, height, width = images.shape
    longest = max(n_rows * height, n_columns * width)
    n = max(1, ceil(longest / (_SIDE * 3 // 2)))  # pixels of an image per pixel of the figure, along each side
    high, wide = height // n, width // n
    tiles = as_unit_floats(images[::-1, :, :, : high * n, : wide * n])
    tiles = tiles.reshape(n_rows, n_columns, n_channels, high, n, wide, n).mean(axis=(4, 6))
    scale = max(1, _SIDE // longest)
    tiles = tiles.repeat(scale, axis=3).repeat(scale, axis=4)
    tiles = np.pad(tiles, [(0, 0)] * 3 + [(0, 1)] * 2, constant_values=1.0)  # a white line between neighbours
    mosaic = tiles.transpose(0, 3, 1, 4, 2).reshape(n_rows * tiles.shape[3], n_columns * tiles.shape[4], n_channels)
    coloured = mosaic if n_channels == 3 else mosaic.repeat(3, axis=2)
    return np.rint(coloured * 255).astype(np.uint8)
