"""The same scan in several files, which must not count as several people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.core.text_table import named


@dataclass(frozen=True, eq=False)
class Copies:
    """Scans that are the same in voxels and affine.

    Attributes:
        groups: Rows of each scan that occurs more than once.
        is_repeated: Which are the same as one before, (n,).
    """

    groups: list[list[int]]
    is_repeated: npt.NDArray[np.bool_]


def find_copies(digests: Sequence[str]) -> Copies:
    """Return which scans are copies of each other.

    Args:
        digests: Of n scans, the same for copies; empty where unknown.
    """
    rows_of: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest:
            rows_of.setdefault(digest, []).append(row)
    groups = [rows for rows in rows_of.values() if len(rows) > 1]
    is_repeated = np.zeros(len(digests), np.bool_)
    is_repeated[[row for rows in groups for row in rows[1:]]] = True
    return Copies(groups, is_repeated)


def describe_copies(copies: Copies, names: Sequence[str], *, has_reference: bool) -> str:
    """Return which files hold the same scan; empty if none do.

    Args:
        copies: From :func:`find_copies`.
        names: Of the n files.
        has_reference: Whether errors of some of these scans are measured.
    """
    if not copies.groups:
        return ""
    listed = named(" and ".join(names[row] for row in rows) for rows in copies.groups)
    once = "; each counts once in the reference" if has_reference else ""
    return f"the same scan in several files ({listed}): check which names are wrong{once}"
