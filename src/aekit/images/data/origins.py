"""Where each image of a set came from: its file, and its row or page in a file of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Origins:
    """The file of each image, relative to the folder or the data set that was named, and the row within the file.

    Attributes:
        files: The files.
        numbers: Which of the files each image is from, (N,).
        rows: Row of an array or page of a file, from 0, (N,); None if each file is one image.
    """

    files: Sequence[str]
    numbers: Indices
    rows: Indices | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def subset(self, indices: Indices) -> Origins:
        """Return those of the images at ``indices``, (K,)."""
        return Origins(self.files, self.numbers[indices], None if self.rows is None else self.rows[indices])

    def file(self, index: int) -> str:
        """Return the file of image ``index``."""
        return self.files[int(self.numbers[index])]

    def text(self, index: int) -> str:
        """Return the file of image ``index``, and its row if there are several in it: ``faces.npz[12]``."""
        return self.file(index) if self.rows is None else f"{self.file(index)}[{self.rows[index]}]"

    def columns(self, indices: Indices | None = None) -> dict[str, list[object]]:
        """Return the columns of a table: ``file``, and ``row`` if a file holds several images.

        Args:
            indices: The images, (K,); None is all.
        """
        chosen = self if indices is None else self.subset(indices)
        columns: dict[str, list[object]] = {"file": [chosen.file(i) for i in range(len(chosen))]}
        return columns if chosen.rows is None else {**columns, "row": chosen.rows.tolist()}

    def __add__(self, other: Origins) -> Origins:
        numbers = np.concatenate([self.numbers, other.numbers + len(self.files)])
        if self.rows is None and other.rows is None:
            return Origins([*self.files, *other.files], numbers)
        rows = [np.zeros(len(each), np.int64) if each.rows is None else each.rows for each in (self, other)]
        return Origins([*self.files, *other.files], numbers, np.concatenate(rows))


def rows_of(file: str, rows: Indices) -> Origins:
    """Return the origins of rows of one file, (N,)."""
    return Origins([file], np.zeros(len(rows), np.int64), rows)
