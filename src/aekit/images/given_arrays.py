"""Arrays and tensors that are given in Python: what cannot be read as numbers is refused in one line, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aekit.errors import AekitError
from aekit.images.data.array_labels import times

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]


def as_array(values: Any, what: str) -> Array:
    """Return what was given, a tensor on any device included, as an array of the same shape and type.

    Args:
        values: An array, a tensor, or nested lists of numbers.
        what: What it is called in messages: ``images``, ``labels``, ``codes``.

    Raises:
        AekitError: It is masked, sparse, without values, of a type that numpy lacks, ragged, or no array at all.
    """
    if isinstance(values, nn.Module):
        raise AekitError(f"{what}: {type(values).__name__} is a network; give an array or a tensor")
    if isinstance(values, torch.Tensor):
        return _of_tensor(values, what)
    if np.ma.isMaskedArray(values) or (isinstance(values, (list, tuple)) and any(map(np.ma.isMaskedArray, values))):
        raise AekitError(f"{what}: are masked, and a network needs every value; give x.filled(value)")
    if isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) != np.ndim(values[1]):
        raise AekitError(f"{what}: are a tuple (x, y); give the array x, and y as labels=y")
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise AekitError(f"{what}: are not one array ({reason}); give rows of equal length, as numbers") from error


def _of_tensor(values: torch.Tensor, what: str) -> Array:
    if values.is_meta:
        raise AekitError(f"{what}: are a tensor on the device meta, which has no values; give one that has")
    if values.layout != torch.strided:
        raise AekitError(f"{what}: are a sparse tensor; give x.to_dense()")
    try:
        return values.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:  # bfloat16, quantized, bits that numpy does not have
        raise AekitError(f"{what}: are a tensor of {values.dtype}, which numpy lacks; give x.float()") from error


def as_images(values: Any) -> Array:
    """Return images that were given as an array.

    Raises:
        AekitError: As :func:`as_array`, or there are none, or they are not numbers.
    """
    array = as_array(values, "images")
    if array.dtype.kind not in "buif":
        raise AekitError(f"images: are {array.dtype} ({type(values).__name__}); give an array of bytes or of floats")
    if array.ndim and 0 in array.shape:
        raise AekitError(f"images: are empty, of shape {times(array.shape)}; give at least one")
    return array


def as_codes(values: Any, latent: int) -> FloatArray:
    """Return codes that were given, float32 (N, L).

    Args:
        values: As for :func:`as_array`.
        latent: L.

    Raises:
        AekitError: As :func:`as_array`, or they are not numbers, not finite, too large for float32, or not (N, L).
    """
    array = as_array(values, "codes")
    if array.dtype.kind not in "uif":
        raise AekitError(f"codes: are {array.dtype}; give numbers")
    if array.ndim != 2 or array.shape[1] != latent or not len(array):
        raise AekitError(f"decode: codes are {array.shape}; the network takes (N, {latent})")
    with np.errstate(over="ignore"):
        z = array.astype(np.float32)
    is_good = np.isfinite(z).all(axis=1)
    if not is_good.all():
        row = int(np.argmin(is_good))
        value = array[row][~np.isfinite(z[row])][0]
        what = "is beyond what float32 holds" if np.isfinite(value) else "is not a finite number"
        raise AekitError(f"codes: {value} in row {row} (from 0) {what}; replace it")
    return z


def as_labels(values: Any) -> Array:
    """Return labels that were given: whole numbers as int64, texts, or a row per image as it is.

    Raises:
        AekitError: As :func:`as_array`, or this is a single label, or they are neither texts nor whole numbers.
    """
    if isinstance(values, (str, bytes)) or np.ndim(values) == 0:
        raise AekitError(f"labels: {_short(values)} is a single one; give one per image, as a list or an array")
    array = as_array(values, "labels")
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.ravel().tolist()):
        array = array.astype(str)  # a column of a table
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    is_whole = array.dtype.kind == "f" and bool((np.isfinite(array) & (array == np.round(array))).all())
    if array.dtype.kind in "biu" or is_whole:
        return array.astype(np.int64)
    if array.dtype.kind not in "US":
        raise AekitError(f"labels: are {array.dtype}; give whole numbers or texts, one per image")
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
