"""``aekit sample --density``, ``--each`` and ``--codes``: files, numbers and errors."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image


def test_a_mixture_is_fitted_judged_and_stored(aekit, ae_checkpoint, tmp_path):
    options = ["--density", "gmm", "--gaussians", 3, "-n", 12, "--codes", tmp_path / "codes.csv"]
    result = aekit("sample", ae_checkpoint, *options, "--each", tmp_path / "each", "--json", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert values["log_density_prior"] is None
    assert f"have log density {values['log_density']:.2f} nats per image" in result.stderr
    assert "under a mixture of 3 Gaussians fitted to the training codes" in result.stderr
    table = pd.read_csv(tmp_path / "codes.csv")
    assert list(table) == ["index", "file", "z0", "z1", "z2"]
    files = sorted(path.name for path in (tmp_path / "each").iterdir())
    assert files == table["file"].tolist()
    assert len(files) == 12
    assert (tmp_path / "x-density.safetensors").exists()


def test_single_images_are_those_of_their_codes(aekit, vae_checkpoint, tmp_path):
    from aekit.images.inference import decode_codes
    from aekit.images.session import open_session

    aekit(
        "sample",
        vae_checkpoint,
        "-n",
        5,
        "--codes",
        tmp_path / "c.csv",
        "--each",
        tmp_path / "e",
        "-o",
        tmp_path / "x.png",
    )
    table = pd.read_csv(tmp_path / "c.csv")
    checkpoint = next(open_session(vae_checkpoint).checkpoints())
    decoded = decode_codes(checkpoint.model, table[["z0", "z1"]].to_numpy())
    for name, image in zip(table["file"], decoded, strict=True):
        assert np.abs(np.asarray(Image.open(tmp_path / "e" / name)) / 255 - image[0]).max() < 0.003
    assert not (tmp_path / "x-density.safetensors").exists()  # the prior is in the checkpoint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--density", "gmm", "--traverse"], "--density: is for samples; leave out --traverse"),
        (["--codes", "x.txt"], "--codes x.txt: is not a .csv file"),
        (["--each", "{here}"], "is not empty; give a new folder"),
        (["--density", "prior"], "is a plain autoencoder, which has none; use gaussian or gmm"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(aekit, ae_checkpoint, tmp_path, options, message):
    (tmp_path / "other").touch()
    options = [str(tmp_path) if word == "{here}" else word for word in options]
    result = aekit("sample", ae_checkpoint, *options, "-o", tmp_path / "x.png")
    assert result.exit_code != 0
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_codes_can_lie_next_to_their_images(aekit, ae_checkpoint, tmp_path):
    folder = tmp_path / "each"
    files = ["--each", folder, "--codes", folder / "codes.csv", "-o", tmp_path / "x.png"]
    result = aekit("sample", ae_checkpoint, "-n", 3, *files)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["codes.csv", *(f"sample-000{i}.png" for i in range(3))]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["each", "x.png"]


def test_files_of_samples_are_for_one_model(aekit, ae_checkpoint, vae_checkpoint, tmp_path):
    result = aekit("sample", ae_checkpoint, vae_checkpoint, "--each", tmp_path / "e", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "is for one checkpoint" in result.stderr


@pytest.mark.parametrize("name", ["ae.csv", "x.csv"])
def test_codes_do_not_replace_a_history_or_the_table_of_a_figure(aekit, ae_checkpoint, tmp_path, name):
    path = tmp_path / "ae.safetensors"
    path.write_bytes(ae_checkpoint.read_bytes())
    (tmp_path / name).write_text("kept")
    result = aekit("sample", path, "--codes", tmp_path / name, "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "whose own files it would replace" in result.stderr
    assert (tmp_path / name).read_text() == "kept"
