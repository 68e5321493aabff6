"""InfoVAE: the codes of a batch are drawn to the prior as a whole, not each posterior for itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aekit.images.objectives.base import Codes
from aekit.images.objectives.elbo import ElboObjective, warmed_up


class DiscrepancyObjective(ElboObjective):
    """reconstruction + beta mmd, the squared maximum mean discrepancy of codes and N(0, I); ``kl`` costs nothing.

    Source:
        Zhao, Song & Ermon 2017, arXiv:1706.02262, with alpha = 1 and lambda = beta.
    """

    names = ("reconstruction", "kl", "mmd", "mse")
    batch_names = ("mmd",)
    shared_names = ("mmd",)

    def batch_terms(self, codes: Codes, n_images: int) -> dict[str, Tensor]:
        """Return the discrepancy of the batch, ()."""
        return {"mmd": squared_mmd(codes.z)}

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return 1 for the reconstruction, and ``beta`` or what it has warmed up to for the discrepancy."""
        return {"reconstruction": 1.0, "mmd": warmed_up(self._train_config, epochs_done)}


def squared_mmd(z: Tensor) -> Tensor:
    """Return an unbiased estimate, (), of MMD^2 between the distribution of codes z, (B, L), and N(0, I).

    The kernel is exp(-|z - z'|^2 / (2 L)), of which E |z - z'|^2 = 2 L under the prior. Its expectations over the prior
    have a formula, so nothing is drawn: an estimate has the noise of the codes alone. It is 0 in expectation for codes
    of the prior, and so below 0 for about half of such batches. One code has no pair, and 0.

    Source:
        Gretton et al. 2012 (Journal of Machine Learning Research 13, 723-773), equation 3.
    """
    n, n_dims = z.shape
    if n < 2:
        return 0.0 * z.sum()
    scale = float(n_dims)  # the square of the bandwidth
    products = z @ z.t()
    norms = products.diagonal()
    kernel = torch.exp(-(norms[:, None] + norms - 2 * products) / (2 * scale))
    pairs = (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
    to_prior = torch.exp(-norms / (2 * (scale + 1))).mean() * math.pow(scale / (scale + 1), n_dims / 2)
    return pairs - 2 * to_prior + math.pow(scale / (scale + 2), n_dims / 2)
