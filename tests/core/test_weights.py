"""The tensors of a checkpoint: the same bytes, a checksum, and exactly the network's weights."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_checkpoint import dense_header, rewrite, without_checksum

from aekit.core.checkpoint import read_header
from aekit.core.weights import build_checked, check_intact, write_checkpoint
from aekit.errors import AekitError
from aekit.images.state import read_model

CPU = torch.device("cpu")


def test_the_same_content_makes_the_same_bytes(checkpoint, tmp_path):
    again = write_checkpoint(tmp_path / "y.safetensors", load_file(checkpoint), dense_header())
    assert again.read_bytes() == checkpoint.read_bytes()


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("model", {"latent": 0}, "--latent: 0 is below 1"),
        ("model", {"arch": "transformer"}, "'transformer' is not one of"),
        ("model", {"colour": 1}, "unknown setting colour"),
        ("model", {"latent": 3}, "weights do not fit its header"),
        ("data", {"shape": [1, 28]}, "no image shape"),
        ("data", {"shape": [1, 28, -28]}, "no image shape"),
    ],
)
def test_headers_that_do_not_describe_the_weights_are_refused(checkpoint, part, changes, message):
    header = without_checksum(read_header(checkpoint))
    header[part] |= changes
    rewrite(checkpoint, metadata={"aekit": json.dumps(header)})
    with pytest.raises(AekitError, match=message):
        read_model(checkpoint, CPU)


def test_missing_and_surplus_weights_are_refused(checkpoint):
    tensors = load_file(checkpoint)
    tensors["surplus"] = tensors.pop("mean_head.bias")
    rewrite(checkpoint, tensors=tensors)
    with pytest.raises(AekitError, match=r"mean_head.bias, surplus"):
        read_model(checkpoint, CPU)


def test_the_checksum_is_of_header_and_weights(checkpoint):
    header = read_header(checkpoint)
    digest = hashlib.sha256(json.dumps(without_checksum(header)).encode())
    for name, tensor in sorted(load_file(checkpoint).items()):
        digest.update(f'["{name}", "torch.float32", {list(tensor.shape)}]'.encode() + tensor.numpy().tobytes())
    assert header.sha256 == digest.hexdigest()


def test_any_bit_that_flips_is_noticed(checkpoint):
    """Or does no harm: a bit in the name of the checksum's own entry leaves a file like those of an older aekit."""
    content = checkpoint.read_bytes()
    model, header = read_model(checkpoint, CPU)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    draw = np.random.default_rng(0)
    n_head = 8 + int.from_bytes(content[:8], "little")
    n_refused = 0
    for bit in [*draw.integers(0, 8 * n_head, 400), *draw.integers(8 * n_head, 8 * len(content), 200)]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        checkpoint.write_bytes(changed)
        try:
            found, told = read_model(checkpoint, CPU)
        except AekitError:
            n_refused += 1
            continue
        entries = dict(told.entries)
        entries.pop(next(key for key in entries if key not in header.entries or key == "sha256"))
        assert entries == without_checksum(header), bit
        assert all(torch.equal(value, weights[name]) for name, value in found.state_dict().items()), bit
    assert n_refused > 550


def test_a_checkpoint_without_a_checksum_is_read(checkpoint):
    rewrite(checkpoint)
    assert read_header(checkpoint).sha256 is None
    read_model(checkpoint, CPU)


def _layers() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


class _WithFixedTensor(torch.nn.Module):
    """A layer with a tensor that belongs to the network, and not to its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = _layers()
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]), persistent=False)

    def forward(self, x):
        return self.layers(x * self.scale)


@pytest.mark.parametrize("build", [_layers, _WithFixedTensor])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_that_is_built_with_weights_computes_as_the_one_they_are_of(build, dtype, tmp_path):
    original = build().eval()
    given = {
        name: v.to(dtype if v.is_floating_point() else v.dtype, copy=True) for name, v in original.state_dict().items()
    }
    found = build_checked(build, given, tmp_path).eval()
    x = torch.rand(5, 3)
    assert torch.equal(found(x), original(x))
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in found.parameters())
    for value in given.values():
        value.zero_()  # as another program may, to the file that they lie in
    assert torch.equal(found(x), original(x))


@pytest.mark.parametrize("bad", [[torch.nan, 1], [torch.inf, -torch.inf], [torch.inf, 1], [1, -torch.inf]])
def test_weights_that_are_not_finite_are_refused(checkpoint, bad):
    tensors = load_file(checkpoint)
    tensors["mean_head.bias"] = torch.tensor(bad)
    rewrite(checkpoint, tensors=tensors)
    with pytest.raises(AekitError, match=r"not finite \(mean_head.bias\)"):
        check_intact(checkpoint)


def test_weights_whose_sum_overflows_are_finite(checkpoint):
    tensors = load_file(checkpoint)
    tensors["mean_head.bias"] = torch.full((2,), 3e38)
    rewrite(checkpoint, tensors=tensors)
    check_intact(checkpoint)
    assert torch.equal(read_model(checkpoint, CPU)[0].mean_head.bias, tensors["mean_head.bias"])
