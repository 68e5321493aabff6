"""What images of a split are called."""

from __future__ import annotations

from aekit.images.config import image_of


def test_all_images_are_not_called_all_images_in_a_count():
    assert [image_of(split) for split in ("train", "test", "all")] == ["train image", "test image", "image"]
