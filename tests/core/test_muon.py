"""Steps of matrices are those of PyTorch's Muon, and orthogonalising keeps the singular vectors."""

from __future__ import annotations

import math

import pytest
import torch

from aekit.core.adamw import FusedAdamW
from aekit.core.device import ThreadTeam
from aekit.core.muon import COEFFICIENTS, DECAY, DECAY_OF_MATRICES, LARGE, RATE_OF_MATRICES, STEPS, Muon, orthogonalise

SETTINGS = {"betas": (0.9, 0.99), "weight_decay": 0.3}
SHAPES = ((64, 32), (32, 64), (40, 40))


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _muon(matrices, others=(), *, team=None, is_bf16=False, lr=0.01) -> Muon:
    groups = [{"params": list(others)}, {"params": list(matrices), "is_matrix": True}]
    return Muon(groups, lr=lr, team=team or ThreadTeam(1), is_bf16=is_bf16, **SETTINGS)


def _take(optimiser, parameters, n_steps: int) -> None:
    for step in range(n_steps):
        for number, parameter in enumerate(parameters):
            parameter.grad = _draw(*parameter.shape, seed=100 * step + number)
        optimiser.step()


@pytest.mark.parametrize(("shape", "rank"), [((48, 90), 48), ((90, 48), 48), ((60, 60), 60), ((48, 90), 7)])
def test_orthogonalising_changes_singular_values_only(shape, rank):
    _assert_orthogonal(shape, rank, tolerance=2e-5)


@pytest.mark.parametrize(("shape", "rank"), [((48, 384), 48), ((384, 48), 48), ((48, 384), 7), ((48, 96), 48)])
def test_orthogonalising_long_matrices_changes_singular_values_only(shape, rank):
    _assert_orthogonal(shape, rank, tolerance=2e-4)  # by way of the squares of singular values


def _assert_orthogonal(shape, rank, *, tolerance: float) -> None:
    matrix = _draw(shape[0], rank) @ _draw(rank, shape[1], seed=1)
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    within = left.T @ orthogonalise(matrix).double() @ right.T
    expected = values / values.norm()
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        expected = a * expected + b * expected**3 + c * expected**5
    torch.testing.assert_close(within, torch.diag(expected), atol=tolerance, rtol=0)
    is_kept = values > 0.02 * values.norm()
    assert expected[is_kept].min() > 0.65
    assert expected.max() < 1.25


@pytest.mark.parametrize("shape", [(48, 384), (256, 1536), (1536, 256)])
def test_singular_values_over_six_decades_come_out_as_in_float64(shape):
    rank = min(shape)
    left, right = (torch.linalg.qr(_draw(n, rank, seed=n).double()).Q for n in shape)
    matrix = left * torch.logspace(0, -6, rank, dtype=torch.float64) @ right.T
    expected = orthogonalise(matrix, torch.float64)
    assert (orthogonalise(matrix.float()).double() - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize("shape", [(3, 5), (3, 6)])
def test_a_matrix_of_zeros_stays_one(shape):
    assert torch.equal(orthogonalise(torch.zeros(shape)), torch.zeros(shape))


def test_products_of_bf16_are_as_good_as_their_precision():
    matrix = _draw(128, 256)
    error = (orthogonalise(matrix, torch.bfloat16).float() - orthogonalise(matrix)).norm() / math.sqrt(128)
    assert 1e-4 < error < 0.05


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has Muon since 2.9")
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_of_a_matrix_are_those_of_pytorch(shape):
    mine, theirs = (_draw(*shape).requires_grad_() for _ in range(2))
    decay = SETTINGS["weight_decay"] * DECAY_OF_MATRICES / RATE_OF_MATRICES
    settings = {"lr": 0.01 * RATE_OF_MATRICES, "momentum": DECAY, "weight_decay": decay}
    _take(_muon([mine]), [mine], 5)
    _take(torch.optim.Muon([theirs], nesterov=True, **settings), [theirs], 5)
    moved = (theirs - _draw(*shape)).norm()
    assert (mine - theirs).norm() < 0.03 * moved  # theirs has products of bf16


def test_a_kernel_moves_as_the_matrix_of_its_channels():
    kernel = _draw(8, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    matrix = _draw(8, 3, 4, 5).flatten(1).requires_grad_()
    kernel.grad = _draw(8, 3, 4, 5, seed=1)
    matrix.grad = _draw(8, 3, 4, 5, seed=1).flatten(1)
    for parameter in (kernel, matrix):
        _muon([parameter]).step()
    torch.testing.assert_close(kernel.flatten(1), matrix)
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_the_others_move_as_by_adamw():
    mine, theirs, matrix = _draw(7, 5), _draw(7, 5), _draw(6, 6, seed=1)
    parameters = [each.requires_grad_() for each in (mine, matrix)]
    _take(_muon([matrix], [mine]), parameters, 4)
    _take(FusedAdamW([{"params": [theirs.requires_grad_()]}], lr=0.01, **SETTINGS), [theirs], 4)
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("is_bf16", [False, True])
def test_threads_share_the_matrices_and_change_no_bit(is_bf16):
    ends = []
    for n_threads in (1, 2):
        matrices = [_draw(*shape).requires_grad_() for shape in (*SHAPES, (150, 200), (9, 4, 3, 3))]
        with ThreadTeam(n_threads, 2) as team:
            _take(_muon(matrices, team=team, is_bf16=is_bf16), matrices, 3)
        ends.append(matrices)
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_a_learning_rate_may_be_a_tensor():
    one, other = (_draw(6, 9).requires_grad_() for _ in range(2))
    for parameter, lr in ((one, 0.1), (other, torch.tensor(0.1))):
        _take(_muon([parameter], lr=lr), [parameter], 2)
    torch.testing.assert_close(one, other)


def test_a_matrix_without_a_gradient_stays_as_it_is():
    matrix = _draw(6, 9).requires_grad_()
    _muon([matrix]).step()
    assert torch.equal(matrix, _draw(6, 9))


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_a_matrix_whose_gradient_stays_zero_comes_to_rest(shape):
    matrix = _draw(*shape).requires_grad_()
    optimiser = _muon([matrix])
    matrix.grad = _draw(*shape, seed=1)
    optimiser.step()
    matrix.grad = torch.zeros(shape)
    for _ in range(1100):  # the momentum falls below the smallest number of fp32
        optimiser.step()
    before = matrix.detach().clone()
    assert before.isfinite().all()
    optimiser.step()
    torch.testing.assert_close(matrix, before, rtol=0.01, atol=0)  # but for the decay of weights


def test_large_matrices_move_every_other_time_in_turn_by_two_steps():
    first, second = (_draw(LARGE, LARGE + 3).requires_grad_() for _ in range(2))
    between = _draw(3, 4).requires_grad_()  # of no weight for whose turn it is
    optimiser = _muon([first, between, second])
    moved = []
    for _ in range(4):
        before = [each.detach().clone() for each in (first, second)]
        for each in (first, between, second):
            each.grad = torch.ones_like(each)
        optimiser.step()
        moved.append([(each - old).norm().item() for each, old in zip((first, second), before, strict=True)])
    assert [bool(a) for a, _ in moved] == [False, True, False, True]
    assert [bool(b) for _, b in moved] == [True, False, True, False]
    small = _draw(LARGE - 1, LARGE + 3).requires_grad_()
    small.grad = torch.ones_like(small)
    before = small.detach().clone()
    _muon([small]).step()
    assert moved[0][1] == pytest.approx(2 * (small - before).norm().item(), rel=0.1)
