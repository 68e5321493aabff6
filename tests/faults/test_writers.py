"""Several processes that write one output: the second training is refused, of whole files the last one stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from children import Start
from fault_lab import contents, environment

from aekit.core import artifacts, durable
from aekit.core.durable import one_writer
from aekit.errors import AekitError

SMALL = ["--data", "digits", "--limit", "60", "--threads", "1", "--device", "cpu"]
LONG = ["--epochs", "5000"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(durable, "PATIENCE_SECONDS", 0.1)


def _child(start: Start, script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())


HOLD = """
import sys; from pathlib import Path; from aekit.core.durable import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True); sys.stdin.read()
"""
WRITE = """
import sys; from pathlib import Path; from aekit.core.artifacts import write_atomically
for n in range(300):
    write_atomically(Path(sys.argv[1]), lambda file: [file.write(sys.argv[2].encode() * 5000) for _ in range(4)])
"""


def test_the_second_writer_is_refused_by_name_and_the_lock_ends_with_its_process(start, tmp_path):
    path = tmp_path / "new" / "x.safetensors"
    child = _child(start, HOLD, path)
    assert child.stdout.readline() == "held\n"
    refused = rf"x\.safetensors: is being written by process {child.pid} on .*; wait .* or choose another --output"
    with pytest.raises(AekitError, match=refused), one_writer(path):
        pass
    with one_writer(path.with_name("y.safetensors")):  # another output of the folder
        pass
    child.kill()
    child.wait()
    assert [each.name for each in path.parent.iterdir()] == [".x.safetensors.lock"]
    with one_writer(path):
        path.write_text("kept")
    assert contents(tmp_path) == {"new/x.safetensors": b"kept"}


def test_nothing_is_left_of_a_lock_in_a_folder_that_got_no_result(tmp_path):
    with one_writer(tmp_path / "a" / "b" / "x.safetensors"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_of_several_that_write_a_whole_file_the_last_one_stays(start, tmp_path):
    path = tmp_path / "x.bin"
    children = [_child(start, WRITE, path, letter) for letter in "abc"]
    seen = set()
    while any(child.poll() is None for child in children):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 20_000
            assert len(set(content)) == 1  # all of one writer
            seen.add(content[:1])
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(seen) > 1
    assert list(contents(tmp_path)) == ["x.bin"]


def test_threads_of_one_process_do_not_take_each_other_s_temporary_file(tmp_path):
    path = tmp_path / "x.bin"
    with durable.atomic_write(path) as file:
        file.write(b"outer")
        artifacts.write_atomically(path, lambda inner: inner.write(b"inner"))
        assert path.read_bytes() == b"inner"
    assert contents(tmp_path) == {"x.bin": b"outer"}


def test_a_writer_that_fails_does_not_remove_what_another_has_begun(tmp_path, monkeypatch):
    path, unlink = tmp_path / "x.bin", Path.unlink

    def meanwhile(self: Path) -> None:
        with durable.atomic_write(path) as file:
            file.write(b"another")
            unlink(self)

    monkeypatch.setattr(Path, "unlink", meanwhile)
    with pytest.raises(ZeroDivisionError), durable.atomic_write(path):
        raise ZeroDivisionError
    assert contents(tmp_path) == {"x.bin": b"another"}


def _train(start: Start, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "aekit", *map(str, words)]
    return start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("train-vae", marks=pytest.mark.slow),
        *(pytest.param(name, marks=pytest.mark.faults) for name in ("sweep", "mri-train", "gpus")),
    ],
)
def test_a_second_training_of_the_same_output_is_refused_and_the_first_is_not_disturbed(start, zygote, tmp_path, first):
    output = tmp_path / ("grid" if first == "sweep" else "x.safetensors")
    lock = output / ".results.csv.lock" if first == "sweep" else tmp_path / ".x.safetensors.lock"
    if first == "mri-train":
        people = tmp_path / "people"
        assert zygote.run(["mri-phantom", "-n", 24, "--size", 16, "--jobs", 1, "-o", people]).code == 0
        words = ["mri-train", people / "participants.tsv", "--volumes", people / "volumes", "--size", 8]
        words += ["--spacing", 24, "--epochs", 3000, "--seeds", 1, "--threads", 1, "--device", "cpu"]
    elif first == "sweep":
        words = ["sweep", *SMALL, *LONG, "--latent", "2,3", "--jobs", 1]
    else:
        words = ["train-vae", *SMALL, *LONG, *(["--gpus", 2] if first == "gpus" else [])]
    process = _train(start, *words, "-o", output)
    _wait_for(lock)
    again = [word for word in words if word not in ("--gpus", 2)]
    settings = {"AEKIT_FAULTS_SETTINGS": "aekit.core.durable.PATIENCE_SECONDS=0.1"}
    for more in [[], ["--overwrite"], ["--resume"]]:
        if first == "sweep" and more == ["--resume"]:
            continue
        ended = zygote.run([*again, *more, "-o", output], env=settings)
        assert ended.code == 1
        assert ended.err.splitlines()[-1].startswith(f"aekit: {output}"), ended.err
        assert "is being written by process" in ended.err or "unfinished run" in ended.err
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert not [each for each in lock.parent.iterdir() if each.suffix in (".lock", ".tmp")]


@pytest.mark.faults
def test_a_cell_of_a_grid_that_another_training_writes_is_told_of_and_the_rest_is_trained(start, zygote, tmp_path):
    words = ["sweep", "--model", "ae", "--arch", "dense", *SMALL, "--latent", "2,3", "--epochs", 1, "-o", tmp_path]
    cell = zygote.run([*words, "--dry-run"]).out.splitlines()[0].split()[-1]
    child = _child(start, HOLD, cell)
    assert child.stdout.readline() == "held\n"
    ended = zygote.run(words)
    assert ended.code == 1
    assert f"1 of 2 cells failed, the first latent 2: {cell}: is being written by process {child.pid}" in ended.err
    child.communicate()
    ended = zygote.run(words)
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 2
