"""``aekit reconstruct`` writes a figure and the error of every image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aekit.images.figures.mosaic import build_layout


def test_it_writes_a_figure_and_a_table_of_all_images(aekit, ae_checkpoint, tmp_path):
    result = aekit("reconstruct", ae_checkpoint, "-o", tmp_path / "new" / "x.png")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "new" / "x.png"]
    table = pd.read_csv(tmp_path / "new" / "x.csv")
    assert list(table.columns) == ["index", "file", "row", "label", "reconstruction", "mse", "psnr", "ssim"]
    assert table["index"].tolist() == list(range(300))
    assert table["label"].between(0, 9).all()
    assert table["ssim"].between(-1, 1).all()
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert image.height > build_layout(8, 8, (8, 8)).height  # 32 images, 8 per row, with their reconstructions


def test_options_that_matter_are_in_the_name(aekit, ae_checkpoint):
    result = aekit("reconstruct", ae_checkpoint, "--worst", "--split", "train", "-n", 2)
    assert result.paths == [ae_checkpoint.with_name("ae.reconstruct-worst-train.png")]


@pytest.mark.slow
def test_more_images_than_there_are_shows_all(aekit, ae_checkpoint, tmp_path):
    np.save(tmp_path / "few.npy", np.zeros((50, 8, 8), np.uint8))
    options = ["-n", 5000, "--data", tmp_path / "few.npy", "-o", tmp_path / "x.png"]
    result = aekit("reconstruct", ae_checkpoint, *options)
    assert result.exit_code == 0, result.stderr
    assert len(pd.read_csv(tmp_path / "x.csv")) == 50
