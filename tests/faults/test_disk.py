"""Disks that are full, read-only or gone: one line, the old result as it was, nothing half written, nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_lab import Ended, contents, environment

from aekit.core.checkpoint import read_header

SMALL = ["--data", "digits", "--limit", "60", "--threads", "1", "--device", "cpu", "--latent", "2"]
VAE = ["train-vae", *SMALL, "--epochs", "3"]
GRID = ["sweep", "--model", "ae", "--arch", "dense", *SMALL[:-2], "--latent", "2,3", "--epochs", "1", "--jobs", "1"]


def _is_one_line(ended: Ended, *words: str) -> None:
    assert ended.code == 1, ended.err
    assert not ended.left
    said = [line for line in ended.err.splitlines() if line.startswith("aekit: ")]
    assert said == ended.err.splitlines()[-1:], ended.err
    assert "Traceback" not in ended.err
    assert all(word in said[0] for word in words), said


@pytest.fixture
def disk(tmp_path):
    """Return a function that mounts a disk of so many kilobytes."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = []

    def mount(kilobytes: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a disk cannot be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def _remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True, capture_output=True)


def _fill(folder: Path, *, but: int) -> None:
    """Leave so many bytes free."""
    stat = os.statvfs(folder)
    with (folder / "fill").open("wb") as file:
        file.write(b"x" * max(0, stat.f_bavail * stat.f_bsize - but))


def test_a_clock_that_goes_backward_or_far_forward_changes_nothing(aekit, tmp_path, monkeypatch):
    words = ["train-ae", *SMALL, "--epochs", "1", "--arch", "dense", "-q", "-o"]
    assert aekit(*words, tmp_path / "a" / "x.safetensors").exit_code == 0
    turns = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1e9 * (3 - next(turns) % 3))  # decades to and fro
    assert aekit(*words, tmp_path / "b" / "x.safetensors").exit_code == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.slow
def test_a_training_on_a_disk_that_fills_up_goes_on_when_there_is_room(zygote, disk, tmp_path):
    whole, folder = tmp_path / "whole", disk(16_000)
    assert zygote.run([*VAE, "-o", whole / "x.safetensors"]).code == 0
    biggest = (whole / "x.safetensors").stat().st_size
    output = folder / "x.safetensors"
    # Room for the state of one epoch but not for the next beside it.
    _fill(folder, but=4 * biggest)
    _is_one_line(zygote.run([*VAE, "-o", output]), "x.resume.safetensors", "No space left", "make room", "--resume")
    assert set(contents(folder)) == {"x.csv", "x.resume.safetensors", "fill"}
    (folder / "fill").unlink()
    done = zygote.run([*VAE, "-o", output, "--resume"])
    assert (done.code, done.out) == (0, f"{output}\n"), done.err
    assert contents(folder) == contents(whole)
    _remount(folder, "ro")
    # A finished run is read where nothing can be written.
    done = zygote.run([*VAE, "-o", output, "--resume"])
    assert (done.code, done.out) == (0, f"{output}\n"), done.err
    _is_one_line(zygote.run([*VAE, "-o", output, "--overwrite"]), str(output), "Read-only file system")
    assert contents(folder) == contents(whole)


@pytest.fixture
def limited(tmp_path):
    """Return a folder of a real file system with a quota, and a function that sets it in kilobytes."""
    if sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("mkfs.btrfs") and shutil.which("btrfs")):
        pytest.skip("only root can set a quota, and only where btrfs is")
    image, folder = tmp_path / "disk.img", tmp_path / "limited"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(200 << 20)

    def call(*command: object) -> None:
        subprocess.run([str(word) for word in command], check=True, capture_output=True)

    call("mkfs.btrfs", "-q", image)
    if subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    call("btrfs", "quota", "enable", folder)
    call("btrfs", "subvolume", "create", folder / "mine")
    yield folder / "mine", lambda kilobytes: call("btrfs", "qgroup", "limit", f"{kilobytes}K", folder / "mine")
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
def test_a_training_that_meets_its_quota_goes_on_when_it_is_raised(zygote, limited, tmp_path):
    whole, (folder, limit) = tmp_path / "whole", limited
    assert zygote.run([*VAE, "-o", whole / "x.safetensors"]).code == 0
    biggest = (whole / "x.safetensors").stat().st_size // 1000
    output = folder / "x.safetensors"
    limit(4 * biggest)  # a state is three times the weights, and the next is written before the last one goes
    _is_one_line(zygote.run([*VAE, "-o", output]), "Disk quota exceeded", "make room", "--resume")
    assert set(contents(folder)) == {"x.csv", "x.resume.safetensors"}
    limit(40 * biggest)
    done = zygote.run([*VAE, "-o", output, "--resume"])
    assert (done.code, done.out) == (0, f"{output}\n"), done.err
    assert contents(folder) == contents(whole)
    limit(16)  # below what is there
    _is_one_line(zygote.run([*VAE, "-o", output, "--overwrite"]), "Disk quota exceeded", "make room")
    assert contents(folder) == contents(whole)


