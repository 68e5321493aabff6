import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from recorded import Recorded

import aekit.images.data.files
from aekit.errors import AekitError
from aekit.images.data.prepared import _blocks, prepare


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def decoded(monkeypatch):
    """Return a list with one entry for every image that is decoded."""
    calls = []

    def counting(data, **options):
        calls.append(len(data))
        return decode(data, **options)

    decode = aekit.images.data.files.decode_image
    monkeypatch.setattr(aekit.images.data.files, "decode_image", counting)
    return calls


def write(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(path)
    # As if it were older: a file that has just changed may change again within one tick of the clock.
    os.utime(path, (time.time() - 100,) * 2)
    return path


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / "pictures" / f"{number}.bmp", seed=number) for number in range(5)]


def pixels(files):
    return np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files])


def take(files, **options):
    return prepare(files, source="pictures", **options)


def test_pixels_are_those_of_the_files_and_are_on_disk(cache, files):
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


def test_files_that_are_unchanged_according_to_the_file_system_are_not_read(cache, files, decoded, monkeypatch):
    monkeypatch.setattr("aekit.images.data.prepared._SETTLED_SECONDS", -1)
    first = take(files)
    monkeypatch.setattr(aekit.images.data.files, "_read_each", None)
    assert take(files).fingerprint == first.fingerprint


def test_files_that_have_just_changed_are_read_again(cache, files):
    take(files)
    assert not list(cache.glob("*.key"))


def test_touched_and_copied_files_are_not_decoded_again(cache, files, decoded, tmp_path, monkeypatch):
    monkeypatch.setattr("aekit.images.data.prepared._SETTLED_SECONDS", -1)
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
    monkeypatch.setattr("aekit.images.data.prepared._SETTLED_SECONDS", -1)
    first = take(files)
    before = files[2].stat()
    write(files[2], seed=99)
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (files[2].stat().st_size, files[2].stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second = take(files)
    np.testing.assert_array_equal(second.store, pixels(files))
    assert second.fingerprint != first.fingerprint


def test_different_options_and_orders_have_different_stores(cache, files):
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
    monkeypatch.setattr("aekit.images.data.prepared._SETTLED_SECONDS", -1)
    first = take(files)
    damage(cache)
    second = take(files)
    np.testing.assert_array_equal(second.store, pixels(files))
    assert second.fingerprint == first.fingerprint
    assert len(decoded) == 10


def test_without_a_writable_cache_the_pixels_are_held_in_memory(tmp_path, files, monkeypatch):
    kept = take(files).fingerprint
    (tmp_path / "a file").touch()
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "a file"))
    progress = Recorded()
    prepared = take(files, progress=progress)
    np.testing.assert_array_equal(prepared.store, pixels(files))
    assert prepared.fingerprint == kept
    assert any(text.startswith("decoding into memory, not ") for text in progress.notices)


def test_a_full_disk_leaves_nothing_behind(cache, files, monkeypatch):
    monkeypatch.setattr("aekit.core.partial.os.pwrite", lambda *_: 0)
    prepared = take(files)
    np.testing.assert_array_equal(prepared.store, pixels(files))
    assert not list(cache.iterdir())


def test_bad_files_leave_no_store_behind(cache, files):
    files[3].write_bytes(files[3].read_bytes()[:200])
    with pytest.raises(AekitError, match=r"3\.bmp"):
        take(files)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_file_that_changes_while_it_is_read_is_refused(cache, files, monkeypatch):
    survey_files = aekit.images.data.files.survey_files

    def survey_and_change(job):
        survey = survey_files(job)
        write(files[1], seed=77)
        return survey

    monkeypatch.setattr("aekit.images.data.prepared.survey_files", survey_and_change)
    with pytest.raises(AekitError, match=r"1\.bmp: changed while it was being read"):
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


# Prepares the given files slowly, in blocks of two images, and records each block at once.
SLOWLY = """
import sys, time
from pathlib import Path
import aekit.images.data.files, aekit.core.partial
from aekit.images.data.prepared import prepare


def slow(data, **options):
    time.sleep(0.02)
    return decode(data, **options)

decode, aekit.images.data.files.decode_image = aekit.images.data.files.decode_image, slow
aekit.images.data.files._BLOCK_BYTES, aekit.core.partial._SAVE_SECONDS = 2 * 3 * 10 * 12, 0
prepared = prepare([Path(name) for name in sys.argv[1:]], source="x")
print(prepared.fingerprint, prepared.store.sum())
"""


