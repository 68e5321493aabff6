"""What every objective has: named terms, their weights, and what is minimised of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aekit.images.config import Loss, TrainConfig
from aekit.images.likelihoods import pixel_mean, reconstruction_loss

if TYPE_CHECKING:
    from aekit.images.models.base import Autoencoder, Output

Weights = Mapping[str, float | Tensor]


class Codes(NamedTuple):
    """The codes of a whole batch.

    Attributes:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).
        z: One sample of each posterior, (B, L).
    """

    mean: Tensor
    logvar: Tensor
    z: Tensor


class Objective:
    """What training minimises: a weighted sum of named terms.

    A subclass names its terms, computes them and weighs them. History, learning curves and the state of an unfinished
    run carry the names. Most terms belong to an image. Some belong to a whole batch, as a total correlation does: they
    are computed of the codes of all its images, wherever threads and processes encoded them.

    Attributes:
        names: The terms in the order in which they are stored. ``mse`` is always among them: the mean over pixels and
            channels of the squared error of the mean image, for which nothing is minimised.
        batch_names: Those of them that are computed of a whole batch.
        shared_names: Those of these that have one value for all images of a batch, and so no error over images.
        learned_names: Those of these that need what :meth:`learn` has learned, which checkpoints do not have.
        n_samples: Samples of the posterior that are decoded per image, K.
    """

    names: tuple[str, ...] = ("reconstruction", "mse")
    batch_names: tuple[str, ...] = ()
    shared_names: tuple[str, ...] = ()
    learned_names: tuple[str, ...] = ()
    n_samples = 1

    def __init__(self, model: Autoencoder, train_config: TrainConfig) -> None:
        self._loss: Loss = model.config.loss
        self._model = model
        self._train_config = train_config

    def terms(self, x: Tensor, output: Output) -> dict[str, Tensor]:
        """Return the terms of each image by name, (B,), in nats but for ``mse`` and the loss of that name.

        Args:
            x: Images in [0, 1], (B, C, H, W).
            output: One pass of the model through them, with a row for each of K samples of each image.
        """
        logits = output.x_hat_logits
        reconstruction = reconstruction_loss(logits, x, self._loss, self._model.log_sigma)
        with torch.no_grad():
            mse = (pixel_mean(logits.float(), self._loss) - x).square().flatten(1).mean(1)
        return {"reconstruction": reconstruction, "mse": mse}

    def batch_terms(self, codes: Codes, n_images: int) -> dict[str, Tensor]:
        """Return the terms of a whole batch by name: one value for each image, (B,), or one for all of them, ().

        Args:
            codes: Those of all images of the batch.
            n_images: Size of the set that the batch was drawn from.
        """
        return {}

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return the weights of the terms that are minimised, after ``epochs_done`` epochs, which may be a fraction."""
        return {"reconstruction": 1.0}

    def combine(self, means: Mapping[str, Any], weights: Weights) -> Any:
        """Return what is minimised of the mean terms: a sum over those that are among ``weights``.

        It must be a sum of something of the terms per image, and something of those of the batch: training takes the
        gradients of the two apart, and calls this with each.
        """
        return weighted_sum(means, {name: weight for name, weight in weights.items() if name in means})

    def total(self, means: Mapping[str, Any]) -> Any:
        """Return what is minimised with the weights of the end of training, also while they rise: epochs compare."""
        return self.combine(means, self.weights(self._train_config.epochs))

    def total_of_images(self, terms: Mapping[str, Any]) -> Any:
        """Return one value per image, (N,), whose mean is :meth:`total` of the mean terms, for terms (N,) of NumPy."""
        return self.total(terms)

    def state(self) -> dict[str, Tensor]:
        """Return what the objective itself has learned, for the state of an unfinished run: its tensors, not copies."""
        return {}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what :meth:`state` returned.

        Raises:
            KeyError: Something is missing.
        """

    def learn(self, codes: Codes, noise: torch.Generator) -> None:
        """Train what the objective itself has, after a step of the network, on the codes of that step's batch."""


def weighted_sum(terms: Mapping[str, Any], weights: Weights) -> Any:
    """Return the sum of the terms that have a weight, numbers or tensors, times their weights."""
    total = None
    for name, weight in weights.items():
        term = terms[name] if isinstance(weight, float) and weight == 1.0 else weight * terms[name]
        total = term if total is None else total + term
    return total
