"""The importance-weighted bound and its two gradients, against the formula written out."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.models import build_model
from aekit.images.objectives import build_objective
from aekit.images.objectives.elbo import ElboObjective
from aekit.images.objectives.iwae import ImportanceWeightedObjective

K = 6


def _model(**options: object):
    torch.manual_seed(0)
    model = build_model(ModelConfig(kind="vae", arch="dense", latent=3, width=8, **options), (1, 9, 8))
    with torch.no_grad():  # far from the prior, so that weights differ
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def _images(n: int = 4) -> torch.Tensor:
    return (torch.rand(n, 1, 9, 8, generator=torch.Generator().manual_seed(1)) < 0.3).float()


def _written_out(model, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return log w of each image and sample, (B, K), by a loop over them with torch's distributions."""
    rows = []
    for image, draws in zip(x, noise, strict=True):
        mean, logvar = model.posterior(image[None])
        posterior = Normal(mean, torch.exp(0.5 * logvar))
        log_weights = []
        for draw in draws:
            z = mean + torch.exp(0.5 * logvar) * draw
            log_p = Bernoulli(logits=model.decode_logits(z)).log_prob(image[None]).sum()
            log_weights.append(log_p + Normal(0.0, 1.0).log_prob(z).sum() - posterior.log_prob(z).sum())
        rows.append(torch.stack(log_weights))
    return torch.stack(rows)


def test_the_bound_is_the_mean_weight_written_out():
    model, x, noise = _model(), _images(), torch.randn(4, K, 3)
    objective = build_objective(model, TrainConfig(objective="iwae", samples=K))
    terms = objective.terms(x, model(x, noise))
    log_weights = _written_out(model, x, noise)
    torch.testing.assert_close(terms["bound"], -(torch.logsumexp(log_weights, 1) - math.log(K)))
    assert objective.total({name: value.mean() for name, value in terms.items()}) == terms["bound"].mean()


def test_more_samples_raise_the_bound():
    model, x = _model(), _images(1).expand(2000, -1, -1, -1)
    bounds = []
    for k in (2, 10, 50):
        objective = build_objective(model, TrainConfig(objective="iwae", samples=k))
        bounds.append(-objective.terms(x, model(x, torch.randn(2000, k, 3)))["bound"].mean().item())
    assert bounds[0] < bounds[1] < bounds[2]


def test_one_sample_is_the_evidence_lower_bound():
    config = TrainConfig(objective="iwae", samples=1)
    assert type(build_objective(_model(), config)) is ElboObjective
    assert type(build_objective(_model(), TrainConfig(objective="iwae"))) is ImportanceWeightedObjective


def test_path_gradients_of_one_sample_vanish_where_the_posterior_is_exact():
    # A decoder that ignores its code has the prior as posterior: any other gradient of the encoder is noise.
    model, x = _model(), _images(1)
    with torch.no_grad():
        model.decoder[0].weight.zero_()
        for head in (model.mean_head, model.logvar_head):
            head.weight.zero_()
            head.bias.zero_()
    gradients = {}
    for dreg in (False, True):
        config = TrainConfig(objective="iwae", samples=1 if dreg else 2, dreg=dreg)
        objective = build_objective(model, config)
        noise = torch.randn((1, 3) if dreg else (1, 2, 3))
        bound = objective.terms(x, model(x, noise))["bound"].sum()
        gradients[dreg] = torch.autograd.grad(bound, [model.mean_head.bias, model.logvar_head.bias])
    assert all(gradient.abs().max() < 1e-6 for gradient in gradients[True])
    assert all(gradient.abs().max() > 1e-3 for gradient in gradients[False])


def test_gradients_are_those_of_the_bound():
    model, x, noise = _model(), _images(), torch.randn(4, K, 3)
    objective = build_objective(model, TrainConfig(objective="iwae", samples=K))
    found = torch.autograd.grad(objective.terms(x, model(x, noise))["bound"].sum(), list(model.parameters()))
    bound = torch.logsumexp(_written_out(model, x, noise), 1).sum()
    for mine, truth in zip(found, torch.autograd.grad(-bound, list(model.parameters())), strict=True):
        torch.testing.assert_close(mine, truth, rtol=1e-3, atol=1e-5)


