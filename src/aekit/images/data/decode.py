"""One image file as pixels, with palettes, transparency, 16 bits, CMYK and EXIF orientation handled."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError, _imaging

from aekit.core.damage import is_bomb
from aekit.images.data.pixels import Pixels, fit

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"))

# Only these are tried: PIL would pass others, such as EPS, to external programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_GRAY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {  # the correction of each orientation; 5 to 8 swap width and height
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# A JPEG is halved one to three times while it is decoded, as long as at least this many times the requested size is
# left for the filter. Compared with decoding it in full (faces, 178x218 and 356x436 pixels): 39 to 51 dB, two to three
# times as fast. With a smaller margin, 20 to 37 dB.
_MARGIN = 2
# What PIL's plugins raise for damaged files, besides its own classes, which derive from OSError.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError, AssertionError,
)  # fmt: skip

# PIL also logs what it raises; without a handler that would go to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# libtiff prints to stderr what PIL raises, and PIL cannot turn that off; it stays where the library cannot be reached.
with contextlib.suppress(OSError, AttributeError):
    _libtiff = ctypes.CDLL(_imaging.__file__)
    _libtiff.TIFFSetErrorHandler(None)
    _libtiff.TIFFSetWarningHandler(None)


class BadImage(Exception):
    """A file that is not an image or cannot be decoded, with the reason."""


@dataclass(frozen=True)
class Header:
    """Size of an image in pixels as it is displayed, and whether it is gray."""

    height: int
    width: int
    is_gray: bool


def read_header(data: bytes) -> Header:
    """Return size and colour of an image without decoding it.

    Args:
        data: The bytes of the file.

    Raises:
        BadImage: It is not an image, or too large to be safe.
    """
    try:
        with _open(data) as image:
            width, height = image.size
            if _orientation(image) >= 5:
                width, height = height, width
            return Header(height, width, _is_gray(image))
    except _DAMAGE as error:
        raise BadImage(_reason(error)) from error


def decode(data: bytes, *, channels: int, size: tuple[int, int] | None) -> Pixels:
    """Return the pixels of an image, uint8 (channels, h, w).

    Args:
        data: The bytes of the file; for an animation, the first frame is used.
        channels: 1 for luma (ITU-R BT.601), 3 for RGB. Transparent areas become white.
        size: (h, w) to which it is resized and cropped; None keeps its size.

    Raises:
        BadImage: It is not an image, truncated or damaged, too large to be safe, or holds floating-point values.
    """
    try:
        with _open(data) as image:
            orientation = _orientation(image)
            if size is None:
                plain = _plain(image, channels)
            else:
                stored = size[::-1] if orientation >= 5 else size  # as stored in the file, which may be on its side
                reduced = image.draft(None, (_MARGIN * stored[1], _MARGIN * stored[0]))
                extent = reduced[1][:1:-1] if reduced else None  # from (left, top, right, bottom)
                plain = fit(_plain(image, channels), stored, extent)
            pixels = np.asarray(plain.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else plain)
    except _DAMAGE as error:
        raise BadImage(_reason(error)) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _open(data: bytes) -> Image.Image:
    if claimed := _claimed_by_webp(data):  # libwebp allocates the pixels when it opens the file
        _check_area(*claimed, 3, data)
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    _check_area(*image.size, len(image.getbands()), data)
    return image


def _claimed_by_webp(data: bytes) -> tuple[int, int] | None:
    """Return width and height from the first chunk of a WebP file (RFC 9649); None for other files."""
    kind, body = data[12:16], data[20:30]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _check_area(width: int, height: int, n_bands: int, data: bytes) -> None:
    # PIL only warns up to twice its limit; no data set needs such images.
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise BadImage(f"{width}x{height} pixels are more than is safe to decode")
    if is_bomb(width * height * n_bands, len(data)):
        raise BadImage(f"{width}x{height} pixels are more than a file of {len(data):,} bytes holds")


def _is_gray(image: Image.Image) -> bool:
    if image.mode != "P" or image.palette is None:
        return image.mode in _GRAY_MODES
    order, colours = image.palette.getdata()  # as RGBRGB... or BGRXBGRX...
    n = len(order)
    return order in ("RGB", "BGRX") and colours[0::n] == colours[1::n] == colours[2::n]


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # PIL would decode the whole image to search behind it
    orientation = int(image.getexif().get(_ORIENTATION, 1))
    return orientation if orientation in _UPRIGHT else 1


def _plain(image: Image.Image, channels: int) -> Image.Image:
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "F":
        raise BadImage("it holds floating-point values, which have no fixed range; save it with 8 bits per channel")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadImage(f"its values range from {values.min()} to {values.max()}; save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 -> 255, rounded to the nearest


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image in a known format"
    text = " ".join(str(error).split())
    return text or type(error).__name__
