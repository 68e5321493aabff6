import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from aekit.errors import AekitError
from aekit.images.data.idx import read_idx

VALUES = bytes(range(24))
IMAGES = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + VALUES


def test_images_are_read_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(IMAGES)
    images = read_idx(path, n_dimensions=3)
    assert images.shape == (2, 3, 4)
    assert images[1, 0, 0] == 12
    assert images.dtype == np.uint8


def test_a_gzipped_file_gives_the_same_with_any_name(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(IMAGES))
    np.testing.assert_array_equal(read_idx(path, n_dimensions=3).ravel(), list(VALUES))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (IMAGES[:10], "ends within its header"),
        (IMAGES[:-1], "claims 24 values, and there are 23"),
        (IMAGES + b"x", "claims 24 values, and there are more"),
        (b"<!DOCTYPE html><html>", "not an idx file of images (it begins with 3c21444f)"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 24) + VALUES, "not an idx file of images"),
        (struct.pack(">BBBBIII", 0, 0, 13, 3, 2, 3, 4) + 4 * VALUES, "not an idx file of images"),
        (gzip.compress(IMAGES, mtime=0)[:-12], "damaged or truncated"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + b"\0" * 8, "damaged or truncated"),
        (b"\x1f\x8bnonsense", "damaged or truncated"),
    ],
)
def test_damage_is_reported_with_file_and_fix(tmp_path, content, what):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(AekitError) as error:
        read_idx(path, n_dimensions=3)
    assert str(path) in str(error.value)
    assert what in str(error.value)
    assert "download it again" in str(error.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_claims_terabytes_allocates_no_memory(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 2**15, 2**15) + VALUES))
    tracemalloc.start()
    with pytest.raises(AekitError, match="more than the file can hold"):
        read_idx(path, n_dimensions=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 24) + bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(AekitError, match="there are more"):
        read_idx(path, n_dimensions=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 2**20


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AekitError, match="cannot be read"):
        read_idx(tmp_path / "nowhere", n_dimensions=3)
