"""SIGKILL anywhere in a training on brains, its cache of volumes included."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import pytest
from fault_lab import Experiment, Zygote, fsync_faults, kill_everywhere

FAST = ["--size", 8, "--spacing", 24, "--epochs", 1, "--seeds", 1, "--threads", 1, "--device", "cpu"]


@pytest.fixture(scope="module")
def experiment(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("people") / "cohort"
    ended = zygote.run(["mri-phantom", "-n", 24, "--size", 16, "--jobs", 1, "-o", folder])
    assert ended.code == 0, ended.err
    time.sleep(2.1)  # files that have just changed have no shortcut in the cache
    words = ["mri-train", folder / "participants.tsv", "--volumes", folder / "volumes", *FAST]

    def into(place: Path) -> list[object]:
        return [*words, "-o", place / "x.safetensors"]

    return Experiment(into, [lambda place: [*into(place), "--resume"]])


@pytest.mark.slow
def test_a_training_on_brains_that_was_killed_ends_with_the_same_bytes(experiment, zygote, tmp_path):
    lab = kill_everywhere(experiment, zygote, tmp_path, points=1, moments=0)
    assert fsync_faults(lab.points, lambda target: True) == []


@pytest.mark.faults
def test_it_does_so_killed_at_many_points_and_at_random_moments(experiment, zygote, tmp_path, record):
    lab = kill_everywhere(experiment, zygote, tmp_path, points=0.25, moments=8)
    record("kills-mri-train", **asdict(lab.tally))
