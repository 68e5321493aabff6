"""Files that a command reads, which its results must never replace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from aekit.errors import AekitError
from aekit.images.data.decode import SUFFIXES
from aekit.plotting.png import read_parameters


def refuse_replacing_images(target: Path, written: Iterable[Path], images: Sequence[str | Path]) -> None:
    """Raise an AekitError if a file to write is one of the images that are read, or an image in a folder of these.

    Figures of aekit are no images of a set: those in such a folder are replaced, as anywhere.

    Args:
        target: What ``--output`` stands for.
        written: The files to write.
        images: Files and folders that are read; what is not there, as the name of a known data set, is passed over.
    """
    sources = [Path(source).expanduser() for source in images]
    for path in filter(Path.is_file, written):
        for source in filter(Path.exists, sources):
            inside = path.suffix.lower() in SUFFIXES and path.resolve().is_relative_to(source.resolve())
            if path.samefile(source) or (source.is_dir() and inside and not _is_figure(path)):
                raise AekitError(f"--output {target}: would replace {path}, which is read; choose another name")


def _is_figure(path: Path) -> bool:
    """Return whether aekit made an image."""
    try:
        return bool(read_parameters(path.read_bytes()))
    except (OSError, ValueError):
        return False
