"""The importance-weighted bound, against models whose answers are known in closed form."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from aekit.core.progress import Silent
from aekit.images.config import ModelConfig
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import mean_and_error
from aekit.images.likelihoods import reconstruction_loss
from aekit.images.measures import importance as module
from aekit.images.measures.importance import importance_bound, is_normalised
from aekit.images.measures.per_image import evaluate_images
from aekit.images.models import build_model
from aekit.images.models.base import Output

SIDE, LATENT, SIGMA = 8, 2, 0.1
N_PIXELS = SIDE * SIDE


class LinearGaussian(nn.Module):
    """x = W z + b + noise, whose posterior and marginal are Gaussians known in closed form.

    The columns of W are orthogonal, so that the posterior is diagonal, as the encoder's must be.
    """

    classes = None

    def __init__(self, *, exact: bool) -> None:
        super().__init__()
        self.config = ModelConfig(kind="vae", arch="dense", latent=LATENT, loss="gaussian")
        self.exact = exact
        columns, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((N_PIXELS, LATENT)))
        weights = torch.from_numpy(columns) * torch.tensor([0.3, 0.15], dtype=torch.float64)
        self.log_sigma = nn.Parameter(torch.tensor(math.log(SIGMA)))
        self.register_buffer("weights", weights.float())

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.exact:
            return torch.zeros(len(x), LATENT), torch.zeros(len(x), LATENT)
        precision = 1 + self.weights.square().sum(0) / SIGMA**2
        mean = (x.flatten(1) - 0.5) @ self.weights / SIGMA**2 / precision
        return mean, -precision.log().expand_as(mean)

    n_noise = LATENT

    def forward(self, x: Tensor, noise: Tensor, label: Tensor | None = None) -> Output:
        mean, logvar = (each.repeat_interleave(noise.shape[1], 0) for each in self.posterior(x))
        z = mean + torch.exp(0.5 * logvar) * noise.flatten(0, 1)
        return Output(self.decode_logits(z), mean, logvar, z)

    def decode_logits(self, z: Tensor) -> Tensor:
        return torch.logit(0.5 + z @ self.weights.T).view(-1, 1, SIDE, SIDE)

    def log_marginal(self, x: np.ndarray) -> np.ndarray:
        weights = self.weights.double().numpy()
        covariance = weights @ weights.T + SIGMA**2 * np.eye(N_PIXELS)
        truth: np.ndarray = multivariate_normal(np.full(N_PIXELS, 0.5), covariance).logpdf(x.reshape(-1, N_PIXELS))
        return truth


def _linear_images(n: int) -> ImageSet:
    """Return images drawn from the linear model, rounded to 8 bits, for which the closed form is as exact."""
    rng = np.random.default_rng(1)
    weights = LinearGaussian(exact=True).weights.numpy()
    x = 0.5 + rng.standard_normal((n, LATENT)) @ weights.T + SIGMA * rng.standard_normal((n, N_PIXELS))
    pixels = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
    return ImageSet(store=pixels.reshape(-1, 1, SIDE, SIDE), name="linear")


def _noise_images(n: int) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 9, 8), dtype=np.uint8)
    return ImageSet(store=pixels, name="noise", labels=np.arange(n) % 3)


def _model(kind: str = "vae", **options: object):
    torch.manual_seed(0)
    return build_model(ModelConfig(kind=kind, arch="dense", latent=3, width=8, **options), (1, 9, 8))


@pytest.mark.parametrize("n_samples", [1, 7, 64])
def test_the_bound_is_log_p_for_any_number_of_samples_if_the_posterior_is_exact(n_samples):
    model, images = LinearGaussian(exact=True), _linear_images(20)
    found = importance_bound(model, images, n_samples=n_samples, seed=3)
    bound = found.log_p
    np.testing.assert_allclose(found.effective_samples, n_samples, rtol=1e-4)  # all weights are equal
    np.testing.assert_allclose(bound, model.log_marginal(images.images / 255), rtol=0, atol=2e-3)


@pytest.mark.slow
def test_the_bound_rises_towards_log_p_with_the_samples_if_the_posterior_is_wrong():
    # Averaged over enough images that the rise is larger than the scatter of the estimates.
    model, images = LinearGaussian(exact=False), _linear_images(200)
    truth = model.log_marginal(images.images / 255).mean()
    bounds = [importance_bound(model, images, n_samples=k, seed=0).log_p.mean() for k in (1, 5, 25, 125)]
    assert all(low < high for low, high in pairwise(bounds))
    assert bounds[0] < truth - 5
    nearly = importance_bound(model, images, n_samples=5000, seed=0).log_p
    assert nearly.mean() == pytest.approx(truth, abs=0.03)


def test_one_sample_gives_the_evidence_lower_bound_on_average():
    images = ImageSet(store=np.repeat(_noise_images(1).store, 4000, axis=0), name="same")
    model = _model()
    bound = importance_bound(model, images, n_samples=1, seed=0).log_p
    evaluation = evaluate_images(model, images, seed=1)
    error = math.hypot(mean_and_error(bound)[1], mean_and_error(evaluation.total)[1])
    assert bound.mean() == pytest.approx(-evaluation.total.mean(), abs=4 * error)


def test_the_bound_does_not_depend_on_how_samples_are_batched(monkeypatch):
    model, images = _model(), _noise_images(11)
    other = importance_bound(model, images, n_samples=13, seed=1).log_p
    whole = importance_bound(model, images, n_samples=13, seed=0).log_p
    for max_rows in (1, 5, 40):  # fewer rows than samples, and images that do not divide evenly
        monkeypatch.setattr(module, "MAX_ROWS", max_rows)
        np.testing.assert_allclose(importance_bound(model, images, n_samples=13, seed=0).log_p, whole, rtol=1e-5)
    assert not np.allclose(other, whole, rtol=1e-5)


def test_the_bound_decodes_exactly_the_requested_samples_a_few_at_a_time(monkeypatch):
    model, images = _model(), _noise_images(10)
    rows: list[int] = []
    model.decoder.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    monkeypatch.setattr(module, "MAX_ROWS", 16)
    importance_bound(model, images, n_samples=7, seed=0)
    assert sum(rows) == 70
    assert max(rows) <= 16


def test_a_wrong_posterior_has_fewer_effective_samples_and_never_less_than_one():
    found = importance_bound(LinearGaussian(exact=False), _linear_images(50), n_samples=64, seed=0)
    assert (found.effective_samples >= 1 - 1e-9).all()
    assert found.effective_samples.mean() < 32
    one = importance_bound(_model(), _noise_images(5), n_samples=1)
    np.testing.assert_allclose(one.effective_samples, 1)


def test_a_plain_autoencoder_has_no_bound():
    with pytest.raises(ValueError, match="no p"):
        importance_bound(_model("ae"), _noise_images(2), n_samples=1)


def test_progress_counts_every_image(monkeypatch):
    seen = []

    class Counting(Silent):
        def update(self, what, done, total, *, lane="", detail=None):
            seen.append((what, done, total))

    monkeypatch.setattr(module, "MAX_ROWS", 9)
    importance_bound(_model(), _noise_images(7), n_samples=3, progress=Counting())
    assert seen == [("drawing 3 samples per image", done, 7) for done in (3, 6, 7)]


@pytest.mark.parametrize("loss", ["gaussian", "continuous-bernoulli", "logistic"])
def test_other_likelihoods_have_a_bound_too(loss):
    assert np.isfinite(importance_bound(_model(loss=loss), _noise_images(5), n_samples=3).log_p).all()


def test_only_binary_pixels_have_a_probability_under_a_bernoulli():
    grey = _noise_images(4)
    binary = ImageSet(np.where(grey.store > 127, 255, 0).astype(np.uint8), "binary")
    assert not is_normalised("bernoulli", grey)
    assert is_normalised("bernoulli", binary)
    one_grey = binary.store.copy()
    one_grey[-1, 0, 0, 0] = 7
    mixed = ImageSet(one_grey, "mixed")
    assert not is_normalised("bernoulli", mixed)
    assert is_normalised("bernoulli", mixed.subset(np.arange(3)))
    assert is_normalised("gaussian", grey)
    assert is_normalised("continuous-bernoulli", grey)


def test_the_cross_entropy_of_grey_pixels_integrates_to_less_than_one():
    x = torch.linspace(0, 1, 1001)
    density = torch.exp(-reconstruction_loss(torch.full((1001, 1, 1, 1), 1.2), x.view(-1, 1, 1, 1), "bernoulli"))
    assert torch.trapezoid(density, x).item() == pytest.approx(np.tanh(0.6) / 1.2, abs=1e-5)
