"""One image file as pixels: palettes, transparency, 16 bits, CMYK, orientation, pages and the range of its values."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, _imaging, features

from aekit.core.damage import is_bomb
from aekit.images.data.pixels import Pixels, fit
from aekit.images.sizes import in_pixels

# What PIL reads by itself; it would pass others, such as EPS, to external programs. The suffix says only that a file is
# meant to be an image: which of these formats it has, its content says.
_FORMATS = {
    "PNG": (".png", ".apng"), "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "BMP": (".bmp",), "DIB": (".dib",),
    "GIF": (".gif",), "TIFF": (".tif", ".tiff"), "WEBP": (".webp",), "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpx"), "AVIF": (".avif",), "QOI": (".qoi",), "PCX": (".pcx",),
    "SGI": (".sgi", ".rgb", ".bw"), "ICO": (".ico",), "TGA": (".tga",),
}  # fmt: skip
_MISSING = [name for name, feature in (("JPEG2000", "jpg_2000"), ("AVIF", "avif"), ("WEBP", "webp"))
            if not features.check(feature)]  # fmt: skip
_KNOWN = {name: suffixes for name, suffixes in _FORMATS.items() if name not in _MISSING}
SUFFIXES = frozenset(suffix for suffixes in _KNOWN.values() for suffix in suffixes)
_PAGED = frozenset(_FORMATS["TIFF"])
_UNMARKED = frozenset(_FORMATS["TGA"])  # without a signature, so that any bytes may be taken for one
_MARKED = tuple(name for name in _KNOWN if name != "TGA")

_GRAY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
_ORIENTATION = 0x0112  # tags of EXIF and TIFF
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 254, 256, 257, 258, 262
_WHITE_IS_ZERO = 0
_UPRIGHT = {  # the correction of each orientation; 5 to 8 swap width and height
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# A JPEG is halved one to three times while it is decoded, as long as at least this many times the requested size is
# left for the filter. Compared with decoding it in full (faces, 178x218 and 356x436 pixels): 39 to 51 dB, two to three
# times as fast. With a smaller margin, 20 to 37 dB.
_MARGIN = 2
_BLOCK = 1 << 18  # values of more than 8 bits that are mapped at once
# What PIL's plugins raise for damaged files, besides its own classes, which derive from OSError.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError, AssertionError,
)  # fmt: skip


class _QuietDecoders:
    """While files are read, what PIL raises is not printed too: by its logger, and by libtiff on stderr.

    Both belong to the process, so that the first reader of several in threads silences them and the last one restores
    them. Where libtiff cannot be reached, it stays as it is.
    """

    def __init__(self) -> None:
        self._lock, self._n_readers = threading.Lock(), 0
        self._setters: list[Callable[[int | None], int | None]] = []
        with contextlib.suppress(OSError, AttributeError):
            libtiff = ctypes.CDLL(_imaging.__file__)
            self._setters = [libtiff.TIFFSetErrorHandler, libtiff.TIFFSetWarningHandler]
            for setter in (libtiff.TIFFSetErrorHandler, libtiff.TIFFSetWarningHandler):
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
        self._handlers: list[int | None] = []
        self._no_log = logging.NullHandler()  # without a handler, logging would print to stderr

    def __enter__(self) -> None:
        with self._lock:
            if self._n_readers == 0:
                self._handlers = [setter(None) for setter in self._setters]
                logging.getLogger("PIL").addHandler(self._no_log)
            self._n_readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_readers -= 1
            if self._n_readers == 0:
                for setter, handler in zip(self._setters, self._handlers, strict=True):
                    setter(handler)
                logging.getLogger("PIL").removeHandler(self._no_log)


_QUIET = _QuietDecoders()


class BadImage(Exception):
    """A file that is not an image or cannot be decoded, with the reason."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    Attributes:
        height: Height in pixels as it is displayed.
        width: Width in pixels.
        is_gray: Whether it has no colours.
        n_frames: Number of frames of an animation, or of pages.
    """

    height: int
    width: int
    is_gray: bool
    n_frames: int = 1


@dataclass(frozen=True)
class Decoded:
    """One decoded image.

    Attributes:
        pixels: uint8 (channels, h, w).
        full: Largest value that its type holds: 255, or that of 9 to 16 bits; 1 for floats.
        low: Smallest value in the file; of 8 bits, of the resized pixels.
        high: Largest value.
        is_clipped: Whether values lie outside the range that was asked for.
    """

    pixels: Pixels
    full: int
    low: float
    high: float
    is_clipped: bool = False


def read_header(data: bytes, *, page: int = 0, suffix: str = "") -> Header:
    """Return size and colour of an image without decoding it.

    Args:
        data: The bytes of the file.
        page: Page of a TIFF, among those that :func:`pages_of` counts.
        suffix: Suffix of the file, for formats without a signature.

    Raises:
        BadImage: It is not an image, or too large to be safe.
    """
    try:
        with _QUIET, _open(data, page, suffix) as image:
            width, height = _stored_size(image)
            if _orientation(image) >= 5:
                width, height = height, width
            n_frames = 1 if image.format == "TIFF" else int(getattr(image, "n_frames", 1))
            return Header(height, width, _is_gray(image), 1 if image.format == "MPO" else n_frames)
    except _DAMAGE as error:
        raise BadImage(_reason(error)) from error


def pages_of(path: Path) -> int:
    """Return how many images a file holds: the pages of a TIFF without thumbnails and masks, and otherwise one.

    A file that cannot be read counts as one, whose error its reader reports.
    """
    if path.suffix.lower() not in _PAGED:
        return 1
    try:
        with _QUIET, Image.open(path, formats=("TIFF",)) as image:
            return max(1, len(_pages(image)))
    except _DAMAGE:
        return 1


def is_transparent(data: bytes, *, suffix: str = "") -> bool:
    """Return whether some of an image, of a file of these bytes, is transparent, which is read as white."""
    try:
        with _QUIET, _open(data, 0, suffix) as image:
            if not image.has_transparency_data:
                return False
            return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())
    except _DAMAGE:  # which its reader reports
        return False


def decode(data: bytes, *, channels: int, size: tuple[int, int] | None, page: int = 0, suffix: str = "") -> Pixels:
    """Return the pixels of an image, uint8 (channels, h, w); see :func:`decode_image`."""
    return decode_image(data, channels=channels, size=size, page=page, suffix=suffix).pixels


def decode_image(
    data: bytes,
    *,
    channels: int,
    size: tuple[int, int] | None,
    page: int = 0,
    suffix: str = "",
    value_range: tuple[float, float] | None = None,
) -> Decoded:
    """Return the pixels of an image and the range of its values.

    Args:
        data: The bytes of the file; of an animation, the first frame is used.
        channels: 1 for luma (ITU-R BT.601), 3 for RGB. Transparent areas become white.
        size: (h, w) to which it is resized and cropped; None keeps its size.
        page: Page of a TIFF, among those that :func:`pages_of` counts.
        suffix: Suffix of the file, for formats without a signature.
        value_range: Values that become 0 and 255; None is the range of the type.

    Raises:
        BadImage: It is not an image, truncated or damaged, too large to be safe, or holds floating-point values and
            there is no range for them.
    """
    try:
        with _QUIET, _open(data, page, suffix) as image:
            if image.format == "TIFF":
                image.load()  # which turns it as its orientation says
            orientation = _orientation(image)
            extent = None
            stored = size
            if size is not None:
                stored = size[::-1] if orientation >= 5 else size  # as stored in the file, which may be on its side
                reduced = image.draft(None, (_MARGIN * stored[1], _MARGIN * stored[0]))
                extent = reduced[1][:1:-1] if reduced else None  # from (left, top, right, bottom)
            plain, full, low, high = _scaled(image, channels, value_range)
            if stored is not None:
                plain = fit(plain, stored, extent)
            pixels = np.asarray(plain.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else plain)
    except _DAMAGE as error:
        raise BadImage(_reason(error)) from error
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    if low is None or high is None:
        low, high = float(pixels.min()), float(pixels.max())
    outside = value_range is not None and (low < value_range[0] or high > value_range[1])
    return Decoded(pixels, full, low, high, outside)


def _open(data: bytes, page: int, suffix: str) -> Image.Image:
    if claimed := _claimed_by_webp(data):  # libwebp allocates the pixels when it opens the file
        _check_area(*claimed, 3, data)  # bytes per pixel
    formats = (*_MARKED, "TGA") if suffix.lower() in _UNMARKED else _MARKED
    image = Image.open(io.BytesIO(data), formats=formats)
    if page:
        image.seek(_pages(image)[page])
    _check_area(*image.size, _n_bytes_of(image), data)
    return image


def _pages(image: Image.Image) -> list[int]:
    """Return the frames of a TIFF that are images of their own: neither reduced versions nor masks of others."""
    pages = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        if not int(image.tag_v2.get(_SUBFILE, 0)) & 0b101:  # type: ignore[attr-defined]
            pages.append(number)
    return pages or [0]


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) as stored; some versions of PIL give that of a TIFF as it is displayed."""
    if image.format != "TIFF":
        return image.size
    return int(image.tag_v2[_WIDTH]), int(image.tag_v2[_HEIGHT])  # type: ignore[attr-defined]


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


