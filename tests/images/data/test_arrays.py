import contextlib
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from recorded import Recorded
from safetensors.numpy import save_file

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.data.splits import train_val_test

BYTES = np.random.default_rng(0).integers(0, 256, (20, 10, 12), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (20, 3, 10, 12), dtype=np.uint8)
LABELS = np.arange(20) % 4


def read(path, split="train", **options):
    return read_images(DataConfig(str(path), **options), split, data_root=path.parent)


def save(path, **arrays):
    if path.suffix == ".npy":
        np.save(path, arrays["images"])
    elif path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return path


def everything(path, **options):
    """Return the images of both splits, sorted by their bytes."""
    images = np.concatenate([read(path, split, **options).images for split in ("train", "test")])
    return sorted(image.tobytes() for image in images)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("stored", "truth"),
    [
        (BYTES, BYTES[:, None]),
        (BYTES[:, None], BYTES[:, None]),
        (BYTES[..., None], BYTES[:, None]),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), COLOUR),
        (BYTES / 255, BYTES[:, None]),
        ((BYTES / 255).astype(np.float32), BYTES[:, None]),
        ((BYTES / 255).astype(np.float16), BYTES[:, None]),
        (BYTES.astype(np.int64), BYTES[:, None]),
        (BYTES > 127, (BYTES[:, None] > 127) * np.uint8(255)),
    ],
    ids=["gray", "first", "last", "colour", "colour-last", "float64", "float32", "float16", "int64", "bool"],
)
def test_every_way_of_storing_gives_the_same_bytes(tmp_path, suffix, stored, truth):
    assert everything(save(tmp_path / f"x{suffix}", images=stored)) == sorted(image.tobytes() for image in truth)


def test_bytes_in_an_npy_file_stay_on_disk(tmp_path):
    images = read(save(tmp_path / "x.npy", images=COLOUR), limit=5)
    assert isinstance(images.store.base, np.memmap)
    assert len(images) == 5


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("data", "labels")])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_labels_stay_with_their_images(tmp_path, suffix, names):
    path = save(tmp_path / f"x{suffix}", **dict(zip(names, (BYTES, LABELS), strict=True)))
    label_of = {image.tobytes(): label for image, label in zip(BYTES, LABELS, strict=True)}
    for split in ("train", "val", "test"):
        images = read(path, split, val=0.25)
        assert [label_of[image.tobytes()] for image in images.images] == images.labels.tolist()
        assert images.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_an_official_test_split_is_kept(tmp_path, names):
    images, labels = names
    arrays = {
        images.format("train"): BYTES[:15],
        labels.format("train"): LABELS[:15, None],
        images.format("test"): BYTES[15:],
        labels.format("test"): LABELS[15:, None],
    }
    path = save(tmp_path / "x.npz", **arrays)
    np.testing.assert_array_equal(read(path).images[:, 0], BYTES[:15])
    np.testing.assert_array_equal(read(path, "test").images[:, 0], BYTES[15:])
    np.testing.assert_array_equal(read(path, "test").labels, LABELS[15:])
    assert [len(read(path, split, val=0.2)) for split in ("train", "val", "test")] == [12, 3, 5]


def test_labels_with_gaps_are_named_by_their_values_in_both_parts(tmp_path):
    arrays = {"x_train": BYTES[:10], "y_train": np.full(10, 7), "x_test": BYTES[10:], "y_test": np.full(10, -3)}
    path = save(tmp_path / "x.npz", **arrays)
    assert read(path).class_names == ("-3", "7")
    assert read(path).label_text(0) == "7"
    assert read(path, "test").label_text(0) == "-3"


def test_size_and_colour_are_changed_on_request(tmp_path):
    path = save(tmp_path / "x.npy", images=COLOUR)
    assert read(path, image_size=(8, 9)).image_shape == (3, 8, 9)
    assert read(path, grayscale=True, limit=4).images.shape == (4, 1, 10, 12)


FLOATS = BYTES / 255


