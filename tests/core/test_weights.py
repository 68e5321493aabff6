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
from aekit.core.weights import write_checkpoint
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
