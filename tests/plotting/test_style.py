"""What holds for every figure: nothing is cut off, equal calls make equal bytes, settings do not matter."""

from __future__ import annotations

import io
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from aekit.images.figures.curves import plot_history
from aekit.images.figures.grids import plot_images, plot_manifold, plot_reconstructions, plot_traversal
from aekit.plotting.bars import plot_kl_per_dimension
from aekit.plotting.style import FONT_SIZE, MARGIN, build_figure, mark_values, wrap_text, write_title

RNG = np.random.default_rng(0)
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "faces": (3, 64, 48)}


def _images(shape: tuple[int, int, int], *n: int) -> np.ndarray:
    return np.random.default_rng(1).random((*n, *shape)).astype(np.float32)


def _history(n_epochs: int, *, kind: str = "vae", held_out: str = "test") -> pd.DataFrame:
    rows = [
        {"epoch": epoch, "split": split, "total": 90 + 80 / epoch, "reconstruction": 80 + 70 / epoch, "mse": 1 / epoch}
        for epoch in range(1, n_epochs + 1)
        for split in ("train", held_out)
    ]
    if held_out == "val":
        rows.append({**rows[-1], "split": "test"})
    return pd.DataFrame(rows).assign(kl=10.0 if kind == "vae" else None)


def _kl(latent: int) -> np.ndarray:
    return np.where(np.arange(latent) % 3, np.linspace(0, 12.3, latent), 0)


def _traversal(latent: int, shape: tuple[int, int, int], low: float = -3.0, *, ordered: bool = True) -> Figure:
    values = np.linspace(low, 3, 11)
    kl = _kl(latent) if ordered else None
    return plot_traversal(_images(shape, latent, 11), values, kl, dimensions=np.arange(latent), title="t" * 30)


FIGURES = {
    "bars-2": lambda: plot_kl_per_dimension(_kl(2), _kl(2) > 0.1),
    "bars-100": lambda: plot_kl_per_dimension(_kl(100), _kl(100) > 0.1, title="vae blocks, latent 100, beta 0.75"),
    "history-vae": lambda: plot_history(_history(10), title="vae"),
    "history-val": lambda: plot_history(_history(10, held_out="val")),
    "history-ae": lambda: plot_history(_history(60, kind="ae"), loss="mse"),
    "history-one-epoch": lambda: plot_history(_history(1)),
    "one-image-and-a-title": lambda: plot_images(_images((1, 8, 8), 1), title="much longer than one image is wide"),
    "1000-images": lambda: plot_images(_images((1, 8, 8), 1000)),
    "one-reconstruction": lambda: plot_reconstructions(_images((1, 8, 8), 1), _images((1, 8, 8), 1)),
    "traversal-2": lambda: _traversal(2, (1, 28, 28)),
    "traversal-100": lambda: _traversal(100, (1, 28, 28)),
    "traversal-wide-labels": lambda: _traversal(3, (1, 28, 8), -123.456),
    "traversal-ae": lambda: _traversal(5, (1, 8, 8), ordered=False),
    "manifold-wide-labels": lambda: plot_manifold(
        _images((1, 28, 28), 40, 40), np.linspace(-31.234, 25, 40), np.linspace(-1e-5, 1e-5, 40), title="t"
    ),
    **{
        f"{name}-{tag}": plot
        for tag, shape in SHAPES.items()
        for name, plot in {
            "grid": lambda shape=shape: plot_images(_images(shape, 40), title="forty"),
            "reconstructions": lambda shape=shape: plot_reconstructions(_images(shape, 32), _images(shape, 32)),
            "manifold": lambda shape=shape: plot_manifold(
                _images(shape, 5, 6), np.linspace(-2, 2, 6), np.array([-1.645, -0.674, 0, 0.674, 1.645])
            ),
        }.items()
    },
}


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_at_the_edge(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    box = figure.get_tightbbox()  # in inches
    width, height = figure.get_size_inches()
    tolerance = 1 / figure.dpi
    assert box.x0 >= -tolerance, name
    assert box.y0 >= -tolerance, name
    assert box.x1 <= width + tolerance, name
    assert box.y1 <= height + tolerance, name


@pytest.mark.parametrize("name", ["bars-2", "history-val", "traversal-2", "reconstructions-digits", "manifold-digits"])
def test_labels_of_a_figure_do_not_overlap(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        ticks = [
            tick.label1
            for axis in (axes.xaxis, axes.yaxis)
            for tick in axis.get_major_ticks()
            if min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        ]
        texts = [text for text in [*axes.texts, *ticks, *figure.texts] if text.get_text() and text.get_visible()]
        boxes = [text.get_window_extent(renderer) for text in texts]
        for i, box in enumerate(boxes):
            for other in boxes[i + 1 :]:
                assert not box.overlaps(other), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bars-2", "history-vae", "traversal-2", "reconstructions-digits", "manifold-digits"])
def test_the_same_call_makes_the_same_bytes(name):
    assert _png(FIGURES[name]()) == _png(FIGURES[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bars-2", "history-vae", "traversal-2", "manifold-digits"])
def test_the_settings_of_the_user_change_nothing(name):
    expected = _png(FIGURES[name]())
    own = {"font.size": 20, "figure.dpi": 60, "axes.grid": False, "lines.linewidth": 9, "xtick.labelsize": 20}
    with mpl.rc_context(own):
        assert _png(FIGURES[name]()) == expected
        assert mpl.rcParams["font.size"] == 20


@pytest.mark.parametrize("n_words", range(2, 40))
def test_a_title_of_several_lines_does_not_end_in_a_single_word(n_words):
    figure = build_figure(4, 3)
    write_title(figure, " ".join(["word"] * n_words), 4)
    lines = figure._suptitle.get_text().split("\n")
    assert " ".join(lines).split() == ["word"] * n_words
    assert len(lines) == 1 or " " in lines[-1]
    assert len(lines) == wrap_text(" ".join(["word"] * n_words), 4 - 2 * MARGIN, FONT_SIZE).count("\n") + 1


def test_ticks_are_where_something_was_measured_and_none_touches_another():
    axes = build_figure(3, 3).subplots()
    axes.set_xlim(0, 100)
    mark_values(axes, [50, 2, 3, 50, 97, 100], gap=0.05)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["3", "50", "100"]
    axes.set_xscale("log")
    axes.set_xlim(1, 100)
    mark_values(axes, [2, 3, 100], gap=0.05)
    assert list(axes.get_xticks()) == [2, 3, 100]


@pytest.mark.slow
def test_figures_load_without_pyplot():
    code = (
        "import sys, aekit.images.figures.grids, aekit.images.figures.curves, aekit.plotting.bars; "
        "assert 'matplotlib.pyplot' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
