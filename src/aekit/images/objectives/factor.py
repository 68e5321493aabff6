"""The Factor-VAE: a weight on the total correlation of the code, which a discriminator estimates."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aekit.core.adamw import build_adamw
from aekit.core.device import without_weights
from aekit.images.config import TrainConfig
from aekit.images.objectives.base import Codes
from aekit.images.objectives.elbo import ElboObjective, warmed_up

if TYPE_CHECKING:
    from aekit.images.models.base import Autoencoder

WIDTH = 128  # units of a hidden layer, at least
WIDTH_PER_DIMENSION = 4
HIDDEN_LAYERS = 3
LEARNING_RATE = 1e-3
BETAS = (0.5, 0.9)
LEAST_HALF = 2  # codes; one cannot be permuted


class DensityRatioObjective(ElboObjective):
    """reconstruction + kl + beta tc, where tc is the mean logit of a discriminator between q(z) and prod_j q(z_j).

    Codes of the batch are samples of the first; permuted in each dimension by itself they are samples of the second.
    The discriminator has three hidden layers of 128 units, or four per dimension if these are more, and a learning rate
    of 1e-3, where the paper has six layers of 1,000 and 1e-4: it must follow the codes of a run of some thousand steps,
    and a step of the paper's takes 66 ms on one core, longer than that of the network, and this one 2 ms. On Gaussian
    codes of ten dimensions with a total correlation of 2.55 nats it finds 2.3 to 2.6, from batches of 100.

    Its weights are those of the state of an unfinished run, and are not part of the finished checkpoint.

    Source:
        Kim & Mnih 2018, arXiv:1802.05983.
    """

    names = ("reconstruction", "kl", "tc", "mse")
    batch_names = ("tc",)
    learned_names = ("tc",)

    def __init__(self, model: Autoencoder, train_config: TrainConfig) -> None:
        super().__init__(model, train_config)
        device = next(model.parameters()).device
        self._discriminator = build_discriminator(model.config.latent, train_config.seed).to(device)
        groups = [{"params": list(self._discriminator.parameters())}]
        self._optimizer = build_adamw(groups, lr=LEARNING_RATE, betas=BETAS, weight_decay=0.0, device=device)

    def batch_terms(self, codes: Codes, n_images: int) -> dict[str, Tensor]:
        """Return the estimate of log q(z) / prod_j q(z_j) of each image, (B,), in nats."""
        return {"tc": self._discriminator(codes.z).squeeze(1)}

    def weights(self, epochs_done: float) -> dict[str, float]:
        """Return 1 for the bound, and ``beta`` or what it has warmed up to for the total correlation."""
        return {"reconstruction": 1.0, "kl": 1.0, "tc": warmed_up(self._train_config, epochs_done)}

    def learn(self, codes: Codes, noise: torch.Generator) -> None:
        """Take a step of the discriminator: the first half of the codes as they are against the second, permuted."""
        together, apart = torch.tensor_split(codes.z, 2)
        if len(apart) < LEAST_HALF:
            return
        logits = self._discriminator(torch.cat([together, mixed(apart, noise)])).squeeze(1)
        # log D of the codes, and log 1 - D of the permuted ones; the halves of an odd batch weigh the same.
        of_together, of_apart = logits[: len(together)], logits[len(together) :]
        loss = nn.functional.softplus(-of_together).mean() + nn.functional.softplus(of_apart).mean()
        parameters = list(self._discriminator.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Return the weights of the discriminator, and its moments once there are any."""
        tensors = {f"weight.{name}": value.detach() for name, value in self._discriminator.named_parameters()}
        for name, parameter in self._discriminator.named_parameters():
            tensors |= {f"{moment}.{name}": value for moment, value in self._optimizer.state.get(parameter, {}).items()}
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what :meth:`state` returned.

        Raises:
            KeyError: Something is missing.
        """
        moments = {}
        with torch.no_grad():
            for number, (name, parameter) in enumerate(self._discriminator.named_parameters()):
                parameter.copy_(tensors[f"weight.{name}"])
                if f"step.{name}" in tensors:
                    kinds = ("step", "exp_avg", "exp_avg_sq")
                    moments[number] = {kind: tensors[f"{kind}.{name}"].clone() for kind in kinds}
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})


def mixed(z: Tensor, noise: torch.Generator) -> Tensor:
    """Return codes whose dimensions are those of different images, (B, L), for codes z, (B, L).

    Dimension j of row i is that of image i + j in a random order. If each dimension had an order of its own, as in the
    paper, two of them would be of the same image in one of B rows: of two Gaussian dimensions with a total correlation
    of 0.51 nats, the discriminator then finds 0.41 with halves of 50, and 0.51 without. Of more dimensions than images,
    B at a time share an order.
    """
    n, n_dims = z.shape
    order = torch.rand(n, -(-n_dims // n), generator=noise, device=z.device).argsort(0)
    dimension = torch.arange(n_dims, device=z.device)
    place = (torch.arange(n, device=z.device)[:, None] + dimension) % n
    return z.gather(0, order[place, dimension // n])


def build_discriminator(latent: int, seed: int) -> nn.Sequential:
    """Return a network of codes, (B, L), whose output, (B, 1), is the logit of a code that was not permuted.

    Its weights depend on the seed alone, and leave torch's generator as it was.
    """
    source = torch.Generator().manual_seed(seed)
    sizes = [latent, *[max(WIDTH, WIDTH_PER_DIMENSION * latent)] * HIDDEN_LAYERS, 1]
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        with without_weights():
            linear = nn.Linear(n_in, n_out)
        nn.init.kaiming_normal_(linear.weight, a=0.2, generator=source)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])
