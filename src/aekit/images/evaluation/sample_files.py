"""Samples as files: an image each, and a table of their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.core.artifacts import check_writable, write_columns
from aekit.core.folders import check_new_folder, whole_folder
from aekit.core.output import refuse_own_files
from aekit.errors import AekitError, UsageError
from aekit.images.inference import FloatArray
from aekit.images.pictures import write_picture


@dataclass(frozen=True)
class Samples:
    """Samples of a model.

    Attributes:
        z: Their codes, (N, L).
        images: Mean images, (N, C, H, W) in [0, 1].
        labels: The class that each was decoded as; None for a model that is not told it.
    """

    z: npt.NDArray[np.float64]
    images: FloatArray
    labels: Sequence[str] | None = None

    @property
    def file_names(self) -> list[str]:
        """Return the name of each image: ``sample-0007.png``."""
        digits = max(4, len(str(len(self.z) - 1)))
        return [f"sample-{number:0{digits}}.png" for number in range(len(self.z))]


def check_sample_files(
    checkpoints: Sequence[Path], targets: Sequence[Path], each: Path | None, codes: Path | None
) -> None:
    """Raise an AekitError if samples cannot be written: of several models, to a file of another kind, or in a folder.

    A folder for single images is one of its own: with other files in it, samples of two models would be mixed.

    Args:
        checkpoints: The models.
        targets: Their figures, whose companions codes must not replace.
        each: Folder for single images, if they are wanted.
        codes: Table of codes, if it is wanted.
    """
    for option, path in (("--each", each), ("--codes", codes)):
        if path is not None and len(checkpoints) > 1:
            raise AekitError(f"{option} {path}: is for one checkpoint; run the command for each separately")
    if codes is not None:
        if codes.suffix != ".csv":
            raise UsageError(f"--codes {codes}: is not a .csv file; end it in .csv")
        refuse_own_files(checkpoints, [codes], option="--codes")
        refuse_own_files(targets, [codes], option="--codes", what="figure")
        check_writable(codes)
    if each is not None:
        check_new_folder(each, "--each")


def write_samples(samples: Samples, each: Path | None, codes: Path | None) -> None:
    """Write each image into a folder, and codes into a table with a row per sample, where they are wanted.

    The folder appears with all that it holds: one half filled would be taken for whole.
    """
    if each is None:
        if codes is not None:
            write_columns(codes, _codes_table(samples, with_files=False))
        return
    folder = each.absolute()
    with whole_folder(each) as unfinished:
        if codes is not None:
            is_inside = codes.absolute().is_relative_to(folder)
            path = unfinished / codes.absolute().relative_to(folder) if is_inside else codes
            write_columns(path, _codes_table(samples, with_files=True))
        for name, image in zip(samples.file_names, samples.images, strict=True):
            write_picture(unfinished / name, image)


def _codes_table(samples: Samples, *, with_files: bool) -> dict[str, Any]:
    return {
        "index": range(len(samples.z)),
        **({"file": samples.file_names} if with_files else {}),
        **({} if samples.labels is None else {"label": samples.labels}),
        **{f"z{number}": column for number, column in enumerate(samples.z.T)},
    }
