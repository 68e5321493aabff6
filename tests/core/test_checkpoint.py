"""A checkpoint is whole, self-describing and its own; anything else is refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import aekit as package
from aekit.core.checkpoint import Header, read_header, resume_path
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models import MODELS, build_model
from aekit.images.state import read_model

CPU = torch.device("cpu")


def _header(**model):
    config = {"kind": "vae", "arch": "dense", "latent": 2, "layers": None, "width": 8, "loss": "bernoulli", **model}
    return Header(model=config, data={"name": "x", "shape": [1, 28, 28]}, train={})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = build_model(ModelConfig(arch="dense", latent=2, width=8), (1, 28, 28))
    return write_checkpoint(tmp_path / "x.safetensors", model.state_dict(), _header())


def _rewrite(path: Path, *, metadata=None, tensors=None) -> None:
    """Write a file again, without the checksum if it is not in the metadata."""
    own = {"aekit": json.dumps(_without_checksum(read_header(path)))}
    save_file(tensors or load_file(path), path, own if metadata is None else metadata)


def _without_checksum(header):
    return {key: value for key, value in header.entries.items() if key != "sha256"}


@pytest.mark.parametrize("arch", list(MODELS))
@pytest.mark.parametrize(("kind", "loss"), [("ae", "mse"), ("vae", "gaussian")])
def test_a_model_that_was_saved_and_loaded_computes_the_same(tmp_path, kind, loss, arch):
    model = build_model(ModelConfig(kind=kind, arch=arch, latent=3, loss=loss), (1, 28, 28)).eval()
    header = _header(kind=kind, arch=arch, latent=3, width=None, loss=loss)
    path = write_checkpoint(tmp_path / "x.safetensors", model.state_dict(), header)
    loaded = package.load(path)
    x = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded.encode(x), model.encode(x))
        assert torch.equal(loaded.decode(loaded.encode(x)), model.decode(model.encode(x)))


def test_the_header_is_read_without_torch_and_says_who_wrote_it(checkpoint):
    header = read_header(checkpoint)
    assert header.format == 1
    assert header.aekit == package.__version__
    assert header.model["latent"] == 2


def test_the_same_content_makes_the_same_bytes(checkpoint, tmp_path):
    again = write_checkpoint(tmp_path / "y.safetensors", load_file(checkpoint), _header())
    assert again.read_bytes() == checkpoint.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file"),
        (b"PK\x03\x04 some zip file or other", "not a safetensors file"),
        (b"\xff" * 8 + b"{}", "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"{}", "another program"),
        ((2).to_bytes(8, "little") + b"[]", "another program"),
        ((5).to_bytes(8, "little") + b'{"a":', "not a safetensors file"),
        ((10**5).to_bytes(8, "little") + b"[" * 10**5, "not a safetensors file"),
    ],
)
def test_foreign_files_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(AekitError, match=message) as error:
        read_header(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(AekitError, match="No such file"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(AekitError, match="cannot be read"):
        read_header(tmp_path)


@pytest.mark.parametrize("keep", [4, 100, 2000, -1])
def test_a_file_that_was_cut_short_is_refused(checkpoint, keep):
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(AekitError, match=r"cut short|not a safetensors file"):
        read_header(checkpoint)


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    save_file({"w": torch.zeros(3)}, tmp_path / "x.safetensors", {"format": "pt"})
    with pytest.raises(AekitError, match="another program"):
        read_model(tmp_path / "x.safetensors", CPU)


def test_a_newer_format_is_refused_by_name(checkpoint):
    _rewrite(checkpoint, metadata={"aekit": json.dumps({**read_header(checkpoint).entries, "format": 2})})
    with pytest.raises(AekitError, match=r"format 2, newer than 1.*install a newer aekit"):
        read_model(checkpoint, CPU)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 1, "model": 3}'])
def test_a_damaged_header_is_refused(checkpoint, text):
    _rewrite(checkpoint, metadata={"aekit": text})
    with pytest.raises(AekitError, match="header is damaged"):
        read_model(checkpoint, CPU)


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
    header = _without_checksum(read_header(checkpoint))
    header[part] |= changes
    _rewrite(checkpoint, metadata={"aekit": json.dumps(header)})
    with pytest.raises(AekitError, match=message):
        read_model(checkpoint, CPU)


def test_missing_and_surplus_weights_are_refused(checkpoint):
    tensors = load_file(checkpoint)
    tensors["surplus"] = tensors.pop("mean_head.bias")
    _rewrite(checkpoint, tensors=tensors)
    with pytest.raises(AekitError, match=r"mean_head.bias, surplus"):
        read_model(checkpoint, CPU)


def test_the_checksum_is_of_header_and_weights(checkpoint):
    header = read_header(checkpoint)
    digest = hashlib.sha256(json.dumps(_without_checksum(header)).encode())
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
        assert entries == _without_checksum(header), bit
        assert all(torch.equal(value, weights[name]) for name, value in found.state_dict().items()), bit
    assert n_refused > 550


def test_a_checkpoint_without_a_checksum_is_read(checkpoint):
    _rewrite(checkpoint)
    assert read_header(checkpoint).sha256 is None
    read_model(checkpoint, CPU)


def test_a_damaged_state_is_not_gone_on_with(aekit, tmp_path):
    options = ("train-ae", "--data", "digits", "--limit", 50, "--latent", 2, "--arch", "dense")
    path = tmp_path / "x.safetensors"
    assert aekit(*options, "--epochs", 1, "-o", path).exit_code == 0
    header, tensors = read_header(path), load_file(path)
    state = write_checkpoint(resume_path(path), tensors, replace(header, state={"epoch": 0}))
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(content)
    path.unlink()
    result = aekit(*options, "--epochs", 1, "--resume", "-o", path)
    assert result.exit_code == 1
    line = f"aekit: {state}: is the damaged state of an unfinished run; start over with --overwrite"
    assert result.stderr.splitlines()[-1] == line
    state.write_bytes(content[:1000])
    assert aekit(*options, "--epochs", 1, "--resume", "-o", path).stderr.splitlines()[-1] == line
    assert aekit(*options, "--epochs", 1, "--overwrite", "-o", path).exit_code == 0


@pytest.mark.parametrize("command", ["train-ae", pytest.param("sweep", marks=pytest.mark.slow)])
def test_a_damaged_result_is_not_taken_for_a_finished_run(aekit, tmp_path, command):
    model = ("--model", "ae") if command == "sweep" else ()
    options = (command, *model, "--data", "digits", "--limit", 50, "--latent", 2, "--arch", "dense", "--epochs", 1)
    where = tmp_path / "grid" if command == "sweep" else tmp_path / "x.safetensors"
    resume = ("--jobs", 1) if command == "sweep" else ("--resume",)
    result = aekit(*options, *resume, "-o", where)
    assert result.exit_code == 0, result.stderr
    (path,) = result.paths
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    result = aekit(*options, *resume, "-o", where)
    assert result.exit_code == 1
    assert f"{path}: was damaged after it was written" in result.stderr.splitlines()[-1]
    path.unlink()
    assert aekit(*options, *resume, "-o", where).exit_code == 0
    assert path.read_bytes() == whole


def test_the_state_of_another_run_beside_a_finished_one_is_told_of(aekit, tmp_path):
    options = ("train-ae", "--data", "digits", "--limit", 50, "--latent", 2, "--arch", "dense", "--epochs", 1)
    path = tmp_path / "x.safetensors"
    assert aekit(*options, "-o", path).exit_code == 0
    other = replace(read_header(path), state={"epoch": 0})
    other.model["latent"] = 3
    state = write_checkpoint(resume_path(path), load_file(path), other)
    result = aekit(*options, "--resume", "-o", path)
    assert result.exit_code == 0
    assert f"{state}: belongs to another run; it is left as it is" in result.stderr


def test_an_unfinished_run_is_no_model(checkpoint):
    header = {**_without_checksum(read_header(checkpoint)), "state": {"epoch": 1}}
    path = resume_path(checkpoint)
    shutil.copy(checkpoint, path)
    _rewrite(path, metadata={"aekit": json.dumps(header)})
    with pytest.raises(AekitError, match=r"unfinished run; finish it with --resume and use x.safetensors"):
        read_model(path, CPU)


def test_codes_are_no_model(aekit, vae_checkpoint, tmp_path):
    assert aekit("encode", vae_checkpoint, "-o", tmp_path / "codes.safetensors").exit_code == 0
    with pytest.raises(AekitError, match="holds what aekit encode made, not a model"):
        read_header(tmp_path / "codes.safetensors")


def test_load_takes_numpy_data_as_documented(vae_checkpoint):
    model = package.load(vae_checkpoint)
    x = torch.from_numpy(np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32))
    with torch.no_grad():
        z = model.encode(x)
        assert z.shape == (5, 2)
        assert model.decode(z).shape == x.shape
