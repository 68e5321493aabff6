"""Small NIfTI files, good and bad, for tests of volumes."""

import gzip

import nibabel as nib
import numpy as np

SHAPE = (9, 12, 7)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def brain(shape=SHAPE, seed=0):
    """Return a box of 100 to 200 within zeros."""
    data = np.zeros(shape, np.float32)
    inner = tuple(slice(2, size - 2) for size in shape)
    data[inner] = np.random.default_rng(seed).uniform(100, 200, data[inner].shape)
    return data


def affine_of(axes="RAS", spacing=(2.0, 2.0, 2.0), shape=SHAPE):
    """Return the affine of a volume whose axes point to the letters, by nibabel."""
    rotation = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(axes))
    )
    affine = np.diag([*spacing, 1.0]) @ nib.orientations.inv_ornt_aff(rotation, shape)
    affine[:3, 3] += (-30, 10, 5)
    return affine


def write(path, data=None, affine=None, kind=nib.Nifti1Image, **header):
    data = brain() if data is None else data
    image = kind(data, affine_of() if affine is None else affine)
    image.header.set_xyzt_units("mm")
    path.write_bytes(patched(image.to_bytes(), kind, **header))
    return path


def patched(content, kind=nib.Nifti1Image, **header):
    """Return a plain NIfTI file with some fields of its header changed."""
    head = kind.header_class(content[: kind.header_class.sizeof_hdr], check=False)
    for name, value in header.items():
        head[name] = value
    return head.binaryblock + content[len(head.binaryblock) :]


def packed(path, content=None):
    path.write_bytes(gzip.compress(write(path.with_suffix(".tmp")).read_bytes() if content is None else content))
    path.with_suffix(".tmp").unlink(missing_ok=True)
    return path


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


def nifti(data=None, kind=nib.Nifti1Image, **header):
    return patched(kind(brain() if data is None else data, affine_of()).to_bytes(), kind, **header)


def with_value(value):
    data = brain()
    data[4, 5, 3] = value
    return nifti(data)


BAD_FILES = {
    "a flipped byte": (lambda: flipped(gzip.compress(nifti()), 300), "damaged"),
    "a wrong CRC": (lambda: flipped(gzip.compress(nifti()), -6), "damaged"),
    "a truncated gzip file": (lambda: gzip.compress(nifti())[:-300], "cut short"),
    "a gzip file without its end": (lambda: gzip.compress(nifti())[:-4], "cut short"),
    "a truncated body": (lambda: gzip.compress(nifti()[:-40]), "cut short, 40 of 3,024 bytes"),
    "a truncated file": (lambda: nifti()[:-40], "cut short, 40 of"),
    "a header alone": (lambda: nifti()[:200], "not a NIfTI"),
    "nothing": (lambda: b"", "empty"),
    "a web page": (lambda: b"\n<!DOCTYPE html><title>404</title>" + b" " * 400, "web page"),
    "a packed web page": (lambda: gzip.compress(b"<html>" + b" " * 400), "web page"),
    "a pointer": (lambda: LFS, "git-lfs"),
    "text": (lambda: b"participant_id\tage\n" * 50, "it is text"),
    "noise": (lambda: bytes(range(256)) * 4, "not a NIfTI"),
    "four dimensions": (lambda: nifti(np.zeros((4, 5, 6, 7), np.float32)), "4-D (4x5x6x7)"),
    "a slice": (lambda: nifti(np.zeros((40, 50), np.float32)), "2-D"),
    "a flat volume": (lambda: nifti(np.zeros((40, 50, 1), np.float32)), "slice"),
    "no size": (lambda: nifti(dim=[3, 0, 12, 7, 1, 1, 1, 1]), "header is damaged"),
    "no affine": (lambda: nifti(srow_x=0), "plane"),
    "an affine of NaN": (lambda: nifti(srow_y=np.nan), "not finite"),
    "an affine in metres": (
        lambda: nifti(srow_x=[2e-3, 0, 0, 0], srow_y=[0, 2e-3, 0, 0], srow_z=[0, 0, 2e-3, 0]),
        "mm",
    ),
    "complex numbers": (lambda: nifti(brain().astype(np.complex64)), "complex"),
    "colours": (lambda: nifti(np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])), "colours"),
    "an unknown type": (lambda: nifti(datatype=77), "datatype 77"),
    "half of a pair": (lambda: nifti(magic=b"ni1"), "pair"),
    "NaN": (lambda: with_value(np.nan), "1 of 756 voxels is NaN"),
    "infinity": (lambda: with_value(-np.inf), "1 of 756 voxels is NaN or infinite"),
    "too large for single precision": (lambda: nifti(brain().astype(np.float64) * 1e37), "infinite"),
    "zeros": (lambda: nifti(np.zeros(SHAPE, np.float32)), "empty"),
    "a constant": (lambda: nifti(np.full(SHAPE, 7, np.int16)), "every voxel is 7"),
    "a huge header": (lambda: gzip.compress(nifti(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])), "2 GB"),
    "a bomb": (lambda: gzip.compress(nifti() + bytes(30_000_000)), "more than its header"),
}


def ball(radius=7, size=24):
    """Return a mask of a ball in a cube."""
    grid = np.indices((size,) * 3) - (size - 1) / 2
    return np.sqrt((grid**2).sum(axis=0)) < radius
