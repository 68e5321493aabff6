"""The life of a training's files: what is replaced, continued, taken for finished, and left alone."""

from __future__ import annotations

import re

import pytest
import torch
from recorded import Recorded

from aekit.core.checkpoint import Header, read_header, resume_path
from aekit.core.run_files import RunFiles, check_same_run
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError

SETTINGS = {"model": {"kind": "ae", "latent": 2}, "data": {"name": "x"}, "train": {"seed": 0}}


def _write(path, *, latent=2, state=None):
    header = Header({"kind": "ae", "latent": latent}, {"name": "x"}, {"seed": 0}, state=state)
    return write_checkpoint(path, {"w": torch.zeros(2)}, header)


def _files(path, **options):
    def read_own(found):
        header = read_header(found)
        check_same_run(found, SETTINGS, header, {part: {} for part in SETTINGS})
        return header

    return RunFiles(path, (".csv", ".png"), read_own, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "inner" / "x.safetensors"


def test_a_new_output_is_claimed_and_its_folder_made(path):
    assert _files(path).claim() is None
    assert path.parent.is_dir()


@pytest.mark.parametrize("suffix", [".safetensors", ".csv", ".png", ".resume.safetensors"])
def test_nothing_that_exists_is_replaced_unasked(path, suffix):
    path.parent.mkdir()
    path.with_suffix(suffix).write_bytes(b"")
    with pytest.raises(AekitError, match="--overwrite"):
        _files(path).claim()
    assert _files(path, overwrite=True).claim() is None


def test_a_finished_run_is_returned_to_resume_and_not_to_overwrite(path):
    path.parent.mkdir()
    _write(path)
    assert _files(path, resume=True).claim().model["latent"] == 2
    assert _files(path, overwrite=True).claim() is None


def test_another_run_is_refused_by_what_differs(path):
    path.parent.mkdir()
    _write(path, latent=3)
    with pytest.raises(AekitError, match="was trained with latent 3, not 2"):
        _files(path, resume=True).claim()


@pytest.mark.parametrize(
    ("there", "wanted", "said"),
    [
        (1, None, "with patience 1, not without --patience;"),
        (None, 2, "without --patience, not with patience 2;"),
        (1, 2, "with patience 1, not 2;"),
        ([32, 24], (64, 48), "with patience 32x24, not 64x48;"),
        ([0.0, 1.5], [0.0, 2.0], "with patience [0.0, 1.5], not [0.0, 2.0];"),
    ],
)
def test_an_option_that_one_of_two_runs_does_not_have_is_said_in_words(path, there, wanted, said):
    defaults = {"model": {}, "data": {}, "train": {"patience": None}}
    header = Header({}, {}, {} if there is None else {"patience": there})
    with pytest.raises(AekitError, match=re.escape(f"x.safetensors: was trained {said} give the same options")):
        check_same_run(path, {**defaults, "train": {"patience": wanted}}, header, defaults)


def test_a_state_of_the_same_run_is_newer_than_the_checkpoint(path):
    path.parent.mkdir()
    _write(path)
    _write(resume_path(path), state={"epoch": 1})
    files = _files(path, resume=True)
    assert files.claim() is None
    assert files.is_unfinished()
    files.finish()
    assert not files.state.exists()
    assert files.claim() is not None


def test_a_state_of_another_run_is_reported_and_left(path):
    path.parent.mkdir()
    _write(path)
    _write(resume_path(path), latent=5, state={"epoch": 1})
    progress = Recorded()
    assert _files(path, resume=True).claim(progress) is not None
    assert "belongs to another run" in progress.notices[0]
    assert resume_path(path).exists()


def test_a_damaged_checkpoint_is_not_taken_for_finished(path):
    path.parent.mkdir()
    content = bytearray(_write(path).read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(AekitError, match="was damaged after it was written"):
        _files(path, resume=True).claim()


def test_a_file_that_is_older_than_an_option_was_made_with_its_default(path):
    header = read_header(_write(path))
    wanted = {**SETTINGS, "model": {"kind": "ae", "latent": 2, "divergence": "kl"}}
    defaults = {"model": {"divergence": "kl"}, "data": {}, "train": {}}
    check_same_run(path, wanted, header, defaults)
    wanted["model"]["divergence"] = "mmd"
    with pytest.raises(AekitError, match="was trained with divergence kl, not mmd"):
        check_same_run(path, wanted, header, defaults)