@pytest.mark.parametrize(
    ("images", "what"),
    [
        (FLOATS * 2 - 1, r"floats from -1 to 1, outside 0 to 1; give --value-range -1,1, or data"),
        (FLOATS * 255, r"floats from 0 to 255"),
        (BYTES.astype(np.int16) - 1, r"integers from -1 to 254, outside 0 to 255; give --value-range"),
        (np.where(FLOATS > 0.5, np.nan, FLOATS), "not finite"),
        (np.where(np.arange(20)[:, None, None] == 19, np.inf, FLOATS), "not finite"),
        (BYTES.astype(complex), "holds complex128"),
        (BYTES[:, :, 0], "images of shape 20x10"),
        (np.repeat(COLOUR, 2, axis=1), "images of shape 20x6x10x12"),
        (BYTES[:0], "images of shape 0x1x10x12"),
        (BYTES[:, :7], r"images are too small \(height 7, width 12 pixels\)"),
    ],
)
def test_unsuitable_images_are_refused_with_the_values_found(tmp_path, images, what):
    path = save(tmp_path / "x.npz", images=images)
    with pytest.raises(AekitError, match=what):
        [read(path, split) for split in ("train", "test")]


def test_values_that_are_not_finite_are_found_in_later_blocks_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr("aekit.images.data.arrays._BLOCK_VALUES", 2 * 120)
    images = FLOATS.copy()
    images[19, 9, 11] = np.nan
    images[18, 9, 11] = 1.5
    with pytest.raises(AekitError, match=r"not finite|1\.5"):
        read(save(tmp_path / "x.npy", images=images), "train" if 19 in _rows("train") else "test")


def _rows(split):
    return train_val_test(20, DataConfig())[split]


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (LABELS[:7], "7 labels for 20 images"),
        (LABELS / 2, "labels are float64 of shape 20"),
        (np.eye(20) * 2, "labels are float64 of shape 20x20"),
        (
            np.array(list("abcd") * 5, dtype=object),
            "labels are Python objects, which are not read; store them",
        ),
    ],
)
def test_unsuitable_labels_are_refused(tmp_path, labels, what):
    with pytest.raises(AekitError, match=what):
        read(save(tmp_path / "x.npz", images=BYTES, labels=labels))


def test_for_a_file_without_images_its_arrays_are_named(tmp_path):
    with pytest.raises(AekitError, match="holds faces, ages; call the images 'images'"):
        read(save(tmp_path / "x.npz", faces=BYTES, ages=LABELS))


def test_labels_for_one_part_only_are_refused(tmp_path):
    with pytest.raises(AekitError, match="has no labels for x_test; store them for all parts or for none"):
        read(save(tmp_path / "x.npz", x_train=BYTES, y_train=LABELS, x_test=BYTES))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"x" * 5000])
def test_damaged_and_foreign_files_are_named(tmp_path, suffix, damage):
    path = save(tmp_path / f"x{suffix}", images=BYTES)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(AekitError, match="is damaged or not") as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_random_damage_never_raises_anything_else(tmp_path, suffix):
    whole = save(tmp_path / f"x{suffix}", images=BYTES).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in random.integers(0, min(len(whole), 300), 3):
            damaged[place] = random.integers(0, 256)
        (tmp_path / f"x{suffix}").write_bytes(damaged)
        with contextlib.suppress(AekitError):
            read(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("save_objects", [np.save, lambda path, array: np.savez(path, images=array)])
def test_a_pickle_is_not_opened(tmp_path, save_objects):
    path = tmp_path / ("x.npy" if save_objects is np.save else "x.npz")
    save_objects(path, np.array([Trap(tmp_path / "sprung")] * 20, object))
    with pytest.raises(AekitError):
        read(path)
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_claims_of_terabytes_allocate_no_memory(tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**22, 1024, 1024)}
    bare, packed, foreign = tmp_path / "a.npy", tmp_path / "b.npz", tmp_path / "c.safetensors"
    with bare.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1000))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bare, "images.npy")
    text = b'{"images":{"dtype":"U8","shape":[4194304,1024,1024],"data_offsets":[0,4398046511104]}}'
    foreign.write_bytes(struct.pack("<Q", len(text)) + text)
    for path in (bare, packed, foreign):
        tracemalloc.start()
        with pytest.raises(AekitError, match="is damaged or not"):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_bfloat16_is_refused_with_what_to_store(tmp_path):
    text = b'{"images":{"dtype":"BF16","shape":[20,8,8],"data_offsets":[0,2560]}}'
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(2560))
    with pytest.raises(AekitError, match="bfloat16, which numpy lacks: store float16"):
        read(tmp_path / "x.safetensors")


