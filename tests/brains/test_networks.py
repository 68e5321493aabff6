from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV

from aekit.brains.config import BrainArch, BrainModelConfig
from aekit.brains.networks import (
    AgeNet,
    AgeScale,
    BrainBatch,
    Chain,
    DirectNet,
    ImageNet,
    Normalisation,
    TissueNet,
    ridge_by_leave_one_out,
)
from aekit.brains.networks import _penalties as penalties
from aekit.errors import AekitError

ARCHS = get_args(BrainArch)
N_BINS = 7


def normalisation(target="absolute", *, log_age=False):
    mean, sd = ([700.0, 500.0, 250.0], [60.0, 50.0, 40.0])
    if target == "proportion":
        mean, sd = ([0.48, 0.35, 0.17], [0.03, 0.02, 0.04])
    age = (3.5, 0.6) if log_age else (40.0, 20.0)
    histogram, age_range = torch.linspace(100, 1400, N_BINS), torch.tensor([20.0, 80.0])
    age_range = age_range.log() if log_age else age_range
    return Normalisation(
        torch.tensor(mean),
        torch.tensor(sd),
        torch.tensor(age[0]),
        torch.tensor(age[1]),
        age_range,
        histogram,
        torch.tensor(90.0),
    )


def people(size=(12, 12, 12), n=4, target="absolute"):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, 1, *size, generator=generator)
    cumulative_ml = torch.rand(n, N_BINS, generator=generator).cumsum(1) * 300
    of = normalisation(target)
    tissues = of.tissue_mean + of.tissue_sd * torch.randn(n, 3, generator=generator)
    tissues = tissues / tissues.sum(1, keepdim=True) if target == "proportion" else tissues
    return BrainBatch(images, cumulative_ml, tissues, 20 + 60 * torch.rand(n, generator=generator))


def tissue_net(arch="strided", size=(12, 12, 12), target="absolute", n_bins=N_BINS):
    torch.manual_seed(0)
    return TissueNet(BrainModelConfig(arch=arch, target=target), size, normalisation(target), n_bins)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("size", [(12, 12, 12), (13, 17, 9), (6, 6, 6), (33, 8, 21)])
def test_every_architecture_takes_any_grid_and_every_weight_has_a_finite_gradient(arch, size):
    batch = people(size)
    tissues = tissue_net(arch, size)
    age = AgeNet(BrainModelConfig(target="absolute"), normalisation())
    direct = DirectNet(BrainModelConfig(arch=arch, direct=True), size, normalisation(), N_BINS)
    chain = Chain(tissues, age)
    volumes, years = chain(batch.images, batch.cumulative_ml)
    assert volumes.shape == (4, 3)
    assert years.shape == direct(batch.images, batch.cumulative_ml).shape == (4,)
    for network in (tissues, age, direct, chain):
        network.zero_grad()
        network.loss(batch).backward()
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("size", [(4, 4, 4), (20, 5, 20)])
def test_a_grid_that_the_base_network_cannot_pool_is_an_error(size):
    with pytest.raises(AekitError, match=r"^--size: .*--arch base; give 6 or more"):
        tissue_net("base", size)
    assert tissue_net("deep", size)(*people(size)[:2]).shape == (4, 3)
    assert tissue_net("sfcn", size)(*people(size)[:2]).shape == (4, 3)
    assert tissue_net("strided", size)(*people(size)[:2]).shape == (4, 3)


def test_the_base_network_is_one_convolution_a_pooling_and_a_linear_layer():
    net = tissue_net("base", (12, 10, 8), n_bins=0)
    sizes = [weight.numel() for weight in net.parameters()]
    assert sizes == [8 * 5**3, 8, 3 * 8 * 4 * 3 * 2, 3]


