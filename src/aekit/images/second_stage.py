"""A second variational autoencoder, of codes: a density to draw codes from that is not a sum of a few Gaussians.

Source:
    Dai & Wipf 2019, Diagnosing and enhancing VAE models, arXiv:1903.05789, section 4: its second stage has as many
    latent variables as the code has dimensions, and a learned variance of what it decodes, here one per dimension.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aekit.core.adamw import PlainAdamW
from aekit.core.device import one_thread, torch_generator, without_weights

Floats = npt.NDArray[np.float64]

WIDTH = 128  # units of a hidden layer
BATCH = 256
STEPS = 4000
RATE = 3e-3
_START = -1.5  # log-variance of what is decoded: from 0, a code costs more than it tells, and is given up
HELD_OUT = 0.1  # fraction of the training codes that choose the step
CHECK_EVERY = 250  # steps
SAMPLES = 100  # importance samples of a log density
_BLOCK = 200  # codes whose importance samples are computed at once
_LEAST_VARIANCE = 1e-6  # of what is decoded, in units of the codes' own: a dimension may not vary at all


class CodeNetwork(nn.Module):
    """A VAE of standardised codes (B, L) with L latent variables and a learned variance of each dimension.

    Args:
        latent: Dimensions of a code, L.
        generator: Draws the weights; None leaves them undefined, to be loaded.
    """

    def __init__(self, latent: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.encoder = _layers([latent, WIDTH, WIDTH, 2 * latent], generator)
        self.decoder = _layers([latent, WIDTH, WIDTH, latent], generator)
        self.logvar = nn.Parameter(torch.full((latent,), _START))

    def terms(self, z: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction loss and the KL divergence in nats, each (B,), of codes z with a draw each."""
        mean, logvar = self.encoder(z).chunk(2, dim=-1)
        u = mean + torch.exp(0.5 * logvar) * noise
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(-1)
        return self.loss(z, u), kl

    def loss(self, z: Tensor, u: Tensor) -> Tensor:
        """Return -log p(z | u) in nats, (...), of codes z and latent variables u, both (..., L)."""
        logvar = self.logvar.clamp(min=math.log(_LEAST_VARIANCE))
        squares = (z - self.decoder(u)).square() / logvar.exp()
        loss: Tensor = 0.5 * (squares + logvar + math.log(2 * math.pi)).sum(-1)
        return loss

    def log_weights(self, z: Tensor, noise: Tensor) -> Tensor:
        """Return log p(z, u) - log q(u | z), (K, B), of K draws per code: their mean weight estimates p(z)."""
        mean, logvar = self.encoder(z).chunk(2, dim=-1)
        u = mean + torch.exp(0.5 * logvar) * noise
        log_ratio = 0.5 * (noise.square() + logvar - u.square()).sum(-1)  # log p(u) - log q(u | z)
        weights: Tensor = log_ratio - self.loss(z, u)
        return weights


def _layers(sizes: list[int], generator: torch.Generator | None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        # Made without weights: torch would draw them from its global generator.
        with without_weights():
            layer = nn.Linear(n_in, n_out)
        if generator is not None:
            with torch.no_grad():
                layer.weight.copy_(torch.randn(n_out, n_in, generator=generator) / math.sqrt(n_in))
                layer.bias.zero_()
        layers += [layer, nn.SiLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class SecondStage:
    """A density of codes: the second of two stages.

    Attributes:
        network: The VAE of standardised codes.
        centre: Mean of the training codes, (L,).
        scale: Their standard deviations, (L,), 1 where they do not vary.
        step: The training step whose weights these are: the one that describes held-out training codes best.
    """

    network: CodeNetwork
    centre: Floats
    scale: Floats
    step: int

    def draw(self, n: int, seed: int) -> Floats:
        """Return n codes, (n, L): latent variables from N(0, I), decoded, with the noise of the decoder."""
        latent = len(self.centre)
        noise = np.random.default_rng([seed, 6]).standard_normal((2, n, latent))
        with one_thread(), torch.inference_mode():
            u, own = torch.from_numpy(noise).float()
            variance = self.network.logvar.exp().clamp(min=_LEAST_VARIANCE)
            rows = [
                self.network.decoder(part) + variance.sqrt() * other
                for part, other in zip(torch.split(u, BATCH), torch.split(own, BATCH), strict=True)
            ]
        return np.asarray(torch.cat(rows).double().numpy() * self.scale + self.centre, np.float64)

    def log_density(self, codes: Floats) -> Floats:
        """Return a lower bound on the logarithm of the density of codes, (N, L), in nats, (N,), of 100 samples each."""
        z = torch.from_numpy((codes - self.centre) / self.scale).float()
        generator = torch.Generator().manual_seed(len(codes))
        bounds = []
        with one_thread(), torch.inference_mode():
            for block in torch.split(z, _BLOCK):
                noise = torch.randn(SAMPLES, *block.shape, generator=generator)
                weights = self.network.log_weights(block, noise)
                bounds.append(torch.logsumexp(weights.double(), 0) - math.log(SAMPLES))
        return np.asarray(torch.cat(bounds).numpy() - np.log(self.scale).sum(), np.float64)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a file of it holds: its weights by name, centre, scale and step."""
        weights = {name: value.numpy() for name, value in self.network.state_dict().items()}
        return {**weights, "centre": self.centre, "scale": self.scale, "step": np.array(self.step)}


def fit_second_stage(codes: Floats, *, seed: int) -> SecondStage:
    """Return a VAE of codes, (N, L), N >= 2, at the step that describes a tenth of them, left out of it, best.

    Its result depends on codes and seed alone: it computes on one thread of the CPU, which this small network fills.

    Args:
        codes: Codes of training images.
        seed: Seed of weights, batches, noise and of the tenth.
    """
    centre, scale = codes.mean(axis=0), codes.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    generator = torch_generator(seed, 5)
    with one_thread():
        z = torch.from_numpy((codes - centre) / scale).float()
        order = torch.randperm(len(z), generator=generator)
        n_held = max(1, round(HELD_OUT * len(z)))
        network, step = _train(z[order[n_held:]], z[order[:n_held]], generator)
    return SecondStage(network, centre, scale, step)


def _train(z: Tensor, held_out: Tensor, generator: torch.Generator) -> tuple[CodeNetwork, int]:
    """Return the network at its best step for the held-out codes, and this step."""
    network = CodeNetwork(z.shape[1], generator)
    optimiser = PlainAdamW(network.parameters())
    noise = torch.randn(held_out.shape, generator=generator)  # the same at each check
    best, best_step, weights = math.inf, 0, copy.deepcopy(network.state_dict())
    n_batch = min(BATCH, len(z))
    for step in range(1, STEPS + 1):
        rows = z[torch.randint(len(z), (n_batch,), generator=generator)]
        loss, kl = network.terms(rows, torch.randn(rows.shape, generator=generator))
        optimiser.zero_grad()
        (loss + kl).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step(RATE * (0.5 * (1 + math.cos(math.pi * (step - 1) / STEPS))))
        if step % CHECK_EVERY == 0:
            with torch.inference_mode():
                value = float(sum(network.terms(held_out, noise)).mean())  # type: ignore[union-attr]
            if value < best:
                best, best_step, weights = value, step, copy.deepcopy(network.state_dict())
    network.load_state_dict(weights)
    return network.requires_grad_(False), best_step
