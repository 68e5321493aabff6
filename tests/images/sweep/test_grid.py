"""A grid reports each cell in a lane of its own and each outcome in a line, and divides the machine among its cells."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from aekit.core.progress import Silent
from aekit.errors import AekitError, Stopped
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.runs import Machine
from aekit.images.sweep import grid
from aekit.images.sweep.grid import GridReport, run_grid, run_missing
from aekit.images.sweep.outcomes import Done, Failed
from aekit.images.sweep.plan import Cell

MACHINE = Machine(Path("/nowhere"), "cpu")


class Recorder(Silent):
    """Progress that keeps everything, and asks to stop if it is told to."""

    def __init__(self, signal_number: int | None = None) -> None:
        self.updates, self.notices, self._signal = [], [], signal_number

    def update(self, what, done, total, *, lane="", detail=None) -> None:
        self.updates.append((lane, done, total, detail() if detail else None))

    def notice(self, text) -> None:
        self.notices.append(text)

    def should_stop(self):
        return self._signal


def test_cells_have_lanes_and_outcomes_a_line(make_done):
    progress, ended = Recorder(), []
    report = GridReport(3, progress, ended.append)
    old, new = make_done(1.0, is_old=True), make_done(5.0, kind="ae", latent=4)
    failed = Failed(make_done(0.0, seed=9).cell, "no room")
    report.add_old(old)
    assert (progress.updates, progress.notices) == ([], [])
    report.heard(new.cell, ("progress", (3, 9, "epoch 1/3  loss 7")))
    report.heard(new.cell, ("notice", "continuing after epoch 1 of 3"))
    report.ended(new)
    report.ended(failed)
    label = "ae, latent 4, seed 0"
    assert progress.updates[:3] == [
        ("cells", 1, 3, "1 of 3"), (label, 3, 9, "epoch 1/3  loss 7"), (label, 1, 1, ""),
    ]  # fmt: skip
    assert progress.updates[-1] == ("cells", 3, 3, "3 of 3, 1 failed")
    assert progress.notices == [
        f"{label}: continuing after epoch 1 of 3",
        f"2/3  {label}: val 5, MSE 0.05",
        "3/3  vae, latent 2, seed 9: failed: no room",
    ]
    assert ended == [old, new, failed]


def test_what_is_common_to_cells_is_said_once_and_what_is_of_one_with_its_name(make_done):
    progress = Recorder()
    report = GridReport(2, progress, lambda outcome: None)
    first, second = make_done(1.0).cell, make_done(2.0, seed=1).cell
    for cell in (first, second):
        report.heard(cell, ("common", "5 images per step"))
        report.heard(cell, ("notice", "stopped early after epoch 3 of 9"))
    report.heard(second, ("common", "6 images per step"))
    stopped = [f"{cell.label}: stopped early after epoch 3 of 9" for cell in (first, second)]
    assert progress.notices == ["5 images per step", *stopped, "6 images per step"]


def test_after_a_signal_the_number_of_cells_that_are_done_is_reported(make_done, monkeypatch):
    done = make_done(1.0)
    monkeypatch.setattr(grid, "run_files", lambda config, path: SimpleNamespace(finished=lambda: None))
    report = GridReport(2, Recorder(signal.SIGINT), lambda outcome: None)
    cells = [done.cell, make_done(2.0, seed=1).cell]
    with pytest.raises(Stopped, match="stopped with 1 of 2 cells done; continue with the same command") as stopped:
        run_missing(cells, lambda todo, report: iter([done]), report, overwrite=False)
    assert stopped.value.signal_number == signal.SIGINT


def test_cores_and_gpus_are_divided_among_the_workers(monkeypatch):
    monkeypatch.setattr(grid, "count_cores", lambda: 8)
    monkeypatch.setattr(grid, "free_memory", lambda: 5 * grid.WORKER_BYTES)
    assert [worker.threads for worker in grid._divide(MACHINE, 3, None, 0)] == [2, 2, 2]
    assert len(grid._divide(MACHINE, 99, None, 0)) == 5  # as many as memory holds
    assert [worker.threads for worker in grid._divide(MACHINE, 99, 2, 0)] == [4, 4]
    monkeypatch.setattr(grid, "choose_device", lambda name: SimpleNamespace(type="cuda"))
    monkeypatch.setattr(grid.torch.cuda, "device_count", lambda: 2)
    devices = [worker.device for worker in grid._divide(Machine(Path(), "cuda"), 3, 3, 0)]
    assert devices == ["cuda:0", "cuda:1", "cuda:0"]


def test_images_that_cannot_be_read_are_one_error(tmp_path):
    config = RunConfig(data=DataConfig(name=str(tmp_path / "nowhere")))
    cells = [Cell(config, tmp_path / f"{i}.safetensors", str(i)) for i in range(3)]
    with pytest.raises(AekitError, match="nowhere"):
        run_grid(cells, MACHINE)


@pytest.mark.slow
def test_cells_are_trained_from_python_and_left_as_they_are_the_next_time(tmp_path):
    data = DataConfig(name="digits", limit=40)
    configs = [
        RunConfig(ModelConfig(kind="ae", arch="dense", latent=latent), data, TrainConfig(epochs=1)) for latent in (2, 3)
    ]
    cells = [Cell(config, tmp_path / f"z{config.model.latent}.safetensors", "x") for config in configs]
    progress = Recorder()
    first = run_grid(cells, MACHINE, jobs=1, progress=progress)
    assert [outcome.cell for outcome in first] == cells
    assert all(isinstance(outcome, Done) and not outcome.is_old for outcome in first)
    assert [notice[:8] for notice in progress.notices] == ["3 images", "1/2  x: ", "2/2  x: "]
    again = run_grid(cells, MACHINE, jobs=1)
    assert again == [Done(outcome.cell, outcome.header, is_old=True) for outcome in first]
