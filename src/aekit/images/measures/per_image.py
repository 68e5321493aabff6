"""Losses and image quality of a model on each image of a set, and the use of its latent dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aekit.images.aggregate import Aggregate, aggregate_parts
from aekit.images.conditioning import build_loader
from aekit.images.config import TrainConfig
from aekit.images.data.image_set import ImageSet
from aekit.images.densities import code_divergence
from aekit.images.inference import FloatArray, check_finite, evaluation_mode, to_numpy
from aekit.images.latent import active_units
from aekit.images.likelihoods import pixel_mean
from aekit.images.measures.metrics import METRICS
from aekit.images.models.base import Autoencoder
from aekit.images.objectives import build_objective
from aekit.images.objectives.base import Codes, Objective
from aekit.images.steps import draw_noise
from aekit.images.training import EVALUATION_BATCH, block_terms

DEFAULTS = TrainConfig()
# Of the densities of codes under all posteriors: a tenth of an evaluation at most, and more where it is the objective.
COST, TC_COST = 3e7, 1e8


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on each image of a set, and what each latent dimension carries.

    ``terms`` and ``total`` are the training loss: with a ``seed`` the reconstruction is that of one sample z of the
    posterior, an unbiased estimate of its expectation. The metrics compare the image with the decoded posterior mean,
    the reconstruction that is shown; noise in z would only blur them.

    Attributes:
        terms: What the objective of the training sums, by its names, (N,): ``reconstruction``, -log p(x | z) in nats or
            the loss of an autoencoder, and for a VAE ``kl``, the KL divergence of the posterior from the prior in nats.
        total: Sum of the terms with the weights of the end of training, (N,); None if one of them needs what a
            checkpoint does not have, as the discriminator of ``factor``.
        metrics: Each of :data:`aekit.images.evaluation.metrics.METRICS` by its name, (N,).
        kl_per_dimension: KL divergence of each latent dimension in nats, averaged over images, (L,); None for a plain
            autoencoder. With a learned prior it is that from the prior's marginal of the dimension, and those of a
            mixture do not add up to ``kl``.
        variance: Variance over the images of each dimension's mean code, (L,).
        active: Which dimensions are active units, bool (L,).
        shared: Names of values that images have from their batch as a whole, and that so have no error over images.
        aggregate: What the KL divergence of some codes is made of under the mixture of all posteriors; None for a plain
            autoencoder and with two layers of latent variables.
    """

    terms: dict[str, FloatArray]
    total: FloatArray | None
    metrics: dict[str, FloatArray]
    kl_per_dimension: FloatArray | None
    variance: FloatArray
    active: npt.NDArray[np.bool_]
    shared: tuple[str, ...] = ()
    aggregate: Aggregate | None = None

    @property
    def per_image(self) -> dict[str, FloatArray]:
        """Return what has one value per image, (N,), by the names of result files."""
        total = {} if self.total is None else {"total": self.total}
        return {**total, **self.terms, **self.metrics}


def evaluate_images(
    model: Autoencoder, image_set: ImageSet, *, train_config: TrainConfig = DEFAULTS, seed: int | None = 0
) -> Evaluation:
    """Return losses and metrics of each image; the same seed gives the same numbers as at the end of training.

    Args:
        model: A network for images of this shape.
        image_set: N images.
        train_config: How it was trained, which has the weights of the terms.
        seed: Seed of the one sample of the posterior that ``reconstruction`` is measured at; None uses the posterior
            mean there as well.

    Raises:
        AekitError: Some of them are not finite, which happens if the training diverged.
    """
    objective = build_objective(model, train_config)
    columns: dict[str, list[FloatArray]] = {name: [] for name in (*_terms(objective), *METRICS, "mean")}
    kl_rows: list[FloatArray] = []
    codes: list[Codes] = []
    with evaluation_mode(model) as device:
        # Drawn as training does for its held-out images, so that the seed of a run repeats the numbers that it ended
        # with. An objective of several samples needs them, also where others take the mean.
        is_drawn = model.config.has_prior and (seed is not None or objective.n_samples > 1)
        noise = torch.Generator(device).manual_seed(seed or 0)
        for x, label in build_loader(model, image_set, device).in_order_with_classes(EVALUATION_BATCH):
            own_noise = draw_noise(model, objective, len(x), noise) if is_drawn else None
            measures, dimensions, code = _evaluate_batch(model, objective, x, own_noise, label, n_images=len(image_set))
            codes.append(Codes(*(value.cpu() for value in code)))
            for name, values in measures.items():
                columns[name].append(to_numpy(values))
            if dimensions is not None:
                kl_rows.append(to_numpy(dimensions))
    measured = {name: np.concatenate(values) for name, values in columns.items()}
    for name, column in measured.items():
        check_finite(model, "codes" if name == "mean" else f"{name} values", column)
    check_finite(model, "KL divergences", *kl_rows)
    terms = {name: measured[name] for name in _terms(objective)}
    unknown = set(objective.learned_names) & set(objective.weights(train_config.epochs))
    total = None if unknown else objective.total_of_images(terms).astype(np.float32)
    has_parts = model.config.has_prior and model.lower is None and is_drawn and len(image_set) > 1
    joined = Codes(*(torch.cat(each) for each in zip(*codes, strict=True))) if has_parts else None
    cost = TC_COST if "tc" in objective.names else COST
    kl = np.concatenate(kl_rows) if kl_rows else None  # (N, L)
    return Evaluation(
        terms=terms,
        total=total,
        metrics={name: measured[name] for name in METRICS},
        kl_per_dimension=None if kl is None else kl.mean(axis=0, dtype=np.float64).astype(np.float32),
        variance=measured["mean"].var(axis=0, dtype=np.float64).astype(np.float32),
        active=active_units(measured["mean"]),
        shared=(*objective.shared_names, *(("total",) if objective.shared_names else ())),
        aggregate=None if joined is None else aggregate_parts(joined.z, joined.mean, joined.logvar, cost=cost),
    )


def _terms(objective: Objective) -> list[str]:
    """Return the names of the terms that a checkpoint has; the squared error is that of the metric, of the mean."""
    return [name for name in objective.names if name not in ("mse", *objective.learned_names)]


def _evaluate_batch(
    model: Autoencoder, objective: Objective, x: Tensor, noise: Tensor | None, label: Tensor | None, *, n_images: int
) -> tuple[dict[str, Tensor], Tensor | None, Codes]:
    """Return the terms and metrics of a batch, (B,), its means and the KL of each dimension, (B, L), and its codes."""
    shown = model(x, None, label)
    mean, logvar = shown.mean, shown.logvar
    x_hat = pixel_mean(shown.x_hat_logits, model.config.loss)
    terms, codes = block_terms(model, objective, x, noise, n_images=n_images, label=label)
    measures = {name: terms[name] for name in _terms(objective)}
    measures |= {name: metric.function(x, x_hat) for name, metric in METRICS.items()}
    return {**measures, "mean": mean}, None if logvar is None else code_divergence(mean, logvar, shown.prior), codes
