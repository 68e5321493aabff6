"""Files are decoded in blocks on all cores, with the same pixels and digest as one by one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recorded import Recorded

from aekit.errors import AekitError
from aekit.images.data import files as module
from aekit.images.data.files import Job, check_bad, common_shape, decode_files, report_bad, survey_files
from aekit.images.data.pixels import DifferentSizes


def _write(path, seed=0, size=(10, 12), channels=3):
    shape = (*size, channels) if channels == 3 else size
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def _job(files, *, size=None, grayscale=False, skip_bad=False):
    return Job(files, "pictures", size, grayscale, skip_bad, Recorded())


@pytest.fixture
def paths(tmp_path):
    return [_write(tmp_path / f"{number:02}.png", seed=number) for number in range(20)]


def _truth(paths):
    return np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths])


def _decode(job, survey, **options):
    shape = common_shape(job, survey)
    store = np.zeros(shape, np.uint8)

    def write(row, block):
        store[row : row + len(block)] = block

    digest, bad, _ = decode_files(job, survey, shape, write, **options)
    return store, digest, bad


def test_a_survey_has_the_digest_and_header_of_every_file(paths):
    job = _job(paths)
    survey = survey_files(job)
    assert survey.digests == [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    assert {(header.height, header.width, header.is_gray) for header in survey.headers} == {(10, 12, False)}
    assert survey.bad == {}
    assert job.progress.updates[-1] == ("reading", 20, 20)


def test_images_of_one_size_have_this_size_and_three_channels_unless_all_are_gray(tmp_path, paths):
    job = _job(paths)
    assert common_shape(job, survey_files(job)) == (20, 3, 10, 12)
    for options, shape in [({"grayscale": True}, (20, 1, 10, 12)), ({"size": (8, 9)}, (20, 3, 8, 9))]:
        job = _job(paths, **options)
        assert common_shape(job, survey_files(job)) == shape
    gray = [_write(tmp_path / f"gray{number}.png", channels=1) for number in range(2)]
    job = _job(gray)
    assert common_shape(job, survey_files(job)) == (2, 1, 10, 12)
    job = _job([*gray, paths[0]])
    assert common_shape(job, survey_files(job)) == (3, 3, 10, 12)


def test_sizes_are_counted_from_the_most_frequent_on_with_an_example_of_each(tmp_path, paths):
    others = [(9, 12), (8, 8), (8, 8), (9, 9), (11, 11), (11, 11)]
    files = [_write(tmp_path / f"other{number}.png", size=size) for number, size in enumerate(others)]
    folder = tmp_path.name
    common = f"20 of height 10, width 12 ({folder}/00.png)"
    for own, parts in (
        (files[:1], [common, f"1 of height 9, width 12 ({folder}/other0.png)"]),
        (files[:3], [common, f"2 of height 8, width 8 ({folder}/other1.png)", "1 of height 9, width 12"]),
        (files[:4], [common, "2 of height 8, width 8", "1 of height 9, width 12", "1 of another size"]),
        (files, [common, "2 of height 8, width 8", "2 of height 11, width 11", "2 of 2 other sizes"]),
    ):
        job = _job([*own, *paths])
        with pytest.raises(DifferentSizes) as error:
            common_shape(job, survey_files(job))
        message, advice = str(error.value).removeprefix("pictures: images differ in size: ").rsplit("; ", 1)
        assert [text.startswith(part) for text, part in zip(message.split("; "), parts, strict=True)] == [True] * len(
            parts
        )
        assert advice == "give --image-size to resize them"


def test_a_file_that_cannot_be_opened_is_a_bad_image(tmp_path, paths):
    (tmp_path / "folder.jpg").mkdir()
    files = [tmp_path / "folder.jpg", *paths]
    with pytest.raises(
        AekitError, match=r"folder\.jpg: cannot be read \(.+\); fix or remove it, or leave such images out"
    ):
        survey_files(_job(files))
    job = _job(files, skip_bad=True)
    survey = survey_files(job)
    assert list(survey.bad) == [0]
    pixels, _, bad = _decode(job, survey)
    assert bad == survey.bad
    np.testing.assert_array_equal(pixels[1:], _truth(paths))
    assert not pixels[0].any()


@pytest.mark.parametrize("block_bytes", [1, 3 * 360, 10**9])
def test_pixels_and_digest_do_not_depend_on_the_blocks(paths, monkeypatch, block_bytes):
    job = _job(paths)
    survey = survey_files(job)
    _, whole, _ = _decode(job, survey)
    monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)
    store, digest, bad = _decode(job, survey)
    np.testing.assert_array_equal(store, _truth(paths))
    assert digest == whole
    assert bad == {}
    assert job.progress.updates[-1] == ("decoding", 20, 20)


def test_blocks_that_are_done_are_not_decoded_again_and_count_for_the_digest(paths, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 3 * 360)  # three images
    job = _job(paths)
    survey = survey_files(job)
    blocks = []
    _, whole, _ = _decode(job, survey, on_block=blocks.append)
    assert [(block.start, block.stop) for block in blocks] == [(row, min(row + 3, 20)) for row in range(0, 20, 3)]
    store, digest, _ = _decode(job, survey, done=blocks[:4])
    assert digest == whole
    assert not store[:12].any()
    np.testing.assert_array_equal(store[12:], _truth(paths)[12:])


def test_a_file_that_changed_since_the_survey_is_refused(paths):
    job = _job(paths)
    survey = survey_files(job)
    _write(paths[7], seed=99)
    with pytest.raises(AekitError, match=r"07\.png: changed while it was being read"):
        _decode(job, survey)


def test_bad_files_are_errors_or_zero_rows_with_their_reason(paths):
    paths[3].write_text("not an image")
    paths[8].write_bytes(paths[8].read_bytes()[:150])
    with pytest.raises(AekitError, match=r"03\.png: it is not an image .*; fix or remove it, or .* --skip-bad"):
        survey_files(_job(paths))
    job = _job(paths, skip_bad=True)
    store, _, bad = _decode(job, survey_files(job))
    assert sorted(bad) == [3, 8]
    assert not store[[3, 8]].any()
    good = [row for row in range(20) if row not in bad]
    np.testing.assert_array_equal(store[good], _truth([paths[row] for row in good]))


def test_bad_files_are_reported_three_by_name_and_all_by_number():
    job = _job([Path("folder") / f"{number}.png" for number in range(6)], skip_bad=True)
    report_bad(job, {1: "first", 2: "second"})
    assert job.progress.notices == ["left out folder/1.png: first", "left out folder/2.png: second"]
    job.progress.notices.clear()
    report_bad(job, dict.fromkeys(range(5), "damaged"))
    assert len(job.progress.notices) == 4
    assert job.progress.notices[-1] == "left out 5 images in total"
    check_bad(job, dict.fromkeys(range(5), "damaged"))
    with pytest.raises(AekitError, match="none of its 6 images can be decoded; the first one: damaged"):
        check_bad(job, dict.fromkeys(range(6), "damaged"))
