"""What the codes of a model are like: which dimensions say something, their ranges, directions, and a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from aekit.core.progress import SILENT, Progress
from aekit.images.data.image_set import ImageSet
from aekit.images.embedding import MIN_POINTS, embed_pca, embed_tsne, find_neighbours, possible_perplexity
from aekit.images.latent import active_units, live_dimensions, mean_difference
from aekit.images.prior import CodePrior

Floats = npt.NDArray[np.floating]

N_BINS = 24
TAIL = 0.005  # fraction of the codes that lie beyond either end of a slider
MAX_DIRECTIONS = 100


@dataclass(frozen=True)
class Dimensions:
    """The dimensions of a code, of which each has a slider.

    Attributes:
        order: The most informative first, (L,).
        informative: Whether each tells images apart, (L,).
        low: Lower end of each slider, (L,).
        high: Upper end of each slider, (L,).
        counts: Histogram of the codes between both ends, (L, 24).
    """

    order: npt.NDArray[np.int64]
    informative: npt.NDArray[np.bool_]
    low: Floats
    high: Floats
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Direction:
    """A direction along which images gain an attribute, or become those of a class.

    Attributes:
        name: The attribute, or ``class 4``.
        vector: Mean code with it minus mean code without, (L,).
        low: Lower end of its slider, in multiples of the vector from the mean code.
        high: Upper end of its slider.
    """

    name: str
    vector: Floats
    low: float
    high: float


@dataclass(frozen=True)
class CodeMap:
    """Where the codes lie in a plane.

    Attributes:
        points: Positions, (N, 2).
        kind: ``plane`` if they are the codes themselves, ``line`` if those are one number, else ``tsne`` or ``pca``.
        axis_names: Names of the two axes.
    """

    points: Floats
    kind: str
    axis_names: tuple[str, str]


def summarise(codes: Floats, kl: Floats | None, prior: CodePrior | None) -> Dimensions:
    """Return what the sliders of a model need to know of its codes.

    A slider reaches over the middle 99 % of the codes. Where a dimension is the same for all images it reaches over the
    middle 99 % of the prior, to show that nothing changes, and without a prior over one unit.

    Args:
        codes: Codes, or posterior means, (N, L).
        kl: KL divergence of each dimension from the prior in nats, (L,); None for a plain autoencoder, whose
            dimensions are ordered by variance.
        prior: The prior; None for a plain autoencoder.
    """
    exact = codes.astype(np.float64)
    informative = live_dimensions(codes) if prior is None else active_units(codes)
    low, high = np.quantile(exact, [TAIL, 1 - TAIL], axis=0)
    for dimension in np.flatnonzero(~informative).tolist():
        if prior is not None:
            low[dimension], high[dimension] = prior.quantiles(dimension, 101)[[0, -1]]
    is_point = high - low <= 1e-6 * np.maximum(1, np.abs(low))
    low, high = np.where(is_point, low - 0.5, low), np.where(is_point, high + 0.5, high)
    scale = (exact - low) / (high - low) * N_BINS
    inside = (scale >= 0) & (scale <= N_BINS)
    bins = np.minimum(scale, N_BINS - 1).astype(np.int64)
    counts = np.stack(
        [np.bincount(bins[inside[:, j], j], minlength=N_BINS) for j in range(codes.shape[1])]
    )  # (L, N_BINS)
    worth = exact.var(axis=0) if kl is None else np.asarray(kl, np.float64)
    return Dimensions(np.argsort(-worth, kind="stable"), informative, low, high, counts)


def find_directions(codes: Floats, images: ImageSet) -> list[Direction]:
    """Return the directions of attributes, or else of classes, that some images have and others do not.

    Args:
        codes: Codes of N images, (N, L).
        images: The images, with their attributes or labels.
    """
    has: dict[str, npt.NDArray[np.bool_]] = {}
    if images.attributes is not None:
        has = dict(zip(images.attribute_names, images.attributes.T, strict=True))
    elif images.labels is not None:
        names = dict(enumerate(images.class_names))
        has = {f"class {names.get(k, k)}": images.labels == k for k in np.unique(images.labels).tolist()}
    found = []
    for name, members in has.items():
        if members.all() or not members.any():
            continue
        vector = mean_difference(codes, members)
        size = float(vector @ vector)
        if size > 0:
            along = (codes - codes.mean(axis=0, dtype=np.float64)) @ vector / size
            low, high = np.quantile(along, [TAIL, 1 - TAIL])
            found.append(Direction(name, vector, float(low), float(high)))
    return found


def map_points(
    codes: Floats, *, perplexity: float, seed: int, what: str = "t-SNE", progress: Progress = SILENT
) -> CodeMap:
    """Return the map of codes, (N, L): themselves if they are two numbers, else by t-SNE, or PCA of a few.

    Args:
        codes: The codes.
        perplexity: Effective number of neighbours, fewer if there are too few codes.
        seed: Seed of the jitter that separates equal codes, and of the height of codes of one number.
        what: What to call this in updates.
        progress: Receives the number of steps done.
    """
    n_codes, latent = codes.shape
    if latent == 2:
        return CodeMap(codes, "plane", ("z1", "z2"))
    live = codes[:, live_dimensions(codes)]
    if latent == 1 or live.shape[1] == 0:
        height = np.random.default_rng(seed).uniform(-0.1, 0.1, n_codes) * max(float(np.ptp(codes[:, 0])), 1e-6)
        return CodeMap(np.column_stack([codes[:, 0], height]), "line", ("z1", "random height"))
    if n_codes < MIN_POINTS:
        return CodeMap(embed_pca(live)[0] if n_codes > 1 else np.zeros((1, 2)), "pca", ("PC 1", "PC 2"))
    possible = possible_perplexity(perplexity, n_codes)
    n_threads = torch.get_num_threads()
    near = find_neighbours(live, int(3 * possible + 1e-6), n_threads=n_threads)
    points = embed_tsne(live, near, perplexity=possible, seed=seed, n_threads=n_threads, progress=progress, what=what)
    return CodeMap(points, "tsne", ("t-SNE 1", "t-SNE 2"))
