"""All that is written in a figure can be read: it lies on the canvas, and apart from all else that is written."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from aekit.core.intervals import Interval
from aekit.images.decorrelation.figure import Curve, Panel, plot_decorrelation
from aekit.images.disentangle.figure import ImportancePanel, plot_disentanglement
from aekit.images.disentangle.measure import Measured
from aekit.images.disentangle.scores import SCORES, Scores
from aekit.images.figures.curves import plot_history
from aekit.images.figures.grids import plot_images, plot_manifold, plot_reconstructions, plot_traversal
from aekit.images.interpolation.figure import PathBlock, PathRow, plot_paths
from aekit.images.outliers.detection import Detection
from aekit.images.outliers.figure import plot_detection, plot_suspects
from aekit.images.outliers.request import SCORES as OUTLIER_SCORES
from aekit.images.pca.figure import Plane, plot_against_pca, plot_planes
from aekit.images.probe.figure import STYLES, plot_probe
from aekit.images.similar_images.figure import SheetRow, plot_neighbours
from aekit.images.similarity.figure import plot_similarities
from aekit.images.similarity.measures import Similarity
from aekit.images.similarity.pairs import Pair
from aekit.images.sweep.figure import plot_cells, plot_sweep
from aekit.images.tsne.figure import EmbeddingPanel, plot_embeddings
from aekit.plotting.bars import plot_kl_per_dimension

LONG = "vae blocks, latent 100, beta 0.75, width 96, continuous-bernoulli loss, of a-data-set-with-a-long-name.npz"
TITLE = f"{LONG}: the worst 32 of 10,000 test images of a-data-set-with-a-long-name.npz, and what more one could say"
MNIST, FACE = (1, 28, 28), (3, 109, 89)


def _images(shape, *n):
    return np.random.default_rng(1).random((*n, *shape)).astype(np.float32)


def _history(n_epochs, *, kind="vae", held_out="test", scale=1.0):
    epochs = np.arange(1, n_epochs + 1)
    parts = [
        pd.DataFrame({"epoch": epochs, "split": split, "total": 90 + up / epochs, "reconstruction": 80 + up / epochs})
        for split, up in (("train", 80), (held_out, 40))
    ]
    table = pd.concat(parts, ignore_index=True)
    table[["total", "reconstruction"]] *= scale
    table["mse"], table["kl"] = 1e-3 / table["epoch"], 10.0 * scale if kind == "vae" else np.nan
    last = table.iloc[[-1]].assign(split="test")
    return pd.concat([table, last], ignore_index=True) if held_out == "val" else table


def _results(*, scale=1.0, **swept):
    table = pd.DataFrame(itertools.product(*swept.values()), columns=list(swept))
    draws = np.random.default_rng(0).uniform(0.02, 1, (len(table), 4)) * scale
    table[[f"val_{name}" for name in ("total", "reconstruction", "kl", "mse")]] = draws
    table["val_elbo"] = table["val_reconstruction"] + table["val_kl"]
    return table


def _sweep(scale=1.0, **swept):
    over = [name for name in swept if name != "seed"]
    return plot_sweep(_results(scale=scale, **swept), over, split="val", title=TITLE)


def _decorrelation(n_curves, latents, *, n_panels=16):
    d = np.array(latents, float)
    ones = np.ones(len(d))
    names = [f"{number}: {LONG}" for number in range(n_curves)]
    curves = [
        Curve(name, d, 0.3 * ones, 0.2 * ones, 0.4 * ones, ones.astype(int), 0.25 * ones, np.stack([d, 0.3 * ones], 1))
        for name in names
    ]
    pairs = list(itertools.product(names, latents))[:n_panels]
    panels = [Panel(name, f"d = {latent}: 0.123", np.eye(latent)) for name, latent in pairs]
    return plot_decorrelation(curves, panels, ylabel="mean absolute correlation |r|", floor=0.011, title=TITLE)


def _disentanglement(n_models, latent, names=("shape", "orientation", "floor_hue")):
    importance = np.random.default_rng(0).dirichlet(np.ones(latent), len(names)).T

    def measured(code, n_draws):
        values = dict.fromkeys(SCORES, 0.7)
        return Measured(code, latent, (Scores(values, importance, {}),) * n_draws)

    labels = [f"{number}: {LONG}" for number in range(n_models)]
    models = [(label, [measured("model", 3), measured("turned", 3), measured("permuted", 3)]) for label in labels]
    baselines = [measured(code, 3) for code in ("factors", "pca", "projection")]
    panels = [ImportancePanel(label, importance, names, np.linspace(0, 3, latent)) for label in labels]
    agreement = [(label, 0.4) for label in labels] if n_models > 1 else []
    return plot_disentanglement(models, baselines, panels, agreement=agreement, title=TITLE)


def _similarities(n_codes):
    intervals = {name: Interval(0.5, 0.4, 0.6) for name in Similarity._fields}
    pairs = [Pair(i, j, intervals, Similarity(0.1, 0.9, 0.1)) for i, j in itertools.combinations(range(n_codes), 2)]
    return plot_similarities([LONG] * n_codes, pairs, title=TITLE)


def _detection(value):
    found = Detection(*[Interval(value, value - 0.1, value)] * 3)
    return plot_detection(dict.fromkeys(OUTLIER_SCORES, found), 0.5, title=TITLE)


def _suspects(n, shape):
    groups = [np.zeros((2 + 9 * (row % 2), *shape), np.uint8) for row in range(n)]
    return plot_suspects(groups, [f"{LONG} {row}" for row in range(n)], title=TITLE)


def _neighbours(n_rows, k, shape, label="Wearing_Lipstick;Young;Smiling"):
    captions = [[label, f"{LONG}[{number}]"] for number in range(k + 1)]
    return plot_neighbours([SheetRow(np.zeros((k + 1, *shape), np.uint8), captions)] * n_rows, title=TITLE)


def _embeddings(n_panels, n_classes, name="class", *, title=TITLE):
    generator = np.random.default_rng(0)
    points, labels = generator.normal(size=(300, 2)) * 1e5, generator.integers(0, n_classes, 300)
    text = "" if n_panels == 1 else LONG
    measures = ("trustworthiness@5 0.9941", "5-NN accuracy: codes 96.1 %, map 95.9 %")
    panels = [EmbeddingPanel(text, measures, points, ("t-SNE 1", "t-SNE 2"))] * n_panels
    return plot_embeddings(panels, labels, [f"{name} {number}" for number in range(n_classes)], title=title)


def _paths(n_blocks, n_rows, shape, alphas, *, inside=(0.0, 1.0), has_end=True):
    end = _images(shape) if has_end else None
    rows = [
        PathRow(f"{LONG[: 8 * number + 8]}, pixels", _images(shape, len(alphas)), _images(shape), end)
        for number in range(n_rows)
    ]
    blocks = [PathBlock(f"Wearing_Lipstick, image {number} → image {number + 1}", rows) for number in range(n_blocks)]
    return plot_paths(blocks, np.asarray(alphas), inside=inside, title=TITLE)


def _against_pca(n_models, latents):
    rng = np.random.default_rng(0)
    names = [f"{number}: {LONG}" for number in range(n_models)]
    cells = list(itertools.product(names, latents, range(2)))
    runs = pd.DataFrame(cells, columns=["model", "latent", "seed"]).drop(columns="seed")
    for column in ("mse", "ratio", "explained_variance"):
        runs[column] = rng.uniform(0.01, 0.9, len(runs))
    means = [
        {"model": name, "latent": d, "quantity": quantity, "mean": 0.5, "low": 0.4, "high": 0.6}
        for name, d in itertools.product(names, latents)
        for quantity in ("mse", "ratio", "explained_variance", "ratio_clipped")
    ]
    pca = pd.DataFrame({"latent": latents, "mse": 0.06, "clipped_mse": 0.05, "explained_variance": 0.4})
    elbows = {"PCA": float(latents[0]), names[0]: float(latents[-1])}
    method = "Kneedle on linear axes"
    return plot_against_pca(runs, pd.DataFrame(means), pca, elbows, elbow_method=method, title=TITLE)


def _planes(n_planes, n_classes, shape, *, scale=1.0):
    codes = np.random.default_rng(0).normal(size=(300, 2)) * scale
    z = np.linspace(-2, 2, 12) * scale
    plane = Plane(LONG, codes, z, z, _images(shape, 12, 12), "the middle 98 % of each dimension")
    labels = np.random.default_rng(0).integers(0, n_classes, 300)
    return plot_planes([plane] * n_planes, labels, [f"class {number}" for number in range(n_classes)], title=TITLE)


def _probe(n_panels, sizes):
    rows = itertools.product([f"{number}: {LONG}" for number in range(n_panels)], STYLES, sizes, range(2))
    table = pd.DataFrame(rows, columns=["panel", "method", "labels", "draw"])
    table["accuracy"] = np.random.default_rng(0).uniform(0.3, 0.9, len(table))
    return plot_probe(table, chance=0.1, title=TITLE)


def _traversal(latent, shape, values):
    kl = np.linspace(0, 12.3, latent)
    return plot_traversal(_images(shape, latent, len(values)), values, kl, dimensions=np.arange(latent), title=TITLE)


LABELS = [f"arch conv, beta 0.1, continuous-bernoulli, lr 0.001, batch size 100, seed {number}" for number in range(20)]
FIGURES = {
    "bars-1": lambda: plot_kl_per_dimension(np.array([3.0]), np.array([True]), title=TITLE),
    "bars-10": lambda: plot_kl_per_dimension(np.arange(10.0), np.arange(10) > 3, title=LONG[:33]),
    "bars-128": lambda: plot_kl_per_dimension(np.arange(128.0), np.arange(128) > 40, title=TITLE),
    "history-1": lambda: plot_history(_history(1, scale=1000), title=TITLE),
    "history-val": lambda: plot_history(_history(10, held_out="val"), title=LONG[:33]),
    "history-ae": lambda: plot_history(_history(500, kind="ae", scale=1e-3), loss="mse", title=TITLE),
    "history-faces": lambda: plot_history(_history(50, held_out="val", scale=700.0), title=TITLE),
    "cells-1": lambda: plot_cells([_history(1)], LABELS[:1], title=TITLE),
    "cells-3": lambda: plot_cells([_history(4, held_out="val")] * 3, LABELS[:3], title=TITLE),
    "cells-7": lambda: plot_cells([_history(100, kind="ae", scale=700)] * 7, LABELS[:7], title=TITLE),
    "cells-of-both-kinds": lambda: plot_cells([_history(2), _history(3, kind="ae")], ["vae", "ae"], title="both"),
    "sweep-1": lambda: _sweep(latent=[2], seed=[0]),
    "sweep-wide": lambda: _sweep(scale=1e-3, beta=[0.1, 0.5, 1, 5, 10], latent=list(range(2, 21)), seed=[0, 1]),
    "sweep-2x2": lambda: _sweep(lr=[0.00001, 0.005], latent=[2, 200], seed=[0, 1]),
    "sweep-texts": lambda: _sweep(arch=["conv", "dense"], data=["/home/somebody/images/faces-a.npz", "mnist"]),
    "sweep-curve": lambda: _sweep(scale=1e4, latent=[2, 3, 4, 5, 6, 8, 10, 50, 100], seed=[0, 1]),
    "sweep-curve-of-texts": lambda: _sweep(data=[f"/home/somebody/images/faces-{name}.npz" for name in "abcd"]),
    "sweep-lines": lambda: _sweep(latent=list(range(2, 31)), beta=[0.1, 0.5, 1, 5], arch=["conv", "dense"]),
    "sweep-many-lines": lambda: _sweep(
        latent=[10, 20, 30],
        beta=[0.1, 0.5],
        arch=["conv", "continuous"],
        weight_decay=[0.0, 0.05, 0.1],
        lr=[1e-3, 5e-4],
    ),
    "decorrelation-1": lambda: _decorrelation(1, [2]),
    "decorrelation-2-30": lambda: _decorrelation(3, list(range(2, 31))),
    "decorrelation-2-100": lambda: _decorrelation(2, [2, 3, 5, 10, 20, 50, 100]),
    "decorrelation-12-models": lambda: _decorrelation(12, [2]),
    "disentanglement-1": lambda: _disentanglement(1, 2),
    "disentanglement-2": lambda: _disentanglement(2, 10),
    "disentanglement-100": lambda: _disentanglement(1, 100),
    "disentanglement-12-models": lambda: _disentanglement(12, 6, tuple(f"factor {k}" for k in range(12))),
    "similarities-2": lambda: _similarities(2),
    "similarities-9": lambda: _similarities(9),
    "similarities-40": lambda: _similarities(40),
    "detection-0": lambda: _detection(0.1),
    "detection-1": lambda: _detection(1.0),
    "neighbours-1": lambda: _neighbours(1, 1, MNIST),
    "neighbours-8": lambda: _neighbours(3, 8, (1, 8, 8), "7"),
    "neighbours-30": lambda: _neighbours(16, 30, FACE),
    "suspects-1": lambda: _suspects(1, MNIST),
    "suspects-24": lambda: _suspects(24, FACE),
    "embedding-1": lambda: _embeddings(1, 10),
    "embedding-47-classes": lambda: _embeddings(1, 47),
    "embedding-long-names": lambda: _embeddings(2, 12, "a class of quite some name"),
    "embedding-7": lambda: _embeddings(7, 10),
    "paths-1": lambda: _paths(1, 1, FACE, np.linspace(0, 1, 6)),
    "paths-walk": lambda: _paths(3, 2, MNIST, np.linspace(-2, 2, 11), inside=None, has_end=False),
    "paths-beyond": lambda: _paths(4, 3, MNIST, np.linspace(-0.5, 1.5, 41)),
    "paths-30": lambda: _paths(2, 30, (1, 8, 8), np.linspace(0, 1, 11)),
    "pca-1": lambda: _against_pca(1, [2]),
    "pca-2-30": lambda: _against_pca(3, list(range(2, 31))),
    "pca-30": lambda: _against_pca(30, [2, 4, 100]),
    "planes-1": lambda: _planes(1, 10, (1, 8, 8)),
    "planes-6": lambda: _planes(6, 47, MNIST, scale=1e-4),
    "planes-faces": lambda: _planes(2, 2, FACE, scale=1e4),
    "probe-1": lambda: _probe(1, [10, 20, 40, 80, 100, 160, 500, 1000]),
    "probe-6": lambda: _probe(6, [10]),
    "samples-of-faces": lambda: plot_images(_images(FACE, 32), title=TITLE),
    "decoded-codes": lambda: plot_images(
        _images((1, 8, 8), 256), title=f"{LONG}: decoded from 256 of 10,000 codes in {LONG}.csv"
    ),
    "one-small-sample": lambda: plot_images(_images((1, 8, 8), 1), title=TITLE),
    "reconstructions": lambda: plot_reconstructions(_images(FACE, 32), _images(FACE, 32), title=TITLE),
    "one-reconstruction": lambda: plot_reconstructions(_images((1, 8, 8), 1), _images((1, 8, 8), 1), title=TITLE),
    "manifold": lambda: plot_manifold(
        _images((1, 8, 8), 12, 12), np.linspace(-9999, 2e4, 12), np.linspace(-1e-5, 1e-5, 12), title=TITLE
    ),
    "traversal-1": lambda: _traversal(1, (1, 8, 8), np.linspace(-3, 3, 11)),
    "traversal-100": lambda: _traversal(100, MNIST, np.linspace(-3, 3, 11)),
}

pytestmark = pytest.mark.slow  # a survey of all figures; the tests of each figure ask the same of it
NAMES = list(FIGURES)


@pytest.fixture(scope="module")
def drawn():
    """Return what draws a figure of that name, each once."""
    cache = {}

    def draw(name):
        if name not in cache:
            cache[name] = FIGURES[name]()
            cache[name].draw_without_rendering()
        return cache[name]

    return draw


def _texts(figure: Figure) -> list[Text]:
    """Return all that is written in a figure, but for ticks that lie outside what an axis shows."""
    unseen = {id(text) for axis in figure.findobj(Axis) for text in _unseen_ticks(axis)}
    hidden = {id(text) for axes in figure.axes if not axes.get_visible() for text in axes.findobj(Text)}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in texts if id(text) not in unseen | hidden]


def _unseen_ticks(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    slack = 1e-6 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    labels = [
        [label for tick in ticks if not low - slack <= tick.get_loc() <= high + slack for label in _labels(tick)],
        [tick.label1 for tick in ticks if not tick.label1.get_visible()],
    ]
    axes = axis.axes
    return [*itertools.chain(*labels), *(label for tick in ticks if not axes.axison for label in _labels(tick))]


def _labels(tick) -> list[Text]:
    return [tick.label1, tick.label2]


@pytest.mark.parametrize("name", NAMES)
def test_all_text_lies_on_the_canvas(drawn, name):
    figure = drawn(name)
    width, height = figure.bbox.size
    for text in _texts(figure):
        box = text.get_window_extent()
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{text.get_text()!r} at {box.extents.round()} of {width:.0f} x {height:.0f}"


@pytest.mark.parametrize("name", NAMES)
def test_no_text_touches_another(drawn, name):
    texts = _texts(drawn(name))
    boxes = np.array([text.get_window_extent().extents for text in texts])
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    overlap = np.minimum(high, high.swapaxes(0, 1)) - np.maximum(low, low.swapaxes(0, 1))
    # A pixel of it is the slope of letters, not their bodies.
    found = [(texts[i].get_text(), texts[j].get_text()) for i, j in np.argwhere((overlap > 1).all(-1)) if i < j]
    assert not found, found[:5]


@pytest.mark.parametrize("name", NAMES)
def test_no_legend_lies_over_what_is_drawn(drawn, name):
    figure = drawn(name)
    for legend in figure.findobj(Legend):
        box = legend.get_window_extent().padded(-1)
        own = legend.axes
        if own is not None and own.spines["left"].get_visible():  # without spines, it has nothing else in it
            own = None
        for axes in (each for each in figure.axes if each is not own):
            assert not axes.get_visible() or not box.overlaps(axes.get_window_extent()), legend.texts


@pytest.mark.parametrize("name", NAMES)
def test_letters_are_of_few_sizes_none_of_them_tiny(drawn, name):
    sizes = {text.get_fontsize() for text in _texts(drawn(name))}
    assert sizes <= {6.0, 7.5, 9.0}, sizes
