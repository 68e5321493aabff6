import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import find_on_disk, read_images

N_TRAIN, N_TEST = 50, 20


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", n) for n in array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_set(folder, suffix="", prefixes=("train", "t10k"), seed=0):
    random = np.random.default_rng(seed)
    for prefix, n in zip(prefixes, (N_TRAIN, N_TEST), strict=True):
        images = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(n, dtype=np.uint8) % 10)
    return images


def test_packed_and_unpacked_files_give_the_same(tmp_path):
    write_set(tmp_path / "a" / "MNIST" / "raw", ".gz")
    write_set(tmp_path / "b" / "MNIST" / "raw", "")
    one, two = (read_images(DataConfig(), "train", data_root=tmp_path / root) for root in "ab")
    assert one.images.shape == (N_TRAIN, 1, 28, 28)
    assert one.fingerprint == two.fingerprint
    assert one.class_names[7] == "7"


def test_each_name_reads_its_own_folder(tmp_path):
    sets = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
    for seed, folder in enumerate(sets.values()):
        write_set(tmp_path / folder / "raw", seed=seed)
    prints = {read_images(DataConfig(name), "test", data_root=tmp_path).fingerprint for name in sets}
    assert len(prints) == 3
    assert read_images(DataConfig("fashion-mnist"), "test", data_root=tmp_path).label_text(9) == "Ankle boot"


def test_files_directly_in_a_root_count_only_if_it_has_the_name_of_the_set(tmp_path):
    write_set(tmp_path / "MNIST")
    assert find_on_disk("mnist", tmp_path / "MNIST") == tmp_path / "MNIST"
    assert find_on_disk("fashion-mnist", tmp_path / "MNIST") is None


def test_emnist_is_turned_upright(tmp_path):
    prefixes = ("emnist-balanced-train", "emnist-balanced-test")
    lying = write_set(tmp_path / "EMNIST" / "raw", ".gz", prefixes)
    images = read_images(DataConfig("emnist"), "test", data_root=tmp_path)
    np.testing.assert_array_equal(images.images[3, 0], lying[3].T)
    assert len(images.class_names) == 47


def test_validation_is_cut_from_train_and_the_test_images_stay(tmp_path):
    write_set(tmp_path / "MNIST" / "raw")
    config = DataConfig(val=0.2)
    train, val, test = (read_images(config, split, data_root=tmp_path) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (40, 10, N_TEST)
    whole = read_images(DataConfig(), "train", data_root=tmp_path)
    rows = {image.tobytes() for image in train.images} | {image.tobytes() for image in val.images}
    assert rows == {image.tobytes() for image in whole.images}
    assert test.fingerprint == read_images(DataConfig(), "test", data_root=tmp_path).fingerprint


def test_labels_stay_with_their_images_under_limit_and_resize(tmp_path):
    write_set(tmp_path / "MNIST" / "raw")
    whole = read_images(DataConfig(), "train", data_root=tmp_path)
    label_of = {image.tobytes(): label for image, label in zip(whole.images, whole.labels, strict=True)}
    limited = read_images(DataConfig(limit=13), "train", data_root=tmp_path)
    assert [label_of[image.tobytes()] for image in limited.images] == limited.labels.tolist()
    resized = read_images(DataConfig(limit=13, image_size=(32, 40)), "train", data_root=tmp_path)
    assert resized.image_shape == (1, 32, 40)
    assert resized.labels.tolist() == limited.labels.tolist()
    by_hand = Image.fromarray(limited.images[5, 0]).resize(
        (40, 32), Image.Resampling.LANCZOS, box=(0.0, 2.8, 28.0, 25.2)
    )
    np.testing.assert_array_equal(resized.images[5, 0], by_hand)


def test_labels_of_another_set_are_refused(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    write_set(folder)
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(AekitError, match="3 labels for 50 images"):
        read_images(DataConfig(), "train", data_root=tmp_path)
    write_idx(folder / "train-labels-idx1-ubyte", np.full(N_TRAIN, 10, np.uint8))
    with pytest.raises(AekitError, match="label 10, but there are 10 classes"):
        read_images(DataConfig(), "train", data_root=tmp_path)


@pytest.mark.parametrize("shape", [(N_TRAIN, 27, 28), (0, 28, 28)])
def test_images_of_another_shape_are_refused(tmp_path, shape):
    folder = tmp_path / "MNIST" / "raw"
    write_set(folder)
    write_idx(folder / "train-images-idx3-ubyte", np.zeros(shape, np.uint8))
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(shape[0], np.uint8))
    with pytest.raises(AekitError, match="instead of height 28, width 28"):
        read_images(DataConfig(), "train", data_root=tmp_path)
