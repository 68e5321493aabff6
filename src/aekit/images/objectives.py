"""What training minimises: objectives with named terms, and the losses that they are made of.

Losses take tensors and return one value per image, (B,), in nats unless the name says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aekit.images.config import Loss, TrainConfig

if TYPE_CHECKING:
    from aekit.images.models.base import Autoencoder, Output


# Pixels are multiples of 1/255, so a Gaussian narrower than one such step would gain likelihood from rounding alone.
MIN_LOG_SIGMA = -math.log(255)
# All but 1e-6 of a logistic distribution of this scale lie within one step of 1/255; no narrower one is needed.
MIN_LOG_SCALE = -math.log(255 * 14)


class Objective:
    """What training minimises: a weighted sum of named terms.

    A subclass names its terms, computes them and weighs them. History, learning curves and the state of an unfinished
    run carry the names.

    Attributes:
        names: The terms in the order in which they are stored. ``mse`` is always among them: the mean over pixels and
            channels of the squared error of the mean image, for which nothing is minimised.
        needs_whole_batch: Whether a term depends on several images at once, as a total correlation does. The parts
            into which threads split a batch are then joined before the terms are computed.
    """

    names: tuple[str, ...] = ("reconstruction", "mse")
    needs_whole_batch = False

    def __init__(self, model: Autoencoder) -> None:
        self._loss: Loss = model.config.loss
        self._model = model

    def terms(self, x: Tensor, output: Output) -> dict[str, Tensor]:
        """Return the terms by name, each one value per image (B,), in nats but for ``mse`` and the loss of that name.

        Args:
            x: Images in [0, 1], (B, C, H, W).
            output: One pass of the model through them.
        """
        # Under bf16 autocast the logits come in eight bits of precision; the sums over pixels need all of fp32.
        logits = output.x_hat_logits.float()
        reconstruction = reconstruction_loss(logits, x, self._loss, self._model.log_sigma)
        with torch.no_grad():
            mse = (pixel_mean(logits, self._loss) - x).square().flatten(1).mean(1)
        return {"reconstruction": reconstruction, "mse": mse}

    def weights(self, train_config: TrainConfig, epochs_done: float) -> dict[str, float]:
        """Return the weights of the terms that are minimised, after ``epochs_done`` epochs, which may be a fraction."""
        return {"reconstruction": 1.0}

    def total(self, train_config: TrainConfig, means: Mapping[str, float]) -> float:
        """Return the sum with the weights of the end of training, also while they warm up, so that epochs compare."""
        return float(weighted_sum(means, self.weights(train_config, train_config.epochs)))


class ElboObjective(Objective):
    """The evidence lower bound with a weight on the KL divergence: reconstruction + beta KL(q(z | x) || N(0, I)).

    Source:
        Kingma & Welling 2014, arXiv:1312.6114; Higgins et al. 2017 (beta-VAE).
    """

    names = ("reconstruction", "kl", "mse")

    def terms(self, x: Tensor, output: Output) -> dict[str, Tensor]:
        """Return reconstruction, KL divergence and squared error of each image, (B,)."""
        if output.logvar is None:
            raise ValueError("a model without a prior has no KL divergence")
        kl = kl_divergence(output.mean.float(), output.logvar.float())
        return {**super().terms(x, output), "kl": kl}

    def weights(self, train_config: TrainConfig, epochs_done: float) -> dict[str, float]:
        """Return 1 for the reconstruction, and ``beta`` or what it has warmed up to for the KL divergence."""
        warmed_up = min(1.0, epochs_done / train_config.beta_warmup) if train_config.beta_warmup else 1.0
        return {"reconstruction": 1.0, "kl": train_config.beta * warmed_up}


def build_objective(model: Autoencoder) -> Objective:
    """Return what a model is trained on by default."""
    return (ElboObjective if model.config.has_prior else Objective)(model)


def weighted_sum(terms: Mapping[str, Any], weights: Mapping[str, Any]) -> Any:
    """Return the sum of the terms that have a weight, numbers or tensors, times their weights."""
    total = None
    for name, weight in weights.items():
        term = terms[name] if isinstance(weight, float) and weight == 1.0 else weight * terms[name]
        total = term if total is None else total + term
    return total


def reconstruction_loss(x_hat_logits: Tensor, x: Tensor, loss: Loss, log_sigma: Tensor | None = None) -> Tensor:
    """Return the reconstruction loss: -log p(x | z) in nats, summed over pixels, or for ``mse`` a mean over pixels.

    Args:
        x_hat_logits: Decoder output, (B, C, H, W).
        x: Images in [0, 1], (B, C, H, W).
        loss: ``bernoulli``: cross-entropy with grey pixels as probabilities. ``continuous-bernoulli``: the same with
            the density's normaliser. ``gaussian``: mean sigmoid(logits), one standard deviation for all pixels.
            ``logistic``: probability of each of the 256 values under a logistic distribution about sigmoid(logits),
            cut into steps of 1/255, with all that lies beyond at the ends, and one scale for all pixels.
            ``mse``: squared error of sigmoid(logits), averaged over pixels and channels.
        log_sigma: Log of the standard deviation, a scalar; needed for ``gaussian`` and bounded below by 1/255. Log of
            the scale for ``logistic``.

    Returns:
        One value per example, (B,).

    Source:
        Continuous Bernoulli: Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845. One learned standard deviation:
        Rybkin et al. 2021, arXiv:2006.13202. Discretised logistic: Kingma et al. 2016, arXiv:1606.04934.
    """
    if loss == "bernoulli":
        return _bernoulli(x_hat_logits, x)
    if loss == "continuous-bernoulli":
        return _bernoulli(x_hat_logits, x) - continuous_bernoulli_log_normaliser(x_hat_logits).flatten(1).sum(1)
    squared_error = (torch.sigmoid(x_hat_logits) - x).square().flatten(1)
    if loss == "mse":
        return squared_error.mean(1)
    if log_sigma is None:
        raise ValueError(f"the {loss} likelihood needs log_sigma")
    if loss == "logistic":
        return -discretised_logistic(torch.sigmoid(x_hat_logits), x, log_sigma).flatten(1).sum(1)
    log_sigma = log_sigma.clamp(min=MIN_LOG_SIGMA)
    constant = squared_error.shape[1] * (log_sigma + 0.5 * math.log(2 * math.pi))
    return 0.5 * squared_error.sum(1) * torch.exp(-2 * log_sigma) + constant


def _bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def discretised_logistic(mean: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log probability of values x, multiples of 1/255 in [0, 1], in nats, elementwise.

    The probabilities of the 256 values add up to one: 0 has all below it, 1 all above.

    Args:
        mean: Centres of the logistic distributions, in [0, 1], of the shape of x.
        x: Values.
        log_scale: Log of the scale, a scalar.

    Source:
        Kingma et al. 2016, arXiv:1606.04934, section 5.2.
    """
    scale = torch.exp(log_scale.clamp(min=MIN_LOG_SCALE))
    half = 0.5 / 255
    upper, lower = (x + half - mean) / scale, (x - half - mean) / scale
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), of which no term is rounded to 0
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half / scale))
    at_ends = torch.where(x < half, F.logsigmoid(upper), F.logsigmoid(-lower))
    return torch.where((x < half) | (x > 1 - half), at_ends, inside)


