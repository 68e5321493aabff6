"""Densities of codes: against scipy, moments of what is drawn, and the truth of known mixtures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from aekit.core.array_files import write_arrays
from aekit.errors import AekitError
from aekit.images.code_density import CodeDensity, _fit_gaussian, _fit_mixture, fit_density
from aekit.images.session import open_session

DENSITY = CodeDensity(
    weight=np.array([0.25, 0.75]),
    mean=np.array([[0.0, 5.0], [-8.0, 1.0]]),
    covariance=np.array([[[1.0, 0.4], [0.4, 2.0]], [[0.5, -0.2], [-0.2, 0.1]]]),
)


def test_log_densities_are_those_of_scipy():
    codes = np.random.default_rng(0).normal(0, 3, (50, 2))
    parts = [
        np.log(w) + multivariate_normal(m, c).logpdf(codes)
        for w, m, c in zip(DENSITY.weight, DENSITY.mean, DENSITY.covariance, strict=True)
    ]
    assert DENSITY.log_density(codes) == pytest.approx(logsumexp(parts, axis=0), rel=1e-4)


def test_what_is_drawn_has_the_moments_of_the_mixture_and_repeats():
    drawn = DENSITY.draw(100_000, 3)
    assert drawn.mean(axis=0) == pytest.approx(DENSITY.weight @ DENSITY.mean, abs=0.05)
    near = np.linalg.norm(drawn - DENSITY.mean[0], axis=1) < np.linalg.norm(drawn - DENSITY.mean[1], axis=1)
    assert near.mean() == pytest.approx(0.25, abs=0.01)
    assert np.cov(drawn[near].T) == pytest.approx(DENSITY.covariance[0], abs=0.05)
    assert (DENSITY.draw(5, 3) == DENSITY.draw(5, 3)).all()
    assert (DENSITY.draw(5, 3) != DENSITY.draw(5, 4)).any()


def test_a_fitted_mixture_finds_the_one_that_codes_were_drawn_from():
    codes = DENSITY.draw(20_000, 0)
    found = _fit_mixture(codes, 2, 0)
    order = np.argsort(found.weight)
    assert found.weight[order] == pytest.approx(DENSITY.weight, abs=0.01)
    assert found.mean[order] == pytest.approx(DENSITY.mean, abs=0.05)
    assert found.covariance[order] == pytest.approx(DENSITY.covariance, abs=0.1)
    further = DENSITY.draw(20_000, 1)
    truth = DENSITY.log_density(further).mean()
    assert found.log_density(further).mean() == pytest.approx(truth, abs=0.01)
    assert _fit_gaussian(codes).log_density(further).mean() < truth - 0.5


def test_dimensions_that_do_not_vary_break_nothing():
    codes = np.random.default_rng(0).normal(size=(200, 3)) * [1, 0, 1e-9] + [0, 7, 0]
    for density in (_fit_gaussian(codes), _fit_mixture(codes, 3, 0)):
        assert np.isfinite(density.log_density(codes)).all()
        assert density.draw(100, 0)[:, 1] == pytest.approx(7, abs=0.01)


@pytest.mark.parametrize("n_components", [1, 4])
def test_a_mixture_describes_held_out_codes_of_a_model_no_worse_than_its_prior(vae_checkpoint, n_components):
    session = open_session(vae_checkpoint)
    checkpoint = next(session.checkpoints())
    found = fit_density(session, checkpoint, "gmm", n_components=n_components, seed=0)
    assert found.of_prior is not None
    assert found.log_density[0] > found.of_prior[0] - 3 * found.log_density[1]


def test_the_prior_has_the_log_density_of_a_standard_normal(vae_checkpoint):
    session = open_session(vae_checkpoint)
    checkpoint = next(session.checkpoints())
    found = fit_density(session, checkpoint, "prior", n_components=1, seed=0)
    codes = checkpoint.encode(session.images(checkpoint, "test"))
    noise = np.random.default_rng([0, 4]).standard_normal(codes.mean.shape)
    z = codes.mean + np.exp(codes.logvar / 2) * noise
    assert found.log_density[0] == pytest.approx(multivariate_normal(np.zeros(2)).logpdf(z).mean(), rel=1e-5)
    assert found.fitted is None


def test_an_autoencoder_has_no_prior_and_too_few_images_are_refused(ae_checkpoint):
    session = open_session(ae_checkpoint)
    checkpoint = next(session.checkpoints())
    with pytest.raises(AekitError, match="plain autoencoder"):
        fit_density(session, checkpoint, "prior", n_components=1, seed=0)
    with pytest.raises(AekitError, match="use fewer --gaussians"):
        fit_density(session, checkpoint, "gmm", n_components=10_000, seed=0)


def test_a_density_is_stored_with_its_origin(tmp_path):
    path = write_arrays(tmp_path / "x.safetensors", vars(DENSITY), {"command": "sample"})
    with safe_open(path, "np") as file:
        stored = CodeDensity(*(file.get_tensor(name) for name in ("weight", "mean", "covariance")))
        assert json.loads(file.metadata()["aekit"]) == {"command": "sample"}
    assert (stored.draw(9, 1) == DENSITY.draw(9, 1)).all()
