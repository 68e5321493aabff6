"""Scores of how unusual single images are, each larger for images that do not belong.

Some are of a network, which need a checkpoint, and some trivial, to see what the network adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf

from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.measures.importance import importance_bound
from aekit.images.measures.per_image import evaluate_images
from aekit.images.neighbours import nearest
from aekit.images.outliers.code_length import code_lengths
from aekit.images.outliers.request import Code, Score
from aekit.images.principal_components import Pca, fit_pca, max_components

Floats = npt.NDArray[np.float64]

_N_FITTED = 5000  # training images that the expected loss is fitted to

DESCRIPTIONS: dict[Score, str] = {
    "complexity": "negative ELBO (or loss of an autoencoder) beyond that of training images of equal code length",
    "reconstruction": "loss of the reconstruction from the posterior mean",
    "mse": "squared error of the same reconstruction",
    "elbo": "negative ELBO, one sample of the posterior",
    "mahalanobis": "Mahalanobis distance of the code from those of training images",
    "knn": "distance of the code from its k-th nearest of training images",
    "code-length": "length of the image as a PNG file, or compressed by LZMA with --code lz, in bits; no network",
    "pca-mse": "squared error of as many principal components; no network",
    "pca-mahalanobis": "Mahalanobis distance of principal components; no network",
    "pca-knn": "distance of principal components from the k-th nearest; no network",
}


@dataclass(frozen=True)
class Points:
    """Codes of the training images, of a network or of principal components.

    Attributes:
        codes: One row per image, (N, L).
        gaussian: Their mean and covariance, shrunk a little so that dimensions without variance do not divide by zero.
    """

    codes: Floats
    gaussian: LedoitWolf

    def mahalanobis(self, codes: Floats) -> Floats:
        """Return the distance of codes, (M, L), from the mean of those of training images, (M,)."""
        distance: Floats = np.sqrt(np.maximum(self.gaussian.mahalanobis(codes), 0.0))
        return distance


@dataclass(frozen=True)
class Reference:
    """What the training images of a checkpoint are like.

    Attributes:
        points: Their codes.
        pca: Their principal components, as many as codes have dimensions, if images have as many.
        pca_points: The codes of these.
        expected_loss: Slope and intercept of the loss of training images over their code length.
    """

    points: Points
    pca: Pca
    pca_points: Points
    expected_loss: tuple[float, float]


@dataclass(frozen=True)
class Scored:
    """Images with their scores.

    Attributes:
        images: N of them.
        codes: Their codes, or posterior means, (N, L).
        scores: Each score by its name, (N,), larger for images that do not belong.
    """

    images: ImageSet
    codes: Floats
    scores: dict[Score, Floats]


def fit_reference(
    checkpoint: LoadedCheckpoint, images: ImageSet, *, seed: int = 0, code: Code = "png", threads: int | None = None
) -> Reference:
    """Return what the training images of a checkpoint are like.

    Args:
        checkpoint: The model.
        images: Two or more.
        seed: Seed of the samples of the posterior, and of pixels that the training drew.
        code: How the length of an image is measured.
        threads: CPU threads; None uses all cores.
    """
    codes = checkpoint.encode(images).mean.astype(np.float64)
    n_components = min(codes.shape[1], max_components(images))
    pca = fit_pca(images, n_components)
    components = pca.encode_all(images, n_components).astype(np.float64, copy=False)
    some = images.subset(np.unique(np.linspace(0, len(images) - 1, _N_FITTED).astype(np.int64)))
    likelihood = _likelihood_scores(checkpoint, some, seed=seed, code=code, threads=threads)
    lengths = likelihood["code-length"]
    slope = 0.0 if np.ptp(lengths) == 0 else float(np.polyfit(lengths, _loss(likelihood), 1)[0])
    intercept = float(_loss(likelihood).mean() - slope * lengths.mean())
    return Reference(_fit(codes), pca, _fit(components), (slope, intercept))


def _fit(codes: Floats) -> Points:
    return Points(codes, LedoitWolf().fit(codes))


def score_images(
    checkpoint: LoadedCheckpoint,
    reference: Reference,
    images: ImageSet,
    *,
    k: int,
    seed: int = 0,
    own_rows: Indices | None = None,
    code: Code = "png",
    threads: int | None = None,
) -> Scored:
    """Return images with all scores that a checkpoint has for them.

    Args:
        checkpoint: The model.
        reference: What its training images are like.
        images: N images, grey also for a model of drawn ones: the likelihoods are those of pixels drawn as in training.
        k: Which nearest neighbour ``knn`` is the distance of.
        seed: Seed of the samples of the posterior, and of pixels that the training drew.
        own_rows: Row of each image among those of the reference, (N,), -1 if it is none of them: an image is no
            neighbour of itself. None if none is.
        code: How the length of an image is measured, as for the reference.
        threads: CPU threads; None uses all cores.

    Raises:
        AekitError: Some scores are not finite, as for a model whose training diverged.

    Source:
        ``complexity``: Serra et al. 2020, arXiv:1909.11480, who subtract the code length itself. That needs likelihoods
        of 8-bit pixels; of others only the part that grows with it can be removed, which is fitted.
    """
    likelihood = _likelihood_scores(checkpoint, images, seed=seed, code=code, threads=threads)
    slope, intercept = reference.expected_loss
    complexity = _loss(likelihood) - slope * likelihood["code-length"] - intercept
    scores: dict[Score, Floats] = {"complexity": complexity, **likelihood}
    codes = checkpoint.encode(images).mean.astype(np.float64)
    scores["mahalanobis"] = reference.points.mahalanobis(codes)
    scores["knn"] = nearest(reference.points.codes, codes, k, own_rows=own_rows).distances[:, -1]
    n_components = len(reference.pca.components)
    components = reference.pca.encode_all(images, n_components).astype(np.float64, copy=False)
    scores["pca-mse"] = _pca_errors(reference.pca, images, components)
    scores["pca-mahalanobis"] = reference.pca_points.mahalanobis(components)
    scores["pca-knn"] = nearest(reference.pca_points.codes, components, k, own_rows=own_rows).distances[:, -1]
    return Scored(images, codes, scores)


def _likelihood_scores(
    checkpoint: LoadedCheckpoint, images: ImageSet, *, seed: int, code: Code, threads: int | None
) -> dict[Score, Floats]:
    """Return the scores of pixels, of images drawn as in training, and their code length."""
    model, scores = checkpoint.model, dict[Score, Floats]()
    met = images.drawn(checkpoint.record.data.pixel_seed(seed))
    evaluation = evaluate_images(model, met, seed=None)
    scores["reconstruction"] = evaluation.terms["reconstruction"].astype(np.float64)
    scores["mse"] = evaluation.metrics["mse"].astype(np.float64)
    if model.config.has_prior:
        scores["elbo"] = -importance_bound(model, met, n_samples=1, seed=seed).log_p
    scores["code-length"] = code_lengths(met, code=code, threads=threads)
    return scores


def _loss(scores: dict[Score, Floats]) -> Floats:
    return scores["elbo"] if "elbo" in scores else scores["reconstruction"]


def _pca_errors(pca: Pca, images: ImageSet, components: Floats) -> Floats:
    """Return the mean squared error of each image without what its components, (N, K), explain, (N,)."""
    errors = []
    for start in range(0, len(images), 1024):
        rows = np.arange(start, min(start + 1024, len(images)))
        pixels = images.take(rows).reshape(len(rows), -1).astype(np.float64) / 255
        errors.append(np.square(pixels - pca.decode(components[rows])).mean(axis=1))
    return np.concatenate(errors)
