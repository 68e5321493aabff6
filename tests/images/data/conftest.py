"""Sets of images that are read as they are needed."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.data.image_set import ImageSet


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr("aekit.images.data.batches.GROUP_BLOCKS", 16)


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """Return a set of 500 images on disk that is read as needed, a third of the rows left out, in blocks of ten."""
    pixels = np.random.default_rng(0).integers(0, 256, (500, 3, 40, 41), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    monkeypatch.setattr("aekit.images.data.batches.MAX_COPY_BYTES", 0)
    monkeypatch.setattr("aekit.images.data.batches.MAX_EXACT_BYTES", 0)
    monkeypatch.setattr("aekit.images.data.readahead.BLOCK_BYTES", 10 * 3 * 40 * 41)
    monkeypatch.setattr("aekit.images.data.readahead._MARGIN_BYTES", 20 * 3 * 40 * 41)
    rows = np.flatnonzero(np.arange(500) % 3)
    return ImageSet(store=np.load(tmp_path / "x.npy", mmap_mode="r").view(np.ndarray), name="noise", rows=rows)
