"""The optimiser takes the steps of PyTorch's, to the last bit."""

from __future__ import annotations

import pytest
import torch

from aekit.core.adamw import FusedAdamW, PlainAdamW, build_adamw

SETTINGS = {"betas": (0.9, 0.99), "weight_decay": 0.3}


def _parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((), (7, 5), (2, 3, 4, 4))
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    made[2] = made[2].to(memory_format=torch.channels_last)
    return [each.requires_grad_() for each in made]


def _groups(parameters) -> list[dict]:
    return [{"params": parameters[:1], "weight_decay": 0.0}, {"params": parameters[1:]}]


def _take(optimiser, parameters, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.randn(parameter.shape, generator=generator) if (step + number) % 4 else None
        for group in optimiser.param_groups:
            group["lr"] = 0.1 / (1 + step)
        optimiser.step()


@pytest.fixture
def pair():
    """Return PyTorch's optimiser and this one with equal parameters of their own."""
    theirs, mine = _parameters(), _parameters()
    return (
        (torch.optim.AdamW(_groups(theirs), lr=0.0, fused=True, **SETTINGS), theirs),
        (FusedAdamW(_groups(mine), lr=0.0, **SETTINGS), mine),
    )


def test_steps_are_those_of_pytorch_to_the_last_bit(pair):
    for optimiser, parameters in pair:
        _take(optimiser, parameters, range(9))
    (theirs, first), (mine, second) = pair
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    there, here = theirs.state_dict()["state"], mine.state_dict()["state"]
    assert there.keys() == here.keys()
    for number, moments in there.items():
        assert moments.keys() == here[number].keys()
        assert all(torch.equal(moments[name], here[number][name]) for name in moments)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    parameters = _parameters()
    before = [parameter.clone() for parameter in parameters]
    FusedAdamW(_groups(parameters), lr=0.1, **SETTINGS).step()
    assert all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))


def test_a_state_that_is_loaded_goes_on_with_the_same_steps(pair):
    _, (whole, parameters) = pair
    _take(whole, parameters, range(3))
    copies = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    again = FusedAdamW(_groups(copies), lr=0.0, **SETTINGS)
    state = whole.state_dict()
    moments = {number: {name: value.clone() for name, value in each.items()} for number, each in state["state"].items()}
    again.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
    for optimiser, own in ((whole, parameters), (again, copies)):
        _take(optimiser, own, range(3, 7))
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies, strict=True))


def test_a_learning_rate_may_be_a_tensor():
    parameters, others = _parameters(), _parameters()
    for own, lr in ((parameters, 0.1), (others, torch.tensor(0.1))):
        for parameter in own:
            parameter.grad = torch.ones_like(parameter)
        FusedAdamW(_groups(own), lr=lr, **SETTINGS).step()
    for mine, other in zip(parameters, others, strict=True):
        torch.testing.assert_close(mine, other)


def _take_plain(optimiser, parameters, *, is_theirs: bool) -> None:
    for step in range(30):
        generator = torch.Generator().manual_seed(step)
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.randn(parameter.shape, generator=generator) if (step + number) % 4 else None
        rate = 0.1 / (1 + step)
        if is_theirs:
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
        else:
            optimiser.step(rate)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_plain_steps_are_those_of_pytorch_with_its_defaults_to_the_last_bit(decay, betas):
    theirs, mine = _parameters(), _parameters()
    _take_plain(torch.optim.AdamW(theirs, lr=0.0, betas=betas, weight_decay=decay), theirs, is_theirs=True)
    _take_plain(PlainAdamW(mine, betas=betas, weight_decay=decay), mine, is_theirs=False)
    assert all(torch.equal(a, b) for a, b in zip(theirs, mine, strict=True))
    if decay == 0:
        adam = _parameters()
        _take_plain(torch.optim.Adam(adam, lr=0.0, betas=betas), adam, is_theirs=True)
        assert all(torch.equal(a, b) for a, b in zip(adam, mine, strict=True))


def test_without_decay_the_fused_steps_are_those_of_adam():
    theirs, mine = _parameters(), _parameters()
    _take(torch.optim.Adam(theirs, lr=0.0, betas=(0.5, 0.9), fused=True), theirs, range(9))
    cpu = torch.device("cpu")
    groups = [{"params": mine}]
    _take(build_adamw(groups, lr=0.0, betas=(0.5, 0.9), weight_decay=0.0, device=cpu), mine, range(9))
    assert all(torch.equal(a, b) for a, b in zip(theirs, mine, strict=True))


def test_gradients_are_forgotten():
    parameters = _parameters()
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    PlainAdamW(parameters).zero_grad()
    assert all(parameter.grad is None for parameter in parameters)
