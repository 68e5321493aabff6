"""The files of a run of images: a model that computes the same, and a state that is continued or refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import Recorded
from safetensors.torch import load_file
from small_checkpoint import dense_header, rewrite, without_checksum
from tiny_training import StopAfter, train_tiny

import aekit as package
from aekit.core.checkpoint import read_header, resume_path
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError, Stopped
from aekit.images.config import ModelConfig
from aekit.images.models import MODELS, build_model
from aekit.images.state import read_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("arch", list(MODELS))
@pytest.mark.parametrize(("kind", "loss"), [("ae", "mse"), ("vae", "gaussian")])
def test_a_model_that_was_saved_and_loaded_computes_the_same(tmp_path, kind, loss, arch):
    model = build_model(ModelConfig(kind=kind, arch=arch, latent=3, loss=loss), (1, 28, 28)).eval()
    header = dense_header(kind=kind, arch=arch, latent=3, width=None, loss=loss)
    path = write_checkpoint(tmp_path / "x.safetensors", model.state_dict(), header)
    loaded = package.load(path)
    x = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded.encode(x), model.encode(x))
        assert torch.equal(loaded.decode(loaded.encode(x)), model.decode(model.encode(x)))


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


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("network", [{}, {"arch": "conv", "prior": "mixture", "components": 3}], ids=["dense", "conv"])
def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_bytes(tmp_path, optimizer, network):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train_tiny(whole, optimizer=optimizer, **network)
    with pytest.raises(Stopped):
        train_tiny(parts, progress=StopAfter(4), optimizer=optimizer, **network)
    train_tiny(parts, resume=True, optimizer=optimizer, **network)
    assert whole.read_bytes() == parts.read_bytes()


def test_a_run_is_not_gone_on_with_by_another_optimizer(tmp_path):
    path = tmp_path / "x.safetensors"
    assert "optimizer" not in train_tiny(path, optimizer="adamw").train
    with pytest.raises(AekitError, match="was trained with optimizer adamw, not muon"):
        train_tiny(path, resume=True, optimizer="muon")


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
    header = {**without_checksum(read_header(checkpoint)), "state": {"epoch": 1}}
    path = resume_path(checkpoint)
    shutil.copy(checkpoint, path)
    rewrite(path, metadata={"aekit": json.dumps(header)})
    with pytest.raises(AekitError, match=r"unfinished run; finish it with --resume and use x.safetensors"):
        read_model(path, CPU)


def test_load_takes_numpy_data_as_documented(vae_checkpoint):
    model = package.load(vae_checkpoint)
    x = torch.from_numpy(np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32))
    with torch.no_grad():
        z = model.encode(x)
        assert z.shape == (5, 2)
        assert model.decode(z).shape == x.shape


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "beta-tc", "beta": 3.0},
        {"objective": "factor", "beta": 3.0, "val": 0.2, "keep": "best"},
        {"objective": "mmd"},
        {"capacity": 3.0, "beta": 5.0},
        {"free_bits": 0.2},
    ],
    ids=str,
)
def test_a_run_stopped_within_an_epoch_ends_with_the_bytes_of_one_that_was_not(tmp_path, settings):
    train_tiny(tmp_path / "whole.safetensors", **settings)
    for stop_after in (4, 2):
        stop, resume = Recorded(stop_after=stop_after), stop_after == 2
        with pytest.raises(Stopped):
            train_tiny(tmp_path / "x.safetensors", progress=stop, resume=resume, **settings)
    train_tiny(tmp_path / "x.safetensors", resume=True, threads=2, **settings)
    whole, header = (read_header(tmp_path / f"{name}.safetensors") for name in ("whole", "x"))
    assert header.result == whole.result  # threads are in the header
    assert weights_of(tmp_path / "x.safetensors") == weights_of(tmp_path / "whole.safetensors")


def weights_of(path):
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}
