"""Learned priors: what they are made of, and that one standard component changes no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_run import small_run

from aekit.core.device import ThreadTeam
from aekit.errors import AekitError
from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.densities import Components, kl_divergence, kl_from_one
from aekit.images.models import build_model
from aekit.images.models.base import Output
from aekit.images.models.priors import VampPrior
from aekit.images.objectives import build_objective
from aekit.images.objectives.elbo import divergence
from aekit.images.run_building import build_optimizer
from aekit.images.training import State, fit

CPU = torch.device("cpu")


def _model(**options: object):
    torch.manual_seed(0)
    return build_model(ModelConfig(kind="vae", arch="dense", latent=3, width=8, **options), (1, 9, 8))


def _images(n: int = 5) -> torch.Tensor:
    return torch.rand(n, 1, 9, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("objective", [{}, {"objective": "iwae", "samples": 4}])
def test_one_standard_component_gives_every_number_of_the_standard_normal(objective):
    normal, one = _model(), _model(prior="mixture", components=1)
    config = TrainConfig(**objective)
    x, noise = _images(), torch.randn((5, 4, 3) if objective else (5, 3))
    terms, gradients = [], []
    for model in (normal, one):
        terms.append(build_objective(model, config).terms(x, model(x, noise)))
        loss = sum(value.sum() for name, value in terms[-1].items() if name != "mse")
        shared = [value for name, value in model.named_parameters() if not name.startswith("prior.")]
        gradients.append(torch.autograd.grad(loss, shared))
    assert all(torch.equal(value, terms[1][name]) for name, value in terms[0].items())
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_a_vamp_prior_is_the_posteriors_of_its_pseudo_inputs():
    model = _model(prior="vamp", components=4)
    model.prior.start_from(_images(4))
    found = model.prior_components()
    x = torch.sigmoid(model.prior.image_logits)
    torch.testing.assert_close(x, _images(4).clamp(0.05, 0.95))
    mean, logvar = model.posterior(x)
    torch.testing.assert_close(found, Components(mean, logvar, torch.full((4,), 0.25).log()))


def test_the_divergence_from_a_mixture_is_unbiased():
    # A mixture of equal components is one Gaussian, whose divergence is known.
    n, generator = 200_000, torch.Generator().manual_seed(0)
    mean, logvar = torch.tensor([[0.4, -1.0]]), torch.tensor([[-0.7, 0.2]])
    one = Components(torch.tensor([[0.2, 0.5]]), torch.tensor([[0.3, -0.4]]), torch.zeros(1))
    many = Components(one.mean.repeat(3, 1), one.logvar.repeat(3, 1), torch.full((3,), 1 / 3).log())
    z = mean + torch.exp(0.5 * logvar) * torch.randn(n, 2, generator=generator)
    sampled = divergence(Output(z, mean.expand(n, 2), logvar.expand(n, 2), z, many))
    error = sampled.std() / np.sqrt(n)
    assert abs(sampled.mean() - kl_from_one(mean, logvar, one).item()) < 4 * error
    assert abs(sampled.mean() - kl_divergence(mean, logvar).item()) > 20 * error


@pytest.mark.parametrize("network", [{"prior": "mixture", "components": 3}, {"prior": "vamp", "components": 3}])
@pytest.mark.parametrize("loss", ["bernoulli", "gaussian"])
def test_a_learned_prior_is_trained_and_does_not_decay(network, loss):
    run = small_run(n=40, lr=1e-2, epochs=3, network=network, loss=loss)
    optimizer = build_optimizer(run.model, run.train_config, CPU)
    free = {id(value) for group in optimizer.param_groups if not group["weight_decay"] for value in group["params"]}
    prior = dict(run.model.prior.named_parameters())
    own = {id(value) for value in (*prior.values(), run.model.log_sigma) if value is not None}
    assert free == own
    before = {name: value.detach().clone() for name, value in prior.items()}
    with ThreadTeam(1):
        fit(run, State())
    assert all(not torch.equal(value, before[name]) for name, value in prior.items())


def test_pseudo_inputs_do_not_go_through_batch_norm():
    with pytest.raises(AekitError, match=r"^--prior: vamp .* batch norm; use conv, dense, mlp or resize-conv"):
        build_model(ModelConfig(arch="blocks", prior="vamp"), (1, 16, 16))
    for arch in ("conv", "dense", "mlp"):
        assert isinstance(build_model(ModelConfig(arch=arch, prior="vamp"), (1, 16, 16)).prior, VampPrior)
    assert isinstance(build_model(ModelConfig(arch="resize-conv", prior="vamp"), (1, 28, 28)).prior, VampPrior)
