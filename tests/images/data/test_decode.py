import contextlib
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from aekit.images.data.decode import SUFFIXES, BadImage, decode, pages_of, read_header

RANDOM = np.random.default_rng(0)

GRAY = np.random.default_rng(0).integers(0, 256, (10, 12), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (10, 12, 3), dtype=np.uint8)


def packed(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data, channels=3, size=None):
    return decode(data, channels=channels, size=size)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_gray_files_give_their_values_back(kind):
    data = packed(Image.fromarray(GRAY), kind)
    np.testing.assert_array_equal(pixels(data, 1), GRAY[None])
    assert read_header(data).is_gray


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_colour_files_give_their_values_back(kind, options):
    data = packed(Image.fromarray(COLOUR), kind, **options)
    np.testing.assert_array_equal(pixels(data), COLOUR.transpose(2, 0, 1))
    header = read_header(data)
    assert (header.height, header.width, header.is_gray) == (10, 12, False)


def test_gray_is_repeated_for_colour_and_colour_becomes_luma():
    np.testing.assert_array_equal(pixels(packed(Image.fromarray(GRAY)), 3), np.stack([GRAY] * 3))
    luma = np.round(COLOUR @ [0.299, 0.587, 0.114])
    np.testing.assert_allclose(pixels(packed(Image.fromarray(COLOUR)), 1)[0], luma, atol=1)


def test_sixteen_bits_are_rounded_to_eight():
    deep = np.array([[0, 128, 129, 257], [32768, 65278, 65279, 65535]], np.uint16).repeat(5, axis=0)
    shallow = pixels(packed(Image.fromarray(deep)), 1)[0, ::5]
    np.testing.assert_array_equal(shallow, [[0, 0, 1, 1], [128, 254, 254, 255]])


def test_transparent_pixels_become_white():
    rgba = np.zeros((10, 12, 4), np.uint8)
    rgba[:5] = (10, 20, 30, 255)
    decoded = pixels(packed(Image.fromarray(rgba)))
    assert decoded[:, 0, 0].tolist() == [10, 20, 30]
    assert decoded[:, 9, 0].tolist() == [255, 255, 255]


def test_palettes_one_bit_and_cmyk_are_converted():
    two = Image.fromarray(np.where(COLOUR[..., :1] > 127, (200, 10, 50), (0, 0, 255)).astype(np.uint8))
    np.testing.assert_array_equal(pixels(packed(two.quantize(4))), np.asarray(two).transpose(2, 0, 1))
    assert set(np.unique(pixels(packed(Image.fromarray(GRAY > 127)), 1))) == {0, 255}
    red = pixels(packed(Image.new("CMYK", (12, 10), (0, 255, 255, 0)), "JPEG"))
    assert red[0].min() > 240
    assert red[1:].max() < 15


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    data = packed(Image.fromarray(np.tile(GRAY, (4, 4))), "JPEG", exif=exif, quality=100)
    header = read_header(data)
    assert (header.height, header.width) == (48, 40)
    upright = np.rot90(np.tile(GRAY, (4, 4)), -1)
    np.testing.assert_allclose(pixels(data, 1)[0], upright, atol=4)


def face_like(height, width):
    """Return smooth shapes with edges and some noise, like a photograph."""
    y, x = np.mgrid[:height, :width] / 40
    planes = [
        120 + 60 * np.sin(x + k) + 40 * np.cos(2 * y - k) + 30 * (np.hypot(x - 1, y - 2) < 1 + k) for k in range(3)
    ]
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    return Image.fromarray(np.clip(np.stack(planes, axis=2) + noise, 0, 255).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_size", [(219, 177), (436, 356), (223, 465)])
@pytest.mark.parametrize("size", [(54, 44), (27, 22), (48, 48), (109, 89)])
def test_a_jpeg_that_is_reduced_while_it_is_decoded_shows_the_same(orientation, image_size, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = packed(face_like(*image_size), "JPEG", exif=exif, quality=95)
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = pixels(packed(whole), 3, size).astype(float)
    error = np.mean((pixels(data, 3, size) - expected) ** 2)
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 38  # decibels; a shift by half a pixel would be 31


def test_an_invalid_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 9
    assert pixels(packed(face_like(40, 60), "JPEG", exif=exif), 3, None).shape == (3, 40, 60)
    assert read_header(packed(face_like(40, 60), "JPEG", exif=exif)).height == 40


def test_the_shortcut_for_large_jpegs_changes_little():
    y, x = np.mgrid[:512, :640]
    smooth = (127 + 60 * np.sin(x / 30) + 60 * np.cos(y / 20)).astype(np.uint8)
    data = packed(Image.fromarray(smooth), "JPEG", quality=95)
    slow = packed(Image.open(io.BytesIO(data)), "PNG")
    np.testing.assert_allclose(pixels(data, 1, (64, 64)), pixels(slow, 1, (64, 64)), atol=4)


@pytest.mark.parametrize("damage", [b"", b"no image", packed(Image.fromarray(COLOUR))[:20]])
def test_files_that_are_not_images_are_recognised_by_their_header(damage):
    with pytest.raises(BadImage):
        read_header(damage)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
def test_a_truncated_file_is_bad(kind):
    whole = packed(Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8)), kind)
    with pytest.raises(BadImage):
        pixels(whole[: len(whole) // 2], 1)


@pytest.mark.filterwarnings("ignore")  # as in aekit.images.data.prepared
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
def test_random_damage_never_raises_anything_else(kind):
    whole = packed(Image.fromarray(COLOUR), kind)
    random = np.random.default_rng(3)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            damaged[place] = random.integers(0, 256)
        for read in (read_header, pixels):
            with contextlib.suppress(BadImage):
                read(bytes(damaged))


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("RGBA", {}), ("RGB", {"lossless": True}), ("RGBA", {"exact": True, "lossless": True})],
)
@pytest.mark.parametrize("size", [(1, 1), (12, 10), (5, 300), (16383, 1)])
@pytest.mark.parametrize("n_frames", [1, 2])
def test_the_size_of_a_webp_is_checked_before_libwebp_allocates_it(monkeypatch, mode, options, size, n_frames):
    frames = [Image.new(mode, size, (number, 200, 30, 100)[: len(mode)]) for number in range(n_frames)]
    data = packed(frames[0], "WEBP", save_all=n_frames > 1, append_images=frames[1:], **options)
    header = read_header(data)
    assert (header.width, header.height) == size
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", size[0] * size[1] - 1)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("libwebp was asked"))
    with pytest.raises(BadImage, match=f"height {size[1]}, width {size[0]}: more pixels than are safe"):
        read_header(data)


