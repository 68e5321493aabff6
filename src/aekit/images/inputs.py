"""Files that a command reads, which its results must neither replace nor join."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from aekit.core.progress import Progress
from aekit.errors import AekitError, shown
from aekit.images.catalog import CATALOG
from aekit.images.data.decode import SUFFIXES
from aekit.plotting.png import read_parameters


def refuse_replacing_images(target: Path, written: Iterable[Path], images: Sequence[str | Path]) -> None:
    """Raise an AekitError if a file to write is one of the images that are read, or an image in a folder of these.

    Figures of aekit are not images of a set: those in such a folder are replaced, as anywhere.

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


def say_if_among_images(folder: Path, images: Sequence[str | Path], progress: Progress) -> None:
    """Say that figures in a folder will be read as images, if it lies in a folder of images.

    Args:
        folder: Where figures are written.
        images: Files and folders that are read, or names of known data sets, to which a figure adds nothing.
        progress: Receives the notice.
    """
    for source in (Path(each).expanduser() for each in images if str(each) not in CATALOG):
        inside, outside = folder.resolve(), source.resolve()
        if not (source.is_dir() and inside.is_relative_to(outside)):
            continue
        if not any(part.startswith(".") for part in inside.relative_to(outside).parts):  # those are not read
            where = f"figures in {shown(folder)} will be read with the images of {shown(source)}"
            progress.notice(f"--output: {where}; choose a folder elsewhere")


def _is_figure(path: Path) -> bool:
    """Return whether aekit made an image."""
    try:
        return bool(read_parameters(path.read_bytes()))
    except (OSError, ValueError):
        return False
