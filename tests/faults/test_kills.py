"""SIGKILL anywhere: what was killed and gone on with ends as if nothing had happened, to the byte."""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from fault_lab import Experiment, contents, fsync_faults, kill_everywhere
from PIL import Image

SMALL = ["--data", "digits", "--limit", 60, "--threads", 1, "--device", "cpu", "--latent", 2]
VAE = ["train-vae", *SMALL, "--epochs", 2, "--val", 0.2, "--keep", "best"]
AE = ["train-ae", *SMALL, "--epochs", 1, "--arch", "dense"]
# So high a rate that validation gets worse and patience runs out long before the last epoch.
TUNED = ["train-vae", *SMALL[:6], "--val", 0.2, "--epochs", 30, "--patience", 1, "--schedule", "constant", "--lr", 0.1]
NAMES = ["train-vae", "train-ae", "tuned", "cache"]


def _into(*words):
    return lambda folder: [words[0], "-o", folder / "x.safetensors", *words[1:]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(200):
        path = folder / f"{number:03d}.bmp"
        Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(path)
        os.utime(path, (time.time() - 100,) * 2)
    lines = "".join(f"{number:03d}.bmp,{number % 3}\n" for number in range(200))
    (folder.parent / "kinds.csv").write_text(f"file,label\n{lines}")
    time.sleep(2.1)  # files that have just changed have no shortcut in the cache
    return folder


@pytest.fixture(scope="module")
def old_result(zygote, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    ended = zygote.run([*AE, "--seed", 1, "-o", folder / "x.safetensors"])
    assert ended.code == 0, ended.err
    return folder


def _logs(folder: Path) -> Path:
    return folder.with_name(f"logs-{folder.name}")


def _tuned(parent: Path, *more: object):
    events = importlib.util.find_spec("tensorboard") is not None

    def words(folder: Path) -> list[object]:
        log = ["--tensorboard", _logs(folder)] if events else []
        return [*TUNED, "--init", parent / "x.safetensors", *log, *more, "-o", folder / "x.safetensors"]

    return words


@pytest.fixture(scope="module")
def experiments(pictures, old_result) -> dict[str, Experiment]:
    def with_old(folder: Path) -> None:
        for path in old_result.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())

    kinds = pictures.parent / "kinds.csv"
    images = ["--data", pictures, "--labels", kinds, "--image-size", 8]
    of_pictures = ["train-ae", *images, *SMALL[4:], "--epochs", 1, "--arch", "dense"]
    return {
        "train-vae": Experiment(_into(*VAE), [_into(*VAE, "--resume")]),
        # Over an old result of other settings, which --resume refuses as long as there is no state of the new one.
        "train-ae": Experiment(
            _into(*AE, "--overwrite"), [_into(*AE, "--resume"), _into(*AE, "--overwrite")], prepare=with_old
        ),
        # Events lie outside, as they have times in them; see below.
        "tuned": Experiment(_tuned(old_result), [_tuned(old_result, "--resume")]),
        "cache": Experiment(
            _into(*of_pictures),
            [_into(*of_pictures, "--resume")],
            env={"AEKIT_FAULTS_SETTINGS": "aekit.core.partial._SAVE_SECONDS=0"},  # each block is recorded at once
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_was_killed_and_gone_on_with_ends_with_the_same_bytes(experiments, zygote, tmp_path, name):
    lab = kill_everywhere(experiments[name], zygote, tmp_path, points=2, moments=1)
    # What a loss of power leaves is what fsync was asked for.
    assert fsync_faults(lab.points, lambda target: True) == []
    for log in tmp_path.glob("logs-*"):  # each of a run that was killed, and gone on with
        _check_steps(log / "x")


def _check_steps(log: Path) -> None:
    """Check that every epoch has its events once, however often it was begun."""
    accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(log)).Reload()
    steps = [event.step for event in events.Scalars("total/val")]
    assert len(steps) > 1
    assert steps == list(range(1, len(steps) + 1)), log


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_it_does_so_killed_at_every_point_and_at_random_moments(experiments, zygote, tmp_path, record, name):
    lab = kill_everywhere(experiments[name], zygote, tmp_path, points=1.0, moments=15)
    record(f"kills-{name}", **asdict(lab.tally))


@pytest.mark.slow
def test_a_temporary_file_of_the_killed_is_not_taken_from_the_living(zygote, tmp_path):
    # Half written by one that was killed; the next writer of the same file writes over it.
    (tmp_path / ".x.csv.tmp").write_bytes(b"half" * 1000)
    (tmp_path / ".x.safetensors.lock").write_bytes(b"process 1 on another")
    ended = zygote.run([*AE, "-o", tmp_path / "x.safetensors"])
    assert ended.code == 0, ended.err
    assert sorted(contents(tmp_path)) == ["x.csv", "x.png", "x.safetensors"]
