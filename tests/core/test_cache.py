"""Unchanged files have the same key, and only abandoned files are removed from a cache."""

from __future__ import annotations

import os
import time

import pytest

from aekit.core.cache import PARTIAL, is_digest, known_key, remember_key, remove_stale, shortcut_key
from aekit.core.durable import TEMPORARY, atomic_write
from aekit.errors import AekitError


def test_only_64_hexadecimal_digits_are_a_digest():
    assert is_digest("0" * 64)
    assert not any(map(is_digest, ("0" * 63, "\ud800" * 64, "0" * 64 + "\n", 0, None)))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def test_a_key_depends_on_files_order_and_options(files):
    key, newest = shortcut_key(files, b"8x8")
    assert shortcut_key(files, b"8x8") == (key, newest)
    assert is_digest(key)
    assert abs(time.time() - newest) < 60
    assert len({key, shortcut_key(files, b"9x9")[0], shortcut_key(files[::-1], b"8x8")[0]}) == 3


def test_new_content_of_the_same_size_and_modification_time_changes_the_key(files):
    key, _ = shortcut_key(files, b"")
    before = files[0].stat()
    files[0].write_bytes(b"A.png")
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert shortcut_key(files, b"")[0] != key


def test_a_missing_file_is_named(files):
    files[1].unlink()
    with pytest.raises(AekitError, match=r"b\.png: cannot be read \(No such file or directory\)"):
        shortcut_key(files, b"")


def test_a_key_is_remembered_and_damaged_or_missing_ones_are_not_known(tmp_path):
    remember_key(tmp_path, "shortcut", key="0" * 64)
    assert known_key(tmp_path, "shortcut") == "0" * 64
    assert known_key(tmp_path, "other") == ""
    (tmp_path / "shortcut.key").write_bytes(b"\xff" * 64)
    assert known_key(tmp_path, "shortcut") == ""
    remember_key(tmp_path / "shortcut.key", "x", key="0" * 64)  # a folder that cannot be written is ignored


@pytest.mark.parametrize(("suffix", "days"), [(TEMPORARY, 2), (PARTIAL, 8)])
def test_leftovers_are_removed_once_they_are_old(tmp_path, suffix, days):
    old, new, store = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}", tmp_path / "old.npy"
    for path in (old, new, store):
        path.touch()
    for path in (old, store):
        os.utime(path, (time.time() - days * 24 * 3600,) * 2)
    remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, store])


def test_a_file_that_is_being_written_is_not_removed_however_old_it_looks(tmp_path):
    with atomic_write(tmp_path / "x.npy") as file:
        file.write(b"content")
        file.flush()
        os.utime(file.fileno(), (0, 0))
        remove_stale(tmp_path)
    assert (tmp_path / "x.npy").read_bytes() == b"content"