def test_proportions_are_positive_and_add_up_to_one_for_any_output():
    net = tissue_net(target="proportion")
    found = net.to_tissues(torch.tensor([[0.0, 0.0, 0.0], [40.0, -40.0, 3.0], [-9.0, -9.0, -9.0]]))
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    assert (found >= 0).all()
    torch.testing.assert_close(found[0], normalisation("proportion").tissue_mean)
    away = np.array([40.0, -40.0, 3.0]) * np.array([0.03, 0.02, 0.04]) / np.array([0.48, 0.35, 0.17])
    np.testing.assert_allclose(found[1].numpy(), softmax(np.log([0.48, 0.35, 0.17]) + away), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("target", ["absolute", "proportion"])
def test_outputs_and_tissues_are_each_others_inverse(target):
    net, truth = tissue_net(target=target), people(target=target).tissues
    torch.testing.assert_close(net.to_tissues(net.to_outputs(truth)), truth, rtol=1e-5, atol=1e-6)


def test_volumes_are_z_scores_of_the_train_people():
    net = tissue_net()
    torch.testing.assert_close(net.to_tissues(torch.tensor([[1.0, -2.0, 0.5]]))[0], torch.tensor([760.0, 400.0, 270.0]))
    assert float(
        net.tissue_loss(torch.tensor([[760.0, 500.0, 250.0]]), normalisation().tissue_mean[None])
    ) == pytest.approx(1 / 3)


@pytest.mark.parametrize("log_age", [False, True])
def test_ages_go_to_z_scores_and_back(log_age):
    scale = AgeScale(normalisation(log_age=log_age), log_age=log_age)
    ages = torch.tensor([6.0, 40.0, 86.0])
    expected = (np.log([6, 40, 86]) - 3.5) / 0.6 if log_age else (np.array([6, 40, 86]) - 40) / 20
    np.testing.assert_allclose(scale.to_z(ages), expected, rtol=1e-5)
    torch.testing.assert_close(scale.to_years(scale.to_z(ages)), ages)


def test_the_loss_of_the_chain_is_that_of_age_plus_that_of_volumes():
    tissues, age, batch = tissue_net(), AgeNet(BrainModelConfig(target="absolute"), normalisation()), people()
    chain = Chain(tissues, age).eval()
    with torch.no_grad():
        volumes, years = chain(batch.images, batch.cumulative_ml)
        z_age = (years - batch.age_years).numpy() / 20
        z_volumes = (volumes - batch.tissues).numpy() / np.array([60, 50, 40])
        assert float(chain.loss(batch)) == pytest.approx((z_age**2).mean() + (z_volumes**2).mean(), rel=1e-4)
        torch.testing.assert_close(years, age(volumes))


@pytest.mark.parametrize("n_features", [5, 60])
def test_the_penalty_of_ridge_regression_has_the_best_leave_one_out_error(n_features):
    random = np.random.default_rng(0)
    x = random.normal(size=(30, n_features)) + 3
    y = x[:, :3] @ random.normal(size=(3, 2)) * [1, 0.02] + random.normal(size=(30, 2)) * [0.3, 2.0]
    weight, bias = ridge_by_leave_one_out(torch.from_numpy(x), torch.from_numpy(y))
    found = x @ weight.numpy().T + bias.numpy()
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)
    alphas = penalties(torch.from_numpy(singular))
    chosen = RidgeCV(alphas, alpha_per_target=True).fit(x, y)
    assert chosen.alpha_[0] < chosen.alpha_[1]  # the noisy output needs the larger penalty
    np.testing.assert_allclose(found, chosen.predict(x), atol=1e-4)
    # By hand, that no shortcut is trusted: fitted without each one in turn.
    rows = np.arange(30)
    errors = {
        alpha: np.mean([(Ridge(alpha).fit(x[rows != i], y[rows != i, 0]).predict(x[[i]]) - y[i, 0]) ** 2 for i in rows])
        for alpha in (*alphas[::5], chosen.alpha_[0])
    }
    assert min(errors, key=errors.get) == chosen.alpha_[0]
    np.testing.assert_allclose(found[:, 0], Ridge(chosen.alpha_[0]).fit(x, y[:, 0]).predict(x), atol=1e-4)