def test_an_image_that_is_not_finite_is_named_and_left_out_on_request(tmp_path):
    images = np.arange(60)[:, None, None] / 255 * np.ones((8, 8))  # the value of each is its index
    images[7, 2, 3], images[31] = np.nan, np.inf
    path = tmp_path / "a.npz"
    np.savez(path, images=images, labels=np.arange(60) % 3)
    progress = Recorded()
    seen: list[int] = []
    n_skipped = 0
    for split in ("train", "test"):
        found = read_images(
            DataConfig(name=str(path), skip_bad=True),
            split,
            data_root=tmp_path,
            progress=progress,
        )
        which = found.images[:, 0, 0, 0]
        np.testing.assert_array_equal(found.labels, which % 3)
        n_skipped += found.n_skipped
        seen += which.tolist()
    assert sorted(seen) == [row for row in range(60) if row not in (7, 31)]
    assert n_skipped == 2
    for row in (7, 31):
        assert any(re.search(rf"left out .*[ ,:]{row}[,)]", text) for text in progress.notices), progress.notices
    with pytest.raises(AekitError, match=r"images with values that are not finite \(rows .*, from 0\); .* --skip-bad"):
        _ = [read(path, split) for split in ("train", "test")]


def test_images_that_are_all_not_finite_are_refused_even_on_request(tmp_path):
    np.save(tmp_path / "a.npy", np.full((20, 8, 8), np.nan))
    with pytest.raises(AekitError, match="16 of 16 train images"):
        read_images(DataConfig(name=str(tmp_path / "a.npy"), skip_bad=True), "train", data_root=tmp_path)


@pytest.mark.parametrize("suffix", [".NPZ", ".Npz"])
def test_suffixes_know_no_case(tmp_path, suffix):
    save(tmp_path / "x.npz", images=BYTES).rename(tmp_path / f"x{suffix}")
    assert len(read(tmp_path / f"x{suffix}")) == 16


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["b", "a", "Ω", "b"] * 5), ("a", "b", "Ω")),
        (np.array([b"b", b"a"] * 10), ("a", "b")),
        (np.arange(20)[:, None] % 3, ("0", "1", "2")),
        (np.eye(4)[np.arange(20) % 4], ("0", "1", "2", "3")),
        (np.eye(4, dtype=bool)[np.arange(20) % 4], ("0", "1", "2", "3")),
        (np.arange(20) % 2.0, ("0", "1")),
    ],
)
def test_labels_are_text_a_column_or_one_hot(tmp_path, labels, names):
    images = read(save(tmp_path / "x.npz", images=BYTES, labels=labels), "all")
    assert images.class_names == names
    flat = labels.argmax(1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.ravel()
    wanted = [value.decode() if isinstance(value, bytes) else str(value).removesuffix(".0") for value in flat]
    assert [images.label_text(index) for index in range(20)] == wanted


def test_several_ones_per_image_are_attributes(tmp_path):
    several = np.random.default_rng(0).integers(0, 2, (20, 3))
    images = read(save(tmp_path / "x.npz", images=BYTES, labels=several), "all")
    assert images.labels is None
    np.testing.assert_array_equal(images.attributes, several == 1)


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        ((64, 48, 3), "is one image with 3 channels"),
        ((64, 64, 500), r"can be 64 images of 64x500 or 500 of 64x64 pixels"),
        ((24, 20, 60), "can be 24 images of 20x60 or 60 of 24x20 pixels"),
    ],
)
def test_three_axes_that_mean_something_else_are_refused(tmp_path, shape, what):
    with pytest.raises(AekitError, match=what):
        read(save(tmp_path / "x.npz", images=np.zeros(shape, np.uint8)))


def test_official_validation_images_are_the_validation_split(tmp_path):
    path = save(
        tmp_path / "x.npz",
        train_images=BYTES, train_labels=LABELS, val_images=BYTES[:5], val_labels=LABELS[:5],
        test_images=BYTES[5:12], test_labels=LABELS[5:12],
    )  # fmt: skip
    assert [len(read(path, split)) for split in ("train", "val", "test", "all")] == [20, 5, 7, 32]
    assert read(path, "val").origin_text(2) == "x.npz:val_images[2]"
    assert read(path, "all").origin_text(31) == "x.npz:test_images[6]"
    with pytest.raises(AekitError, match=r"--val: .* has validation images of its own"):
        read(path, "train", val=0.25)
