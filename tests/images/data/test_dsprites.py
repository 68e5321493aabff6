"""dSprites is read from its official file, here a small one of the same layout."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import dsprites, read_images

SIZES = {"shape": 3, "scale": 2, "orientation": 4, "x": 3, "y": 3}
N_IMAGES = 216


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(dsprites, "SIZES", SIZES)
    monkeypatch.setattr(dsprites, "_SHAPE", (N_IMAGES, 1, 64, 64))
    monkeypatch.setattr(dsprites, "_CHUNK", 50)
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))


def _write(root, **replaced):
    indices = np.stack(np.unravel_index(np.arange(N_IMAGES), tuple(SIZES.values())), axis=1)
    classes = np.concatenate([np.zeros((N_IMAGES, 1), np.int64), indices], axis=1)
    arrays = {
        "imgs": np.random.default_rng(0).integers(0, 2, (N_IMAGES, 64, 64), dtype=np.uint8),
        "latents_classes": classes,
        "latents_values": classes * [1.0, 1.0, 0.5, 1.5, 0.25, 0.25] + [1, 1, 0.5, 0, 0, 0],
    } | replaced
    path = root / "dsprites" / dsprites.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def test_images_are_black_and_white_with_the_factors_of_the_file(tmp_path):
    arrays = _write(tmp_path)
    images = read_images(DataConfig("dsprites"), "all", data_root=tmp_path)
    np.testing.assert_array_equal(images.images[:, 0], 255 * arrays["imgs"])
    np.testing.assert_array_equal(images.factors.indices, arrays["latents_classes"][:, 1:])
    assert images.factors.names == tuple(SIZES)
    assert images.factors.values[0] == ("square", "ellipse", "heart")
    assert images.factors.values[1:3] == ((0.5, 1.0), (0.0, 1.5, 3.0, 4.5))
    assert images.origin_text(7) == f"{dsprites.FILE}[7]"


def test_a_split_is_unpacked_once_and_its_rows_belong_together(tmp_path):
    arrays = _write(tmp_path)
    test = read_images(DataConfig("dsprites", limit=20), "test", data_root=tmp_path)
    (store,) = (tmp_path / "cache" / "images").glob("*.npy")
    before = store.stat().st_mtime_ns
    again = read_images(DataConfig("dsprites", limit=20, image_size=(32, 32)), "test", data_root=tmp_path)
    assert store.stat().st_mtime_ns == before
    rows = [int(test.origin_text(i).split("[")[1][:-1]) for i in range(20)]
    np.testing.assert_array_equal(test.images[:, 0], 255 * arrays["imgs"][rows])
    np.testing.assert_array_equal(again.factors.indices, test.factors.indices)
    assert again.image_shape == (1, 32, 32)


def test_a_missing_file_is_named_with_what_to_use_instead(tmp_path):
    with pytest.raises(AekitError, match=r"dsprites_ndarray.*npz is missing.*use shapes"):
        read_images(DataConfig("dsprites"), "train", data_root=tmp_path)


@pytest.mark.parametrize(
    "replaced",
    [
        {"imgs": np.zeros((N_IMAGES, 32, 32), np.uint8)},
        {"imgs": np.full((N_IMAGES, 64, 64), 2, np.uint8)},
        {"imgs": None},
        {"latents_classes": np.zeros((N_IMAGES, 6), np.int64)},
        {"latents_values": np.zeros((5, 6))},
        {"latents_values": None},
    ],
)
def test_a_file_that_is_not_the_official_one_is_refused_by_name(tmp_path, replaced):
    _write(tmp_path, **replaced)
    with pytest.raises(AekitError, match=r"dsprites_ndarray.*is not the official file or is damaged"):
        read_images(DataConfig("dsprites"), "train", data_root=tmp_path)
    assert not list((tmp_path / "cache").rglob("*.npy")) or "imgs" not in replaced


def test_a_truncated_file_is_refused(tmp_path):
    _write(tmp_path)
    path = tmp_path / "dsprites" / dsprites.FILE
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(AekitError, match="damaged"):
        read_images(DataConfig("dsprites"), "train", data_root=tmp_path)
