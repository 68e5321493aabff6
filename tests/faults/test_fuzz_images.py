"""Damaged images and arrays: image files, idx, npy, npz, safetensors, CIFAR-10's batches and CelebA's lists."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import (
    Target,
    expect_clean,
    fuzz,
    gzipped,
    npy_header,
    png_chunks,
    raw,
    record_counts,
    replay,
    safetensors_header,
    table_cells,
    zipped,
)
from PIL import Image
from safetensors.numpy import save

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import cifar10, decode, read_images
from aekit.images.data.celeba import _attributes, _is_test
from aekit.images.data.idx import read_idx

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)
ARRAYS = {
    "images": np.random.default_rng(1).integers(0, 256, (8, 8, 9), dtype=np.uint8),
    "labels": np.arange(8) % 3,
    "factors": np.arange(8)[:, None] % 2,
}
FACES = [Path(f"{number:06}.jpg") for number in range(1, 7)]


def _packed(mode: str, kind: str, **options: object) -> bytes:
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(PIXELS).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _decode(path: Path) -> None:
    data = path.read_bytes()
    for channels, size in ((1, None), (3, (8, 8))):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="PIL")  # as aekit.images.data.prepared does
                decode.read_header(data)
                decode.decode(data, channels=channels, size=size)
        except decode.BadImage as error:  # which those who call it put into a sentence
            raise AekitError(f"{path}: {error}; fix or remove it") from error


def _pictures(name: str, kind: str, modes: dict[str, dict[str, object]], n_long: int) -> Target:
    honest = [_packed(mode.split()[0], kind, **options) for mode, options in modes.items()]
    damage = [raw(data) for data in honest]
    if kind == "PNG":
        damage += [png_chunks(data) for data in honest]
    return Target(name, "x.img", honest, damage, _decode, n_long)


def _read_array(path: Path) -> None:
    for split in ("train", "test"):
        images = read_images(DataConfig(str(path)), split, data_root=path.parent)
        _ = images.fingerprint, images.images.sum(), images.label_text(0) if images.labels is not None else ""
        _ = None if images.factors is None else images.factors.columns()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _arrays(suffix: str) -> Target:
    arrays = [ARRAYS["images"], (ARRAYS["images"] / 255).astype(np.float32)]
    if suffix == "npy":
        honest = [_npy(array) for array in arrays]
        return Target("npy", "x.npy", honest, [raw(honest[0]), raw(honest[1]), npy_header(honest[0])], _read_array)
    if suffix == "npz":
        members = {f"{name}.npy": _npy(array) for name, array in ARRAYS.items()}
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return Target("npz", "x.npz", [file.getvalue()], [raw(file.getvalue()), zipped(members)], _read_array)
    data = save(ARRAYS)
    return Target(
        "arrays", "x.safetensors", [data], [raw(data), safetensors_header(save(ARRAYS, {"a": "b"}))], _read_array
    )


def _idx() -> Target:
    images = bytes((0, 0, 8, 3)) + struct.pack(">3I", *ARRAYS["images"].shape) + ARRAYS["images"].tobytes()
    labels = bytes((0, 0, 8, 1)) + struct.pack(">I", 6) + bytes(6)
    packed = gzip.compress(images, mtime=0)

    def read(path: Path) -> None:
        try:
            read_idx(path, n_dimensions=3)
        except AekitError:
            read_idx(path, n_dimensions=1)

    damage = [raw(images), raw(labels), raw(packed), gzipped(raw(images)), gzipped(raw(labels))]
    return Target("idx", "x-ubyte", [images, labels, packed], damage, read, 6000)


def _cifar(is_binary: bool) -> Target:
    pixels, labels = np.random.default_rng(2).integers(0, 256, (2, 3072), np.uint8), [3, 9]
    if is_binary:
        data = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1).tobytes()
        return Target("cifar-binary", "data_batch_1.bin", [data], [raw(data)], cifar10._read_batch)
    whole = pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2)
    few = pickle.dumps({b"data": pixels[:, :20], b"labels": labels}, protocol=2)  # more of it is structure
    newer = pickle.dumps({b"data": pixels[:, :20], b"labels": labels}, protocol=4)
    damage = [raw(whole), raw(few), raw(newer)]
    return Target("cifar-pickle", "data_batch_1", [whole], damage, cifar10._read_batch, 6000)


def _celeba(what: str) -> Target:
    if what == "attributes":
        data = "\n".join(["6", "Smiling Male ", *(f"{face}  1 -1" for face in FACES), ""]).encode()
        reader = _attributes
    else:
        data = "\n".join([*(f"{face} {n % 3}" for n, face in enumerate(FACES)), ""]).encode()
        reader = _is_test
    damage = [raw(data), table_cells(data, " ")]
    return Target(f"celeba-{what}", f"list_{what}.txt", [data], damage, lambda path: reader(path, FACES), 3000)


TARGETS = {
    "png": lambda: _pictures(
        "png",
        "PNG",
        {
            "RGB": {},
            "L": {"exif": _rotated()},
            "P": {"transparency": 3},
            "LA": {},
            "1": {},
            "I;16": {},
            "RGBA": {"icc_profile": b"x" * 200},
        },
        8000,
    ),
    "jpeg": lambda: _pictures(
        "jpeg",
        "JPEG",
        {"RGB": {"exif": _rotated()}, "L": {"progressive": True}, "CMYK": {}, "RGB 2": {"progressive": True}},
        8000,
    ),
    "gif": lambda: _pictures("gif", "GIF", {"P": {}, "L": {"transparency": 1}, "RGB": {"comment": b"x"}}, 4000),
    "tiff": lambda: _pictures(
        "tiff",
        "TIFF",
        {
            "RGB": {},
            "L": {"compression": "tiff_lzw"},
            "RGB 2": {"compression": "tiff_deflate"},
            "RGB 3": {"compression": "jpeg"},
            "1": {"compression": "group4"},
            "I;16": {},
            "P": {"compression": "packbits"},
            "CMYK": {},
            "RGB 4": {"big_tiff": True},
        },
        8000,
    ),
    "bmp": lambda: _pictures("bmp", "BMP", {"RGB": {}, "P": {}, "1": {}, "RGBA": {}}, 3000),
    "webp": lambda: _pictures("webp", "WEBP", {"RGB": {}, "RGBA": {"lossless": True}, "L": {"exif": _rotated()}}, 4000),
    "npy": lambda: _arrays("npy"),
    "npz": lambda: _arrays("npz"),
    "arrays": lambda: _arrays("safetensors"),
    "idx": _idx,
    "cifar-binary": lambda: _cifar(True),
    "cifar-pickle": lambda: _cifar(False),
    "celeba-attributes": lambda: _celeba("attributes"),
    "celeba-partition": lambda: _celeba("partition"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_images_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 20))


@pytest.mark.parametrize("name", TARGETS)
def test_images_that_failed_once_do_not_fail_again(name, tmp_path):
    expect_clean(replay(TARGETS[name](), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_more_damaged_images_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 150))


@pytest.mark.faults
@pytest.mark.parametrize("name", TARGETS)
def test_thousands_of_damaged_images_are_read_or_refused_in_one_line(name, tmp_path, record):
    target = TARGETS[name]()
    counts = fuzz(target, tmp_path, target.n_long, derandomize=False)
    record_counts(record, name, counts)
    expect_clean(counts)
