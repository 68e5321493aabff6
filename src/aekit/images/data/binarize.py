"""Black and white images drawn from grey ones: each pixel is white with its grey value as probability.

A Bernoulli likelihood is a probability for such pixels, so that log p(x) compares with that of others.

Source:
    Salakhutdinov & Murray 2008, On the quantitative analysis of deep belief networks; Burda, Grosse & Salakhutdinov
    2016, arXiv:1509.00519.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def draw_pixels(pixels: Pixels, seed: int) -> Pixels:
    """Return images of 0 and 255, (B, C, H, W), drawn from grey ones, (B, C, H, W).

    The draw of an image depends on its pixels and the seed alone: it is the same wherever the image is read from, and
    in whatever order.

    Args:
        pixels: Grey images.
        seed: Seed of all draws, >= 0.
    """
    drawn = np.empty_like(pixels)
    salt = str(seed).encode()
    for number, image in enumerate(pixels):
        digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16, key=salt).digest()
        generator = np.random.Generator(np.random.Philox(key=np.frombuffer(digest, "<u8").astype(np.uint64)))
        # Of 255 equally likely numbers from 0 on, as many as the grey value lie below it.
        drawn[number] = (generator.integers(0, 255, image.shape, np.uint8) < image) * np.uint8(255)
    return drawn
