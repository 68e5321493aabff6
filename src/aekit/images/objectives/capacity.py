"""A KL divergence that is held at a capacity, or has some nats free in each dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from aekit.images.densities import kl_divergence, kl_per_dimension
from aekit.images.objectives.base import Codes, Weights, weighted_sum
from aekit.images.objectives.elbo import ElboObjective, warmed_up

if TYPE_CHECKING:
    from aekit.images.models.base import Output


class CapacityObjective(ElboObjective):
    """reconstruction + beta |KL - C|, of the mean KL divergence of the batch; C rises linearly from 0.

    Source:
        Burgess et al. 2018, arXiv:1804.03599.
    """

    batch_names = ("kl",)

    def terms(self, x: Tensor, output: Output) -> dict[str, Tensor]:
        """Return reconstruction and squared error of each image, (B,)."""
        terms = super().terms(x, output)
        del terms["kl"]
        return terms

    def batch_terms(self, codes: Codes, n_images: int) -> dict[str, Tensor]:
        """Return the KL divergence of each image, (B,), whose mean is held at the capacity."""
        return {"kl": kl_divergence(codes.mean, codes.logvar)}

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return 1 for the reconstruction, ``beta`` for the distance from the capacity, and the capacity in nats."""
        config = self._train_config
        n_epochs = config.epochs if config.capacity_warmup is None else config.capacity_warmup
        fraction = min(1.0, epochs_done / n_epochs) if n_epochs else 1.0
        return {"reconstruction": 1.0, "kl": config.beta, "capacity": (config.capacity or 0.0) * fraction}

    def combine(self, means: Mapping[str, Any], weights: Weights) -> Any:
        """Return what is minimised of the mean terms."""
        distance = {"kl": abs(means["kl"] - weights["capacity"])} if "kl" in means else {}
        others = {name: means[name] for name in means if name == "reconstruction"}
        return weighted_sum({**others, **distance}, {name: weights[name] for name in (*others, *distance)})

    def total_of_images(self, terms: Mapping[str, Any]) -> Any:
        """Return values of images, (N,), whose mean is what is minimised: of the distance, which side it is on."""
        weights = self.weights(self._train_config.epochs)
        distance = terms["kl"] - weights["capacity"]
        return terms["reconstruction"] + weights["kl"] * np.sign(distance.mean(dtype=np.float64)) * distance


class FreeBitsObjective(ElboObjective):
    """reconstruction + beta kl_free, where kl_free = sum_j max(L, mean KL of dimension j over the batch).

    Source:
        Kingma et al. 2016, arXiv:1606.04934, appendix C.8.
    """

    names = ("reconstruction", "kl", "kl_free", "mse")
    batch_names = ("kl_free",)
    shared_names = ("kl_free",)

    def batch_terms(self, codes: Codes, n_images: int) -> dict[str, Tensor]:
        """Return the divergence that is minimised, ()."""
        each = kl_per_dimension(codes.mean, codes.logvar).mean(0)
        return {"kl_free": each.clamp(min=self._train_config.free_bits or 0.0).sum()}

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return 1 for the reconstruction, and ``beta`` or what it has warmed up to for ``kl_free``."""
        return {"reconstruction": 1.0, "kl_free": warmed_up(self._train_config, epochs_done)}
