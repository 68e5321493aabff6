"""Signals and pipes: the state is saved, the exit code says why, and no process is left, also of a killed parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fault_lab import Ended, contents, environment
from PIL import Image

from aekit.terminal import streams

SMALL = ["--data", "digits", "--limit", 60, "--threads", 1, "--device", "cpu"]
SIGNALS = {
    "ctrl-c": ([signal.SIGINT], 130),
    "ctrl-c twice": ([signal.SIGINT, signal.SIGINT], 130),
    "sigterm": ([signal.SIGTERM], 143),
    "sigterm twice": ([signal.SIGTERM, signal.SIGTERM], 143),
    "sigkill": ([signal.SIGKILL], -9),
}


@pytest.fixture(scope="module")
def people(zygote, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("people") / "cohort"
    assert zygote.run(["mri-phantom", "-n", 24, "--size", 16, "--jobs", 1, "-o", folder]).code == 0
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Return a folder of pictures that take many seconds to decode."""
    folder = tmp_path_factory.mktemp("pictures")
    x, y = np.meshgrid(np.arange(2000), np.arange(2000))
    Image.fromarray(((x + y) % 256).astype(np.uint8)).save(folder / "0000.jpg")
    for number in range(1, 600):
        os.link(folder / "0000.jpg", folder / f"{number:04d}.jpg")
    return folder


def _command(name: str, folder: Path, people: Path, pictures: Path) -> tuple[list[object], str]:
    """Return a command that takes long, and the file that is there when it is at work."""
    x = ["-o", folder / "x.safetensors"]
    if name == "train-vae":
        return ["train-vae", *SMALL, "--epochs", 9999, *x], str(folder / "x.resume.safetensors")
    if name == "sweep":
        words = ["sweep", *SMALL, "--epochs", 9999, "--latent", "2,3", "--jobs", 2, "-o", folder]
        return words, str(folder / "*.resume.safetensors")
    if name == "mri-train":
        words = ["mri-train", people / "participants.tsv", "--volumes", people / "volumes", "--size", 8]
        words += ["--spacing", 24, "--epochs", 3000, "--seeds", 2, "--threads", 2, "--device", "cpu", *x]
        return words, str(folder / "cache" / "volumes" / "*.json")
    if name == "preparation":
        words = ["train-ae", "--data", pictures, "--image-size", 8, *SMALL[4:], "--epochs", 1, *x]
        return words, str(folder / "cache" / "images" / "*.partial")
    assert name == "gpus"
    return ["train-vae", *SMALL, "--epochs", 9999, "--gpus", 2, *x], str(folder / "x.resume.safetensors")


def _signalled(zygote, words: list[object], when: str, folder: Path, numbers: list[int]) -> Ended:
    signals = [(when, numbers[0]), *((0.1, number) for number in numbers[1:])]
    return zygote.run(words, signals=signals, env={"AEKIT_CACHE": str(folder / "cache")}, patience=10, timeout=60)


FAST = [("train-vae", "ctrl-c twice"), ("train-vae", "sigterm twice"), ("mri-train", "sigterm"), ("sweep", "sigkill")]
ALL = [
    (command, what)
    for command in ("train-vae", "sweep", "mri-train", "preparation", "gpus")
    for what in SIGNALS
    if (command, what) not in FAST
]


@pytest.mark.parametrize(
    ("command", "what"),
    [
        *(pytest.param(*each, marks=pytest.mark.slow) for each in FAST),
        *(pytest.param(*each, marks=pytest.mark.faults) for each in ALL),
    ],
)
def test_no_process_is_left_and_the_exit_code_says_why(zygote, tmp_path, people, pictures, command, what):
    numbers, code = SIGNALS[what]
    words, when = _command(command, tmp_path, people, pictures)
    ended = _signalled(zygote, words, when, tmp_path, numbers)
    assert ended.code == code, ended.err
    assert ended.left == []
    assert "Traceback" not in ended.err
    left = {name for name in contents(tmp_path) if name.endswith((".tmp", ".lock"))}
    # Workers of a grid that is ended at once are killed, and the next run removes what they leave.
    assert not left or what == "sigkill" or (command == "sweep" and "twice" in what)
    if command in ("train-vae", "sweep", "gpus"):
        assert any(name.endswith(".resume.safetensors") for name in contents(tmp_path))


@pytest.mark.faults
def test_a_process_that_waits_for_one_that_was_never_started_ends_after_its_launcher(start, tmp_path):
    # As when the launcher is killed between the start of the first and the second.
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    words = [sys.executable, "-m", "aekit", "train-ae", *SMALL, "-o", tmp_path / "x.safetensors"]
    script = (
        "import os, subprocess, sys, time\n"
        "own = {'RANK': '0', 'LOCAL_RANK': '0', 'AEKIT_PARENT': str(os.getpid())}\n"
        "child = subprocess.Popen(sys.argv[1:], env=os.environ | own, start_new_session=True)\n"
        "print(child.pid, flush=True); time.sleep(15)\n"
    )
    command = [sys.executable, "-c", script, *map(str, words)]
    launcher = start(command, stdout=subprocess.PIPE, text=True, env=environment(**shared))
    pid = int(launcher.stdout.readline())
    time.sleep(8)
    assert Path(f"/proc/{pid}").exists()
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.faults
def test_data_parallel_runs_end_well_in_both_processes(start, tmp_path, record):
    # Real ones, as it is when a process and its libraries end that gloo's threads have been seen to abort it.
    codes = []
    for number in range(15):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = str(listener.getsockname()[1])
        words = ["train-ae", *SMALL, "--epochs", 1, "--latent", 2, "-q", "-o", tmp_path / f"{number}" / "x.safetensors"]
        command = [sys.executable, "-m", "aekit", *map(str, words)]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        both = [
            start(command, stdout=subprocess.DEVNULL, env=environment(**shared, RANK=rank, LOCAL_RANK=rank))
            for rank in "01"
        ]
        codes.append([process.wait(120) for process in both])
    record("launches", n=len(codes), well=codes.count([0, 0]), codes=codes)
    assert codes == [[0, 0]] * 15


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train-vae", "--help"],
        ["data"],
        ["sweep", "--model", "ae", *SMALL[:4], "--latent", "2-1000", "--epochs", 1, "--dry-run", "--yes"],
    ],
)
def test_a_reader_that_ends_early_ends_it_quietly(start, words):
    # The reader takes a line and goes; then one that is gone before the first.
    command = [sys.executable, "-m", "aekit", *map(str, words)]
    for n_lines in (1, 0):
        process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        for _ in range(n_lines):
            process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 0
        assert "Traceback" not in said
        assert "BrokenPipe" not in said


def test_a_signal_that_comes_in_the_middle_of_a_line_does_not_break_the_line(monkeypatch):
    class Busy:
        def write(self, _: str) -> None:
            raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

        def flush(self) -> None:
            pass

    monkeypatch.setattr("sys.stderr", Busy())
    streams.say("stopping after this step")
