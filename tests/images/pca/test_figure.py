"""Curves against PCA and planes of two dimensions: values, nothing cut off, nothing on top of each other."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from aekit.images.pca.figure import CLIPPED, PCA, Plane, plot_against_pca, plot_planes
from aekit.plotting.style import BLUE, GREY, VERMILION


def _curves(models: list[str], latents: list[int], *, seeds: int = 3, elbow: int | None = None) -> Figure:
    runs = pd.DataFrame(
        [
            {"model": model, "latent": latent, "mse": (0.05 + 0.001 * number + 0.002 * seed) / latent}
            for number, model in enumerate(models)
            for latent in latents
            for seed in range(seeds)
        ]
    )
    runs["ratio"], runs["ratio_clipped"] = 0.1 / runs["latent"] / runs["mse"], 0.09 / runs["latent"] / runs["mse"]
    runs["explained_variance"] = 1 - runs["mse"] / 0.07
    long = runs.melt(["model", "latent"], var_name="quantity")
    means = long.groupby(["model", "latent", "quantity"], as_index=False)["value"].agg(["mean", "min", "max"])
    means = means.rename(columns={"min": "low", "max": "high"})
    if seeds == 1:
        means[["low", "high"]] = np.nan
    d = np.arange(min(latents), max(latents) + 1)
    pca = pd.DataFrame({"latent": d, "mse": 0.1 / d, "clipped_mse": 0.09 / d, "explained_variance": 1 - 0.1 / d / 0.07})
    elbows = dict.fromkeys([PCA, CLIPPED, *models], elbow)
    return plot_against_pca(runs, means, pca, elbows, elbow_method="Kneedle", title="10,000 test images of mnist")


def _planes(n: int, shape: tuple[int, int, int] = (1, 28, 28), *, n_classes: int = 10, scale: float = 1.0) -> Figure:
    generator = np.random.default_rng(0)
    planes = []
    for number in range(n):
        codes = generator.standard_normal((300, 2)) * scale
        values = np.linspace(-1.7, 1.6, 12) * scale
        images = generator.random((12, 12, *shape), np.float32)
        planes.append(Plane(f"vae conv, beta 0.25, epochs 10, seed {number}", codes, values, values, images, "prior"))
    labels = generator.integers(0, n_classes, 300) if n_classes else None
    return plot_planes(planes, labels, [f"class {i}" for i in range(n_classes)], title="codes and what is decoded")


FIGURES = {
    "curves": lambda: _curves(["ae conv", "vae conv"], list(range(2, 21)), elbow=10),
    "one point": lambda: _curves(["ae conv"], [10], seeds=1),
    "to a hundred": lambda: _curves(["ae conv"], [1, 2, 5, 10, 50, 100], seeds=1, elbow=10),
    "many models": lambda: _curves([f"vae resize-conv, beta {i}, epochs 100" for i in range(9)], [2, 3]),
    "two planes": lambda: _planes(2),
    "small images": lambda: _planes(3, (1, 8, 8), scale=123.4),
    "faces": lambda: _planes(1, (3, 64, 48), n_classes=0),
    "large faces": lambda: _planes(1, (3, 218, 178), n_classes=2, scale=1e-4),
    "many planes": lambda: _planes(6, (1, 8, 8), n_classes=47),
}


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    drawn = FIGURES[request.param]()
    drawn.draw_without_rendering()
    return drawn


def test_no_text_is_cut_off_at_the_edge(figure):
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    tolerance = 1 / figure.dpi
    assert min(box.x0, box.y0) >= -tolerance
    assert box.x1 <= width + tolerance
    assert box.y1 <= height + tolerance


def test_panels_headings_and_legend_do_not_overlap(figure):
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes] + [
        artist.get_window_extent(renderer) for artist in (*figure.legends, *figure.texts)
    ]
    for number, box in enumerate(boxes):
        for other in boxes[number + 1 :]:
            overlap = [min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)]
            assert min(overlap) <= 1


def test_tick_labels_do_not_touch(figure):
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [
                tick.label1.get_window_extent(renderer)
                for tick in axis.get_major_ticks()
                if min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
            ]
            assert not any(a.overlaps(b) for i, a in enumerate(ticks) for b in ticks[i + 1 :])


@pytest.mark.slow
def test_curves_show_means_runs_and_both_kinds_of_pca():
    figure = _curves(["ae conv", "vae conv"], [2, 3, 4], elbow=3)
    error, ratio, explained = figure.axes
    lines = {(to_hex(line.get_color()).upper(), line.get_linestyle()): line for line in error.lines[::-1]}
    np.testing.assert_allclose(lines["#000000", "-"].get_ydata(), 0.1 / np.array([2, 3, 4]))
    np.testing.assert_allclose(lines[GREY.upper(), "--"].get_ydata(), 0.09 / np.array([2, 3, 4]))
    np.testing.assert_allclose(lines[BLUE, "-"].get_ydata(), 0.052 / np.array([2, 3, 4]))
    np.testing.assert_allclose(lines[VERMILION, "-"].get_ydata(), 0.053 / np.array([2, 3, 4]))
    assert len(lines[BLUE, "None"].get_ydata()) in (1, 9)
    rings = [line for line in error.lines if line.get_markersize() == 9]
    assert [float(ring.get_xdata()[0]) for ring in rings] == [3.0] * 4
    assert ratio.get_ylim()[0] == 0
    assert explained.get_ylim()[0] == 0
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "PCA (elbow at 3)"
    assert texts[-1] == "elbow: Kneedle"


def test_the_axis_marks_the_dimensions_that_were_measured():
    for axes in _curves(["ae conv"], [2, 3, 8]).axes:
        assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "3", "8"]


def test_a_single_point_shows_its_gain_over_clipped_pca():
    axes = _curves(["ae conv"], [8], seeds=1).axes[1]
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    low, high = axes.get_xlim()
    start, end = dashed.get_xdata()
    assert low < start < 8 < end < high
    np.testing.assert_allclose(dashed.get_ydata(), 0.09 / 0.05)


def test_the_first_dimension_runs_to_the_right_and_the_second_upwards():
    z = np.linspace(-2, 2, 12)
    z0, z1 = np.meshgrid(z, z)
    # Red is z0, green is z1.
    images = np.stack([(z0 + 2) / 4, (z1 + 2) / 4, 0 * z0], axis=2)[..., None, None] * np.ones((8, 8))
    figure = plot_planes([Plane("x", np.zeros((3, 2)), z, z, images, "a range")], None, ())
    decoded = figure.axes[1]
    pixels = decoded.images[0].get_array()
    assert pixels[-4, 4].tolist() == [0, 0, 0]
    assert pixels[-4, -4].tolist() == [255, 0, 0]
    assert pixels[4, 4].tolist() == [0, 255, 0]
    width, height = decoded.get_window_extent().size
    assert (round(height), round(width)) == pixels.shape[:2]  # no pixel is blurred or left out
    assert decoded.get_yticklabels()[0].get_text() == "-2.00"


def test_codes_are_grey_without_labels_and_the_decoded_part_is_boxed():
    z = np.linspace(-1, 3, 12)
    figure = plot_planes([Plane("x", np.ones((5, 2)), z, z, np.zeros((12, 12, 1, 8, 8)), "a range")], None, ())
    scatter = figure.axes[0]
    assert {to_hex(colour) for colour in scatter.collections[0].get_facecolor()} == {GREY}
    assert scatter.patches[0].get_bbox().bounds == (-1, -1, 4, 4)
    assert not figure.legends


@pytest.mark.slow
@pytest.mark.parametrize("name", ["curves", "two planes"])
def test_equal_calls_make_equal_bytes_whatever_the_settings_of_the_user(name):
    def png() -> bytes:
        buffer = io.BytesIO()
        FIGURES[name]().savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    expected = png()
    with mpl.rc_context({"font.size": 20, "figure.dpi": 60, "axes.grid": False, "legend.fontsize": 20}):
        assert png() == expected
