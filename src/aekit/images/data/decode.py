"""One image file as pixels: palettes, transparency, 16 bits, CMYK and EXIF orientation set right."""

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

# Only these are tried: PIL would hand others, such as EPS, to outside programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_GRAY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {  # what sets each orientation right; 5 to 8 swap width and height
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# A JPEG is halved while it is decoded, once to three times, as long as this many times the size wanted is left for the
# filter to work on. Against decoding it whole (faces, 178x218 and 356x436 pixels): 39 to 51 dB, twice to three times as
# fast. With less left over, 20 to 37 dB.
_LEFT_OVER = 2
# What PIL's plugins raise on damaged files, besides its own classes, which derive from OSError.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError, AssertionError,
)  # fmt: skip

# PIL logs what it also raises; without a handler that would go to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# libtiff prints on stderr what PIL raises, and PIL has no switch for it. Where the library cannot be reached it does.
with contextlib.suppress(OSError, AttributeError):
    _libtiff = ctypes.CDLL(_imaging.__file__)
    _libtiff.TIFFSetErrorHandler(None)
    _libtiff.TIFFSetWarningHandler(None)


class BadImage(Exception):
    """A file that is no image, or none that can be decoded; says why."""


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image tell: size in pixels as it is shown, and whether it is gray."""

    height: int
    width: int
    is_gray: bool


def read_header(data: bytes) -> Header:
    """Return size and colour of an image without decoding it.

    Args:
        data: The bytes of the file.

    Raises:
        BadImage: It is no image, or too large to be safe.
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
        data: The bytes of the file; of an animation the first frame is taken.
        channels: 1 for luma (ITU-R BT.601), 3 for RGB. What is transparent becomes white.
        size: (h, w) that it is resized and cropped to; None keeps its own.

    Raises:
        BadImage: It is no image, cut short or damaged, too large to be safe, or holds floating-point values.
    """
    try:
        with _open(data) as image:
            orientation = _orientation(image)
            if size is None:
                plain = _plain(image, channels)
            else:
                stored = size[::-1] if orientation >= 5 else size  # as it lies in the file, which may be on its side
                reduced = image.draft(None, (_LEFT_OVER * stored[1], _LEFT_OVER * stored[0]))
                extent = reduced[1][:1:-1] if reduced else None  # from (left, top, right, bottom)
                plain = fit(_plain(image, channels), stored, extent)
            pixels = np.asarray(plain.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else plain)
    except _DAMAGE as error:
        raise BadImage(_reason(error)) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _open(data: bytes) -> Image.Image:
    if claimed := _claimed_by_webp(data):  # whose pixels libwebp takes memory for when it opens the file
        _refuse_too_large(*claimed, 3, data)
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    _refuse_too_large(*image.size, len(image.getbands()), data)
    return image


def _claimed_by_webp(data: bytes) -> tuple[int, int] | None:
    """Return width and height as the first chunk of a WebP file tells them (RFC 9649); None if it is none."""
    kind, body = data[12:16], data[20:30]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _refuse_too_large(width: int, height: int, n_bands: int, data: bytes) -> None:
    # PIL only warns up to twice its limit; a data set has no business there.
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
        return 1  # PIL would decode the whole picture to look behind it
    orientation = int(image.getexif().get(_ORIENTATION, 1))
    return orientation if orientation in _UPRIGHT else 1


def _plain(image: Image.Image, channels: int) -> Image.Image:
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "F":
        raise BadImage("it holds floating-point values, which have no fixed range; save it with 8 bits a channel")
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
        raise BadImage(f"its values go from {values.min()} to {values.max()}; save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 -> 255, to the nearest


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no image in a known format"
    text = " ".join(str(error).split())
    return text or type(error).__name__
