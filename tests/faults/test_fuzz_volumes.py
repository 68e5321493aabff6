"""Damaged brain volumes, and damaged files in the cache of prepared images and volumes."""

from __future__ import annotations

import functools
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from fuzzing import Target, expect_clean, fuzz, gzipped, json_text, npy_header, raw, record_counts, replay
from PIL import Image

from aekit.brains.volumes import store as volume_cache
from aekit.brains.volumes.checks import inspect_volume
from aekit.brains.volumes.gridding import Grid, to_grid
from aekit.brains.volumes.nifti import BadVolume, read_volume
from aekit.brains.volumes.store import prepare_volumes
from aekit.core.progress import SILENT
from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import read_images

nib: Any = nibabel


def _brain(dtype: type) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 12)] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    return np.where(radius < 0.8, 100 + 50 * radius + 10 * np.random.default_rng(0).random(radius.shape), 0).astype(
        dtype
    )


def _nifti(dtype: type, *, two: bool = False, slope: float | None = None, order: str = "<") -> bytes:
    image = (nib.Nifti2Image if two else nib.Nifti1Image)(_brain(dtype), np.diag([12.0, 12.0, 12.0, 1.0]))
    if order == ">":
        image = type(image)(_brain(dtype), image.affine, image.header.as_byteswapped(">"))
    if slope is not None:
        image.header.set_slope_inter(slope, 3)
    return image.to_bytes()


def _without_sform(dtype: type) -> bytes:
    """Return a file whose affine is a qform alone, of turned axes."""
    affine = np.diag([-12.0, 12.0, 12.0, 1.0])
    affine[:3, :3] = nib.eulerangles.euler2mat(0.2, 0.1, -0.1) @ affine[:3, :3]
    image = nib.Nifti1Image(_brain(dtype), affine)
    image.set_sform(None, code=0)
    image.set_qform(affine, code=1)
    return image.to_bytes()


def _sheared(dtype: type) -> bytes:
    affine = np.diag([12.0, 12.0, 12.0, 1.0])
    affine[0, 1] = 6.0
    return nib.Nifti1Image(_brain(dtype), affine).to_bytes()


def _in_metres(dtype: type) -> bytes:
    """Return a file whose affine is in metres, with a background of NaN."""
    brain = np.where(_brain(dtype) == 0, np.nan, _brain(dtype))
    image = nib.Nifti1Image(brain.astype(dtype), np.diag([0.012, 0.012, 0.012, 1.0]))
    image.header.set_xyzt_units("meter")
    return image.to_bytes()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _read(path: Path) -> None:
    inspect_volume(path)
    volume = read_volume(path)
    try:
        to_grid(volume, Grid((6, 6, 6), 24.0), correct_bias=False)
    except BadVolume as error:
        raise AekitError(f"{path}: {error}; {error.remedy}") from error


def _nii() -> Target:
    honest = [_nifti(np.int16), _nifti(np.float32, slope=2.0), _nifti(np.uint8, two=True), _nifti(np.int16, order=">")]
    honest += [_without_sform(np.int16), _sheared(np.uint8), _in_metres(np.float32)]
    heads = [lambda draw, data=data: raw(data[:352])(draw)[:352].ljust(352, b"\0") + data[352:] for data in honest]
    return Target("nii", "x.nii", honest, [*map(raw, honest), *heads], _read, 8000)


def _nii_gz() -> Target:
    plain = [_nifti(np.int16), _nifti(np.float32, two=True)]
    honest = [gzip.compress(data, 1, mtime=0) for data in plain]
    return Target(
        "nii-gz", "x.nii.gz", honest, [*map(raw, honest), *(gzipped(raw(data)) for data in plain)], _read, 6000
    )


def _volume_npy() -> Target:
    data = _npy(_brain(np.float32))
    return Target("volume-npy", "x.npy", [data], [raw(data), npy_header(data)], _read, 4000)


# --- the cache ---


