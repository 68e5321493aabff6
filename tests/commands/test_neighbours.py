"""``aekit neighbours``: the nearest by a plain loop over codes; what is read, what is marked, what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from aekit.images.config import DataConfig
from aekit.images.data.digits import read_digits


@pytest.fixture(scope="module")
def digits():
    return read_digits(DataConfig(name="digits", limit=300, val=0.2), "train", data_root=None)


@pytest.fixture(scope="module")
def codes(aekit, vae_checkpoint, tmp_path_factory):
    """Return a folder with the codes of the training images, as .safetensors and .csv."""
    folder = tmp_path_factory.mktemp("codes")
    for name in ("train.safetensors", "train.csv"):
        assert aekit("encode", vae_checkpoint, "--split", "train", "-q", "-o", folder / name).exit_code == 0
    return folder


@pytest.fixture
def photos(digits, tmp_path):
    """Return a folder with three training images of digits, one of them enlarged and in colour."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for row in (4, 9):
        Image.fromarray(digits.images[row, 0]).save(folder / f"{row}.png")
    Image.fromarray(digits.images[14, 0]).resize((40, 32)).convert("RGB").save(folder / "wide.png")
    return folder


def table(path):
    return pd.read_csv(path.with_suffix(".csv"), keep_default_na=False)


