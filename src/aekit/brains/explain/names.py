"""Names of the files of each scan, and where they must not be written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aekit.errors import AekitError

STEM = "explain"  # of the files about all scans
_SUFFIXES = (".nii.gz", ".nii", ".npy")


def check_folder(folder: Path, scans: Sequence[Path]) -> None:
    """Check that a folder can take the maps of some scans.

    Raises:
        AekitError: It has the name of a file, or one of the scans lies in it: its maps would be taken for scans.
    """
    if folder.suffix in (".png", ".csv", ".gz", ".nii", ".npy") and not folder.is_dir():
        raise AekitError(f"--output {folder}: is written as a folder; give a path without a suffix")
    for scan in scans:
        if scan.resolve().parent == folder.resolve():
            raise AekitError(f"--output {folder}: holds the scan {scan.name}; choose a folder without scans")


def names_of(scans: Sequence[Path]) -> list[str]:
    """Return a name for each scan: that of its file, with as many of its folders as distinguish it from the others."""
    depths = [1] * len(scans)
    while True:
        names = [_name(scan, depth) for scan, depth in zip(scans, depths, strict=True)]
        twice = {name for name, n in Counter([*(name.lower() for name in names), STEM]).items() if n > 1}
        clashing = [place for place, name in enumerate(names) if name.lower() in twice]
        longer = [place for place in clashing if depths[place] < len(scans[place].resolve().parts) - 1]
        if not longer:
            return [f"{name}-{place + 1}" if place in clashing else name for place, name in enumerate(names)]
        for place in longer:
            depths[place] += 1


def _name(scan: Path, depth: int) -> str:
    stem = scan.name
    for suffix in _SUFFIXES:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    folders = scan.resolve().parts[-depth:-1] if depth > 1 else ()
    return "_".join([*folders, stem])
