"""SIGKILL anywhere where several processes are at work: a grid, and a run that processes share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from fault_lab import Experiment, fsync_faults, kill_everywhere

SMALL = ["--data", "digits", "--limit", 60, "--device", "cpu"]


def _grid(folder: Path) -> list[object]:
    return [
        "sweep",
        "--model",
        "ae",
        "--arch",
        "dense",
        *SMALL,
        "--latent",
        "2,3",
        "--epochs",
        1,
        "--jobs",
        1,
        "-o",
        folder,
    ]


def _shared(*more):
    words = ["train-vae", *SMALL, "--threads", 1, "--latent", 2, "--epochs", 2, *more]
    return lambda folder: [*words, "-o", folder / "x.safetensors"]


EXPERIMENTS = {
    # A killed worker is a failed cell, so the sweep ends with 1; run again it trains what is missing.
    "sweep": Experiment(_grid, [_grid], whom=("self", "all"), may_change=("results", "curves")),
    "data-parallel": Experiment(_shared(), [_shared("--resume")], size=2, whom=("self", "all")),
    "gpus": Experiment(_shared("--gpus", 2), [_shared("--gpus", 2, "--resume")], whom=("self", "all")),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "points"), [("sweep", 1), ("data-parallel", 2)])
def test_killed_and_gone_on_with_it_ends_with_the_same_bytes_and_leaves_no_process(zygote, tmp_path, name, points):
    lab = kill_everywhere(EXPERIMENTS[name], zygote, tmp_path, points=points, moments=0)
    assert fsync_faults(lab.points, lambda target: True) == []


@pytest.mark.faults
@pytest.mark.parametrize(("name", "points", "moments"), [("sweep", 20, 6), ("data-parallel", 1.0, 15), ("gpus", 3, 2)])
def test_it_does_so_killed_at_every_point_and_moment(zygote, tmp_path, record, name, points, moments):
    lab = kill_everywhere(EXPERIMENTS[name], zygote, tmp_path, points=points, moments=moments)
    record(f"kills-{name}", **asdict(lab.tally))
