"""Any number of processes give the same model as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from children import Start
from safetensors.torch import load_file

from aekit.core.distributed import Group, own_device
from aekit.errors import AekitError

SHORT = ["--data", "digits", "--latent", "5", "--threads", "1", "--precision", "fp32", "--device", "cpu"]


def _aekit(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "aekit", *map(str, arguments)]


def _train(path: Path, *arguments: object) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    subprocess.run(_aekit(*arguments, *SHORT, "--quiet", "-o", path), check=True)
    assert sorted(each.suffix for each in path.parent.glob(f"{path.stem}.*")) == [".csv", ".png", ".safetensors"]
    return load_file(path), pd.read_csv(path.with_suffix(".csv")).drop(columns=["seconds", "images_per_second"])


def _stopped(
    start: Start, path: Path, *arguments: object, after: str, number: int = signal.SIGINT
) -> subprocess.CompletedProcess:
    """Return the result of a run that was sent a signal once it had printed ``after``."""
    process = start(_aekit(*arguments, *SHORT, "-o", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    for line in process.stderr:
        said += line
        if f": {after}" in line:
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, said + err)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 100, 101])
def test_the_parts_of_a_batch_cover_it_and_differ_by_at_most_one(size, n):
    parts = [range(n)[Group(rank, size).part(n)] for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_single_process_is_a_group():
    group, values = Group(), torch.arange(3.0)
    group.add([values])
    group.copy_from_first([values])
    assert values.tolist() == [0, 1, 2]
    assert group.largest(7) == 7
    assert group.in_first(lambda: "x") == group.in_all(lambda: "x") == "x"


def test_each_of_several_processes_has_its_own_device(monkeypatch):
    assert own_device("cuda:1") == "cuda:1"
    for name, value in {"MASTER_ADDR": "127.0.0.1", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert own_device("cpu") == "cpu"
    with pytest.raises(AekitError, match="one GPU for 4 processes"):
        own_device("cuda:1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.set_device", lambda number: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert own_device("cuda") == own_device("auto") == "cuda:1"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(AekitError, match="this machine has 1 GPUs, fewer than processes"):
        own_device("auto")


def test_only_training_runs_in_several_processes(aekit, monkeypatch):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    result = aekit("sweep", "--data", "digits")
    assert result.exit_code == 1
    assert "sweep: runs in one process" in result.stderr
    assert "train-ae and train-vae" in result.stderr
    monkeypatch.setenv("RANK", "1")
    assert aekit("sweep", "--data", "digits").stderr == ""  # otherwise the error would be printed twice


@pytest.mark.slow
def test_two_processes_give_the_same_model_as_one(tmp_path):
    alone, history = _train(tmp_path / "one.safetensors", "train-vae", "--epochs", 3, "--val", 0.1)
    shared, shared_history = _train(tmp_path / "two.safetensors", "train-vae", "--epochs", 3, "--val", 0.1, "--gpus", 2)
    assert alone.keys() == shared.keys()
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-5)
    # Sums over images that were left out or counted twice would differ by far more.
    pd.testing.assert_frame_equal(shared_history, history, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["beta-tc", "factor"])
def test_two_processes_compare_the_codes_of_the_whole_batch(tmp_path, objective):
    # Five steps: beta-tc magnifies rounding, and after 20 steps one process differs as much from itself with initial
    # weights that are 1e-7 larger.
    options = ["train-vae", "--epochs", 1, "--limit", 140, "--batch-size", 28, "--objective", objective, "--beta", 3]
    alone, history = _train(tmp_path / "one.safetensors", *options)
    shared, shared_history = _train(tmp_path / "two.safetensors", *options, "--gpus", 2)
    for name, value in alone.items():
        # Adam makes a step of the sign of a gradient that is nearly zero: one weight in 100,000 may differ by more.
        assert (shared[name] - value).abs().mean() < 1e-5, name
    pd.testing.assert_frame_equal(shared_history, history, rtol=1e-4)


@pytest.mark.slow
def test_batch_norm_uses_the_images_of_all_processes_even_if_one_has_none(tmp_path):
    # 202 images in batches of 100: the last batch has two, for three processes.
    options = ["train-ae", "--epochs", 2, "--arch", "blocks", "--layers", 2, "--limit", 202, "--mirror"]
    alone, history = _train(tmp_path / "one.safetensors", *options)
    shared, shared_history = _train(tmp_path / "three.safetensors", *options, "--gpus", 3)
    for name, value in alone.items():
        # The bias of a convolution before batch norm has no effect, and only rounding changes it.
        if name.endswith(("weight", "running_var")):
            torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-5)
    pd.testing.assert_frame_equal(*(each[each["split"] == "train"] for each in (shared_history, history)), rtol=1e-3)
    # Held-out images are normalised by running means, which follow such a bias with a delay: on some processors its
    # rounding shows in them, by 0.2 % after one epoch.
    pd.testing.assert_frame_equal(shared_history, history, rtol=5e-3)


@pytest.mark.slow
def test_torchrun_starts_it_and_one_process_prints(tmp_path):
    path = tmp_path / "x.safetensors"
    alone, _ = _train(tmp_path / "one.safetensors", "train-ae", "--epochs", 1)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    result = subprocess.run(
        [*torchrun, "-m", "aekit", "train-ae", "--epochs", "1", *SHORT, "-o", path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"{path}\n"
    assert result.stderr.count("epoch 1:") == 1
    for name, value in load_file(path).items():
        torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes_with_another_number_of_processes(start, tmp_path, number):
    options = ["train-vae", "--epochs", 8, "--beta-warmup", 2]
    whole, history = _train(tmp_path / "whole.safetensors", *options)
    path = tmp_path / "x.safetensors"
    result = _stopped(start, path, *options, "--gpus", 2, after="epoch 2", number=number)
    assert result.returncode == 128 + number, result.stderr
    assert result.stderr.count("continue with the same command and --resume") == 1
    assert sorted(each.name for each in tmp_path.glob("x.*")) == ["x.csv", "x.resume.safetensors"]
    result = _stopped(start, path, *options, "--resume", "--gpus", 3, after="epoch 4", number=number)
    assert result.returncode == 128 + number, result.stderr
    weights, gone_on = _train(path, *options, "--resume")
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)
    pd.testing.assert_frame_equal(gone_on, history, rtol=1e-4)
