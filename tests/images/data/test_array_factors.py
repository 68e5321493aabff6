"""Factors in array files belong to their images, and what cannot be a factor is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import read_images

N = 40
COLUMNS = np.stack([np.arange(N) % 3, np.arange(N) // 8], axis=1)
IMAGES = np.zeros((N, 8, 8), np.uint8)
IMAGES[:, 0, :2] = COLUMNS + 100  # each image says what its factors are


def _read(path, split="train", **options):
    return read_images(DataConfig(str(path), **options), split, data_root=path.parent)


def _save(path, **arrays):
    np.savez(path, **{"images": IMAGES, **arrays})
    return path


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_every_image_has_its_own_factors_in_every_split(tmp_path, split):
    values = np.array([0.25, 0.5, 4])[COLUMNS[:, 0]]
    path = _save(tmp_path / "x.npz", factors=np.stack([values, COLUMNS[:, 1]], axis=1), factor_names=["size", "hue"])
    images = _read(path, split, val=0.2)
    np.testing.assert_array_equal(images.factors.indices, images.images[:, 0, 0, :2].astype(int) - 100)
    assert images.factors.names == ("size", "hue")
    assert images.factors.values == ((0.25, 0.5, 4.0), (0.0, 1.0, 2.0, 3.0, 4.0))


def test_images_that_are_left_out_take_their_factors_with_them(tmp_path):
    images = IMAGES / 255
    images[[0, 7, 30]] = np.nan
    read = _read(_save(tmp_path / "x.npz", images=images, factors=COLUMNS), "all", skip_bad=True)
    assert len(read) == N - 3
    np.testing.assert_array_equal(read.factors.indices, read.images[:, 0, 0, :2].astype(int) - 100)


def test_text_gives_names_and_tensors_have_factors_without_names(tmp_path):
    words = np.array(["oak", "ash", "elm"])[COLUMNS[:, [0]]]
    images = _read(_save(tmp_path / "x.npz", factors=words), "all")
    assert images.factors.values == (("ash", "elm", "oak"),)
    np.testing.assert_array_equal(images.factors.indices[:, 0], np.array([2, 0, 1])[COLUMNS[:, 0]])
    save_file({"images": IMAGES, "factors": COLUMNS}, tmp_path / "x.safetensors")
    images = _read(tmp_path / "x.safetensors", "all")
    assert images.factors.names == ("factor1", "factor2")
    np.testing.assert_array_equal(images.factors.indices, COLUMNS)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"factors": COLUMNS[:-1]}, "39 rows of factors for 40 images"),
        ({"factors": COLUMNS[:, 0]}, "a row per image and a column per factor"),
        ({"factors": np.where(COLUMNS == 2, np.nan, COLUMNS)}, "not finite (row 2, column 0, from 0)"),
        ({"factors": COLUMNS * [1, 0], "factor_names": ["a", "b"]}, "factor b has the same value for every image"),
        ({"factors": np.stack([COLUMNS[:, 0], np.arange(N)], axis=1)}, "factor factor2 has 40 different values"),
        ({"factors": COLUMNS, "factor_names": ["a"]}, "store 2 names as text"),
        ({"factors": COLUMNS, "factor_names": ["a", "a"]}, "'a', which is empty, there twice"),
        ({"factors": COLUMNS, "factor_names": ["a", "a_value"]}, "there twice, or the name of another"),
        ({"factors": COLUMNS, "factor_names": ["a", "z3"]}, "'z3'"),
        ({"factor_names": ["a", "b"]}, "without 'factors'"),
        ({"factors": COLUMNS.astype(object)}, "'factors' holds Python objects"),
        ({"factors": COLUMNS * 1j}, "store numbers or text"),
    ],
)
def test_what_cannot_be_factors_is_refused_by_name(tmp_path, arrays, words):
    with pytest.raises(AekitError) as error:
        _read(_save(tmp_path / "x.npz", **arrays))
    assert words in str(error.value)
    assert "x.npz" in str(error.value)


def test_factors_of_images_in_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=IMAGES, x_test=IMAGES, factors=COLUMNS)
    with pytest.raises(AekitError, match="cannot be told apart"):
        _read(tmp_path / "x.npz")
