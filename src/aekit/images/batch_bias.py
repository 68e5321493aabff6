"""How far the total correlation that an objective estimates from batches is from that of all images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from aekit.errors import count
from aekit.images.aggregate import MIXTURE_IMAGES, aggregate_parts
from aekit.images.data.batches import ImageLoader, split_batches
from aekit.images.inference import evaluation_mode, mean_and_error
from aekit.images.models.base import Autoencoder
from aekit.images.models.lower_layer import draw
from aekit.images.objectives.base import Codes, Objective
from aekit.images.training import EVALUATION_BATCH

_COST = 3e7  # densities of a number where no objective needs them: a third of a second


@dataclass(frozen=True)
class BatchBias:
    """Two estimates of a total correlation in nats at the same codes.

    Attributes:
        all: Under the mixture of the posteriors of all images.
        batch: As the objective estimates it, from batches of the size of training.
        bias: ``batch`` - ``all``.
        bias_error: Standard error of the bias over the codes; None for a single one.
        batch_size: Codes of a batch.
        images: Posteriors of the mixture.
        codes: Codes at which both were estimated.
    """

    all: float
    batch: float
    bias: float
    bias_error: float | None
    batch_size: int
    images: int
    codes: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as headers have it."""
        return asdict(self)

    def in_words(self, *, is_learned: bool) -> str:
        """Return it in a sentence; ``is_learned`` if a discriminator estimates it."""
        error = "" if self.bias_error is None else f" ± {self.bias_error:.1g}"
        text = (
            f"total correlation of {count(self.images, 'test image')}: {self.all:.4g} nats under the mixture of all "
            f"their posteriors, {self.batch:.4g} "
        )
        if is_learned:
            return f"{text}by the discriminator: {self.bias:+.3g}{error}"
        return (
            f"{text}from batches of {self.batch_size} as in training: a bias of {self.bias:+.3g}{error}; estimates "
            "from batches may be too low, even negative, or too high"
        )


def batch_bias(
    model: Autoencoder, objective: Objective, images: ImageLoader, *, batch_size: int, seed: int
) -> BatchBias | None:
    """Return how far the estimate of an objective's total correlation is off; None without a finite one.

    Args:
        model: What was trained.
        objective: What it was trained on.
        images: The set whose total correlation it is; of more than 10,000 images, evenly spaced ones.
        batch_size: Images of a batch in training.
        seed: Seed of the sample of each posterior.
    """
    if "tc" not in objective.names or len(images) < 2:
        return None
    codes = _codes(model, images, seed)
    n_images = len(codes.z)
    found = aggregate_parts(*(value.cpu() for value in (codes.z, codes.mean, codes.logvar)), least=2 * batch_size)
    # Images may come sorted by class, and the batches of training do not.
    rows = found.rows[(order := torch.randperm(len(found.rows), generator=torch.Generator().manual_seed(seed)))]
    batches = [batch for batch in split_batches(rows, batch_size) if len(batch) in (batch_size, len(rows))]
    with torch.inference_mode():
        parts = [objective.batch_terms(Codes(*(each[batch] for each in codes)), n_images)["tc"] for batch in batches]
    of_batch = torch.cat(parts).double().cpu()
    exact = found.parts.tc[order][: len(of_batch)]
    bias, error = mean_and_error((of_batch - exact).numpy())
    if not math.isfinite(bias):
        return None
    return BatchBias(
        all=float(exact.mean()),
        batch=float(of_batch.mean()),
        bias=bias,
        bias_error=error,
        batch_size=len(batches[0]),
        images=n_images,
        codes=len(of_batch),
    )


def total_correlation(model: Autoencoder, images: ImageLoader, *, seed: int) -> dict[str, Any] | None:
    """Return the total correlation of codes under the mixture of the posteriors of all images, as headers have it.

    It is measured in the same way for every objective, so that models compare: ``all`` in nats, its standard error
    ``all_error`` over the codes, and the numbers of ``images`` and ``codes``. None for models that have none: of one
    latent dimension, of two layers of latent variables, autoencoders, and where a density overflows, as after a
    training that diverged.

    Args:
        model: What was trained.
        images: The set whose total correlation it is; of more than 10,000 images, evenly spaced ones.
        seed: Seed of the sample of each posterior.
    """
    config = model.config
    if not config.has_prior or config.n_lower or config.latent == 1 or len(images) < 2:
        return None
    codes = _codes(model, images, seed)
    found = aggregate_parts(*(value.cpu() for value in (codes.z, codes.mean, codes.logvar)), cost=_COST)
    value, error = mean_and_error(found.parts.tc.numpy())
    if not (math.isfinite(value) and math.isfinite(error)):
        return None
    return {"all": value, "all_error": error, "images": found.n_images, "codes": len(found.rows)}


def _codes(model: Autoencoder, images: ImageLoader, seed: int) -> Codes:
    rows = torch.linspace(0, len(images) - 1, min(len(images), MIXTURE_IMAGES), dtype=torch.float64).round().long()
    means, logvars = [], []
    with evaluation_mode(model) as device:
        batches = split_batches(rows.to(device), EVALUATION_BATCH)
        for batch, x in zip(batches, images.batches(batches), strict=True):
            mean, logvar = model.posterior(x, images.classes(batch))
            assert logvar is not None
            means.append(mean.float())
            logvars.append(logvar.float())
        mean, logvar = torch.cat(means), torch.cat(logvars)
        noise = torch.randn(mean.shape, generator=torch.Generator(device).manual_seed(seed), device=device)
        return Codes(mean, logvar, draw(mean, logvar, noise))
