"""Files are complete or absent, whatever fails while they are written."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from fault_lab import contents

from aekit.core import artifacts, durable
from aekit.errors import AekitError


@pytest.mark.parametrize("limit", [0, 1, 5000])
def test_a_write_that_fails_anywhere_leaves_the_old_file_and_nothing_else(tmp_path, limit):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # no file may grow further
    try:
        with pytest.raises(AekitError, match=r"x\.bin: cannot be written \(File too large\); make room"):
            artifacts.write_atomically(path, lambda file: file.write(bytes(10_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(tmp_path) == {"x.bin": b"old"}


def test_leftovers_of_a_killed_process_are_overwritten_and_files_of_a_running_one_are_not(tmp_path):
    path, left = tmp_path / "x.bin", tmp_path / ".x.bin.tmp"
    left.write_bytes(b"half of a longer file")
    with durable.atomic_write(path) as first, durable.atomic_write(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"  # the last one to end
    assert sorted(contents(tmp_path)) == ["x.bin"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~durable._umask()


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".x.bin.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(AekitError, match=r"x\.bin: cannot be written"):
        artifacts.write_atomically(tmp_path / "x.bin", lambda file: file.write(b"new"))
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_file_system_without_locks_can_be_written(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with durable.one_writer(tmp_path / "x.bin"):
        artifacts.write_atomically(tmp_path / "x.bin", lambda file: file.write(b"new"))
    assert contents(tmp_path) == {"x.bin": b"new"}


def test_a_read_only_folder_gets_no_lock_and_no_error(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.open", read_only)
    with durable.one_writer(tmp_path / "x.bin"):
        pass
    assert contents(tmp_path) == {}


def test_new_folders_are_returned_innermost_first(tmp_path):
    new = durable.make_folder(tmp_path / "a" / "b" / "c")
    assert new == [tmp_path / "a" / "b" / "c", tmp_path / "a" / "b", tmp_path / "a"]
    assert durable.make_folder(tmp_path / "a" / "b") == []


def test_abandoned_folders_are_removed_and_held_ones_are_kept(tmp_path):
    for name in ("abandoned", "held", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with durable.held(tmp_path / "held"):
        durable.remove_abandoned(tmp_path, "[ah]*")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held", "other"]


def test_a_file_is_removed_unless_a_running_process_has_locked_it(start, tmp_path):
    path = tmp_path / "x.tmp"
    path.touch()
    script = "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with start([sys.executable, "-c", script, path], **pipes) as process:
        process.stdout.readline()
        durable.remove_if_unlocked(path, without_locks=True)
        assert path.exists()
        process.communicate("\n")
    durable.remove_if_unlocked(path)
    assert not path.exists()
    durable.remove_if_unlocked(path)  # it need not exist
