"""Reading images and headers leaves the process as the caller has it: libtiff, logging, warnings, random numbers."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, _imaging

from aekit.images.config import DataConfig
from aekit.images.data import read_images
from aekit.images.data.decode import BadImage, decode
from aekit.results.info import run_info

_LIBTIFF = ctypes.CDLL(_imaging.__file__)
_READER = hasattr(_LIBTIFF, "TIFFSetErrorHandler")


def _handlers():
    """Return the addresses of libtiff's handlers, which can only be read by setting them."""
    found = []
    for setter in (_LIBTIFF.TIFFSetErrorHandler, _LIBTIFF.TIFFSetWarningHandler) if _READER else ():
        setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
        found.append(setter(None))
        setter(found[-1])
    return found


def _process():
    return {
        "libtiff": _handlers(),
        "loggers": list(logging.getLogger("PIL").handlers),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": getattr(torch.backends, "fp32_precision", None),
        "tf32": torch.backends.cudnn.allow_tf32,
        "gradients": torch.is_grad_enabled(),
    }


def _tiff(*, is_damaged=False):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "TIFF", compression="tiff_lzw")
    data = file.getvalue()
    return data[:8] + bytes(40) + data[48:] if is_damaged else data


def test_reading_images_leaves_the_settings_of_the_process(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.tif").write_bytes(_tiff())
    before = _process()
    assert len(read_images(DataConfig(name=str(tmp_path)), "train", data_root=tmp_path)) == 8
    assert _process() == before


def test_reading_a_header_leaves_the_settings_of_the_process(vae_checkpoint):
    before = _process()
    for _ in run_info([vae_checkpoint]):
        assert _process() == before
    assert _process() == before


@pytest.mark.skipif(not _READER, reason="libtiff cannot be reached")
def test_libtiff_and_the_logger_are_the_callers_before_and_after_a_file_is_read():
    before = _process()
    # So importing aekit has not switched it off; PIL itself switches off that of warnings when it reads a TIFF.
    assert before["libtiff"][0]
    assert not any(isinstance(handler, logging.NullHandler) for handler in before["loggers"])
    decode(_tiff(), channels=3, size=None)
    with pytest.raises(BadImage):
        decode(_tiff(is_damaged=True), channels=3, size=None)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda data: decode(data, channels=3, size=None), [_tiff()] * 40))) == 40
    assert _process() == before