def _n_bytes_of(image: Image.Image) -> int:
    """Return the bytes of a pixel."""
    if image.mode.startswith("I;16"):
        return 2
    return 4 if image.mode in ("I", "F") else len(image.getbands())


def _check_area(width: int, height: int, n_bytes: int, data: bytes) -> None:
    # PIL only warns up to twice its limit; no data set needs such images.
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise BadImage(f"{in_pixels(height, width)}: more pixels than are safe to decode")
    if is_bomb(width * height * n_bytes, len(data)):
        raise BadImage(f"{in_pixels(height, width)}: more pixels than a file of {len(data):,} bytes holds")


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


def _scaled(
    image: Image.Image, channels: int, value_range: tuple[float, float] | None
) -> tuple[Image.Image, int, float | None, float | None]:
    """Return an image of 8 bits in mode L or RGB, the largest value of its type, and its range if it had more bits."""
    low = high = None
    full = 255
    if image.mode == "F" or image.mode.startswith("I"):
        full = 1 if image.mode == "F" else _full_scale(image)
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise BadImage("it holds values that are not finite; replace them")
        low, high = float(values.min()), float(values.max())
        is_turned = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO  # type: ignore[attr-defined]
        if is_turned:  # PIL turns only those of 8 bits
            low, high = full - high, full - low
        _check_values(low, high, full, value_range)
        image = Image.fromarray(_eight_bits(values, value_range or (0, full), full if is_turned else None))
        value_range = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    mode = "L" if channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if value_range is not None:
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        image = Image.fromarray(_eight_bits(values, value_range))
    return image, full, low, high