@pytest.mark.slow
def test_a_finished_training_that_could_not_replace_an_old_one_goes_on_over_it(zygote, tmp_path):
    # The old result has other settings, which --resume refuses, but the state beside it has these.
    output = tmp_path / "x.safetensors"
    assert zygote.run(["train-ae", *SMALL, "--epochs", "1", "-o", output, "-q"]).code == 0
    old = contents(tmp_path)
    (tmp_path / ".x.png.tmp").mkdir()  # in the way of the figure
    _is_one_line(zygote.run([*VAE, "-o", output, "--overwrite"]), "x.png", "cannot be written")
    (tmp_path / ".x.png.tmp").rmdir()
    assert contents(tmp_path)["x.safetensors"] == old["x.safetensors"]
    done = zygote.run([*VAE, "-o", output, "--resume"])
    assert done.code == 0, done.err
    assert "continuing after epoch 3 of 3" in done.err
    assert sorted(contents(tmp_path)) == ["x.csv", "x.png", "x.safetensors"]


@pytest.mark.slow
def test_a_sweep_on_a_full_disk_is_one_line_and_goes_on(zygote, disk):
    folder = disk(16_000)
    output = folder / "grid"
    _fill(folder, but=40_000)
    done = zygote.run([*GRID, "-o", output])
    _is_one_line(done, "No space left", "make room")
    (folder / "fill").unlink()
    done = zygote.run([*GRID, "-o", output])
    assert done.code == 0, done.err
    assert not [name for name in contents(folder) if name.endswith((".tmp", ".lock", ".resume.safetensors"))]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["train-ae", "--help"], [*GRID, "--dry-run"], ["data"]])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_stdout_is_one_line(zygote, words, buffered):
    ended = zygote.run(words, out="/dev/full", env={"AEKIT_FAULTS_UNBUFFERED": "" if buffered else "1"})
    _is_one_line(ended, "stdout: cannot be written (No space left on device)")


@pytest.mark.slow
def test_a_training_that_cannot_say_its_path_has_written_it(zygote, tmp_path):
    output = tmp_path / "x.safetensors"
    words = ["train-ae", *SMALL, "--epochs", "1", "-o", output]
    _is_one_line(zygote.run(words, out="/dev/full"), "stdout: cannot be written (No space left on device)")
    assert sorted(contents(tmp_path)) == ["x.csv", "x.png", "x.safetensors"]
    assert zygote.run([*words, "--resume"]).out == f"{output}\n"


@pytest.mark.slow
def test_a_folder_that_is_deleted_while_it_trains_is_made_again_or_told_of(start, tmp_path):
    output = tmp_path / "deep" / "x.safetensors"
    command = [sys.executable, "-m", "aekit", *VAE[:-2], "--epochs", "60", "-o", str(output)]
    process = start(command, stderr=subprocess.PIPE, text=True, env=environment())
    for line in process.stderr:
        if ": epoch 2" in line:
            break
    deadline = time.monotonic() + 5
    while output.parent.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for path in output.parent.iterdir():
                path.unlink()
            output.parent.rmdir()
    _, said = process.communicate(timeout=100)
    assert "Traceback" not in said
    if process.returncode:  # it was between the making of a file and its renaming
        assert said.splitlines()[-1].startswith("aekit: ")
    else:
        assert sorted(contents(tmp_path)) == ["deep/x.csv", "deep/x.png", "deep/x.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_matter(tmp_path, streams):
    output = tmp_path / "x.safetensors"
    words = " ".join(["train-ae", *SMALL, "--epochs", "1", "-o", str(output)])
    script = f"exec {sys.executable} -m aekit {words} {streams}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0
    assert sorted(contents(tmp_path)) == ["x.csv", "x.png", "x.safetensors"]
    assert read_header(output).result
