import numpy as np
import pytest

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import find_on_disk, read_images


def read(name, split="train", root=None, **options):
    return read_images(DataConfig(str(name), **options), split, data_root=root)


@pytest.mark.parametrize("name", ["minst", "digit", "CelebA"])
def test_an_unknown_name_gets_the_nearest_one_and_the_list(name):
    with pytest.raises(AekitError, match=r"no such data set .* did you mean '(mnist|digits|celeba)'\?.*fashion-mnist"):
        read(name)


@pytest.mark.parametrize("name", ["pictures/faces", "./mnist", "faces.npy", "/nowhere"])
def test_a_missing_path_is_reported_as_such(name):
    with pytest.raises(AekitError, match="no such file or folder"):
        read(name)


def test_a_file_of_another_kind_is_refused_with_the_supported_kinds(tmp_path):
    (tmp_path / "x.csv").touch()
    with pytest.raises(AekitError, match=r"is neither a \.npy, \.npz, \.safetensors file, nor an image, nor a folder"):
        read(tmp_path / "x.csv")


def test_asking_for_validation_images_without_a_validation_split_is_a_bug():
    with pytest.raises(ValueError, match="no validation split"):
        read("digits", "val")


def test_the_name_of_a_path_does_not_depend_on_the_machine(tmp_path):
    np.save(tmp_path / "faces.npy", np.full((10, 8, 8), 200, np.uint8))
    assert read(tmp_path / "faces.npy").name == "faces"
    assert find_on_disk(str(tmp_path / "faces.npy"), tmp_path) == tmp_path / "faces.npy"


def test_a_known_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(read("digits")) == 1438


def test_the_same_configuration_gives_the_same_images():
    one, two = (read("digits", limit=100, val=0.1, image_size=(12, 16)) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    assert one.image_shape == (1, 12, 16)
    assert one.fingerprint != read("digits", limit=100, val=0.1, split_seed=1, image_size=(12, 16)).fingerprint