@pytest.fixture
def many(tmp_path):
    return [write(tmp_path / "many" / f"{number:02}.bmp", seed=number) for number in range(60)]


@pytest.fixture
def start_slowly(start):
    return lambda files: start([sys.executable, "-c", SLOWLY, *map(str, files)], stdout=subprocess.PIPE, text=True)


def rows_done(cache):
    """Return the number of images in the only record in the cache."""
    for path in cache.glob("*.partial"):
        record = path.read_bytes()[128 + 60 * 3 * 10 * 12 :].splitlines()
        return sum(len(json.loads(line)["digests"]) // 64 for line in record)
    return 0


def wait_until_begun(cache, process):
    deadline = time.monotonic() + 60
    while rows_done(cache) < 10:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def undisturbed(files, tmp_path, monkeypatch):
    """Return names and bytes of a store that was written without an interruption."""
    with monkeypatch.context() as patch:
        patch.setenv("AEKIT_CACHE", str(tmp_path / "another cache"))
        take(files)
    return contents(tmp_path / "another cache" / "images")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kill_with", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_preparation_resumes_where_it_stopped(
    start_slowly, cache, many, decoded, tmp_path, monkeypatch, kill_with
):
    process = start_slowly(many)
    wait_until_begun(cache, process)
    process.send_signal(kill_with)
    process.communicate(timeout=60)
    assert process.returncode == -kill_with  # Python itself also ends by SIGINT
    before = rows_done(cache)
    assert 10 <= before < 60
    progress = Recorded()
    prepared = take(many, progress=progress)
    assert len(decoded) == 60 - before
    assert progress.notices == [f"resuming after {before:,} images that are already prepared"]
    np.testing.assert_array_equal(prepared.store, pixels(many))
    assert contents(cache) == undisturbed(many, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("signal_number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_while_it_decodes_keeps_what_is_done(start, cache, many, signal_number, exit_code):
    command = SLOWLY.partition("prepared =")[0] + "from aekit.cli import main\nsys.exit(main())"
    process = start([sys.executable, "-c", command, "data", str(many[0].parent)], stderr=subprocess.PIPE)
    wait_until_begun(cache, process)
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == exit_code, err
    assert b"Traceback" not in err
    assert 10 <= rows_done(cache) < 60
    if signal_number == signal.SIGINT:
        kept = f"aekit: interrupted with {rows_done(cache)} of 60 images prepared; they are kept"
        assert err.decode().splitlines()[-1] == kept
    assert [path.suffix for path in cache.iterdir()] == [".partial"]


def leave_partial(cache, files, monkeypatch, n_blocks=6, **options):
    """Interrupt a preparation in blocks of five images once some of them are recorded."""

    progress = Recorded(on_update=lambda n: interrupt(progress))

    def interrupt(progress):
        what, done, _ = progress.updates[-1]
        if what == "decoding" and done > 5 * n_blocks:
            raise KeyboardInterrupt

    monkeypatch.setattr(aekit.images.data.files, "_BLOCK_BYTES", 5 * 3 * 10 * 12)
    with pytest.raises(KeyboardInterrupt):
        take(files, progress=progress, **options)
    return next(cache.glob("*.partial"))


def tear_last_line(path):
    path.write_bytes(path.read_bytes()[:-30])


def append_zeros(path):  # as a file system may after power has failed
    path.write_bytes(path.read_bytes() + bytes(4096))


def forget_record(path):
    path.write_bytes(path.read_bytes()[: 128 + 60 * 3 * 10 * 12])


def cut_pixels(path):
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "n_left"), [(tear_last_line, 35), (append_zeros, 30), (forget_record, 60), (cut_pixels, 60)]
)
def test_images_missing_from_a_damaged_record_are_decoded_again(
    cache, many, decoded, tmp_path, monkeypatch, damage, n_left
):
    damage(leave_partial(cache, many, monkeypatch))
    decoded.clear()
    take(many)
    assert len(decoded) == n_left
    assert contents(cache) == undisturbed(many, tmp_path, monkeypatch)


def test_after_a_bad_file_skip_bad_resumes_with_what_is_done(cache, many, decoded, monkeypatch):
    many[47].write_bytes(many[47].read_bytes()[:200])  # its header is intact
    monkeypatch.setattr(aekit.images.data.files, "_BLOCK_BYTES", 5 * 3 * 10 * 12)
    with pytest.raises(AekitError, match=r"47\.bmp: .*--skip-bad"):
        take(many)
    decoded.clear()
    prepared = take(many, skip_bad=True)
    assert len(decoded) <= 30
    assert list(prepared.bad) == [47]
    assert not prepared.store[47].any()
    assert list(take(many, skip_bad=True).bad) == [47]


