"""A run that was killed, stopped or resumed ends with the bytes of one that never was."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from children import Start, children

from aekit.core.checkpoint import read_header, resume_path
from aekit.core.muon import DECAY_OF_MATRICES
from aekit.core.progress import Silent
from aekit.errors import AekitError
from aekit.images.config import ModelConfig, TrainConfig
from aekit.images.models import build_model
from aekit.images.run_building import build_optimizer
from aekit.images.run_defaults import default_batch_size
from aekit.images.run_settings import build_config
from aekit.images.runs import Machine, run_training

OPTIONS = [
    "train-vae",
    "--data",
    "digits",
    "--image-size",
    "16",
    "--epochs",
    "8",
    "--val",
    "0.2",
    "--keep",
    "best",
    "--threads",
    "1",
]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("loss", ["gaussian", "bernoulli"])
def test_weights_decay_and_the_pixel_noise_does_not(loss, optimizer):
    model = build_model(ModelConfig(kind="vae", arch="dense", latent=2, width=8, loss=loss), (1, 8, 8))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    built = build_optimizer(model, TrainConfig(optimizer=optimizer, weight_decay=0.5), torch.device("cpu"))
    for group in built.param_groups:
        group["lr"] = 0.1
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    built.step()
    for name, value in model.named_parameters():
        is_matrix = any(value is each for group in built.param_groups[2:] for each in group["params"])
        kept = 1 if name == "log_sigma" else 1 - 0.05 * DECAY_OF_MATRICES if is_matrix else 0.95
        torch.testing.assert_close(value.detach(), before[name] * kept)
    moved = [id(each) for group in built.param_groups for each in group["params"]]
    assert sorted(moved) == sorted(id(each) for each in model.parameters())  # each once


@pytest.mark.parametrize("arch", ["conv", "dense", "mlp", "blocks"])
def test_muon_moves_the_weights_inside_encoder_and_decoder(arch):
    config = ModelConfig(kind="vae", arch=arch, latent=3, width=8, loss="gaussian", prior="normal")
    model = build_model(config, (1, 16, 16))
    groups = build_optimizer(model, TrainConfig(optimizer="muon"), torch.device("cpu")).param_groups
    chosen = {id(each) for group in groups if group.get("is_matrix") for each in group["params"]}
    names = [name for name, value in model.named_parameters() if id(value) in chosen]
    weights = [name for name, value in model.named_parameters() if value.ndim > 1]
    inside = [name for name in weights if name.startswith(("encoder.", "decoder."))]
    assert names == inside[:-1]  # the last one makes pixels


def test_a_step_takes_a_hundred_images_or_fewer_of_a_small_set():
    sizes = {n: default_batch_size(n) for n in (1, 11, 30, 95, 96, 400, 450, 2000, 4999, 5000, 60_000)}
    wanted = {1: 1, 11: 2, 30: 2, 95: 7, 96: 8, 400: 8, 450: 9, 2000: 40, 4999: 99, 5000: 100, 60_000: 100}
    assert sizes == wanted


class _Recorder(Silent):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def _train_digits(output: Path, **options) -> list[str]:
    config = build_config({"model": "vae", "data": "digits", "limit": 450, "epochs": 1, "arch": "dense", **options})
    recorder = _Recorder()
    run_training(config, output, Machine(Path(), device="cpu", threads=1), progress=recorder)
    return [text.partition(": ")[2] for text in recorder.notices if "--batch-size" in text]


@pytest.mark.slow
def test_what_is_chosen_for_a_small_set_is_printed_and_is_what_the_options_do(tmp_path):
    by_default, by_options = tmp_path / "default.safetensors", tmp_path / "options.safetensors"
    (notice,) = _train_digits(by_default)
    assert notice == (
        "9 images per step (--batch-size) and a peak learning rate of 0.002 (--lr), because there are only 450 "
        "training images"
    )
    assert _train_digits(by_options, batch_size=9, lr=0.002) == []
    assert by_options.read_bytes() == by_default.read_bytes()
    (notice,) = _train_digits(tmp_path / "rate.safetensors", lr=0.001)
    assert notice == "9 images per step (--batch-size), because there are only 450 training images"
    (notice,) = _train_digits(tmp_path / "one.safetensors", limit=1, lr=0.001)
    assert notice == "1 image per step (--batch-size), because there is only 1 training image"


def _train(start: Start, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "aekit", *OPTIONS, "-o", str(output), *options]
    return start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for_state(process: subprocess.Popen[str], output: Path) -> None:
    deadline = time.monotonic() + 60
    while not resume_path(output).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _finish(start: Start, output: Path) -> None:
    process = _train(start, output, "--resume", "--quiet")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.strip() == str(output)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "x.safetensors"
    with children() as start:
        assert _train(start, output).wait(60) == 0
    return output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill_with", "exit_code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_run_that_was_ended_goes_on_to_the_same_bytes(start, undisturbed, tmp_path, kill_with, exit_code):
    output = tmp_path / "x.safetensors"
    process = _train(start, output)
    _wait_for_state(process, output)
    process.send_signal(kill_with)
    _, err = process.communicate(timeout=60)
    assert process.returncode == exit_code, err
    assert not output.exists()
    if kill_with != signal.SIGKILL:
        assert "--resume" in err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.resume.safetensors"]
    _finish(start, output)
    assert output.read_bytes() == undisturbed.read_bytes()
    assert output.with_suffix(".png").read_bytes() == undisturbed.with_suffix(".png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "x.csv",
        "x.png",
        "x.safetensors",
    ]


@pytest.mark.slow
def test_a_finished_run_is_left_alone_by_resume(aekit, undisturbed):
    before = undisturbed.stat().st_mtime_ns
    result = aekit(*OPTIONS, "-o", undisturbed, "--resume")
    assert (result.exit_code, result.paths) == (0, [undisturbed])
    assert undisturbed.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_finished_run_with_other_options_is_not_passed_off_as_this_one(aekit, undisturbed):
    result = aekit(*OPTIONS, "--beta", 2, "-o", undisturbed, "--resume")
    assert result.exit_code == 1
    assert "beta 1.0, not 2.0" in result.stderr


@pytest.mark.slow
def test_an_unfinished_run_is_neither_overwritten_nor_mixed_with_another(aekit, start, undisturbed, tmp_path):
    output = tmp_path / "x.safetensors"
    process = _train(start, output)
    _wait_for_state(process, output)
    process.terminate()
    process.communicate(timeout=60)
    assert read_header(resume_path(output)).state["epoch"] >= 1
    result = aekit(*OPTIONS, "-o", output)
    assert result.exit_code == 1
    assert "unfinished run" in result.stderr
    result = aekit(*OPTIONS, "--seed", 1, "-o", output, "--resume")
    assert result.exit_code == 1
    assert "seed 0, not 1" in result.stderr
    assert aekit(*OPTIONS, "-q", "-o", output, "--overwrite").exit_code == 0
    assert output.read_bytes() == undisturbed.read_bytes()
    assert not resume_path(output).exists()


def test_a_damaged_state_is_refused_in_one_line(aekit, tmp_path):
    output = tmp_path / "x.safetensors"
    resume_path(output).write_bytes(b"damaged")
    result = aekit(*OPTIONS, "-o", output, "--resume")
    assert result.exit_code == 1
    assert "x.resume.safetensors" in result.stderr


@pytest.mark.slow
def test_a_run_in_blocks_says_so_and_goes_on_in_no_other_order(aekit, tmp_path, monkeypatch):
    options = ["train-ae", "--data", "digits", "--epochs", "1", "-q", "-o"]
    monkeypatch.setattr("aekit.images.data.batches.MAX_EXACT_BYTES", 0)
    monkeypatch.setattr("aekit.images.data.readahead.BLOCK_BYTES", 7 * 64)
    assert aekit(*options, tmp_path / "x.safetensors").exit_code == 0
    splits = read_header(tmp_path / "x.safetensors").data["splits"]
    assert splits["train"]["shuffled_blocks"] == [7, 1024]
    assert set(splits["test"]) == {"n", "fingerprint"}

    monkeypatch.setattr("aekit.images.runs._finish", stop)
    assert aekit(*options, tmp_path / "y.safetensors").exit_code == 1
    monkeypatch.undo()
    refused = aekit(*options, tmp_path / "y.safetensors", "--resume")
    assert refused.exit_code == 1
    assert "was trained in another order of the images" in refused.stderr


def stop(*_, **__):
    raise AekitError("stopped: before the end; go on")


@pytest.mark.parametrize("size", [("--latent", 99_999_999), ("--width", 100_000_000), ("--latent", 2**62)])
@pytest.mark.parametrize("arch", ["conv", "dense", "blocks"])
def test_a_network_larger_than_memory_is_refused_before_it_is_built(aekit, tmp_path, arch, size):
    options = ("--data", "digits", "--limit", 60, "--epochs", 1, "--arch", arch, "-o", tmp_path / "x.safetensors")
    result = aekit("train-vae", *options, *size)
    assert result.exit_code == 1
    assert re.search(r"takes [\d,]+ GB of memory, and [\d,]+ GB are free", result.stderr.splitlines()[-1]), (
        result.stderr
    )
    assert not any(tmp_path.iterdir())


def test_the_best_epoch_is_never_chosen_on_test_images(tmp_path):
    config = build_config({"keep": "best", "data": "digits", "limit": 20, "model": "ae"})
    with pytest.raises(AekitError, match=r"^--keep best: needs validation images"):
        run_training(config, tmp_path / "x.safetensors", Machine(Path("/nowhere"), "cpu", 1))
    assert not list(tmp_path.iterdir())
