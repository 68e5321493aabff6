"""The codes that are searched: those of images, encoded now, or those that a file holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.errors import AekitError, count
from aekit.images.code_files import CodeFile, read_codes
from aekit.images.config import Split
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.data.origins import Origins
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.session import Session

_N_COMPARED = 16  # codes of a file that are computed again
_TOLERANCE = 1e-2  # of them, as a fraction of the spread of codes: other machines and bf16 differ by less


@dataclass(frozen=True)
class Searched:
    """The codes that are searched, M of them, and what is known of their images.

    Attributes:
        codes: The codes, float32 (M, L).
        data: Name of the images.
        split: Which of them.
        index: Index of each image in its split, (M,).
        labels: Class of each, or its attributes; empty texts without any.
        origins: Where each came from; None if that is not known.
        images: The images; None if they are not here.
    """

    codes: npt.NDArray[np.float32]
    data: str
    split: Split
    index: Indices
    labels: list[str]
    origins: Origins | None
    images: ImageSet | None

    def name(self, row: int) -> str:
        """Return the file of an image, or else its index."""
        return str(self.index[row]) if self.origins is None else self.origins.text(row)


def encode_searched(session: Session, checkpoint: LoadedCheckpoint, split: Split) -> Searched:
    """Return the codes of a split of the images of a checkpoint, or of the ``data`` of the session."""
    images = session.studied(checkpoint, split)
    session.progress.update(f"encoding {count(len(images), 'image')} of {images.name}", 0, 1)
    labels = [images.label_text(row) for row in range(len(images))]
    codes = checkpoint.encode(images).mean
    return Searched(codes, images.name, split, np.arange(len(images)), labels, images.origins, images)


def read_searched(session: Session, checkpoint: LoadedCheckpoint, path: Path, split: Split | None) -> Searched:
    """Return the codes in a file of ``aekit encode``, with their images if these are here.

    Args:
        session: Has the images, and receives notices of what cannot be checked.
        checkpoint: The model that made the codes.
        path: The file.
        split: Which images the codes are of; None is what the file says, and ``test`` for a ``.csv``.

    Raises:
        AekitError: The file holds no codes, or those of another checkpoint or of other images.
    """
    found = read_codes(path, progress=session.progress)
    recorded = found.parameters.get("options", {}).get("split")
    _check_codes(checkpoint, found)
    if split is not None and recorded is not None and split != recorded:
        raise AekitError(f"--split {split}: --codes {path} are of the {recorded} images; leave --split out")
    own: Split = split or recorded or "test"
    images = _find_images(session, checkpoint, found, own)
    data = found.parameters.get("images", {}).get("name") or (path.stem if images is None else images.name)
    return Searched(found.mean, str(data), own, found.index, found.labels, found.origins, images)


def _check_codes(checkpoint: LoadedCheckpoint, found: CodeFile) -> None:
    """Refuse codes that another checkpoint made, as far as the file says it."""
    latent, dimensions = checkpoint.record.model.latent, found.mean.shape[1]
    if dimensions != latent:
        raise AekitError(
            f"--codes {found.path}: codes have {count(dimensions, 'dimension')}, those of {checkpoint.path} {latent}; "
            "give the codes of this checkpoint"
        )
    parameters = found.parameters
    if not parameters and found.lines is None:
        raise AekitError(
            f"--codes {found.path}: does not say which checkpoint its codes are of; give a file of aekit encode"
        )
    if parameters and any(parameters.get(part) != own for part, own in checkpoint.header.configuration.items()):
        raise AekitError(
            f"--codes {found.path}: codes are of another checkpoint, {parameters.get('checkpoint')}, not of "
            f"{checkpoint.path}; give that one, or write them again with aekit encode"
        )
    if parameters.get("options", {}).get("binarize"):
        raise AekitError(
            f"--codes {found.path}: codes are of black and white pixels, and images are looked up in grey; write them "
            "again without --binarize"
        )


def _find_images(session: Session, checkpoint: LoadedCheckpoint, found: CodeFile, split: Split) -> ImageSet | None:
    """Return the images of codes, after comparing some of the codes with those of the images; None if not here."""
    try:
        images = session.studied(checkpoint, split)
    except AekitError as error:
        if session.data is not None:
            raise
        session.progress.notice(f"{error}; no images are shown, only the table is written")
        return None
    recorded: dict[str, Any] = found.parameters.get("images", {})
    if recorded and recorded.get("fingerprint") != images.fingerprint:
        if session.data is not None:
            raise AekitError(f"--data {session.data}: not the images of --codes {found.path}; leave it out")
        name = recorded.get("name")
        session.progress.notice(
            f"--codes {found.path}: images are those of {name}, not of the training; to show them, add --data"
        )
        return None
    if len(images) != len(found):
        there = f"{len(images):,} {split} images of {images.name}"
        raise AekitError(f"--codes {found.path}: holds {len(found):,} codes, not those of the {there}; use --split")
    _compare(checkpoint, found, images, split)
    return images


def _compare(checkpoint: LoadedCheckpoint, found: CodeFile, images: ImageSet, split: Split) -> None:
    """Refuse codes that differ from those that the checkpoint gives the same images, of which some are encoded."""
    rows = np.unique(np.linspace(0, len(images) - 1, _N_COMPARED).astype(np.int64))
    codes = checkpoint.encode(images.subset(rows)).mean
    spread = max(float(found.mean.std(axis=0).max()), float(np.abs(codes).max()) * 1e-3)
    if float(np.abs(codes - found.mean[rows]).max()) > _TOLERANCE * max(spread, 1e-6):
        raise AekitError(
            f"--codes {found.path}: codes are not those that {checkpoint.path} gives the {split} images of "
            f"{images.name}; name others with --split, or write them again with aekit encode"
        )
