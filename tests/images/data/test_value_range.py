"""Values become black and white as asked for; nothing comes out nearly black without a word."""

import numpy as np
import pytest
from PIL import Image
from recorded import Recorded

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.data.value_range import check_visible
from aekit.images.run_building import read_splits

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))


def _files(folder, values):
    folder.mkdir()
    for number, image in enumerate(values):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


def _array(tmp_path, values):
    np.save(tmp_path / "x.npy", values)
    return tmp_path / "x.npy"


def _read(path, value_range, progress=None):
    config = DataConfig(str(path), value_range=value_range)
    return read_images(config, "all", data_root=path.parent, progress=progress or Recorded())


TWELVE_BIT = RANDOM.integers(0, 4096, (10, 9, 8), dtype=np.uint16)
MASKS = RANDOM.integers(0, 2, (10, 9, 8), dtype=np.uint8)
SIGNED = RANDOM.integers(-1000, 3000, (10, 9, 8), dtype=np.int16)
CENTRED = RANDOM.uniform(-1, 1, (10, 9, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("values", "value_range", "low", "high"),
    [
        (TWELVE_BIT, "0,4095", 0, 4095),
        (TWELVE_BIT, "data", TWELVE_BIT.min(), TWELVE_BIT.max()),
        (TWELVE_BIT, "dtype", 0, 65535),
        (MASKS, "data", 0, 1),
        (SIGNED, "dtype", -32768, 32767),
        (SIGNED, "-1000,3000", -1000, 3000),
        (CENTRED, "-1,1", -1, 1),
    ],
)
def test_the_ends_of_the_range_become_black_and_white(tmp_path, values, value_range, low, high):
    expected = np.round((values.astype(np.float64) - low) / (float(high) - low) * 255)
    images = _read(_array(tmp_path, values), value_range).images[:, 0]
    np.testing.assert_array_equal(images, expected)
    if values.dtype in (np.uint8, np.uint16):
        files = _read(_files(tmp_path / "png", values), value_range).images[:, 0]
        assert np.abs(files.astype(int) - expected).max() <= 1  # halves are rounded up


@pytest.mark.parametrize("values", [TWELVE_BIT, MASKS])
def test_images_that_would_be_nearly_black_are_refused_with_what_to_do(tmp_path, values):
    folder = _files(tmp_path / "png", values)
    with pytest.raises(AekitError, match=r"would be nearly black; give --value-range 0,(4095|1), or data"):
        read_splits(DataConfig(str(folder)), tmp_path)
    assert read_splits(DataConfig(str(folder), value_range="dtype"), tmp_path)["train"].images.max() < 17


def test_the_range_of_the_training_images_is_told_and_values_outside_a_given_one_are_counted(tmp_path):
    said = Recorded()
    images = _read(_array(tmp_path, SIGNED), "0,2000", said)
    assert images.images.min() == 0
    assert images.value_range is None
    assert [line for line in said.notices if "10 images hold values outside 0 to 2000" in line]
    assert _read(_array(tmp_path, SIGNED), "data").value_range == (SIGNED.min(), SIGNED.max())


@pytest.mark.parametrize("text", ["1", "2,1", "1,1", "a,b", "nan,1", "0,1,2", "", "Data"])
def test_what_is_not_a_range_is_refused(text):
    with pytest.raises(AekitError, match=r"--value-range: .* is not a range; give auto, dtype, data"):
        DataConfig(value_range=text)


def test_a_constant_set_is_mentioned_and_a_bright_one_passes():
    said = Recorded()
    check_visible("x", (0, 0, 255), said)
    assert said.notices == ["x: all values are 0"]
    check_visible("x", (0, 200, 255), said)
    check_visible("x", (0, 1, 1), said)
    assert len(said.notices) == 1
