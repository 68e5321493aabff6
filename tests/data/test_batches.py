"""Every image comes once an epoch, and batches are the images over 255."""

from __future__ import annotations

import numpy as np
import torch

from aekit.data.batches import ImageLoader, epoch_mirrored, epoch_order, mirror, split_batches
from aekit.data.image_set import ImageSet

CPU = torch.device("cpu")


def _images(n: int = 7) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, 8, 9), dtype=np.uint8)
    return ImageSet(store=pixels, name="noise")


def test_an_epoch_has_every_image_once_in_an_order_of_its_own():
    first, second = epoch_order(100, 100, seed=3, epoch=0), epoch_order(100, 100, seed=3, epoch=1)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(100, 100, seed=3, epoch=0).tolist()
    assert first.tolist() != epoch_order(100, 100, seed=4, epoch=0).tolist()


def test_smaller_epochs_repeat_no_image_before_all_have_come():
    drawn = torch.cat([epoch_order(10, 4, seed=0, epoch=epoch) for epoch in range(5)])
    assert sorted(drawn[:10].tolist()) == list(range(10))
    assert sorted(drawn[10:].tolist()) == list(range(10))


def test_epochs_may_be_larger_than_the_set():
    assert np.bincount(epoch_order(10, 25, seed=0, epoch=0)).tolist().count(3) == 5


def test_batches_cover_the_order_and_leave_no_single_image_behind():
    sizes = [len(batch) for batch in split_batches(torch.arange(21), 10)]
    assert sizes == [10, 11]
    assert [len(batch) for batch in split_batches(torch.arange(22), 10)] == [10, 10, 2]
    assert [len(batch) for batch in split_batches(torch.arange(1), 10)] == [1]
    assert torch.cat(split_batches(torch.arange(21), 10)).tolist() == list(range(21))


def test_half_of_an_epoch_is_mirrored_and_another_half_in_the_next():
    first, second = epoch_mirrored(1000, seed=0, epoch=0), epoch_mirrored(1000, seed=0, epoch=1)
    assert int(first.sum()) == int(second.sum()) == 500
    assert 200 < int((first & second).sum()) < 300  # 250 of 1000 if they do not depend on each other
    assert first.tolist() == epoch_mirrored(1000, seed=0, epoch=0).tolist() != epoch_mirrored(1000, 1, 0).tolist()


def test_mirrored_images_have_left_and_right_changed_and_nothing_else():
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
    monkeypatch.setattr("aekit.data.batches.MAX_COPY_BYTES", 0)
    streamed = ImageLoader(subset, CPU)
    assert resident.resident is not None
    assert streamed.resident is None
    torch.testing.assert_close(streamed.take(torch.tensor([2, 0])), resident.take(torch.tensor([2, 0])))


def test_a_memory_map_is_used_where_it_lies(tmp_path):
    images = _images()
    np.save(tmp_path / "x.npy", images.store)
    mapped = ImageSet(store=np.load(tmp_path / "x.npy", mmap_mode="r"), name="noise")
    loader = ImageLoader(mapped, CPU)
    assert loader.resident is not None
    assert loader.resident.data_ptr() == mapped.store.ctypes.data
    torch.testing.assert_close(torch.cat(list(loader.in_order(4))), torch.from_numpy(images.store / np.float32(255)))
