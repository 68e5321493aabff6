"""``aekit decode`` is the inverse of ``aekit encode``."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import aekit as package
from aekit.images.inference import decode_codes, reconstruct_images
from aekit.images.session import open_session


def _reconstructions(path):
    session = open_session(path)
    (checkpoint,) = session.checkpoints()
    return reconstruct_images(checkpoint.model, session.studied(checkpoint, "test"))


@pytest.fixture(scope="session")
def conditional_checkpoint(aekit, tmp_path_factory):
    path = tmp_path_factory.mktemp("conditional") / "cvae.safetensors"
    options = ("--data", "digits", "--limit", 200, "--epochs", 1, "--latent", 2, "--condition", "label")
    assert aekit("train-vae", *options, "-o", path).exit_code == 0
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".csv"])
@pytest.mark.parametrize("model", ["vae_checkpoint", "ae_checkpoint"])
def test_decoded_codes_of_images_are_their_reconstructions(aekit, request, tmp_path, model, suffix):
    path = request.getfixturevalue(model)
    codes = tmp_path / f"codes{suffix}"
    aekit("encode", path, "-o", codes)
    result = aekit("decode", path, codes, "-o", tmp_path / "x.npy")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "x.npy"]
    images = np.load(tmp_path / "x.npy")
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, _reconstructions(path))  # nine digits are enough for 32 bits


def test_edited_codes_give_the_images_of_those_codes_in_the_order_of_the_rows(aekit, vae_checkpoint, tmp_path):
    aekit("encode", vae_checkpoint, "-o", tmp_path / "codes.csv")
    table = pd.read_csv(tmp_path / "codes.csv").iloc[[7, 3, 3]]
    table["z1"] += [0, 0, 1.5]
    table[["z1", "label", "z0"]].to_csv(tmp_path / "edited.csv", sep=";", decimal=",")
    assert aekit("decode", vae_checkpoint, tmp_path / "edited.csv", "-o", tmp_path / "x.npy").exit_code == 0
    images = np.load(tmp_path / "x.npy")
    model = package.load(vae_checkpoint)
    expected = decode_codes(model, table[["z0", "z1"]].to_numpy())
    np.testing.assert_allclose(images, expected, atol=1e-6)
    rows = pd.read_csv(tmp_path / "x.csv")
    assert list(rows.columns) == ["codes", "codes_row", "codes_line", "column 1", "label"]
    assert rows["codes_line"].tolist() == [2, 3, 4]
    assert rows["column 1"].tolist() == [7, 3, 3]


def test_both_kinds_of_arrays_hold_the_same(aekit, ae_checkpoint, tmp_path):
    aekit("encode", ae_checkpoint, "-o", tmp_path / "codes.csv")
    for name in ("x.npy", "y.safetensors"):
        assert aekit("decode", ae_checkpoint, tmp_path / "codes.csv", "-o", tmp_path / name).exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), load_file(tmp_path / "y.safetensors")["images"])


def test_a_figure_shows_the_first_rows_and_says_how_many_there_are(aekit, vae_checkpoint, tmp_path):
    codes = tmp_path / "codes.safetensors"
    aekit("encode", vae_checkpoint, "-o", codes)
    result = aekit("decode", vae_checkpoint, codes, "-n", 8, "--json", "-o", tmp_path / "x.png")
    assert json.loads(result.stdout) == {
        "path": str(tmp_path / "x.png"), "checkpoint": str(vae_checkpoint), "codes": str(codes), "n": 8, "shown": 8,
    }  # fmt: skip
    assert "shows the first 8 of 300 codes" in result.stderr
    assert json.loads(Image.open(tmp_path / "x.png").text["aekit"])["options"] == {"codes": "codes.safetensors", "n": 8}
    assert len(pd.read_csv(tmp_path / "x.csv")) == 8


def test_a_table_on_stdin_is_told_from_its_path(aekit, vae_checkpoint, tmp_path):
    result = aekit("decode", vae_checkpoint, "-", "-o", tmp_path / "x.npy", stdin="z0,z1\n0.5,1\n1,2\n")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "-: stdin looks like a table, and - reads paths" in result.stderr


def test_paths_come_from_stdin_for_one_of_both_arguments(aekit, vae_checkpoint, tmp_path):
    encoded = aekit("encode", vae_checkpoint, "-o", tmp_path)
    result = aekit("decode", vae_checkpoint, "-", "-o", tmp_path / "x.npy", stdin=encoded.stdout)
    assert result.exit_code == 0, result.stderr
    (codes,) = encoded.paths
    assert aekit("decode", "-", codes, "-o", tmp_path / "y.npy", stdin=f"{vae_checkpoint}\n").exit_code == 0
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "y.npy").read_bytes()
    assert aekit("decode", "-", "-").exit_code == 2
    two = aekit("decode", vae_checkpoint, "-", stdin=f"{codes}\n{codes}\n")
    assert (two.exit_code, "2 paths came on stdin, and CODES is one" in two.stderr) == (1, True)


def test_each_row_is_a_picture_named_by_its_name(aekit, vae_checkpoint, tmp_path):
    codes = tmp_path / "codes.csv"
    codes.write_text("name,z0,z1\na/b,0,0\n..,1,1\n12,0,2\n")
    result = aekit("decode", vae_checkpoint, codes, "--each", tmp_path / "each", "-o", tmp_path / "x.npy")
    assert result.exit_code == 0, result.stderr
    rows = pd.read_csv(tmp_path / "x.csv")
    assert rows["png"].tolist() == ["a_b.png", "_..png", "0012.png"]
    assert "2 names of name cannot be a file name as it is: 'a/b' is a_b.png" in result.stderr
    for name, image in zip(rows["png"], np.load(tmp_path / "x.npy"), strict=True):
        pixels = np.asarray(Image.open(tmp_path / "each" / name))
        np.testing.assert_array_equal(pixels, np.rint(image[0] * 255))
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == sorted(rows["png"])


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["a", "A"], "whose image would be A.png, as that of line 2"),
        (["1", "01"], "as that of"),
        (["a", ""], "no name"),
    ],
)
def test_names_that_would_share_a_picture_are_refused(aekit, vae_checkpoint, tmp_path, names, error):
    codes = tmp_path / "codes.csv"
    codes.write_text("name,z0,z1\n" + "".join(f"{name},0,{row}\n" for row, name in enumerate(names)))
    result = aekit("decode", vae_checkpoint, codes, "--each", tmp_path / "each", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert error in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.csv"]


def test_a_model_that_is_told_the_class_takes_it_from_the_column_or_the_option(aekit, conditional_checkpoint, tmp_path):
    codes = tmp_path / "codes.csv"
    aekit("encode", conditional_checkpoint, "-o", codes)
    aekit("decode", conditional_checkpoint, codes, "-o", tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), _reconstructions(conditional_checkpoint))
    result = aekit("decode", conditional_checkpoint, codes, "--label", "3", "-o", tmp_path / "y.npy")
    assert "its column label is not used" in result.stderr
    table = pd.read_csv(codes)
    assert (pd.read_csv(tmp_path / "y.csv")["decoded_as"] == 3).all()
    model = package.load(conditional_checkpoint)
    threes = decode_codes(model, table[["z0", "z1"]].to_numpy(), labels=np.full(len(table), 3))
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), threes)
    assert not np.array_equal(np.load(tmp_path / "x.npy"), threes)


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("z0,z1\n0,0\n", (), "has no column label"),
        ("z0,z1,label\n0,0,ten\n", (), "line 2 has the label 'ten', which"),
        ("z0,z1,label\n0,0,\n", (), "line 2 has no label"),
        ("z0,z1,label\n0,0,3\n", ("--label", "3,4"), "decodes a code as a class"),
        ("z0,z1,label\n0,0,3\n", ("--label", "ten"), "no such class"),
    ],
)
def test_a_class_that_is_missing_or_unknown_is_refused_by_name(
    aekit, conditional_checkpoint, tmp_path, text, options, error
):
    (tmp_path / "codes.csv").write_text(text)
    result = aekit("decode", conditional_checkpoint, tmp_path / "codes.csv", *options, "-o", tmp_path / "x.png")
    assert (result.exit_code, error in result.stderr) == (1, True)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.slow  # trains
@pytest.mark.parametrize("with_checksum", [True, False])
def test_codes_of_another_model_are_named_and_those_of_a_renamed_one_are_not(
    aekit, vae_checkpoint, tmp_path, with_checksum
):
    codes = tmp_path / "codes.safetensors"
    renamed = tmp_path / "renamed.safetensors"
    renamed.write_bytes(vae_checkpoint.read_bytes())
    other = tmp_path / "other.safetensors"
    options = ("--data", "digits", "--epochs", 1, "--limit", 300, "--latent", 2, "--val", 0.2)
    assert aekit("train-vae", *options, "-o", other).exit_code == 0
    aekit("encode", vae_checkpoint, "-o", codes)
    if not with_checksum:  # as versions wrote it that did not record it
        with safe_open(codes, "numpy") as file:
            parameters = json.loads(file.metadata()["aekit"])
        assert parameters.pop("sha256")
        save_file(load_file(codes), codes, {"aekit": json.dumps(parameters)})
    same = aekit("decode", renamed, codes, "-o", tmp_path / "x.npy")
    assert "another model" not in same.stderr
    another = aekit("decode", other, codes, "-o", tmp_path / "x.npy")
    assert (another.exit_code, "these codes are of another model, vae.safetensors" in another.stderr) == (0, True)


@pytest.mark.slow  # trains
def test_two_layers_decode_the_mean_of_the_lower_one_and_say_so(aekit, tmp_path):
    path = tmp_path / "two.safetensors"
    options = ("--data", "digits", "--limit", 100, "--epochs", 1, "--latent", 2, "--arch", "mlp")
    assert aekit("train-vae", *options, "--stochastic-layers", 2, "-o", path).exit_code == 0
    (tmp_path / "codes.csv").write_text("z0,z1\n0.5,-1\n")
    result = aekit("decode", path, tmp_path / "codes.csv", "-o", tmp_path / "x.npy")
    assert "from the mean of the lower layer given the code" in result.stderr
    model = package.load(path)
    z = torch.tensor([[0.5, -1.0]])
    lower_mean, _ = model.lower.prior(z)
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), model.decoder(lower_mean).sigmoid().numpy(), atol=1e-6)


def test_codes_far_out_that_overflow_are_named_and_nothing_is_written(aekit, vae_checkpoint, tmp_path):
    (tmp_path / "codes.csv").write_text("z0,z1\n0,0\n3e38,-3e38\n")
    result = aekit("decode", vae_checkpoint, tmp_path / "codes.csv", "-o", tmp_path / "x.npy", "--each", tmp_path / "e")
    assert result.exit_code == 1
    assert "some images are not finite, of codes of up to 3e+38" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.csv"]


def test_nothing_that_is_read_is_replaced(aekit, vae_checkpoint, tmp_path):
    codes = tmp_path / "codes.csv"
    codes.write_text("z0,z1\n0,0\n")
    for output in (codes.with_suffix(".png"), codes.with_suffix(".npy"), vae_checkpoint.with_suffix(".png")):
        assert aekit("decode", vae_checkpoint, codes, "-o", output).exit_code == 1
    assert codes.read_text() == "z0,z1\n0,0\n"
    codes.write_text("z0,z1,png\n0,0,a\n")
    assert "has a column png" in aekit("decode", vae_checkpoint, codes, "-o", tmp_path / "x.png").stderr
    assert aekit("decode", vae_checkpoint, codes, "-n", 3, "-o", tmp_path / "x.npy").exit_code == 2


def test_a_row_that_breaks_off_the_reading_leaves_no_file(aekit, vae_checkpoint, tmp_path):
    (tmp_path / "codes.csv").write_text("z0,z1\n0,0\n0,x\n")
    result = aekit("decode", vae_checkpoint, tmp_path / "codes.csv", "-o", tmp_path / "x.npy", "--each", tmp_path / "e")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.csv"]
