"""Folders, cores and processes are those that the environment sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aekit.core.environment import cache_folder, count_cores, default_data_root, local_rank, n_processes, process_rank


@pytest.mark.parametrize(
    ("function", "own", "general", "home"),
    [
        (default_data_root, "AEKIT_DATA", "XDG_DATA_HOME", ".local/share/aekit"),
        (cache_folder, "AEKIT_CACHE", "XDG_CACHE_HOME", ".cache/aekit"),
    ],
)
def test_a_folder_is_aekits_own_variable_or_else_in_the_users_folder(monkeypatch, function, own, general, home):
    monkeypatch.delenv(own, raising=False)
    monkeypatch.delenv(general, raising=False)
    assert function() == Path.home() / home
    monkeypatch.setenv(general, "/general")
    assert function() == Path("/general/aekit")
    monkeypatch.setenv(own, "/own")
    assert function() == Path("/own")
    monkeypatch.setenv(own, "")
    assert function() == Path("/general/aekit")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_cores_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert count_cores() == len(before)


def test_a_process_alone_has_rank_zero_of_one():
    assert (n_processes(), process_rank(), local_rank()) == (1, 0, 0)


def test_processes_of_torchrun_have_their_ranks(monkeypatch):
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert (n_processes(), process_rank(), local_rank()) == (1, 0, 0)  # a batch system may set these, too
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert (n_processes(), process_rank(), local_rank()) == (4, 3, 1)
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert n_processes() == 1
