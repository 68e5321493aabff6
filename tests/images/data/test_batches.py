"""Every image occurs once per epoch, and batches are the images divided by 255."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from aekit.images.data.batches import ImageLoader, epoch_mirrored, epoch_order, mirror, n_batches, split_batches
from aekit.images.data.image_set import ImageSet

CPU = torch.device("cpu")
BLOCKS = np.arange(1000) // 5  # 200 blocks of 5 images, in 13 groups


def _images(n: int = 7) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 8, 9), dtype=np.uint8)
    return ImageSet(store=pixels, name="noise")


def test_each_epoch_has_every_image_once_in_a_different_order():
    first, second = epoch_order(100, 100, seed=3, epoch=0), epoch_order(100, 100, seed=3, epoch=1)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(100, 100, seed=3, epoch=0).tolist()
    assert first.tolist() != epoch_order(100, 100, seed=4, epoch=0).tolist()


def test_smaller_epochs_repeat_no_image_before_all_are_drawn():
    drawn = torch.cat([epoch_order(10, 4, seed=0, epoch=epoch) for epoch in range(5)])
    assert sorted(drawn[:10].tolist()) == list(range(10))
    assert sorted(drawn[10:].tolist()) == list(range(10))


def test_epochs_may_be_larger_than_the_set():
    assert np.bincount(epoch_order(10, 25, seed=0, epoch=0)).tolist().count(3) == 5


def test_in_blocks_each_epoch_has_every_image_once_in_a_different_order(small_groups):
    first, second = (epoch_order(1000, 1000, seed=3, epoch=epoch, blocks=BLOCKS) for epoch in (0, 1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(1000))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(1000, 1000, seed=3, epoch=0, blocks=BLOCKS).tolist()
    assert first.tolist() != epoch_order(1000, 1000, seed=4, epoch=0, blocks=BLOCKS).tolist()


def test_in_blocks_smaller_epochs_repeat_no_image_before_all_are_drawn(small_groups):
    drawn = torch.cat([epoch_order(1000, 300, seed=0, epoch=epoch, blocks=BLOCKS) for epoch in range(10)])
    whole = torch.cat([epoch_order(1000, 1000, seed=0, epoch=epoch, blocks=BLOCKS) for epoch in range(3)])
    assert drawn.tolist() == whole.tolist()


def test_a_block_is_in_one_group_and_groups_have_equal_sizes(small_groups):
    order = epoch_order(1000, 1000, seed=0, epoch=0, blocks=BLOCKS).numpy()
    places = np.argsort(order).reshape(200, 5)  # of the images of each block
    assert (places.max(1) - places.min(1)).max() < 80  # 16 blocks of 5
    changes = [len(np.intersect1d(BLOCKS[order[:cut]], BLOCKS[order[cut:]])) for cut in range(1, 1000)]
    sizes = np.diff([0, *(np.flatnonzero(np.array(changes) == 0) + 1), 1000])
    assert sizes.sum() == 1000
    assert len(sizes) == 13
    assert set(sizes.tolist()) == {75, 80}


def test_in_blocks_a_set_that_is_sorted_by_class_is_mixed(small_groups):
    # 16 blocks of ten classes: the composition of a group varies like a draw of 16.
    labels = np.repeat(np.arange(10), 1000)
    order = epoch_order(10_000, 10_000, seed=0, epoch=0, blocks=np.arange(10_000) // 5).numpy()
    counts = np.stack([np.bincount(labels[batch], minlength=10) for batch in np.array_split(order, 100)])
    assert (counts.max(1) < 45).all()  # of 100; in the order of the classes it would be 100
    neighbours = np.abs(np.diff(order)) == 1
    assert neighbours.mean() < 0.04  # one of 79 others, on either side; in order it would be 1


def test_the_order_in_blocks_follows_the_rows_of_the_store_whatever_their_order(small_groups):
    rows = np.random.default_rng(0).permutation(1000)
    order = epoch_order(1000, 1000, seed=0, epoch=0, blocks=rows // 5).numpy()
    assert [len(np.unique(rows[part] // 5)) for part in (order[:80], order[80:155])] in ([16, 15], [16, 16], [15, 16])


def test_batches_cover_the_order_and_none_has_a_single_image():
    sizes = [len(batch) for batch in split_batches(torch.arange(21), 10)]
    assert sizes == [10, 11]
    assert [len(batch) for batch in split_batches(torch.arange(22), 10)] == [10, 10, 2]
    assert [len(batch) for batch in split_batches(torch.arange(1), 10)] == [1]
    assert torch.cat(split_batches(torch.arange(21), 10)).tolist() == list(range(21))


def test_the_number_of_batches_is_known_without_splitting():
    for n_images in range(1, 30):
        for batch_size in range(1, 32):
            assert n_batches(n_images, batch_size) == len(split_batches(torch.arange(n_images), batch_size))


def test_half_of_an_epoch_is_flipped_and_another_half_in_the_next():
    first, second = epoch_mirrored(1000, seed=0, epoch=0), epoch_mirrored(1000, seed=0, epoch=1)
    assert int(first.sum()) == int(second.sum()) == 500
    assert 200 < int((first & second).sum()) < 300  # 250 of 1000 if they are independent
    assert first.tolist() == epoch_mirrored(1000, seed=0, epoch=0).tolist() != epoch_mirrored(1000, 1, 0).tolist()


def test_flipped_images_are_reversed_horizontally_and_nothing_else():
    pixels = _images().store
    turned = mirror(torch.from_numpy(pixels), torch.tensor([True, False, True, False, False, False, True]))
    for i in (0, 2, 6):
        np.testing.assert_array_equal(turned[i].numpy(), pixels[i, :, :, ::-1])
    for i in (1, 3, 4, 5):
        np.testing.assert_array_equal(turned[i].numpy(), pixels[i])


def test_batches_are_pixels_over_255():
    images = _images()
    taken = ImageLoader(images, CPU).take(torch.tensor([4, 2]))
    np.testing.assert_allclose(taken.numpy(), images.store[[4, 2]] / np.float32(255))


def test_a_set_that_does_not_fit_is_read_row_by_row_and_gives_the_same(monkeypatch):
    subset = _images().subset(np.array([5, 1, 3]))
    resident = ImageLoader(subset, CPU)
    monkeypatch.setattr("aekit.images.data.batches.MAX_COPY_BYTES", 0)
    streamed = ImageLoader(subset, CPU)
    assert resident.resident is not None
    assert streamed.resident is None
    torch.testing.assert_close(streamed.take(torch.tensor([2, 0])), resident.take(torch.tensor([2, 0])))


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(("batches", "pages"))}


@pytest.mark.parametrize("order", ["in order", "shuffled", "in blocks", "few"])
def test_batches_that_are_read_ahead_are_those_that_are_taken_one_by_one(mapped, order, small_groups):
    loader = ImageLoader(mapped, CPU)
    assert loader.resident is None
    assert loader.blocks.tolist() == (mapped.rows // 10).tolist()
    n = len(mapped)
    indices = {
        "in order": torch.arange(n),
        "shuffled": epoch_order(n, n, seed=0, epoch=0),
        "in blocks": epoch_order(n, n, seed=0, epoch=0, blocks=loader.blocks),
        "few": torch.tensor([3, 300, 3, 4]),
    }[order]
    batches = split_batches(indices, 16)
    ahead = list(loader.batches(batches))
    assert [len(x) for x in ahead] == [len(batch) for batch in batches]
    for x, batch in zip(ahead, batches, strict=True):
        assert torch.equal(x, loader.take(batch))
        assert x.stride() == loader.take(batch).stride()
    assert torch.equal(torch.cat(ahead), torch.from_numpy(mapped.images[indices.numpy()] / np.float32(255)))
    assert loader.waited_s > 0
    assert not _threads()
    assert list(loader.batches([])) == []


def test_stopping_early_leaves_no_thread_behind(mapped):
    batches = ImageLoader(mapped, CPU).batches(torch.split(torch.arange(333), 5))
    next(batches)
    assert _threads()
    batches.close()
    assert not _threads()


def test_errors_in_the_thread_are_raised_where_batches_are_used(mapped, monkeypatch):
    def fail(self, indices):
        raise MemoryError(f"at {indices[0]}")

    batches = ImageLoader(mapped, CPU).batches(torch.split(torch.arange(333), 5))
    next(batches)
    monkeypatch.setattr(ImageSet, "take", fail)
    with pytest.raises(MemoryError, match="at "):
        list(batches)
    assert not _threads()


def _mapped_bytes(path) -> int:
    """Return how many bytes of a file are in the memory of this process."""
    entries = Path("/proc/self/smaps").read_text().split(f"{path}\n")[1:]
    return sum(1024 * int(entry.partition("\nRss:")[2].split()[0]) for entry in entries)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux only")
def test_memory_in_use_does_not_grow_with_the_set(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.ones((2000, 3, 128, 128), np.uint8))  # 94 MiB
    store = np.load(tmp_path / "x.npy", mmap_mode="r").view(np.ndarray)
    images = ImageSet(store, "x", rows=np.arange(2000), fingerprint="x")
    for name, value in {"batches.MAX_COPY_BYTES": 0, "batches.MAX_EXACT_BYTES": 0, "batches.GROUP_BLOCKS": 6}.items():
        monkeypatch.setattr(f"aekit.images.data.{name}", value)
    monkeypatch.setattr("aekit.images.data.readahead.BLOCK_BYTES", 2**20)
    loader = ImageLoader(images, CPU)
    for order in (torch.arange(2000), epoch_order(2000, 2000, 0, 0, blocks=loader.blocks)):
        most = max(_mapped_bytes(tmp_path / "x.npy") for _ in loader.batches(split_batches(order, 50)))
        assert 2**20 < most < 48 * 2**20  # a group is 6 MiB; Linux maps up to 2 MiB around what is touched
        assert _mapped_bytes(tmp_path / "x.npy") < 2**20


def test_a_memory_map_is_used_in_place(tmp_path):
    images = _images()
    np.save(tmp_path / "x.npy", images.store)
    mapped = ImageSet(store=np.load(tmp_path / "x.npy", mmap_mode="r"), name="noise")
    loader = ImageLoader(mapped, CPU)
    assert loader.resident is not None
    assert loader.resident.data_ptr() == mapped.store.ctypes.data
    torch.testing.assert_close(torch.cat(list(loader.in_order(4))), torch.from_numpy(images.store / np.float32(255)))
