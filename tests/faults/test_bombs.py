"""Files that want more than they are: bombs, claims of terabytes, and pickles, which are never run."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from fuzzing import Counts, Watch
from PIL import Image
from safetensors.torch import load_file

from aekit.brains.cohort.table import read_cohort
from aekit.brains.volumes import store as volume_cache
from aekit.brains.volumes.checks import inspect_volume
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.nifti import read_volume
from aekit.core.checkpoint import read_header
from aekit.core.progress import SILENT
from aekit.core.weights import read_tensors, write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data import cifar10, read_images
from aekit.images.data.idx import read_idx
from aekit.images.state import read_model

HUGE = 1 << 28


def _images(path: Path) -> None:
    read_images(DataConfig(str(path)), "train", data_root=path.parent)


def _zeros(n: int, *, gz: bool) -> bytes:
    """Return ``n`` zeros as deflate packs them, a thousand times smaller, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if gz else 15)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(n >> 20)), packer.flush()])


def _gz_after(head: bytes, n: int) -> bytes:
    return gzip.compress(head, mtime=0) + _zeros(n, gz=True)  # members follow each other


def _npz(n: int) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (n >> 20, 1024, 1024)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as member:
        member.write(head.getvalue())
        for _ in range(n >> 20):
            member.write(bytes(1 << 20))
    return file.getvalue()


def _nifti(shape: tuple[int, ...], dtype: int = 2) -> bytes:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    head = bytearray(image.to_bytes()[:352])
    head[40:56] = struct.pack("<8h", 3, *shape, 1, 1, 1, 1)
    return bytes(head)


def _png(side: int, data: bytes) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )


def _picture(side: int, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, kind, **options)
    return file.getvalue()


IDX = bytes((0, 0, 8, 3)) + struct.pack(">3I", 256, 1024, 1024)
BOMBS = {
    "idx-gz": ("x-ubyte", lambda: _gz_after(IDX, HUGE), read_idx),
    "npz": ("x.npz", lambda: _npz(HUGE), _images),
    "nii-gz": ("x.nii.gz", lambda: _gz_after(_nifti((256, 1024, 1024)), HUGE), read_volume),
    "nii-claim": ("x.nii", lambda: _nifti((800, 800, 800)), read_volume),
    "png": ("i/x.png", lambda: _png(9000, _zeros(81 << 20, gz=False)), lambda path: _images(path.parent)),
    "png-claim": ("i/x.png", lambda: _png(9000, b"x"), lambda path: _images(path.parent)),
    "tiff": ("i/x.tif", lambda: _picture(9000, "TIFF", compression="tiff_adobe_deflate"), lambda p: _images(p.parent)),
    "gif": ("i/x.gif", lambda: _picture(9000, "GIF"), lambda path: _images(path.parent)),
    "webp": ("i/x.webp", lambda: _picture(9000, "WEBP", lossless=True), lambda path: _images(path.parent)),
    "xlsx": ("people.xlsx", lambda: _npz(HUGE), read_cohort),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_unpacked(name, tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    file, make, read = BOMBS[name]
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    content = make()
    path.write_bytes(content)
    read_all = (lambda path: read_idx(path, n_dimensions=3)) if read is read_idx else read
    with pytest.raises(AekitError):  # once before, so that imports are not counted
        read_all(path)
    counts = Counts()
    with Watch() as watch:
        problem = watch.judge(read_all, path, counts, most=(24 << 20) + 2 * len(content))
    assert problem == ""
    assert counts.refused == 1


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("model", {"latent": 10**9}),
        ("model", {"width": 10**9}),
        ("model", {"latent": 10**12, "width": 10**12}),
        ("data", {"shape": [3, 10**6, 10**6]}),
        ("model", {"arch": "dense", "width": 2**62, "layers": 62}),
        ("model", {"latent": 10**400}),
        ("model", {"latent": True}),
        ("model", {"latent": 2.5}),
        ("model", {"arch": ["conv"]}),
    ],
)
def test_a_network_that_a_header_only_claims_is_not_built(vae_checkpoint, tmp_path, part, changes):
    header = read_header(vae_checkpoint)
    header.to_dict()[part].update(changes)
    path = write_checkpoint(tmp_path / "x.safetensors", load_file(vae_checkpoint), header)
    counts = Counts()
    with Watch() as watch:
        problem = watch.judge(lambda path: read_model(path, torch.device("cpu")), path, counts, most=24 << 20)
    assert problem == ""
    assert counts.refused == 1


