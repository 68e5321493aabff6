"""What holds for every command that takes checkpoints: stdin, several of them, where results go, and other images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aekit.commands.checkpoints import choose_target, choose_targets, read_paths, refuse_mixed, short_labels
from aekit.core.checkpoint import read_header
from aekit.errors import AekitError
from aekit.terminal.console import Console

COMMANDS = ["reconstruct", "sample", "encode", "evaluate"]


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


@pytest.mark.parametrize("command", COMMANDS)
def test_several_checkpoints_come_from_stdin_and_give_a_path_each(
    aekit, command, vae_checkpoint, ae_checkpoint, tmp_path
):
    few = ["-n", 8] if command in ("reconstruct", "sample") else []
    result = aekit(command, "-", *few, "-o", tmp_path / "out", stdin=f"{vae_checkpoint}\n\n{ae_checkpoint}\n")
    assert result.exit_code == 0, result.stderr
    assert [path.name.split(".")[0] for path in result.paths] == ["vae", "ae"]
    assert all(path.is_file() and path.parent == tmp_path / "out" for path in result.paths)


@pytest.mark.parametrize("command", COMMANDS)
def test_json_prints_one_object_a_line(aekit, command, vae_checkpoint, tmp_path):
    result = aekit(command, vae_checkpoint, "-o", tmp_path, "--json", "--quiet")
    (line,) = result.stdout.splitlines()
    values = json.loads(line)
    assert Path(values["path"]).is_file()
    assert values["checkpoint"] == str(vae_checkpoint)
    assert result.stderr == ""


@pytest.mark.parametrize("command", [*COMMANDS, "info"])
def test_what_is_no_checkpoint_is_one_line_and_exit_code_1(aekit, command, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_text("hello")
    for path, reason in ((bad, "is not a safetensors file"), (tmp_path / "none.safetensors", "No such file")):
        result = aekit(command, path)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1


def test_nothing_on_stdin_is_an_error(aekit):
    result = aekit("encode", "-", stdin="\n")
    assert result.exit_code == 1
    assert "no path came on stdin" in result.stderr


def test_nothing_is_done_if_one_of_several_checkpoints_cannot_be_read(aekit, vae_checkpoint, tmp_path):
    result = aekit("encode", vae_checkpoint, tmp_path / "none.safetensors", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_validation_images_are_only_there_if_the_run_set_some_aside(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    result = aekit("encode", vae_checkpoint, "--split", "val", "-o", tmp_path / "x.csv")
    assert result.exit_code == 0
    n_images = read_header(vae_checkpoint).data["splits"]["val"]["n"]
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 1 + n_images
    result = aekit("encode", ae_checkpoint, "--split", "val", "-o", tmp_path / "y.csv")
    assert result.exit_code == 1
    assert "trained without validation images" in result.stderr


def test_other_images_are_named_on_stderr_and_used(aekit, vae_checkpoint, tmp_path):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    result = aekit("encode", vae_checkpoint, "--data", tmp_path / "noise.npy", "-o", tmp_path / "x.csv")
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "are not those that it was trained with" in line]
    assert len(lines) == 1


def test_images_of_another_shape_are_an_error(aekit, vae_checkpoint, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((40, 8, 10), np.uint8))
    result = aekit("reconstruct", vae_checkpoint, "--data", tmp_path / "wide.npy", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "images are 1x8x10" in result.stderr
    assert "takes 1x8x8" in result.stderr


@pytest.mark.parametrize("command", ["reconstruct", "sample"])
def test_figures_say_where_they_came_from_without_saying_where_they_lay(aekit, command, vae_checkpoint, tmp_path):
    aekit(command, vae_checkpoint, "-o", tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        text = image.text["aekit"]
    parameters = json.loads(text)
    assert parameters["command"] == command
    assert parameters["checkpoint"] == "vae.safetensors"
    assert parameters["model"]["latent"] == 2
    assert str(vae_checkpoint.parent) not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_call_writes_the_same_bytes(aekit, command, vae_checkpoint, tmp_path):
    few = ["-n", 8] if command in ("reconstruct", "sample") else []
    for name in ("one", "two"):
        assert aekit(command, vae_checkpoint, *few, "-o", tmp_path / name).exit_code == 0
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_copied_checkpoint_is_as_good_as_the_original(aekit, ae_checkpoint, tmp_path):
    copy = Path(shutil.copy(ae_checkpoint, tmp_path / "copy.safetensors"))
    result = aekit("encode", copy)
    assert result.paths == [tmp_path / "copy.codes.safetensors"]


def test_a_checkpoint_that_is_named_twice_is_taken_once(tmp_path, capsys):
    path = tmp_path / "x.safetensors"
    again = tmp_path / "sub" / ".." / "x.safetensors"
    (tmp_path / "sub").mkdir()
    assert read_paths([str(path), "y.safetensors", str(again)], Console()) == [path, Path("y.safetensors")]
    assert "named twice" in capsys.readouterr().err


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


def test_checkpoints_are_called_by_what_tells_them_apart(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    assert short_labels([vae_checkpoint]) == ["vae"]
    (first, *_), (second, *_) = (label.split(", ") for label in short_labels([vae_checkpoint, ae_checkpoint]))
    assert (first, second) == ("vae", "ae")
    assert "latent 3" in short_labels([vae_checkpoint, ae_checkpoint])[1]
    copy = tmp_path / "copy.safetensors"
    shutil.copy(ae_checkpoint, copy)
    assert short_labels([ae_checkpoint, copy]) == ["ae", "copy"]


def test_checkpoints_of_other_images_are_not_compared(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    refuse_mixed([vae_checkpoint, ae_checkpoint], ["test"], data=None)
    with pytest.raises(AekitError, match="has other train images"):  # one of them set a part aside for validation
        refuse_mixed([vae_checkpoint, ae_checkpoint], ["train"], data=None)
    refuse_mixed([vae_checkpoint, ae_checkpoint], ["train"], data="elsewhere")
    large = tmp_path / "large.safetensors"
    options = ["--data", "digits", "--image-size", 12, "--limit", 30, "--epochs", 1, "-q"]
    assert aekit("train-ae", *options, "-o", large).exit_code == 0
    with pytest.raises(
        AekitError, match=r"takes images of 1x12x12, .*vae.safetensors of 1x8x8; compare them separately"
    ):
        refuse_mixed([vae_checkpoint, large], [], data="elsewhere")
