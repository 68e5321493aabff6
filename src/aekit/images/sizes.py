"""Sizes of images in words that say which number is what; standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from aekit.errors import count


def in_pixels(height: int, width: int) -> str:
    """Return the size of an image: ``height 218, width 178``."""
    return f"height {height}, width {width}"


def in_words(image_shape: Sequence[int]) -> str:
    """Return (channels, height, width) as ``height 218, width 178, 3 channels``."""
    channels, height, width = image_shape
    return f"{in_pixels(height, width)}, {count(channels, 'channel')}"
