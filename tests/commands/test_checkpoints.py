"""What holds for every command that takes checkpoints: stdin, several of them, where results go, and other images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aekit.core.checkpoint import read_header

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

COMMANDS = ["reconstruct", "sample", "encode", "evaluate"]


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
    lines = [line for line in result.stderr.splitlines() if "not the images of the training; all 40 are used" in line]
    assert len(lines) == 1
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 41
    np.save(tmp_path / "one.npy", np.full((1, 8, 8), 90, np.uint8))
    result = aekit("encode", vae_checkpoint, "--data", tmp_path / "one.npy", "-o", tmp_path / "x.csv")
    assert f"--data {tmp_path / 'one.npy'}: not the images of the training; the only one is used" in result.stderr


def test_images_of_another_shape_are_an_error(aekit, vae_checkpoint, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((40, 8, 10), np.uint8))
    result = aekit("reconstruct", vae_checkpoint, "--data", tmp_path / "wide.npy", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "images have height 8, width 10" in result.stderr
    assert "takes height 8, width 8, 1 channel" in result.stderr


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