def test_floating_point_images_are_refused():
    with pytest.raises(BadImage, match="floating-point"):
        pixels(packed(Image.fromarray(GRAY.astype(np.float32)), "TIFF"), 1)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [100, 30])
def test_an_image_larger_than_pil_allows_is_bad(monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # of 120 pixels: PIL warns above its limit, raises at twice
    with pytest.raises(BadImage, match=r"height 10, width 12: more pixels|120 pixels"):
        read_header(packed(Image.fromarray(GRAY)))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, (6, 8)])
def test_a_tiff_is_turned_once_whatever_its_compression(orientation, compression, size):
    stored = Image.fromarray(RANDOM.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    stored.save(buffer, "TIFF", compression=compression, tiffinfo={274: orientation})
    exif = Image.Exif()
    exif[274] = orientation
    other = io.BytesIO()
    stored.save(other, "PNG", exif=exif)
    header = read_header(buffer.getvalue())
    assert (header.height, header.width) == ((24, 16) if orientation >= 5 else (16, 24))
    found = decode(buffer.getvalue(), channels=3, size=size)
    if compression == "jpeg":
        buffer.seek(0)
        upright = ImageOps.exif_transpose(Image.open(buffer)).convert("RGB")
        if size is None:
            np.testing.assert_array_equal(found, np.asarray(upright).transpose(2, 0, 1))
        return
    np.testing.assert_array_equal(found, decode(other.getvalue(), channels=3, size=size))


def test_sixteen_bits_where_white_is_zero_are_as_those_of_eight():
    values = RANDOM.integers(0, 65536, (9, 8), dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo={262: 0})
    black_is_zero = io.BytesIO()
    Image.fromarray(65535 - values).save(black_is_zero, "TIFF")
    if Image.open(io.BytesIO(buffer.getvalue())).tag_v2[262] != 0:  # PIL writes a tag of its own
        data = bytearray(buffer.getvalue())
        entry = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
        data[entry + 8 : entry + 10] = (0).to_bytes(2, "little")
        buffer = io.BytesIO(bytes(data))
    expected = decode(black_is_zero.getvalue(), channels=1, size=None)
    np.testing.assert_array_equal(decode(buffer.getvalue(), channels=1, size=None), expected)


def test_pages_are_images_and_thumbnails_are_not(tmp_path):
    pages = [Image.fromarray(RANDOM.integers(0, 256, (9, 8), dtype=np.uint8)) for _ in range(4)]
    pages[2].encoderinfo = {"tiffinfo": {254: 1}}  # a reduced version of another page
    path = tmp_path / "x.TIFF"
    pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:])
    assert pages_of(path) == 3
    found = [decode(path.read_bytes(), channels=1, size=None, page=number)[0] for number in range(3)]
    np.testing.assert_array_equal(found, [np.asarray(pages[number]) for number in (0, 1, 3)])
    assert pages_of(tmp_path / "x.png") == 1


@pytest.mark.parametrize("suffix", [".jfif", ".ppm", ".pgm", ".tga", ".jp2", ".pcx", ".sgi", ".ico", ".avif"])
def test_what_pil_reads_is_read(suffix, tmp_path):
    if suffix not in SUFFIXES:
        pytest.skip("this PIL was built without it")
    path = tmp_path / f"x{suffix}"
    Image.fromarray(np.full((16, 16) if suffix == ".pgm" else (16, 16, 3), 200, np.uint8)).save(path)
    found = decode(path.read_bytes(), channels=3, size=None, suffix=suffix)
    assert found.shape == (3, 16, 16)
    assert np.abs(found.astype(int) - 200).max() <= 3


def test_the_frames_of_an_animation_are_counted():
    frames = [Image.fromarray(np.full((9, 8), value, np.uint8)) for value in (0, 100, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert read_header(buffer.getvalue()).n_frames == 3
