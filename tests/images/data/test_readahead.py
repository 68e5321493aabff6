"""Blocks of a store are read before they are needed and released afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.data.batches import epoch_order
from aekit.images.data.readahead import BLOCK_BYTES, Pages, is_mapped, rows_per_block


def test_blocks_are_read_before_their_first_use_and_released_after_their_last(mapped, monkeypatch, small_groups):
    advice = []
    monkeypatch.setattr("aekit.images.data.readahead.Pages._read", lambda self, block: advice.append(("read", block)))
    monkeypatch.setattr("aekit.images.data.readahead.Pages._drop", lambda self, block: advice.append(("drop", block)))
    rows = mapped.rows[epoch_order(333, 333, seed=0, epoch=0, blocks=mapped.rows // 10).numpy()]
    pages = Pages(mapped.store, rows)
    ahead = []
    for n_taken in range(334):
        pages.advance(n_taken)
        pages._adviser.submit(int).result()  # all advice has been given
        read = {block for what, block in advice if what == "read"}
        dropped = {block for what, block in advice if what == "drop"}
        assert set((rows[n_taken : n_taken + 20] // 10).tolist()) <= read
        assert dropped == set((rows[:n_taken] // 10).tolist()) - set((rows[n_taken:] // 10).tolist())
        ahead.append(len(read - dropped))
    assert max(ahead) <= 2 * 16 + 6  # of 50: two groups and the margin
    pages.close()
    assert len(advice) == 100
    assert sorted(advice) == sorted({*advice})


def test_advice_names_the_pages_of_the_rows(mapped, monkeypatch):
    asked = []
    monkeypatch.setattr("aekit.images.data.readahead.os.posix_fadvise", lambda file, *what: asked.append(what))
    pages = Pages(mapped.store, np.arange(500))
    pages.advance(500)
    pages._adviser.shutdown()
    pages.close()
    assert asked[0][0] == 128  # after numpy's header
    assert sum(length for _, length, _ in asked) == mapped.store.nbytes
    assert [start for start, *_ in asked[1:]] == [start + length for start, length, _ in asked[:-1]]


def test_blocks_of_which_few_rows_are_needed_are_not_read_ahead(mapped, monkeypatch):
    monkeypatch.setattr("aekit.images.data.readahead.os.posix_fadvise", None)
    pages = Pages(mapped.store, np.arange(0, 500, 3))
    pages.advance(500)
    pages.close()


@pytest.mark.parametrize(("shape", "n_rows"), [((5, 1, 32, 32), BLOCK_BYTES // 1024), ((5, 3, 1024, 1024), 1)])
def test_a_block_has_whole_rows_and_at_least_one(shape, n_rows):
    assert rows_per_block(np.empty(shape, np.uint8)) == n_rows


def test_a_store_in_memory_needs_no_advice(mapped):
    assert is_mapped(mapped.store)
    assert is_mapped(mapped.store[10:])
    store = np.array(mapped.store)
    assert not is_mapped(store)
    pages = Pages(store, np.arange(500))
    pages.advance(500)
    pages.close()