def test_the_neighbours_are_those_of_a_loop_over_the_codes(aekit, vae_checkpoint, codes, digits, tmp_path):
    np.save(tmp_path / "some.npy", digits.images[[7, 100], 0])
    result = aekit("neighbours", vae_checkpoint, tmp_path / "some.npy", "-k", 5, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "x.png"]
    known = pd.read_csv(codes / "train.csv")
    z = known[["z0", "z1"]].to_numpy()
    found = table(tmp_path / "x.png")
    assert found["query"].tolist() == [f"{tmp_path}/some.npy[0]"] * 5 + [f"{tmp_path}/some.npy[1]"] * 5
    for row, own in zip((7, 100), (found[:5], found[5:]), strict=True):
        distances = [float(np.linalg.norm(z[row] - other)) for other in z]
        expected = sorted(range(len(z)), key=lambda other: (distances[other], other))[:5]
        assert own["index"].tolist() == expected
        assert own["distance"].to_numpy() == pytest.approx(np.array(distances)[expected], abs=1e-5)
        assert own["label"].tolist() == known["label"][expected].tolist()
        assert own["row"].tolist() == known["row"][expected].tolist()
        assert own["same_image"].tolist() == [True, False, False, False, False]
    assert found["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    assert (found["file"] == known["file"][0]).all()


@pytest.mark.slow
def test_a_folder_a_file_and_a_list_on_stdin_are_the_same_images(aekit, vae_checkpoint, photos, tmp_path):
    tables = []
    paths = sorted(photos.iterdir())
    for number, (words, stdin) in enumerate([([photos], None), (paths, None), (["-"], "\n".join(map(str, paths)))]):
        output = tmp_path / f"{number}.png"
        result = aekit("neighbours", vae_checkpoint, *words, "-o", output, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        tables.append(table(output))
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other, tables[0])
    assert tables[0]["query"].unique().tolist() == list(map(str, paths))
    assert f"{photos}/wide.png: height 32, width 40, 3 channels, read as height 8, width 8, 1 channel" in result.stderr
    assert "2 of 3 images are among those searched, marked as same image" in result.stderr


@pytest.mark.parametrize("name", ["train.safetensors", "train.csv"])
def test_codes_of_a_file_give_what_encoding_gives(aekit, vae_checkpoint, codes, photos, tmp_path, name):
    aekit("neighbours", vae_checkpoint, photos, "-o", tmp_path / "x.png")
    split = ("--split", "train") if name.endswith(".csv") else ()
    result = aekit("neighbours", vae_checkpoint, photos, "--codes", codes / name, *split, "-o", tmp_path / "y.png")
    assert result.exit_code == 0, result.stderr
    pd.testing.assert_frame_equal(table(tmp_path / "y.png"), table(tmp_path / "x.png"), rtol=1e-4)
    assert (tmp_path / "y.png").read_bytes() == (tmp_path / "x.png").read_bytes()


def test_without_the_images_of_the_codes_the_table_is_the_result(aekit, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a checkpoint knows the name of its images, not their folder
    np.savez("x.npz", images=digits.images, labels=digits.labels)
    aekit("train-ae", "--data", "x.npz", "--latent", 2, "--epochs", 1, "--arch", "dense", "-q", "-o", "m.safetensors")
    aekit("encode", "m.safetensors", "--split", "train", "-q", "-o", "codes.safetensors")
    np.save("some.npy", digits.images[:3, 0])
    aekit("neighbours", "m.safetensors", "some.npy", "-q", "-o", "with.png")
    shutil.move("x.npz", "moved.npz")
    words = ("neighbours", "m.safetensors", "some.npy", "--codes", "codes.safetensors", "-o", "without.png")
    result = aekit(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["path"] == "without.csv"
    assert not (tmp_path / "without.png").exists()
    assert "no images are shown, only the table is written" in result.stderr
    columns = ["query", "index", "file", "row", "label", "distance"]
    expected, found = table(tmp_path / "with.csv"), table(tmp_path / "without.csv")
    pd.testing.assert_frame_equal(found[columns], expected[columns])
    assert set(found["same_image"]) == {""}
    assert aekit(*words, "--data", "moved.npz").paths[0].suffix == ".png"


def test_codes_of_another_model_or_other_images_are_refused(
    aekit, vae_checkpoint, ae_checkpoint, codes, photos, tmp_path
):
    aekit("train-vae", "--data", "digits", "--limit", 300, "--val", 0.2, "--latent", 2, "--epochs", 1, "--seed", 5,
          "-q", "-o", tmp_path / "other.safetensors")  # fmt: skip
    for checkpoint, name, options, said in (
        (tmp_path / "other.safetensors", "train.safetensors", (), "codes are of another checkpoint, vae.safetensors"),
        (tmp_path / "other.safetensors", "train.csv", ("--split", "train"), "codes are not those that"),
        (ae_checkpoint, "train.csv", (), "codes have 2 dimensions, those of"),
        (vae_checkpoint, "train.csv", (), "gives the test images of digits; name others with --split"),
        (vae_checkpoint, "train.safetensors", ("--split", "test"), "are of the train images; leave --split out"),
        (vae_checkpoint, "../nothing.csv", (), "cannot be read"),
    ):
        words = ("--codes", codes / name, *options, "-o", tmp_path / "x.png")
        result = aekit("neighbours", checkpoint, photos, *words)
        assert result.exit_code == 1
        assert said in result.stderr.splitlines()[-1]
        assert not (tmp_path / "x.csv").exists()


def test_codes_as_a_spreadsheet_leaves_them_are_searched_too(aekit, vae_checkpoint, codes, photos, tmp_path):
    known = pd.read_csv(codes / "train.csv")
    known[["z1", *known.columns.drop("z1")]].to_csv(tmp_path / "edited.csv", sep=";", decimal=",", index=False)
    words = ("neighbours", vae_checkpoint, photos, "--split", "train", "--codes")
    result = aekit(*words, tmp_path / "edited.csv", "-o", tmp_path / "x.csv")
    assert result.exit_code == 0, result.stderr
    assert "decimal commas read as points" in result.stderr
    assert "in the order z1, z0" in result.stderr
    aekit(*words, codes / "train.csv", "-o", tmp_path / "y.csv")
    pd.testing.assert_frame_equal(table(tmp_path / "x.csv"), table(tmp_path / "y.csv"))
    save_file({"mean": known[["z0", "z1"]].to_numpy(np.float32)}, tmp_path / "bare.safetensors")
    result = aekit(*words, tmp_path / "bare.safetensors", "-o", tmp_path / "x.csv")
    assert (result.exit_code, "does not say which checkpoint its codes are of" in result.stderr) == (1, True)


def test_what_is_no_image_a_second_checkpoint_or_an_input_as_output_is_refused(
    aekit, vae_checkpoint, ae_checkpoint, photos, tmp_path
):
    (tmp_path / "text.md").write_text("text")
    for words, code, said in (
        ((vae_checkpoint, ae_checkpoint, photos), 1, "is a checkpoint, and one is taken"),
        ((vae_checkpoint, tmp_path / "nothing.png"), 1, "nothing.png: no such file or folder"),
        ((vae_checkpoint, tmp_path / "text.md"), 1, "nor an image"),
        ((vae_checkpoint,), 2, "Missing argument 'IMAGE'"),
        ((vae_checkpoint, photos, "-o", photos / "4.png"), 1, "would replace"),
        ((vae_checkpoint, photos, "-k", 0), 2, "--neighbours"),
    ):
        result = aekit("neighbours", *words)
        assert result.exit_code == code, result.stderr
        assert said in result.stderr.splitlines()[-1]


def test_a_model_that_is_told_the_class_is_refused(aekit, photos, tmp_path):
    path = tmp_path / "m.safetensors"
    aekit("train-vae", "--data", "digits", "--condition", "label", "--limit", 100, "--epochs", 1, "-q", "-o", path)
    result = aekit("neighbours", path, photos)
    assert result.exit_code == 1
    assert "is told the class of an image" in result.stderr


def test_of_fewer_images_than_neighbours_all_are_found_and_said(aekit, vae_checkpoint, photos, digits, tmp_path):
    np.save(tmp_path / "few.npy", digits.images[:3, 0])
    words = ("--data", tmp_path / "few.npy", "-k", 8, "-o", tmp_path / "x.csv")
    result = aekit("neighbours", vae_checkpoint, photos / "4.png", *words)
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "x.csv"]
    assert len(table(tmp_path / "x.csv")) == 3
    assert "--neighbours 8: there is no more to find than 3 images" in result.stderr


@pytest.mark.parametrize("name", ["q.npy", "q.png"])
def test_images_that_would_be_nearly_black_are_refused_as_in_a_training(aekit, vae_checkpoint, digits, tmp_path, name):
    path, faint = tmp_path / name, digits.images[:2, 0] // 16
    if name.endswith(".npy"):
        np.save(path, faint)
    else:
        Image.fromarray(faint[0].astype(np.uint16)).save(path)
    result = aekit("neighbours", vae_checkpoint, path, "-o", tmp_path / "x.png")
    assert (result.exit_code, result.paths) == (1, [])
    assert "would be nearly black; scale them to 0 to" in result.stderr
    assert "--value-range" not in result.stderr  # which the command does not have
    if name.endswith(".npy"):  # as floats the same images are what they are
        np.save(path, faint / 15)
        assert aekit("neighbours", vae_checkpoint, path, "-o", tmp_path / "x.png").exit_code == 0


def test_transparent_and_swapped_images_are_named(aekit, vae_checkpoint, digits, tmp_path):
    folder = tmp_path / "q"
    folder.mkdir()
    for row in (4, 9):
        alpha = Image.fromarray(digits.images[row, 0]).convert("RGBA")
        alpha.putalpha(Image.fromarray(np.full((8, 8), 255 if row == 4 else 128, np.uint8)))
        alpha.save(folder / f"{row}.png")
    result = aekit("neighbours", vae_checkpoint, folder, "-o", tmp_path / "x.png")
    assert f"{folder}: 1 image is partly transparent, which is read as white" in result.stderr
    np.save(tmp_path / "swapped.npy", 255 - digits.images[[7, 100], 0])
    np.save(tmp_path / "own.npy", digits.images[[7, 100], 0])
    result = aekit("neighbours", vae_checkpoint, tmp_path / "swapped.npy", "-o", tmp_path / "x.png")
    means = digits.images.mean((1, 2, 3)) / 255
    assert f"outside the {means.min():.2f} to {means.max():.2f} of those searched" in result.stderr
    assert "swapped.npy[0]" in result.stderr
    assert "are dark and light swapped?" in result.stderr
    result = aekit("neighbours", vae_checkpoint, tmp_path / "own.npy", "-o", tmp_path / "x.png")
    assert "are dark and light" not in result.stderr
