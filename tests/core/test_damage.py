"""Claims of damaged files cost no memory, and errors name the file."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.core.damage import FREE_BYTES, NPY_DAMAGE, is_bomb, map_npy, readable
from aekit.errors import AekitError


def test_a_claim_is_compared_with_the_size_of_the_file():
    assert not is_bomb(FREE_BYTES, 10)
    assert is_bomb(FREE_BYTES + 1, 10)
    assert not is_bomb(200 << 20, 1 << 20)
    assert is_bomb(1 << 30, 1 << 20)


def test_a_header_of_four_gigabytes_allocates_no_memory(tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100))
    with pytest.raises(ValueError, match="ends within its header"):
        map_npy(path)


@pytest.mark.parametrize("array", [np.arange(12).reshape(3, 4), np.float32([[1.5]]), np.zeros((2, 3), order="F")])
def test_an_array_is_mapped_as_it_was_stored(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    mapped = map_npy(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == array.dtype
    np.testing.assert_array_equal(mapped, array)


def test_pickled_objects_are_damage(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object))
    with pytest.raises(NPY_DAMAGE):
        map_npy(tmp_path / "x.npy")


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    path = tmp_path / "missing.npy"
    with pytest.raises(AekitError, match=r"missing\.npy: cannot be read \(No such file or directory\)"), readable(path):
        path.open("rb")