def _full_scale(image: Image.Image) -> int:
    """Return the largest value of an image of integers: of 16 bits, or of 9 to 15 where a TIFF says so."""
    bits = image.tag_v2.get(_BITS, (16,)) if image.format == "TIFF" else (16,)  # type: ignore[attr-defined]
    n_bits = int(bits[0]) if isinstance(bits, tuple) else int(bits)
    return int(2**n_bits - 1) if 8 < n_bits < 16 else 65535


def _check_values(low: float, high: float, full: int, value_range: tuple[float, float] | None) -> None:
    """Raise BadImage for values without a range: outside that of the type."""
    if value_range is not None or (low >= 0 and high <= full):
        return
    kind = "floating-point values" if full == 1 else "values"
    raise BadImage(f"its {kind} range from {low:g} to {high:g}; give --value-range data, or LOW,HIGH")


def _eight_bits(
    values: npt.NDArray[Any], value_range: tuple[float, float], turned_at: float | None = None
) -> npt.NDArray[np.uint8]:
    """Return values with those of a range mapped to 0 and 255, rounded to the nearest and clipped.

    Where ``turned_at`` is given, a value is first turned into what it lacks of that. Blocks bound the memory, as each
    value takes eight bytes several times.
    """
    low, high = value_range
    flat = values.reshape(-1)
    mapped = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        if turned_at is not None:
            block = turned_at - block
        mapped[start : start + _BLOCK] = np.clip(np.floor((block - low) * (255 / (high - low)) + 0.5), 0, 255)
    return mapped.reshape(values.shape)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image in a known format"
    text = " ".join(str(error).split())
    return text or type(error).__name__
