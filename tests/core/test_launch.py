"""Several processes start with one command line, and end together with one exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from children import Start

from aekit.core.environment import PARENT
from aekit.core.launch import _environment, _exit_code, is_orphan, launch
from aekit.errors import AekitError

SHORT = ["--data", "digits", "--latent", "5", "--threads", "1", "--precision", "fp32", "--device", "cpu"]


def _two_that_train(start: Start, path: Path) -> tuple[subprocess.Popen, list[str]]:
    """Return the launcher of two processes that are in their third epoch or later, and the process ids of the two."""
    command = [sys.executable, "-m", "aekit", "train-ae", "--epochs", "9999", *SHORT, "--gpus", "2", "-o", path]
    process = start(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if ": epoch 2" in line:
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    return process, children


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train-ae", "--gpus", 100_000], ["--gpus: 100,000 processes", "too many for this machine"]),
        (["train-ae", "--gpus", 1, "--device", "cuda:99"], ["--device cuda:99"]),
    ],
)
def test_impossible_numbers_of_gpus_are_refused(aekit, arguments, words):
    result = aekit(*arguments, "--data", "digits")
    assert result.exit_code == 1
    assert all(word in result.stderr for word in words)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_in_bounded_time(start, tmp_path):
    path = tmp_path / "x.safetensors"
    process, children = _two_that_train(start, path)
    os.kill(int(children[1]), signal.SIGKILL)
    started = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert process.returncode == 1
    assert "--gpus: process 1 of 2 was killed by signal 9" in said
    assert "Traceback" not in said
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert path.with_name("x.resume.safetensors").exists()


@pytest.mark.slow
def test_processes_whose_launcher_is_killed_save_and_end(start, tmp_path):
    path = tmp_path / "x.safetensors"
    process, children = _two_that_train(start, path)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert path.with_name("x.resume.safetensors").exists()


@pytest.mark.slow
def test_an_error_in_all_processes_is_printed_once_with_its_exit_code(tmp_path, capfd):
    assert launch(2, ["train-ae", "--data", "nowhere", "--device", "cpu", "-o", str(tmp_path / "x.safetensors")]) == 1
    assert capfd.readouterr().err.count("nowhere: no such data set") == 1
    assert launch(2, ["train-ae", "--data", "digits", "--epochs", "x"]) == 2
    assert capfd.readouterr().err.count("'x' is not a whole number") == 1
    if not torch.cuda.is_available():
        assert launch(2, ["train-ae", "--data", "digits", "--device", "cuda"]) == 1
        assert capfd.readouterr().err.count("this machine has 0 GPUs") == 1


def test_each_process_has_its_rank_and_a_fraction_of_the_cores_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("aekit.core.launch.count_cores", lambda: 6)
    environments = [_environment(rank, 2, 1234) for rank in range(2)]
    assert [each["RANK"] for each in environments] == [each["LOCAL_RANK"] for each in environments] == ["0", "1"]
    assert {(each["WORLD_SIZE"], each["MASTER_PORT"], each["OMP_NUM_THREADS"]) for each in environments} == {
        ("2", "1234", "3")
    }
    assert environments[0][PARENT] == str(os.getpid())
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert _environment(0, 2, 1234)["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(
    ("codes", "received", "code"),
    [
        ([0, 0], [], 0),
        ([0, -11], [], 0),  # what libraries of another process do as it ends is irrelevant
        ([1, 0], [], 1),
        ([143, 143], [15], 143),
        ([-15, 143], [15], 143),  # it was stopped before it could handle the signal
        ([-2, -2], [2], 130),
    ],
)
def test_the_exit_code_is_that_of_the_first_process(codes, received, code):
    assert _exit_code(codes, received) == code


@pytest.mark.parametrize(("code", "why"), [(-9, ", possibly because memory ran out"), (-11, "")])
def test_a_process_that_was_killed_is_named_with_its_signal(code, why):
    with pytest.raises(AekitError, match=rf"process 1 of 2 was killed by signal {-code}{why}; continue with"):
        _exit_code([1, code], [])


def test_a_process_is_an_orphan_once_its_launcher_is_not_its_parent(monkeypatch):
    monkeypatch.delenv(PARENT, raising=False)
    assert not is_orphan()
    monkeypatch.setenv(PARENT, str(os.getppid()))
    assert not is_orphan()
    monkeypatch.setenv(PARENT, "1234567")
    assert is_orphan()