# --- pickles ---


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def _evil_npy(marker: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Evil(marker), None], dtype=object), allow_pickle=True)
    return file.getvalue()


def _evil_npz(marker: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", _evil_npy(marker))
        archive.writestr("labels.npy", _evil_npy(marker))
    return file.getvalue()


def _evil_torch(marker: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"w": Evil(marker)}, file)
    return file.getvalue()


EVIL = {
    "npy": ("x.npy", _evil_npy, _images),
    "npz": ("x.npz", _evil_npz, _images),
    "npy-as-npz": ("x.npz", _evil_npy, _images),
    "pickle-as-npy": ("x.npy", lambda marker: pickle.dumps(Evil(marker)), _images),
    "pickle-as-npz": ("x.npz", lambda marker: pickle.dumps(Evil(marker)), _images),
    "volume": ("x.npy", _evil_npy, read_volume),
    "pickle-as-volume": ("x.npy", lambda marker: pickle.dumps(Evil(marker)), read_volume),
    "cifar": ("data_batch_1", lambda marker: pickle.dumps({b"data": Evil(marker)}, protocol=2), cifar10._read_batch),
    "cifar-4": ("data_batch_1", lambda marker: pickle.dumps([Evil(marker)], protocol=4), cifar10._read_batch),
    "checkpoint": ("x.safetensors", _evil_torch, lambda path: read_model(path, torch.device("cpu"))),
    "tensors": ("x.safetensors", _evil_torch, lambda path: read_tensors(path, {})),
    "arrays": ("x.safetensors", _evil_torch, _images),
}


@pytest.mark.parametrize("name", EVIL)
def test_a_pickle_is_never_run(name, tmp_path):
    marker = tmp_path / "ran"
    file, make, read = EVIL[name]
    (tmp_path / file).write_bytes(make(marker))
    with pytest.raises(AekitError):
        read(tmp_path / file)
    assert not marker.exists()
    if name == "volume":
        assert inspect_volume(tmp_path / file).problem
    pickle.loads(pickle.dumps(Evil(marker)))  # and it would have
    assert marker.exists()


def test_a_pickle_in_the_cache_is_never_run(tmp_path, monkeypatch):
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "i").mkdir()
    for number in range(5):
        Image.new("L", (8, 8), number).save(tmp_path / "i" / f"{number}.png")
    _images(tmp_path / "i")
    marker = tmp_path / "ran"
    (pixels,) = (tmp_path / "cache" / "images").glob("*.npy")
    pixels.write_bytes(_evil_npy(marker))
    _images(tmp_path / "i")
    key = "0" * 64
    for end in (".npy", ".rows.npy"):
        (tmp_path / f"{key}{end}").write_bytes(_evil_npy(marker))
    (tmp_path / f"{key}.json").write_text(json.dumps({"shape": [2]}))
    job = volume_cache._Job((), Grid((6, 6, 6), 24.0), correct_bias=False, spacing_mm=None, jobs=1, progress=SILENT)
    assert volume_cache._open(job, tmp_path, key) is None
    assert not marker.exists()


def test_one_text_encoded_again_and_again_does_not_fill_the_memory(tmp_path):
    # A text of 100 kB, memoised, and an opcode or two for each further copy of it as bytes: 1 GB from 200 kB.
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x00"
    encode = b"c_codecs\nencode\nq\x01(h\x00X\x06\x00\x00\x00latin1tR"
    again = b"h\x01(h\x00X\x06\x00\x00\x00latin1tR" * 10_000
    path = tmp_path / "data_batch_1"
    path.write_bytes(b"\x80\x02" + text + encode + again + b".")
    counts = Counts()
    with Watch() as watch:
        assert watch.judge(cifar10._read_batch, path, counts, most=24 << 20) == ""
    assert counts.refused == 1


def test_a_place_in_the_memo_that_is_not_there_takes_no_memory(tmp_path):
    path = tmp_path / "data_batch_1"
    path.write_bytes(b"\x80\x02}r" + struct.pack("<I", 2**31) + b".")
    counts = Counts()
    with Watch() as watch:
        assert watch.judge(cifar10._read_batch, path, counts, most=24 << 20) == ""
    assert counts.refused == 1