def continuous_bernoulli_log_normaliser(logits: Tensor) -> Tensor:
    """Return log C of the continuous Bernoulli density C p^x (1 - p)^(1 - x) with p = sigmoid(logits), elementwise.

    With t the logit, C = t / tanh(t / 2), and C(0) = 2.

    Source:
        Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845, equation 6, rewritten with 2 artanh(1 - 2p) = -t.
    """
    small = logits.abs() < 0.1
    t = torch.where(small, torch.ones_like(logits), logits)  # keeps 0 / 0 out of the gradient of the branch not taken
    exact = torch.log(t / torch.tanh(0.5 * t))
    series = math.log(2.0) + logits.square() / 12 - logits.pow(4) * (7 / 1440)
    return torch.where(small, series, exact)


def pixel_mean(logits: Tensor, loss: Loss) -> Tensor:
    """Return the mean pixel values in [0, 1] of the decoder's distribution, of the shape of ``logits``.

    It is sigmoid(logits), but for the continuous Bernoulli, whose mean is 1 / (1 - exp(-t)) - 1 / t for the logit t.

    Source:
        Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845, equation 8.
    """
    if loss != "continuous-bernoulli":
        return torch.sigmoid(logits)
    small = logits.abs() < 0.1
    t = torch.where(small, torch.ones_like(logits), logits)
    exact = -1 / torch.expm1(-t) - 1 / t
    return torch.where(small, 0.5 + logits / 12 - logits.pow(3) / 720, exact).clamp(0, 1)


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mean, exp(logvar)) || N(0, 1)) in nats for each latent dimension, (B, L), each >= 0.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).

    Source:
        Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mean, diag exp(logvar)) || N(0, I)) in nats, summed over the latent dimensions, (B,), each >= 0.

    Args:
        mean: Posterior means, (B, L).
        logvar: Posterior log-variances, (B, L).

    Source:
        Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    return kl_per_dimension(mean, logvar).sum(1)