def test_bad_files_that_were_found_before_an_interruption_stay_known(cache, many, monkeypatch):
    many[7].write_bytes(many[7].read_bytes()[:200])
    leave_partial(cache, many, monkeypatch, skip_bad=True)
    with pytest.raises(AekitError, match=r"07\.bmp: .*--skip-bad"):
        take(many)
    assert list(take(many, skip_bad=True).bad) == [7]


def test_the_partial_of_files_that_have_changed_is_not_used_and_removed_after_a_week(
    start_slowly, cache, many, monkeypatch
):
    partial = leave_partial(cache, many, monkeypatch)
    write(many[0], seed=99)
    np.testing.assert_array_equal(take(many).store, pixels(many))
    assert partial.exists()
    os.utime(partial, (time.time() - 8 * 24 * 3600,) * 2)
    take(many[:5])
    assert not partial.exists()


@pytest.mark.slow
def test_of_two_processes_at_once_one_decodes_and_the_other_waits(start_slowly, cache, many, decoded):
    process = start_slowly(many)
    wait_until_begun(cache, process)
    progress = Recorded()
    prepared = take(many, progress=progress)
    assert decoded == []
    assert progress.notices == ["waiting for another process that is preparing the same images"]
    assert process.communicate(timeout=60)[0] == f"{prepared.fingerprint} {pixels(many).sum()}\n"
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".npy"]


def test_a_process_that_waits_for_a_killed_one_continues_its_work(start_slowly, cache, many, decoded):
    process = start_slowly(many)
    wait_until_begun(cache, process)

    class Killing(Recorded):
        def notice(self, text):
            if text.startswith("waiting"):
                process.kill()

    prepared = take(many, progress=Killing())
    process.communicate(timeout=60)
    assert 0 < len(decoded) <= 50
    np.testing.assert_array_equal(prepared.store, pixels(many))


def test_without_locks_each_process_writes_its_own_file(cache, many, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("aekit.core.partial.fcntl.flock", refuse)
    monkeypatch.setattr(
        "aekit.images.data.files.decode_image", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        take(many)
    assert not list(cache.iterdir())
    monkeypatch.undo()
    monkeypatch.setenv("AEKIT_CACHE", str(cache.parent))
    monkeypatch.setattr("aekit.core.partial.fcntl.flock", refuse)
    np.testing.assert_array_equal(take(many).store, pixels(many))
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".npy"]


def test_a_disk_that_is_too_small_is_noticed_before_the_first_image(cache, many, decoded, monkeypatch):
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr("aekit.core.partial.shutil.disk_usage", lambda _: free)
    progress = Recorded()
    take(many, progress=progress)
    assert any("decoding into memory" in text and "No space left" in text for text in progress.notices)
    assert len(decoded) == 60
    monkeypatch.setattr("aekit.images.data.prepared._MAX_MEMORY_BYTES", 1000)
    with pytest.raises(AekitError, match=r"cannot be stored there \(No space left on device\); make room"):
        take(many)
    assert len(decoded) == 60


def test_two_processes_at_once_both_get_the_images(start, cache, files):
    script = (
        "import sys; from pathlib import Path; from aekit.images.data.prepared import prepare\n"
        "sys.stdin.readline(); prepared = prepare([Path(p) for p in sys.argv[1:]], source='x')\n"
        "print(prepared.fingerprint, prepared.store.sum())"
    )
    command = [sys.executable, "-c", script, *map(str, files)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [start(command, **pipes) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate()[0] for process in processes}
    assert answers == {f"{take(files).fingerprint} {pixels(files).sum()}\n"}
    assert not list(cache.glob("*.tmp"))


def test_blocks_after_a_damaged_line_of_a_record_are_done_again():
    good = {"start": 0, "digests": "ab" * 32, "bad": {}, "values": {"spans": {"255": [0, 9]}, "n_clipped": 0}}
    for line in (
        5,
        None,
        {},
        {**good, "digests": "x"},
        {**good, "bad": []},
        {**good, "values": 3},
        {**good, "start": "1"},
    ):
        assert [block.start for block in _blocks([good, line, {**good, "start": 1}], 9)] == [0]


def test_json_of_another_kind_is_not_a_record():
    assert _blocks([json.loads("[]"), json.loads("1e400")], 3) == []
