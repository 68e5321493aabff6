"""Losses and metrics of each image do not depend on batches, and repeat those of the training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aekit.images import training
from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.data.batches import ImageLoader
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import reconstruct_images
from aekit.images.measures import per_image as module
from aekit.images.measures.per_image import evaluate_images
from aekit.images.models import build_model
from aekit.images.objectives import build_objective
from aekit.images.objectives.elbo import ElboObjective
from aekit.images.training import evaluate


def _noise_images(n: int) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 9, 8), dtype=np.uint8)
    return ImageSet(store=pixels, name="noise", labels=np.arange(n) % 3)


def _model(kind: str = "vae", **options: object):
    torch.manual_seed(0)
    return build_model(ModelConfig(kind=kind, arch="dense", latent=3, width=8, **options), (1, 9, 8))


OBJECTIVES = {
    "elbo": {},
    "iwae": {"samples": 7},
    "beta-tc": {"beta": 3.0},
    "dip-i": {"beta": 3.0},
    "dip-ii": {},
    "mmd": {},
    "capacity": {"objective": "elbo", "capacity": 2.0, "beta": 3.0},
    "free-bits": {"objective": "elbo", "free_bits": 0.1},
}
NETWORKS = [{}, {"prior": "mixture", "components": 3}, {"prior": "vamp", "components": 3}, {"stochastic_layers": 2}]


ANY_NETWORK = ("elbo", "iwae")
CASES = [(name, network) for name in OBJECTIVES for network in (NETWORKS if name in ANY_NETWORK else NETWORKS[:1])]


@pytest.mark.parametrize(("objective", "network"), CASES)
def test_an_evaluation_repeats_the_results_of_the_training_with_the_same_seed(objective, network):
    model, images = _model(**network), _noise_images(1203)
    config = TrainConfig(**{"objective": objective, **OBJECTIVES[objective]})
    loader = ImageLoader(images, torch.device("cpu"))
    terms = evaluate(model, loader, seed=5, objective=build_objective(model, config)).terms
    evaluation = evaluate_images(model, images, seed=5, train_config=config)
    assert set(evaluation.per_image) == {"total", "psnr", "ssim", *terms}
    for name in terms.keys() - {"mse"}:
        assert evaluation.terms[name].mean(dtype=np.float64) == pytest.approx(terms[name], rel=1e-6)
    total = build_objective(model, config).total(terms)
    assert evaluation.total.mean(dtype=np.float64) == pytest.approx(total, rel=1e-6)
    # A term of a whole batch has no error over images, and so neither has a total with such a term.
    assert evaluation.shared == {"dip-i": ("dip", "total"), "dip-ii": ("dip", "total")}.get(
        objective, {"mmd": ("mmd", "total"), "free-bits": ("kl_free", "total")}.get(objective, ())
    )


def test_what_a_discriminator_estimated_is_left_out_with_the_total_that_it_is_part_of():
    evaluation = evaluate_images(_model(), _noise_images(40), train_config=TrainConfig(objective="factor"))
    assert evaluation.total is None
    assert set(evaluation.per_image) == {"reconstruction", "kl", "mse", "psnr", "ssim"}
    assert evaluation.aggregate is not None


def test_many_samples_are_decoded_in_parts_that_do_not_change_what_is_measured(monkeypatch):
    model, images = _model(), _noise_images(40)
    config = TrainConfig(objective="iwae", samples=7)
    one = evaluate_images(model, images, train_config=config)
    monkeypatch.setattr(training, "EVALUATION_BATCH", 20)  # two images at a time; noise is drawn as before
    other = evaluate_images(model, images, train_config=config)
    for name, values in one.per_image.items():
        np.testing.assert_allclose(values, other.per_image[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_terms_of_another_objective_are_evaluated_by_their_names_with_their_weights(monkeypatch):
    class Spread(ElboObjective):
        names = (*ElboObjective.names, "spread")

        def terms(self, x, output):
            return {**super().terms(x, output), "spread": output.z.square().sum(1)}

        def weights(self, epochs_done):
            return {**super().weights(epochs_done), "spread": 3.0}

    monkeypatch.setattr(module, "build_objective", Spread)
    model, images = _model(), _noise_images(1203)
    evaluation = evaluate_images(model, images, seed=5, train_config=TrainConfig(beta=4))
    objective = Spread(model, TrainConfig(beta=4))
    means = evaluate(model, ImageLoader(images, torch.device("cpu")), seed=5, objective=objective).terms
    assert set(evaluation.per_image) == {"total", "reconstruction", "kl", "spread", "mse", "psnr", "ssim"}
    assert evaluation.terms["spread"].mean(dtype=np.float64) == pytest.approx(means["spread"], rel=1e-6)
    total = means["reconstruction"] + 4 * means["kl"] + 3 * means["spread"]
    assert evaluation.total.mean(dtype=np.float64) == pytest.approx(total, rel=1e-6)


def test_the_total_weighs_the_divergence_by_beta_and_dimensions_add_up():
    evaluation = evaluate_images(_model(), _noise_images(30), train_config=TrainConfig(beta=4))
    expected = evaluation.terms["reconstruction"] + 4 * evaluation.terms["kl"]
    np.testing.assert_allclose(evaluation.total, expected, rtol=1e-6)
    assert evaluation.kl_per_dimension.sum() == pytest.approx(evaluation.terms["kl"].mean(), rel=1e-5)


def test_image_quality_is_that_of_the_posterior_mean_whatever_the_seed():
    model, images = _model(), _noise_images(30)
    x_hat = reconstruct_images(model, images)
    for seed in (None, 0, 1):
        evaluation = evaluate_images(model, images, seed=seed)
        truth = ((x_hat - images.images / 255) ** 2).mean((1, 2, 3))
        np.testing.assert_allclose(evaluation.metrics["mse"], truth, rtol=1e-4)
        np.testing.assert_allclose(evaluation.metrics["psnr"], -10 * np.log10(truth), rtol=1e-4)
    at_mean = evaluate_images(model, images, seed=None)
    assert not np.allclose(evaluation.terms["reconstruction"], at_mean.terms["reconstruction"])


def test_an_autoencoder_has_neither_divergence_nor_noise():
    model, images = _model("ae", loss="mse"), _noise_images(30)
    evaluation = evaluate_images(model, images, seed=0)
    assert "kl" not in evaluation.terms
    assert evaluation.kl_per_dimension is None
    np.testing.assert_allclose(evaluation.terms["reconstruction"], evaluation.metrics["mse"], rtol=1e-5)
    np.testing.assert_array_equal(evaluation.total, evaluation.terms["reconstruction"])


@pytest.mark.parametrize("loss", ["gaussian", "continuous-bernoulli", "logistic"])
def test_other_likelihoods_are_evaluated_too(loss):
    evaluation = evaluate_images(_model(loss=loss), _noise_images(5))
    assert np.isfinite(evaluation.total).all()


def test_a_subset_is_evaluated_like_the_images_it_holds():
    model, images = _model("ae"), _noise_images(20)
    some = np.array([3, 17, 4])
    whole, part = evaluate_images(model, images), evaluate_images(model, images.subset(some))
    np.testing.assert_allclose(part.total, whole.total[some], rtol=1e-5)