def test_doubly_reparameterised_gradients_are_the_estimator_written_out():
    # Tucker et al. 2019, equation 8: sum_k w_k^2 d log w_k / d z_k d z_k / d phi for the encoder.
    model, x, noise = _model(), _images(), torch.randn(4, K, 3)
    objective = build_objective(model, TrainConfig(objective="iwae", samples=K, dreg=True))
    encoder = [*model.encoder.parameters(), *model.mean_head.parameters(), *model.logvar_head.parameters()]
    decoder = list(model.decoder.parameters())
    terms = objective.terms(x, model(x, noise))
    found = torch.autograd.grad(terms["bound"].sum(), [*encoder, *decoder])
    weights = torch.softmax(_written_out(model, x, noise).detach(), 1)
    frozen = copy.deepcopy(model)
    surrogate = torch.zeros(())
    for number, (image, draws) in enumerate(zip(x, noise, strict=True)):
        mean, logvar = model.posterior(image[None])
        fixed_mean, fixed_logvar = (each.detach() for each in frozen.posterior(image[None]))
        for k, draw in enumerate(draws):
            z = mean + torch.exp(0.5 * logvar) * draw
            log_p = Bernoulli(logits=frozen.decode_logits(z)).log_prob(image[None]).sum()
            log_q = Normal(fixed_mean, torch.exp(0.5 * fixed_logvar)).log_prob(z).sum()
            log_weight = log_p + Normal(0.0, 1.0).log_prob(z).sum() - log_q
            surrogate = surrogate - weights[number, k] ** 2 * log_weight
    truth = torch.autograd.grad(surrogate, encoder)
    plain = torch.autograd.grad(-torch.logsumexp(_written_out(model, x, noise), 1).sum(), decoder)
    for mine, other in zip(found, [*truth, *plain], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("layers", [{}, {"stochastic_layers": 2, "lower_latent": 5}], ids=["1 layer", "2 layers"])
@pytest.mark.parametrize("dreg", [False, True])
def test_both_gradients_of_the_encoder_have_the_same_expectation(dreg, layers):
    model, x = _model(**layers), _images(1)
    n = 4000
    objective = build_objective(model, TrainConfig(objective="iwae", samples=3, dreg=dreg))
    noise = torch.randn(n, 3, model.n_noise, generator=torch.Generator().manual_seed(5))
    # That of the posterior's first layer: with two of them the gradient comes by way of both.
    weights = (model.lower or model).mean_head.bias
    each = []
    for part in noise.split(200):
        terms = objective.terms(x.expand(len(part), -1, -1, -1), model(x.expand(len(part), -1, -1, -1), part))
        each.append(torch.autograd.grad(terms["bound"].mean(), weights)[0])
    mean, error = torch.stack(each).mean(0), torch.stack(each).std(0) / math.sqrt(len(each))
    # A reference of its own draws, by the other estimator.
    other = build_objective(model, TrainConfig(objective="iwae", samples=3, dreg=not dreg))
    noise = torch.randn(n, 3, model.n_noise, generator=torch.Generator().manual_seed(6))
    x_rows = x.expand(n, -1, -1, -1)
    truth = torch.autograd.grad(other.terms(x_rows, model(x_rows, noise))["bound"].mean(), weights)[0]
    assert bool(((mean - truth).abs() < 6 * error + 0.02).all()), (mean, truth, error)


def test_two_layers_are_weighed_by_all_their_densities():
    model, x, noise = _model(stochastic_layers=2, lower_latent=5), _images(), torch.randn(4, K, 8)
    objective = build_objective(model, TrainConfig(objective="iwae", samples=K))
    terms = objective.terms(x, model(x, noise))
    rows = []
    for image, draws in zip(x, noise, strict=True):
        lower_mean, lower_logvar = model.lower.posterior(model.encoder(image[None]))
        log_weights = []
        for draw in draws:
            below = lower_mean + torch.exp(0.5 * lower_logvar) * draw[3:]
            features = model.lower.up(below)
            mean, logvar = model.mean_head(features), model.logvar_head(features)
            z = mean + torch.exp(0.5 * logvar) * draw[:3]
            prior_mean, prior_logvar = model.lower.prior(z)
            log_weights.append(
                Bernoulli(logits=model.decoder(below)).log_prob(image[None]).sum()
                + Normal(prior_mean, torch.exp(0.5 * prior_logvar)).log_prob(below).sum()
                - Normal(lower_mean, torch.exp(0.5 * lower_logvar)).log_prob(below).sum()
                + Normal(0.0, 1.0).log_prob(z).sum()
                - Normal(mean, torch.exp(0.5 * logvar)).log_prob(z).sum()
            )
        rows.append(torch.stack(log_weights))
    truth = -(torch.logsumexp(torch.stack(rows), 1) - math.log(K))
    torch.testing.assert_close(terms["bound"], truth)


def test_doubly_reparameterised_gradients_of_two_layers_are_the_estimator_written_out():
    # As for one layer with z = (lower, code), where log w is a function of z alone.
    model, x, noise = _model(stochastic_layers=2, lower_latent=5), _images(1), torch.randn(1, K, 8)
    objective = build_objective(model, TrainConfig(objective="iwae", samples=K, dreg=True))
    lower = model.lower
    heads = (lower.mean_head, lower.logvar_head, lower.up, model.mean_head, model.logvar_head)
    encoder = [each for module in (model.encoder, *heads) for each in module.parameters()]
    found = torch.autograd.grad(objective.terms(x, model(x, noise))["bound"].sum(), encoder)
    frozen = copy.deepcopy(model)
    fixed = [each.detach() for each in frozen.lower.posterior(frozen.encoder(x))]
    log_weights = []
    for draw in noise[0]:
        mean, logvar = lower.posterior(model.encoder(x))
        below = mean + torch.exp(0.5 * logvar) * draw[3:]
        up = lower.up(below)
        z = model.mean_head(up) + torch.exp(0.5 * model.logvar_head(up)) * draw[:3]
        log_weights.append(_log_weight_of(frozen, x, below, z, *fixed))
    log_weights = torch.stack(log_weights)
    weights = torch.softmax(log_weights.detach(), 0)
    truth = torch.autograd.grad(-(weights.square() * log_weights).sum(), encoder)
    for mine, other in zip(found, truth, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def _log_weight_of(model, x, below, z, lower_mean, lower_logvar) -> torch.Tensor:
    """Return log w of one sample of both layers as a function of the sample, for one image (1, C, H, W)."""
    up = model.lower.up(below)
    prior_mean, prior_logvar = model.lower.prior(z)
    return (
        Bernoulli(logits=model.decoder(below)).log_prob(x).sum()
        + Normal(prior_mean, torch.exp(0.5 * prior_logvar)).log_prob(below).sum()
        + Normal(0.0, 1.0).log_prob(z).sum()
        - Normal(lower_mean, torch.exp(0.5 * lower_logvar)).log_prob(below).sum()
        - Normal(model.mean_head(up), torch.exp(0.5 * model.logvar_head(up))).log_prob(z).sum()
    )
