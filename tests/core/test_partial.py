"""A file that is written over several runs keeps what is recorded, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading

import pytest

from aekit.core import partial as module
from aekit.core.partial import open_partial


def _open(path, n_bytes=6, on_wait=lambda: None):
    return open_partial(path, n_bytes, on_wait=on_wait)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "x.partial"


def _interrupt(path, *entries):
    """Write ``ab`` and record some entries, and end by an interruption."""
    with contextlib.suppress(KeyboardInterrupt), _open(path) as file:
        file.write(b"ab", 0)
        for entry in entries:
            file.record(entry)
        raise KeyboardInterrupt


def test_a_finished_file_has_its_content_without_the_record(path, tmp_path):
    with _open(path) as file:
        file.write(b"def", 3)
        file.write(memoryview(b"abc"), 0)
        file.record({"rows": 2})
        file.finish(tmp_path / "x.npy")
        assert file.is_settled
    assert (tmp_path / "x.npy").read_bytes() == b"abcdef"
    assert not path.exists()


def test_after_an_interruption_the_next_process_has_content_and_record(path):
    _interrupt(path, "first", {"rows": [0, 1]})
    with _open(path) as file:
        assert file.entries == ["first", {"rows": [0, 1]}]
        file.record("third")
        file.save()
        assert path.read_bytes() == b"ab\0\0\0\0" + b'"first"\n{"rows": [0, 1]}\n"third"\n'


def test_without_a_recorded_entry_nothing_is_kept(path):
    _interrupt(path)
    assert not path.exists()


@pytest.mark.parametrize("damage", [b'{"rows"', b"\0" * 100, b"{\n"])
def test_a_damaged_end_of_a_record_is_cut_off(path, damage):
    _interrupt(path, "first", "second")
    path.write_bytes(path.read_bytes() + damage)
    with _open(path) as file:
        assert file.entries == ["first", "second"]
        file.record("third")
        file.save()
        assert path.read_bytes().endswith(b'"second"\n"third"\n')


def test_a_discarded_file_is_gone_even_if_the_block_then_fails(path):
    with contextlib.suppress(OSError), _open(path) as file:
        file.record("first")
        file.discard()
        raise OSError("full")
    assert not path.exists()


def test_a_second_process_waits_until_the_first_has_finished(path, tmp_path):
    # flock counts descriptors, so two threads are like two processes.
    waits, order = threading.Event(), []

    def second():
        with _open(path, on_wait=waits.set) as file:
            order.append("second")
            assert file.entries == []

    with _open(path) as file:
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(10)
        file.write(b"abcdef", 0)
        order.append("first")
        file.finish(tmp_path / "x.npy")
    thread.join(10)
    assert order == ["first", "second"]
    assert (tmp_path / "x.npy").read_bytes() == b"abcdef"


def test_too_little_space_is_an_error_before_anything_is_written(path, monkeypatch):
    free = shutil.disk_usage("/")._replace(free=5)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: free)
    with pytest.raises(OSError, match="No space left"), _open(path):
        pytest.fail("the block must not run")
    assert list(path.parent.iterdir()) == []


def test_a_write_that_the_disk_cuts_short_is_an_error(path, monkeypatch):
    monkeypatch.setattr(module.os, "pwrite", lambda *_: 1)
    with pytest.raises(OSError, match="No space left"), _open(path) as file:
        file.write(b"abc", 0)


def test_without_locks_each_process_has_a_private_file(path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl, "flock", no_locks)
    with _open(path) as file:
        assert file.path.name == f"x-{os.getpid()}.partial"
        file.record("first")
    assert list(path.parent.iterdir()) == []  # nobody could resume it
