"""Where results go: next to one input, into the folder that several share, never over an input's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from aekit.core.output import checkpoint_path, choose_target, choose_targets
from aekit.errors import AekitError

A, B = Path("runs/a.safetensors"), Path("runs/deep/b.safetensors")


def test_one_result_lies_next_to_its_input_or_in_the_folder_that_all_share():
    assert choose_target([A], None, name="tsne") == Path("runs/a.tsne.png")
    assert choose_target([A, B], None, name="tsne") == Path("runs/tsne.png")
    assert choose_target([A, B], Path("out"), name="tsne") == Path("out/tsne.png")
    assert choose_target([A, B], Path("out/x.png"), name="tsne") == Path("out/x.png")


def test_each_input_has_a_result_of_its_own():
    assert choose_targets([A, B], None, name="codes", suffixes=(".csv",)) == [
        Path("runs/a.codes.csv"),
        Path("runs/deep/b.codes.csv"),
    ]
    assert choose_targets([A], Path("x.csv"), name="codes", suffixes=(".safetensors", ".csv")) == [Path("x.csv")]


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        ([A, B], "x.csv", "is one file for 2 checkpoints"),
        ([A], "x.pdf", "cannot be written as .pdf; use .csv"),
        ([A, Path("other/a.safetensors")], "out", "would share a file"),
        ([A], "-", "stdout carries paths, not results; give a file"),
        ([A], "runs/a.csv", "shares its stem with the checkpoint"),
    ],
)
def test_outputs_that_cannot_be_are_refused(inputs, output, message):
    with pytest.raises(AekitError, match=message):
        choose_targets(inputs, Path(output), name="codes", suffixes=(".csv",))


def test_a_checkpoint_goes_into_a_folder_or_has_its_own_suffix(tmp_path):
    assert checkpoint_path(tmp_path, "x.safetensors") == tmp_path / "x.safetensors"
    assert checkpoint_path(Path("new"), "x.safetensors") == Path("new/x.safetensors")
    assert checkpoint_path(Path("y.safetensors"), "x.safetensors") == Path("y.safetensors")
    with pytest.raises(AekitError, match=r"cannot be a \.png file"):
        checkpoint_path(Path("y.png"), "x.safetensors")


def test_a_result_lies_beside_its_checkpoint_and_is_named_after_it():
    assert choose_targets([Path("runs/b0.5.safetensors")], None, name="sample", suffixes=(".png",)) == [
        Path("runs/b0.5.sample.png")
    ]


def test_the_output_of_one_checkpoint_is_a_file_or_a_folder(tmp_path):
    one = [Path("runs/x.safetensors")]
    assert choose_targets(one, Path("y.png"), name="sample", suffixes=(".png",)) == [Path("y.png")]
    assert choose_targets(one, Path("new"), name="sample", suffixes=(".png",)) == [Path("new/x.sample.png")]
    folder = tmp_path / "with.dot"
    folder.mkdir()
    assert choose_targets(one, folder, name="sample", suffixes=(".png",)) == [folder / "x.sample.png"]


@pytest.mark.parametrize(
    ("paths", "output", "message"),
    [
        (["a.safetensors", "b.safetensors"], "y.png", "one file for 2 checkpoints; give a folder"),
        (["a.safetensors"], "y.jpg", "cannot be written as .jpg; use .png"),
        (["p/a.safetensors", "q/a.safetensors"], "figures", "would share a file"),
    ],
)
def test_an_output_that_cannot_hold_the_results_is_an_error(paths, output, message):
    with pytest.raises(AekitError, match=message):
        choose_targets([Path(path) for path in paths], Path(output), name="sample", suffixes=(".png",))


def test_one_figure_of_several_checkpoints_lies_in_the_folder_that_they_share(tmp_path):
    paths = [Path("runs/a/x.safetensors"), Path("runs/b/x.safetensors")]
    assert choose_target(paths, None, name="tsne") == Path("runs/tsne.png")
    assert choose_target([*paths, tmp_path / "z"], None, name="tsne").is_absolute()
    assert choose_target(paths, tmp_path, name="tsne") == tmp_path / "tsne.png"
    assert choose_target(paths, Path("y.png"), name="tsne") == Path("y.png")
    assert choose_target(paths[:1], None, name="tsne") == Path("runs/a/x.tsne.png")
    with pytest.raises(AekitError, match="cannot be written as"):
        choose_target(paths, Path("y.jpg"), name="tsne")
    with pytest.raises(AekitError, match="shares its stem"):
        choose_target(paths, Path("runs/b/x.png"), name="tsne")
