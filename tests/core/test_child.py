"""A command in a process of its own: what it says and how it ends arrive, and it does not outlive its parent."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aekit.core.child import run_aekit

PARENT = """
import sys
from aekit.core.child import run_aekit
ended = run_aekit(sys.argv[1:], {}, lambda line: print(line, flush=True))
print("ENDED", ended.code, ended.signal_number, flush=True)
"""
TRAIN = ["train-ae", "--data", "digits", "--limit", "60", "--latent", "2", "--epochs", "99999", "--threads", "1"]


def test_what_a_command_prints_arrives_line_by_line_with_its_exit_code():
    said: list[str] = []
    ended = run_aekit(["--version"], {}, said.append)
    assert (ended.code, ended.signal_number, said) == (0, None, [])
    assert len(ended.stdout) == 1
    assert ended.stdout[0].startswith("aekit ")
    ended = run_aekit(["info", "nowhere.safetensors"], {}, said.append)
    assert ended.code == 1
    assert said == [ended.message]
    assert ended.message.startswith("aekit: nowhere.safetensors")


def test_a_command_has_the_variables_that_it_is_given(tmp_path):
    ended = run_aekit(["data", "--list", "--json"], {"AEKIT_DATA": str(tmp_path / "here")}, lambda line: None)
    assert str(tmp_path / "here") in "".join(ended.stdout)


def _training(start, path: Path) -> subprocess.Popen:
    """Return a program whose command is in its second epoch or later."""
    process = start([sys.executable, "-c", PARENT, *TRAIN, "-o", path], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if ": epoch 2" in line:
            return process
    raise AssertionError("it has ended")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_command_which_saves_its_state(start, tmp_path, number):
    process = _training(start, tmp_path / "x.safetensors")
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert f"ENDED {128 + number} {int(number)}" in said
    assert said.count("saving the state") == 1
    assert (tmp_path / "x.resume.safetensors").exists()


@pytest.mark.slow
def test_a_command_whose_parent_is_killed_saves_its_state_and_ends(start, tmp_path):
    process = _training(start, tmp_path / "x.safetensors")
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 15  # long before it would be killed
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()
    assert (tmp_path / "x.resume.safetensors").exists()
    assert not (tmp_path / "x.safetensors").exists()
