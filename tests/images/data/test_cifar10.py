import contextlib
import pickle

import numpy as np
import pytest

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import find_on_disk, read_images

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
PIXELS = {name: np.random.default_rng(n).integers(0, 256, (4, 3072), np.uint8) for n, name in enumerate(NAMES)}
LABELS = [3, 0, 9, 1]


def string(text):
    return b"T" + len(text).to_bytes(4, "little") + text


def as_python_2_wrote_it(pixels, labels=LABELS):
    """Return a batch assembled by hand with the opcodes of the original files."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + string(b"b") + b"tR"
    dtype = b"cnumpy\ndtype\n(" + string(b"u1") + b"K\x00K\x01tR(K\x03" + string(b"|") + b"NNNJ\xff\xff\xff\xff" * 2
    dtype = dtype[: -len(b"NNNJ\xff\xff\xff\xff")] + b"J\xff\xff\xff\xffK\x00tb"
    shape = b"(" + b"".join(b"J" + n.to_bytes(4, "little") for n in pixels.shape) + b"t"
    array += b"(K\x01" + shape + dtype + b"\x89" + string(pixels.tobytes()) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + string(b"data") + array + string(b"labels") + numbers + b"u."


def as_python_3_writes_it(pixels, labels=LABELS):
    return pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2)


def as_binary(pixels, labels=LABELS):
    return np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1).tobytes()


def write(root, pack):
    folder = root / ("cifar-10-batches-bin" if pack is as_binary else "cifar-10-batches-py")
    folder.mkdir()
    for name in NAMES:
        (folder / (f"{name}.bin" if pack is as_binary else name)).write_bytes(pack(PIXELS[name]))
    return folder


def read(root, split="train", **options):
    return read_images(DataConfig("cifar10", **options), split, data_root=root)


@pytest.mark.parametrize("pack", [as_python_2_wrote_it, as_python_3_writes_it, as_binary])
def test_every_form_gives_the_same(tmp_path, pack):
    folder = write(tmp_path, pack)
    train, test = read(tmp_path), read(tmp_path, "test")
    np.testing.assert_array_equal(train.images, np.concatenate(list(PIXELS.values())[:5]).reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(test.images, PIXELS["test_batch"].reshape(-1, 3, 32, 32))
    assert train.labels.tolist() == LABELS * 5
    assert train.label_text(0) == "cat"
    assert find_on_disk("cifar10", tmp_path) == folder


def test_the_pickle_by_hand_is_one_that_numpy_understands():
    batch = pickle.loads(as_python_2_wrote_it(PIXELS["test_batch"]), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], PIXELS["test_batch"])


class Trap:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "trap",
    [
        lambda folder: Trap(open, str(folder / "sprung"), "w"),
        lambda folder: Trap(eval, f"open({str(folder / 'sprung')!r}, 'w')"),
        lambda folder: {b"data": Trap(np.load, str(folder / "x")), b"labels": []},
    ],
)
def test_no_code_in_a_pickle_is_run(tmp_path, trap):
    folder = write(tmp_path, as_binary)
    folder = write(tmp_path, as_python_3_writes_it)
    for path in (tmp_path / "cifar-10-batches-bin").iterdir():
        path.unlink()
    (folder / "data_batch_3").write_bytes(pickle.dumps(trap(tmp_path), protocol=2))
    with pytest.raises(AekitError, match=r"data_batch_3: .* refers to .*, which is not run"):
        read(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is not a batch"),
        (as_python_2_wrote_it(PIXELS["test_batch"])[:5000], "it is not a batch"),
        (pickle.dumps({b"data": [1, 2], b"labels": []}), "holds no data or no labels"),
        (pickle.dumps([1, 2]), "holds no data or no labels"),
        (as_python_3_writes_it(PIXELS["test_batch"], [1, 2]), "12,288 bytes for 2 images"),
        (as_python_3_writes_it(PIXELS["test_batch"], [1, 2, 3, 10]), "labels from 1 to 10"),
        (as_python_3_writes_it(PIXELS["test_batch"], [1, 2, 3, "x"]), "labels that are not numbers"),
        (as_python_3_writes_it(PIXELS["test_batch"].astype(float)), "does not hold bytes in rows"),
        (as_python_3_writes_it(np.array([[None]])), "does not hold bytes in rows"),
    ],
)
def test_damaged_batches_are_named(tmp_path, content, what):
    (write(tmp_path, as_python_3_writes_it) / "test_batch").write_bytes(content)
    with pytest.raises(AekitError, match=what) as error:
        read(tmp_path, "test")
    assert "test_batch: " in str(error.value)


def test_a_truncated_binary_batch_is_named(tmp_path):
    path = write(tmp_path, as_binary) / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AekitError, match="are not a whole number of images"):
        read(tmp_path, "test")


def test_random_damage_never_raises_anything_else(tmp_path):
    path = write(tmp_path, as_python_3_writes_it) / "test_batch"
    whole = as_python_2_wrote_it(PIXELS["test_batch"])
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, 250, 3):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(AekitError):
            read(tmp_path, "test")
