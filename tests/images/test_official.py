"""Splits that data bring along are recognised by the names of folders or arrays, and by nothing less."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from aekit.images.config import DataConfig
from aekit.images.official import has_validation, official_splits, split_folders


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "test"], {"train", "test"}),
        (["Training", "VALID", "testing", "other"], {"train", "val", "test"}),
        (["train", "bus", "car"], set()),  # a train is a vehicle
        (["test", "val"], set()),
        (["training set"], set()),
    ],
)
def test_folders_are_splits_if_there_is_one_for_training_and_one_more(names, splits, tmp_path):
    assert set(split_folders(names).values()) == splits
    for name in names:
        (tmp_path / name).mkdir()
    assert official_splits(str(tmp_path)) == splits


def test_arrays_are_found_by_their_names_without_being_read(tmp_path):
    x = np.zeros((2, 8, 8), np.uint8)
    np.savez(tmp_path / "medmnist.NPZ", train_images=x, val_images=x, test_images=x)
    np.savez(tmp_path / "keras.npz", x_train=x, x_test=x)
    save_file({"train_images": x, "val_images": x}, tmp_path / "x.safetensors")
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    found = {path.name: official_splits(str(path)) for path in tmp_path.iterdir() if path.is_file()}
    # numpy writes a suffix of its own behind one that it does not know
    assert found == {
        "medmnist.NPZ.npz": {"train", "val", "test"},
        "keras.npz": {"train", "test"},
        "x.safetensors": {"train", "val"},
        "x.npy": set(),
        "bad.npz": set(),
    }


def test_validation_images_are_set_aside_or_brought_along(tmp_path):
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
    assert has_validation(DataConfig("digits", val=0.1))
    assert has_validation(DataConfig(str(tmp_path)))
    assert not has_validation(DataConfig("digits"))
    assert not has_validation(DataConfig(str(tmp_path / "missing")))


def test_a_folder_with_the_name_of_a_known_set_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "val"):
        (tmp_path / "mnist" / name).mkdir(parents=True)
    assert official_splits("mnist") == set()
    assert official_splits("./mnist") == {"train", "val"}