def test_without_noise_ridge_regression_is_least_squares():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 4))
    y = x @ random.normal(size=(4, 1)) + 7
    weight, bias = ridge_by_leave_one_out(torch.from_numpy(x), torch.from_numpy(y))
    exact = LinearRegression().fit(x, y)
    np.testing.assert_allclose(weight.numpy(), exact.coef_, atol=1e-4)
    np.testing.assert_allclose(bias.numpy(), exact.intercept_, atol=1e-4)


def test_ridge_regression_on_equal_histograms_predicts_the_mean():
    weight, bias = ridge_by_leave_one_out(torch.ones(12, 5), torch.arange(12.0)[:, None])
    np.testing.assert_allclose(weight.numpy(), 0, atol=1e-6)
    assert float(bias) == pytest.approx(5.5)


def test_initialised_from_the_histogram_the_image_has_no_effect_yet():
    net = ImageNet("strided", (12, 12, 12), 2, normalisation(), N_BINS)
    batch = people()
    weight, bias = torch.randn(2, N_BINS), torch.randn(2)
    net.init_from_histogram(weight, bias)
    expected = (batch.cumulative_ml - normalisation().cumulative_mean) / 90 @ weight.T + bias
    torch.testing.assert_close(net(batch.images, batch.cumulative_ml), expected)
    torch.testing.assert_close(net(batch.images.flip(4) * 3, batch.cumulative_ml), expected)


def test_without_a_histogram_input_there_is_nothing_to_initialise():
    net = tissue_net(n_bins=0).eval()
    batch = people()
    first = net(batch.images, batch.cumulative_ml)
    torch.testing.assert_close(net(batch.images, batch.cumulative_ml * 2), first, rtol=0, atol=0)
    with pytest.raises(ValueError, match="no histogram"):
        net.net.init_from_histogram(torch.zeros(3, 0), torch.zeros(3))


@pytest.mark.parametrize("arch", ARCHS)
def test_the_weights_include_the_normalisation(arch):
    net = tissue_net(arch, target="proportion").eval()
    batch = people(target="proportion")
    ones = Normalisation(
        torch.ones(3), torch.ones(3), torch.ones(()), torch.ones(()), torch.ones(2), torch.ones(N_BINS), torch.ones(())
    )
    other = TissueNet(BrainModelConfig(arch=arch, target="proportion"), (12, 12, 12), ones, N_BINS).eval()
    assert not torch.equal(other(*batch[:2]), net(*batch[:2]))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(*batch[:2]), net(*batch[:2]))


@pytest.mark.parametrize("arch", ARCHS)
def test_bf16_changes_volumes_by_less_than_a_twentieth_of_their_spread(arch):
    net, batch = tissue_net(arch).eval(), people()
    with torch.no_grad():
        exact = net(*batch[:2])
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(*batch[:2])
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert float(((rounded - exact) / normalisation().tissue_sd).abs().max()) < 0.05


@pytest.mark.parametrize(
    ("arch", "size"), [("strided", (8, 8, 8)), ("strided", (8, 30, 20)), ("deep", (40, 48, 40)), ("deep", (16, 16, 16))]
)
def test_in_bf16_the_gradients_of_a_small_grid_are_those_of_fp32(arch, size):
    def gradients(*, is_bf16):
        net, batch = tissue_net(arch, size, n_bins=0), people(size, n=8)
        net.to(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            net.loss(batch).backward()
        return {name: weight.grad for name, weight in net.named_parameters() if weight.ndim == 5}

    exact, rounded = gradients(is_bf16=False), gradients(is_bf16=True)
    assert len(exact) in (4, 5)
    for name, gradient in exact.items():
        away = float((rounded[name] - gradient).norm() / gradient.norm())
        assert away < 0.3, name  # rounded, not made up: where memory was not written it is NaN, or a million