@functools.cache
def _images() -> tuple[Path, Path]:
    """Return a folder of images, and the folder in which they are prepared."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="fuzz-cache-"))
    (folder / "images").mkdir()
    for number in range(12):
        Image.new("L", (9, 8), 20 * number).save(folder / "images" / f"{number:02}.png")
    return folder / "images", folder / "cache"


def _prepare(config: DataConfig) -> np.ndarray:
    images = read_images(config, "train", data_root=_images()[1])
    return np.array(images.images)


def _cached(name: str, suffix: str, n_long: int, damage: Callable[[bytes], list[Any]]) -> Target:
    """Return the target of one file of a store that was prepared before: read whole, or made anew."""
    folder, cache = _images()
    patch = pytest.MonkeyPatch()
    patch.setenv("AEKIT_CACHE", str(cache))
    config = DataConfig(str(folder))
    truth = _prepare(config)
    (pixels,) = (cache / "images").glob("*.npy")
    key = pixels.stem
    files = {end: pixels.with_suffix(end).read_bytes() for end in (".npy", ".json")}
    record = b"".join(
        json.dumps({"start": start, "digests": "ab" * 32 * 4, "bad": {}}).encode() + b"\n" for start in (0, 4)
    )
    files[".partial"] = files[".npy"] + record
    data = files[suffix]

    def read(path: Path) -> None:
        patch.setenv("AEKIT_CACHE", str(cache))
        for end in (".npy", ".json", ".partial"):
            (cache / "images" / f"{key}{end}").unlink(missing_ok=True)
            if end == suffix or (suffix != ".partial" and end != ".partial"):
                (cache / "images" / f"{key}{end}").write_bytes(path.read_bytes() if end == suffix else files[end])
        for known in (cache / "images").glob("*.key"):
            known.unlink()
        try:
            found = _prepare(config)
        except AekitError as error:
            raise AekitError(f"{path}: {error}") from error
        finally:
            patch.undo()
        if suffix == ".json":
            assert found.shape[1:] == truth.shape[1:]

    return Target(name, "x", [data], damage(data), read, n_long)


@functools.cache
def _volumes_made() -> tuple[Path, str, dict[str, bytes]]:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="fuzz-volumes-"))
    paths = []
    for number in range(2):
        paths.append(folder / f"{number}.nii")
        paths[-1].write_bytes(_nifti(np.int16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEKIT_CACHE", str(folder / "cache"))
        prepare_volumes(paths, Grid((6, 6, 6), 24.0), jobs=1)
    found = {path.name: path.read_bytes() for path in (folder / "cache" / "volumes").iterdir() if path.suffix != ".key"}
    key = min(found).partition(".")[0]
    return folder / "cache" / "volumes", key, {name.removeprefix(key): data for name, data in found.items()}


JOB = volume_cache._Job((), Grid((6, 6, 6), 24.0), correct_bias=False, spacing_mm=None, jobs=1, progress=SILENT)


def _cached_volumes(name: str, suffix: str, n_long: int, damage: Callable[[bytes], list[Any]]) -> Target:
    folder, key, files = _volumes_made()

    def read(path: Path) -> None:
        for end, data in files.items():
            (folder / f"{key}{end}").write_bytes(path.read_bytes() if end == suffix else data)
        found = volume_cache._open(JOB, folder, key)
        if found is None:
            raise AekitError(f"{path}: is damaged; it is made anew")
        for row in range(len(found.images)):
            _ = found.shapes[row], found.digests[row], found.spacing_mm[row].min(), found.warnings.get(row, ())
            "".join(found.warnings.get(row, ()))
            "x".join(map(str, found.shapes[row]))
        assert all(0 <= row < len(found.images) for row in found.bad)

    return Target(name, "x", [files[suffix]], damage(files[suffix]), read, n_long)


def _as_json(data: bytes) -> list[Any]:
    return [raw(data), json_text(json.loads(data))]


def _as_npy(data: bytes) -> list[Any]:
    return [raw(data), npy_header(data)]


TARGETS = {
    "nii": _nii,
    "nii-gz": _nii_gz,
    "volume-npy": _volume_npy,
    "cache-pixels": lambda: _cached("cache-pixels", ".npy", 2000, _as_npy),
    "cache-about": lambda: _cached("cache-about", ".json", 3000, _as_json),
    "cache-partial": lambda: _cached(
        "cache-partial",
        ".partial",
        2000,
        lambda data: [
            lambda draw: data[:-300] + raw(data[-300:])(draw),
            lambda draw: (
                data[: data.index(b'{"start"')]
                + json_text({"start": 0, "digests": "ab" * 32, "bad": {"1": "x"}})(draw)
                + b"\n"
            ),
        ],
    ),
    "cache-volumes": lambda: _cached_volumes("cache-volumes", ".npy", 2000, _as_npy),
    "cache-numbers": lambda: _cached_volumes("cache-numbers", ".rows.npy", 2000, _as_npy),
    "cache-told": lambda: _cached_volumes("cache-told", ".json", 4000, _as_json),
}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_volumes_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 20))


@pytest.mark.parametrize("name", TARGETS)
def test_volumes_that_failed_once_do_not_fail_again(name, tmp_path):
    expect_clean(replay(TARGETS[name](), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_more_damaged_volumes_are_read_or_refused_in_one_line(name, tmp_path):
    expect_clean(fuzz(TARGETS[name](), tmp_path, 150))


@pytest.mark.faults
@pytest.mark.parametrize("name", TARGETS)
def test_thousands_of_damaged_volumes_are_read_or_refused_in_one_line(name, tmp_path, record):
    target = TARGETS[name]()
    counts = fuzz(target, tmp_path, target.n_long, derandomize=False)
    record_counts(record, name, counts)
    expect_clean(counts)
