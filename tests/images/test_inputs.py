"""Files that are read are never replaced by results."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recorded import Recorded
from safetensors.numpy import save_file

from aekit.errors import AekitError
from aekit.images.evaluation.encode import run_encode
from aekit.images.evaluation.evaluate import run_evaluate
from aekit.images.evaluation.reconstruct import run_reconstruct
from aekit.images.evaluation.sample import run_sample
from aekit.images.inputs import refuse_replacing_images, say_if_among_images
from aekit.images.interpolation.request import PathRequest
from aekit.images.interpolation.study import run_interpolate
from aekit.images.run_settings import build_config
from aekit.images.runs import Machine, run_training
from aekit.images.session import open_session

_OPTIONS = {"model": "ae", "arch": "dense", "layers": 1, "width": 8, "latent": 2, "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder ``photos`` of grey images, and a model ``x.safetensors`` of them."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / "photos" / f"{number}.png")
    save_file({"images": pixels}, folder / "more.safetensors")
    config = build_config(_OPTIONS | {"data": str(folder / "photos")})
    run_training(config, folder / "x.safetensors", Machine(folder, "cpu", 1))
    return folder


@pytest.fixture
def session(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def opened(data):
        return open_session(folder / "x.safetensors", data=str(data), device="cpu")

    return opened


@pytest.mark.parametrize("data", ["photos", "photos/3.png"])
def test_a_figure_does_not_replace_an_image_that_is_read(folder, session, data):
    before = (folder / "photos" / "3.png").read_bytes()
    with pytest.raises(AekitError, match=r"--output photos/3\.png: would replace photos/3\.png, which is read"):
        list(run_reconstruct(session(data), Path("photos/3.png")))
    assert (folder / "photos" / "3.png").read_bytes() == before


def test_the_ends_of_a_path_are_not_replaced_wherever_they_are(folder, session):
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes((folder / "photos" / "1.png").read_bytes())
    for name in ("a.png", "b.png"):
        with pytest.raises(AekitError, match="which is read"):
            run_interpolate(session("photos"), Path(name), PathRequest(starts=("a.png",), stops=("b.png",)))


def test_codes_do_not_replace_the_array_that_they_are_of(folder, session):
    with pytest.raises(AekitError, match="which is read"):
        list(run_encode(session("more.safetensors"), Path("more.safetensors")))


def test_a_training_that_starts_over_does_not_replace_images_with_its_curves(folder, monkeypatch):
    monkeypatch.chdir(folder)
    config = build_config(_OPTIONS | {"data": "photos"})
    before = (folder / "photos" / "3.png").read_bytes()
    with pytest.raises(AekitError, match="which is read"):
        run_training(config, folder / "photos" / "3.safetensors", Machine(folder, "cpu", 1), overwrite=True)
    assert (folder / "photos" / "3.png").read_bytes() == before


def test_a_figure_of_aekit_in_the_folder_of_images_is_replaced_as_anywhere(folder, session):
    figure = folder / "photos" / "figure.png"
    list(run_reconstruct(session(folder / "more.safetensors"), figure))
    refuse_replacing_images(figure, [figure], [folder / "photos", "mnist"])
    with pytest.raises(AekitError, match="would replace"):  # read by its name
        refuse_replacing_images(figure, [figure], [figure])
    figure.unlink()


def _said(progress):
    return [line for line in progress.notices if "will be read with the images" in line]


def test_a_figure_among_the_images_is_said_and_counts_there(folder, session, aekit, tmp_path):
    before = aekit("data", "photos", "--json").stdout
    studies = (("x.png", run_sample), ("x.png", run_reconstruct), ("x.json", run_evaluate), ("x.csv", run_encode))
    for name, study in studies:
        for place in ("photos", "photos/a", "photos/.hidden", "photos/../elsewhere"):
            opened = session("photos")
            opened.progress = progress = Recorded()
            study(opened, Path(place) / name)  # what takes long begins later
            expected = [
                f"--output: figures in {place} will be read with the images of photos; choose a folder elsewhere"
            ]
            is_said = study is not run_encode and place in ("photos", "photos/a")
            assert _said(progress) == (expected if is_said else [])
    list(run_sample(session("photos"), Path("photos/x.png"), n=4))
    after = aekit("data", "photos", "--json")
    (folder / "photos" / "x.png").unlink()
    assert (after.exit_code, after.stdout) != (0, before)  # so it is right to say it


def test_a_known_data_set_is_not_a_folder_of_its_name(folder, session):
    (folder / "digits").mkdir()
    progress = Recorded()
    say_if_among_images(folder / "digits", ["digits"], progress)
    assert progress.notices == []
    say_if_among_images(folder / "digits", ["./digits"], progress)
    assert len(_said(progress)) == 1


def test_a_training_into_the_images_says_so(folder, monkeypatch, aekit):
    monkeypatch.chdir(folder)
    shutil.copytree("photos", "copy")
    words = ["--data", "copy", "--arch", "dense", "--width", 8, "--epochs", 1, "--threads", 1, "--device", "cpu"]
    said = [aekit("train-ae", *words, "--latent", 2, "-o", f"{place}/m.safetensors").stderr for place in ("copy", "no")]
    assert [text.count("will be read with the images") for text in said] == [1, 0]
    assert "copy/m: --output: figures in copy will be read with the images of copy;" in said[0]
