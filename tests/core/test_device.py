"""A device is the requested one or an error, and precision follows the hardware."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aekit.core.device import (
    ThreadTeam,
    choose_device,
    choose_precision,
    seed_everything,
    set_threads,
    without_memory,
    without_weights,
)
from aekit.errors import AekitError

CPU = torch.device("cpu")


def test_the_cpu_is_always_available_and_auto_finds_a_device():
    assert choose_device("cpu") == CPU
    assert choose_device().type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:1", "", "cdua"])
def test_unknown_devices_are_refused_with_the_list(name):
    with pytest.raises(AekitError, match=r"[Gg]ive one of auto, cpu, cuda, cuda:0, mps|sees no CUDA"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_unavailable_device_is_refused_by_name():
    with pytest.raises(AekitError, match="--device cuda: PyTorch sees no CUDA device here; use --device cpu or auto"):
        choose_device("cuda")


@pytest.mark.parametrize(("flags", "expected"), [("fpu avx512_bf16 amx", "bf16"), ("fpu avx2 avx512f", "fp32")])
def test_auto_takes_bf16_where_the_processor_multiplies_in_it(monkeypatch, flags, expected):
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: flags)
    assert choose_precision("auto", CPU) == expected
    assert choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"


def test_a_seed_fixes_weights_and_noise():
    draws = []
    for seed in (1, 1, 2):
        noise = seed_everything(seed, CPU)
        draws.append((torch.randn(3).tolist(), torch.randn(3, generator=noise).tolist()))
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_threads_are_set_or_left_and_never_more_than_the_cores():
    before = set_threads(None)
    with pytest.raises(AekitError, match="--threads: 100000 is not between 1 and"):
        set_threads(100_000)
    assert set_threads(1) == 1
    set_threads(before)


def test_a_failure_in_a_thread_of_the_team_is_raised():
    def fail(part):
        if part == 2:
            raise ValueError("part 2")
        return part

    with ThreadTeam(3) as team:
        assert team.map(lambda part: part * part, [1, 2, 3]) == [1, 4, 9]
        with pytest.raises(ValueError, match="part 2"):
            team.map(fail, [0, 1, 2])


def test_networks_without_memory_have_the_shapes_of_others_and_draw_no_numbers():
    def build() -> nn.Module:
        layers = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 1, 4), nn.BatchNorm2d(1))
        nn.init.normal_(layers[0].weight, std=0.1)
        nn.init.orthogonal_(tensor=layers[0].weight)
        return layers

    before = torch.get_rng_state()
    with without_memory():
        empty = build()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    real = build()
    assert {name: tensor.shape for name, tensor in empty.state_dict().items()} == {
        name: tensor.shape for name, tensor in real.state_dict().items()
    }
    assert not real[0].weight.is_meta
    assert real[0].weight.std() > 0


def test_networks_without_weights_are_on_the_cpu_and_draw_no_numbers():
    before = torch.get_rng_state()
    with without_weights():
        layers = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(1, 2, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert {tensor.device for tensor in layers.state_dict().values()} == {CPU}
    with torch.no_grad():
        layers[0].weight.fill_(1.0)
    assert layers[0].weight.sum() == 12
