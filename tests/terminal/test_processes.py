"""``--gpus``: which device a process has, and which one starts the others."""

from __future__ import annotations

import pytest
import typer

from aekit.core.environment import PARENT
from aekit.errors import UsageError
from aekit.terminal import processes
from aekit.terminal.processes import share_among


@pytest.fixture(autouse=True)
def launched(monkeypatch):
    """Return the numbers of processes that would have been started, and let them exit with code 3."""
    for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE", PARENT):
        monkeypatch.delenv(name, raising=False)
    started = []

    def launch(n, arguments):
        started.append((n, arguments))
        return 3

    monkeypatch.setattr(processes, "launch", launch)
    monkeypatch.setattr("sys.argv", ["aekit", "train-ae", "--gpus", "2"])
    return started


@pytest.mark.parametrize(
    ("gpus", "device", "own"),
    [
        (None, "auto", "auto"),
        (None, "mps", "mps"),
        (1, "auto", "cuda"),  # who asks for GPUs gets none of the other devices
        (1, "cpu", "cpu"),
        (1, "cuda:1", "cuda:1"),
    ],
)
def test_one_process_starts_no_other_and_runs_where_it_was_told_to(launched, gpus, device, own):
    assert share_among(gpus, device) == own
    assert launched == []


def test_several_processes_have_the_same_command_line_and_the_first_one_their_exit_code(launched):
    with pytest.raises(typer.Exit) as ended:
        share_among(2, "auto")
    assert ended.value.exit_code == 3
    assert launched == [(2, ["train-ae", "--gpus", "2"])]


def test_a_process_of_several_starts_no_others(launched, monkeypatch):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert share_among(2, "auto") == "cuda"
    assert launched == []


@pytest.mark.parametrize("gpus", [0, -1])
def test_a_number_of_gpus_below_one_is_a_usage_error(launched, gpus):
    with pytest.raises(UsageError, match=f"^--gpus: {gpus} must be 1 or more"):
        share_among(gpus, "auto")
    assert launched == []
