"""Image files of anywhere are read as the images of the training, and joined by paths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from recorded import Recorded

from aekit.errors import AekitError
from aekit.images.image_files import read_image_files
from aekit.images.interpolation.request import PathRequest
from aekit.images.interpolation.study import run_interpolate
from aekit.images.run_settings import build_config
from aekit.images.runs import Machine, run_training
from aekit.images.session import open_session


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with 12 images of 16 bits and a checkpoint whose range of values is that of its images."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "train").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(100, 900, (12, 8, 8), dtype=np.uint16)):
        Image.fromarray(pixels).save(folder / "train" / f"{number:02}.png")
    options = {"model": "ae", "arch": "dense", "latent": 2, "width": 8, "epochs": 1, "value_range": "data"}
    config = build_config({**options, "data": str(folder / "train")})
    run_training(config, folder / "m.safetensors", Machine(folder, "cpu", 1))
    return folder


def session(folder, **options):
    return open_session(folder / "m.safetensors", data=str(folder / "train"), device="cpu", threads=1, **options)


def test_a_file_is_read_as_the_image_of_the_training_is(trained):
    opened = session(trained)
    (checkpoint,) = opened.checkpoints()
    images = opened.images(checkpoint, "all")
    found = read_image_files(opened, checkpoint, [str(trained / "train" / "03.png")], "--from")
    assert (found.images[0] == images.images[3]).all()


def test_a_photo_of_another_size_and_colour_is_fitted_and_said(trained):
    Image.new("RGB", (40, 30), (200, 10, 10)).save(trained / "wide.jpg")
    said = Recorded()
    opened = session(trained, progress=said)
    (checkpoint,) = opened.checkpoints()
    found = read_image_files(opened, checkpoint, [str(trained / "wide.jpg")], "--from")
    assert found.images.shape == (1, 1, 8, 8)
    assert any("30x40 pixels, resized and cropped to 8x8" in line for line in said.notices)


def test_the_path_between_files_is_that_between_the_same_images(trained, tmp_path):
    paths = [str(trained / "train" / f"{number:02}.png") for number in (2, 7)]
    by_file = run_interpolate(
        session(trained), tmp_path / "f.png", PathRequest(starts=paths[:1], stops=paths[1:], split="all", space="both")
    )
    by_index = run_interpolate(
        session(trained), tmp_path / "i.png", PathRequest(pairs="#2-#7", split="all", space="both")
    )
    first, second = (pd.read_csv(result.path.with_suffix(".csv")) for result in (by_file, by_index))
    for column in ("space", "step", "alpha", "step_length", "nearest_code", "start_error", "end_error"):
        if first[column].dtype.kind == "f":
            np.testing.assert_allclose(first[column], second[column], rtol=1e-3, atol=1e-5)
        else:
            assert (first[column] == second[column]).all()
    assert (first["start_file"] == paths[0]).all()
    assert (first["end_file"] == paths[1]).all()
    assert first["start_index"].isna().all()


@pytest.mark.parametrize(("name", "message"), [("none.png", "no such file"), ("train", "is a folder")])
def test_what_is_not_one_image_is_refused(trained, name, message):
    opened = session(trained)
    (checkpoint,) = opened.checkpoints()
    with pytest.raises(AekitError, match=f"--from .*{name}: {message}"):
        read_image_files(opened, checkpoint, [str(trained / name)], "--from")


def test_a_file_of_several_images_is_refused(trained):
    np.save(trained / "two.npy", np.zeros((2, 8, 8), np.uint8))
    opened = session(trained)
    (checkpoint,) = opened.checkpoints()
    with pytest.raises(AekitError, match="holds 2 images; give a file with one"):
        read_image_files(opened, checkpoint, [str(trained / "two.npy")], "--from")


@pytest.mark.parametrize(
    ("name", "message"), [("none.jpg", "no such file"), ("broken.png", "broken.png"), ("pair.npy", "holds 2 images")]
)
def test_a_mistake_in_a_file_is_found_before_other_images_are_read(trained, tmp_path, name, message):
    (trained / "broken.png").write_bytes(b"no image")
    np.save(trained / "pair.npy", np.zeros((2, 8, 8), np.uint8))
    opened = session(trained, table="no-such-table.csv")  # which is an error as soon as they are read
    request = PathRequest(starts=[str(trained / "train" / "02.png")], stops=[str(trained / name)])
    with pytest.raises(AekitError, match=message):
        run_interpolate(opened, tmp_path / "x.png", request)


@pytest.fixture
def kinds(trained, tmp_path):
    """Return a table of two classes of the images."""
    rows = "".join(f"{number:02}.png,{'ab'[number % 3 == 0]}\n" for number in range(12))
    (tmp_path / "kinds.csv").write_text(f"file,label\n{rows}")
    return str(tmp_path / "kinds.csv")


@pytest.mark.slow
def test_a_walk_from_a_file_is_that_from_the_same_image(trained, kinds, tmp_path):
    files = [str(trained / "train" / f"{number:02}.png") for number in (2, 7)]
    options = {"attribute": "b", "split": "all", "space": "both", "n_draws": 2}
    mixed = run_interpolate(
        session(trained, table=kinds), tmp_path / "f.png", PathRequest(starts=[files[0], "#5,a", files[1]], **options)
    )
    by_index = run_interpolate(
        session(trained, table=kinds), tmp_path / "i.png", PathRequest(starts="#2,#5,a,#7", **options)
    )
    first, second = (pd.read_csv(result.path.with_suffix(".csv")) for result in (mixed, by_index))
    assert list(first) == list(second)
    assert first["pair"].unique().tolist() == ["02.png", "#5", "a", "07.png"]
    for column in first:
        if first[column].dtype.kind == "f" and column != "start_index":
            np.testing.assert_allclose(first[column], second[column], rtol=1e-3, atol=1e-5)
        elif column not in ("pair", "start", "start_file", "start_index"):
            assert first[column].equals(second[column]), column
    own = first["pair"].isin(["02.png", "07.png"])
    assert first[own]["start_file"].unique().tolist() == files
    assert first[own]["start_index"].isna().all()
    assert (first[~own]["start_index"] == second[~own]["start_index"]).all()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("none.jpg", r"^--from none\.jpg: no such file"),
        ("a.jpg,b.jpg", r"^--from a\.jpg,b\.jpg: no such file; give each image file a --from of its own"),
        ("#1,b.jpg", "a --from of its own"),
        ("b.jpg,#1", "a --from of its own"),
        ("lion", "has no class 'lion'"),
    ],
)
def test_a_start_that_is_neither_an_image_nor_a_file_is_refused(trained, kinds, tmp_path, start, message):
    request = PathRequest(attribute="b", starts=["#1", start], split="all")
    with pytest.raises(AekitError, match=message):
        run_interpolate(session(trained, table=kinds), tmp_path / "x.png", request)
    assert not (tmp_path / "x.png").exists()


def test_a_file_that_is_called_like_a_class_is_not_guessed(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{number:02}.png,{['a.png', 'b'][number % 2]}\n" for number in range(12))
    (tmp_path / "kinds.csv").write_text(f"file,label\n{rows}")
    (tmp_path / "a.png").write_bytes((trained / "train" / "04.png").read_bytes())
    walks = {"attribute": "b", "split": "all", "n_draws": 1}
    with pytest.raises(AekitError, match=r"--from a\.png: is an image file, and the name of a class; give \./a\.png"):
        run_interpolate(session(trained, table="kinds.csv"), "x.png", PathRequest(starts="a.png", **walks))
    for start, file in (("./a.png", "^./a.png$"), ("0", "^[01][02468].png$")):
        run_interpolate(session(trained, table="kinds.csv"), "x.png", PathRequest(starts=start, **walks))
        assert pd.read_csv("x.csv")["start_file"].str.contains(file).all()
