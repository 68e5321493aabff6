"""Single images as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from aekit.core.artifacts import write_atomically
from aekit.images.inference import FloatArray


def write_picture(path: Path, image: FloatArray) -> Path:
    """Return ``path`` with an image, (C, H, W) with C 1 or 3 and values in [0, 1], as a PNG of 8 bits."""
    pixels = np.rint(image * 255).astype(np.uint8)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    return write_atomically(path, lambda file: picture.save(file, "PNG"))
