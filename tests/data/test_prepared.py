import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import aekit.data.files
from aekit.data.prepared import prepare
from aekit.errors import AekitError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def decoded(monkeypatch):
    """Return a list that grows with every image that is decoded."""
    calls = []

    def counting(data, **options):
        calls.append(len(data))
        return decode(data, **options)

    decode = aekit.data.files.decode
    monkeypatch.setattr(aekit.data.files, "decode", counting)
    return calls


def write(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(path)
    # As if it had been there for a while: what has just changed may change again within one tick of the clock.
    os.utime(path, (time.time() - 100,) * 2)
    return path


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / "pictures" / f"{number}.bmp", seed=number) for number in range(5)]


def pixels(files):
    return np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files])


def take(files, **options):
    return prepare(files, source="pictures", **options)


def test_pixels_are_those_of_the_files_and_lie_on_disk(cache, files):
    prepared = take(files)
    np.testing.assert_array_equal(prepared.store, pixels(files))
    assert isinstance(prepared.store.base, np.memmap)
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".npy"]
    np.testing.assert_array_equal(np.load(next(cache.glob("*.npy"))), pixels(files))


def test_nothing_is_decoded_twice(cache, files, decoded):
    first, second = take(files), take(files)
    assert len(decoded) == 5
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(second.store, pixels(files))


def test_what_the_file_system_says_is_unchanged_is_not_even_read(cache, files, decoded, monkeypatch):
    monkeypatch.setattr("aekit.data.prepared._SETTLED_S", -1)
    first = take(files)
    monkeypatch.setattr(aekit.data.files, "_read", None)
    assert take(files).fingerprint == first.fingerprint


def test_what_has_just_changed_is_read_again(cache, files):
    take(files)
    assert not list(cache.glob("*.key"))


def test_touched_and_copied_files_are_not_decoded_again(cache, files, decoded, tmp_path, monkeypatch):
    monkeypatch.setattr("aekit.data.prepared._SETTLED_S", -1)
    first = take(files)
    for file in files:
        file.touch()
    assert take(files).fingerprint == first.fingerprint
    copies = [tmp_path / "elsewhere" / file.name for file in files]
    copies[0].parent.mkdir()
    for file, copy in zip(files, copies, strict=True):
        copy.write_bytes(file.read_bytes())
    assert take(copies).fingerprint == first.fingerprint
    assert len(decoded) == 5


def test_other_content_of_the_same_size_and_time_is_decoded(cache, files, decoded, monkeypatch):
    monkeypatch.setattr("aekit.data.prepared._SETTLED_S", -1)
    first = take(files)
    before = files[2].stat()
    write(files[2], seed=99)
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (files[2].stat().st_size, files[2].stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second = take(files)
    np.testing.assert_array_equal(second.store, pixels(files))
    assert second.fingerprint != first.fingerprint


def test_other_options_and_another_order_are_other_stores(cache, files):
    stores = [take(files), take(files[::-1]), take(files, grayscale=True), take(files, image_size=(9, 9))]
    assert [prepared.store.shape[1:] for prepared in stores] == [(3, 10, 12), (3, 10, 12), (1, 10, 12), (3, 9, 9)]
    assert len({prepared.fingerprint for prepared in stores}) == 4


def truncate(cache):
    path = next(cache.glob("*.npy"))
    path.write_bytes(path.read_bytes()[:-10])


def lengthen(cache):
    with next(cache.glob("*.npy")).open("ab") as file:
        file.write(b"x")


def empty(cache):
    next(cache.glob("*.npy")).write_bytes(b"")


def overwrite(cache):
    next(cache.glob("*.npy")).write_bytes(b"nonsense" * 1000)


def misdescribe(cache):
    next(cache.glob("*.json")).write_text(json.dumps({"shape": [1, 2, 3, 4], "fingerprint": "", "bad": {}}))


def garble(cache):
    next(cache.glob("*.json")).write_text("[]")


@pytest.mark.parametrize("damage", [truncate, lengthen, empty, overwrite, misdescribe, garble])
def test_a_damaged_store_is_made_again(cache, files, decoded, damage, monkeypatch):
    monkeypatch.setattr("aekit.data.prepared._SETTLED_S", -1)
    first = take(files)
    damage(cache)
    second = take(files)
    np.testing.assert_array_equal(second.store, pixels(files))
    assert second.fingerprint == first.fingerprint
    assert len(decoded) == 10


def test_without_a_place_to_write_the_pixels_are_held_in_memory(tmp_path, files, monkeypatch):
    kept = take(files).fingerprint
    (tmp_path / "a file").touch()
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "a file"))
    told = []
    prepared = take(files, on_progress=lambda *what: told.append(what))
    np.testing.assert_array_equal(prepared.store, pixels(files))
    assert prepared.fingerprint == kept
    assert any(what.startswith("decoding into memory, not ") for what, *_ in told)


def test_a_full_disk_leaves_nothing_behind(cache, files, monkeypatch):
    monkeypatch.setattr("aekit.data.prepared.os.pwrite", lambda *_: 0)
    prepared = take(files)
    np.testing.assert_array_equal(prepared.store, pixels(files))
    assert not list(cache.iterdir())


def test_bad_files_leave_no_store_behind(cache, files):
    files[3].write_bytes(files[3].read_bytes()[:200])
    with pytest.raises(AekitError, match=r"3\.bmp"):
        take(files)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_file_that_changes_while_it_is_read_is_refused(cache, files, monkeypatch):
    survey_files = aekit.data.files.survey_files

    def survey_and_change(job):
        survey = survey_files(job)
        write(files[1], seed=77)
        return survey

    monkeypatch.setattr("aekit.data.prepared.survey_files", survey_and_change)
    with pytest.raises(AekitError, match=r"1\.bmp: changed while it was read"):
        take(files)


def test_leftovers_of_killed_runs_are_removed_and_those_of_running_ones_are_not(cache, files):
    cache.mkdir(parents=True)
    old, new = cache / "old.tmp", cache / "new.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    take(files)
    assert not old.exists()
    assert new.exists()


def test_two_processes_at_once_both_get_the_images(cache, files):
    script = (
        "import sys; from pathlib import Path; from aekit.data.prepared import prepare\n"
        "sys.stdin.readline(); prepared = prepare([Path(p) for p in sys.argv[1:]], source='x')\n"
        "print(prepared.fingerprint, prepared.store.sum())"
    )
    command = [sys.executable, "-c", script, *map(str, files)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate()[0] for process in processes}
    assert answers == {f"{take(files).fingerprint} {pixels(files).sum()}\n"}
    assert not list(cache.glob("*.tmp"))
