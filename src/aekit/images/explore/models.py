"""Everything that a page needs of one model: its layers, its codes, their map and directions, and what to check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from aekit.core.progress import SILENT, Progress
from aekit.images.conditioning import class_numbers
from aekit.images.data.image_set import ImageSet
from aekit.images.explore.codes import (
    MAX_DIRECTIONS,
    CodeMap,
    Dimensions,
    Direction,
    find_directions,
    map_points,
    summarise,
)
from aekit.images.explore.network import Network, Precision, build_network
from aekit.images.explore.numbers import Numbers
from aekit.images.explore.reference import N_CODES, Reference, build_reference, choose_precision
from aekit.images.explore.request import ExploreRequest
from aekit.images.inference import decode_codes, mean_divergence
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.measures.quality import mse
from aekit.images.prior import CodePrior, read_prior

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

_BLOCK = 500  # images decoded at a time


@dataclass(frozen=True)
class ModelOnPage:
    """A model as a page shows it.

    Attributes:
        checkpoint: The model.
        network: Its layers.
        precision: How their weights are stored.
        dimensions: What sliders need.
        kl: KL divergence of each dimension in nats, (L,); None for a plain autoencoder.
        variance: Variance of each dimension over images, (L,).
        centre: Mean code, (L,).
        prior: The prior; for a plain autoencoder None.
        factor: Matrix that makes samples of N(0, I) those of a Gaussian fitted to the codes, (L, L); for a VAE None.
        directions: Of attributes or classes.
        map: Where the images of the page lie.
        codes: Their codes, or posterior means, (N, L).
        sd: Standard deviations of their posteriors, (N, L); None for a plain autoencoder.
        errors: Mean squared error of each reconstruction, (N,).
        reference: What the page is checked on.
    """

    checkpoint: LoadedCheckpoint
    network: Network
    precision: Precision
    dimensions: Dimensions
    kl: Floats | None
    variance: Floats
    centre: Floats
    prior: CodePrior | None
    factor: Floats | None
    directions: list[Direction]
    map: CodeMap
    codes: Floats
    sd: Floats | None
    errors: Floats
    reference: Reference

    def facts(self) -> tuple[dict[str, Any], bytes, bytes]:
        """Return what the page reads of the model, its arrays and its weights."""
        numbers, dimensions = Numbers(), self.dimensions
        for name in ("low", "high", "counts"):
            numbers.add(name, getattr(dimensions, name))
        numbers.add("kl", [] if self.kl is None else self.kl)
        for name in ("variance", "centre", "codes", "errors"):
            numbers.add(name, getattr(self, name))
        numbers.add("sd", [] if self.sd is None else self.sd)
        numbers.add("map", self.map.points)
        numbers.add("vectors", [each.vector for each in self.directions])
        if self.prior is not None:
            for name in ("weight", "mean", "sd"):
                numbers.add(f"prior_{name}", getattr(self.prior, name))
        if self.factor is not None:
            numbers.add("factor", self.factor)
        reference = self.reference
        for name in ("codes", "pixels", "image_codes", "scale"):
            numbers.add(f"reference_{name}", getattr(reference, name))
        network, weights = self.network.pack(self.precision)
        classes = self.checkpoint.model.classes
        facts = {
            "name": self.checkpoint.name,
            "label": self.checkpoint.label,
            "title": self.checkpoint.title,
            "latent": self.codes.shape[1],
            "order": dimensions.order.tolist(),
            "informative": dimensions.informative.tolist(),
            "map_kind": self.map.kind,
            "axis_names": self.map.axis_names,
            "directions": [{"name": each.name, "low": each.low, "high": each.high} for each in self.directions],
            "classes": [] if classes is None else list(classes.names),
            "reference_labels": None if reference.labels is None else reference.labels.tolist(),
            "image_labels": None if reference.image_labels is None else reference.image_labels.tolist(),
            "network": network,
            "numbers": numbers.places,
        }
        return facts, numbers.data, weights


def study_model(
    checkpoint: LoadedCheckpoint,
    images: ImageSet,
    rows: Indices,
    request: ExploreRequest,
    *,
    progress: Progress = SILENT,
) -> ModelOnPage:
    """Return what a page shows of a model.

    Ranges, histograms, directions and what stands for the prior of an autoencoder are those of the codes of all images.

    Args:
        checkpoint: The model.
        images: All images of the split.
        rows: Those on the page, (N,).
        request: How to map them.
        progress: Receives updates and notices.

    Raises:
        AekitError: Codes are not finite, or a layer of the model cannot be computed in a page.
    """
    network = build_network(checkpoint.model)
    codes = checkpoint.encode(images)
    kl = None if codes.logvar is None else mean_divergence(checkpoint.model, codes)
    prior = read_prior(checkpoint.model) if codes.logvar is not None else None
    factor = _factor(codes.mean) if prior is None else None
    centre = codes.mean.mean(axis=0, dtype=np.float64)
    samples = _samples(N_CODES // 2, request.seed, centre, prior, factor)
    reference = build_reference(checkpoint, images, samples, codes.mean)
    directions = find_directions(codes.mean, images)
    if len(directions) > MAX_DIRECTIONS:
        progress.notice(f"{checkpoint.path}: the page has the first {MAX_DIRECTIONS} of {len(directions)} directions")
    return ModelOnPage(
        checkpoint,
        network,
        choose_precision(network, reference),
        summarise(codes.mean, kl, prior),
        kl,
        codes.mean.var(axis=0, dtype=np.float64),
        centre,
        prior,
        factor,
        directions[:MAX_DIRECTIONS],
        map_points(
            codes.mean[rows],
            perplexity=request.perplexity,
            seed=request.seed,
            what=f"{checkpoint.path.name}: t-SNE",
            progress=progress,
        ),
        codes.mean[rows],
        None if codes.logvar is None else np.exp(0.5 * codes.logvar[rows]),
        _errors(checkpoint, images.subset(rows), codes.mean[rows]),
        reference,
    )


def _factor(codes: Floats) -> Floats:
    """Return a matrix A with A A^T the covariance of codes, (L, L), also of codes that lie in a plane."""
    covariance = np.atleast_2d(np.cov(codes.astype(np.float64), rowvar=False)) if len(codes) > 1 else np.zeros((1, 1))
    values, vectors = np.linalg.eigh(np.broadcast_to(covariance, (codes.shape[1],) * 2))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)), np.float64)


def _samples(n: int, seed: int, centre: Floats, prior: CodePrior | None, factor: Floats | None) -> Floats:
    """Return n codes as the page draws them: of the prior, or of the Gaussian that stands for it."""
    if prior is not None:
        return prior.draw(n, seed)
    assert factor is not None
    return np.asarray(centre + np.random.default_rng(seed).standard_normal((n, len(factor))) @ factor.T, np.float64)


def _errors(checkpoint: LoadedCheckpoint, images: ImageSet, codes: Floats) -> Floats:
    """Return the mean squared error of each image's reconstruction, (N,)."""
    classes = class_numbers(checkpoint.model, images)
    errors = []
    for start in range(0, len(images), _BLOCK):
        part = np.arange(start, min(start + _BLOCK, len(images)))
        decoded = decode_codes(checkpoint.model, codes[part], labels=None if classes is None else classes[part])
        errors.append(mse(torch.from_numpy(images.take(part)).float() / 255, torch.from_numpy(decoded)).numpy())
    return np.concatenate(errors)
