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
