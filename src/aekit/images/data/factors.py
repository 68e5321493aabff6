"""Factors of variation: what each image shows, as an index into the values of every factor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Factors:
    """The factors of N images.

    Attributes:
        names: Names of the F factors.
        values: The values of each factor in ascending order, as numbers or names: F tuples.
        indices: Which of them each image has, int64 (N, F).
    """

    names: tuple[str, ...]
    values: tuple[tuple[float | str, ...], ...]
    indices: Indices

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or not len(self.names) == len(self.values) == self.indices.shape[1]:
            raise ValueError(f"{len(self.names)} names and {len(self.values)} lists of values for {self.indices.shape}")

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the number of values of each factor."""
        return tuple(map(len, self.values))

    def subset(self, indices: Indices) -> Factors:
        """Return those of the images at ``indices``, (K,)."""
        return replace(self, indices=self.indices[indices])

    def columns(self) -> dict[str, list[object]]:
        """Return the columns of a table: the index and the value of each factor: ``scale``, ``scale_value``."""
        found: dict[str, list[object]] = {}
        for number, name in enumerate(self.names):
            own = self.indices[:, number].tolist()
            found[name] = own
            found[f"{name}_value"] = [self.values[number][index] for index in own]
        return found


@dataclass(frozen=True)
class FactorGrid:
    """All combinations of the values of some factors, in a fixed order: the last factor changes fastest.

    Attributes:
        names: Names of the F factors.
        values: The values of each of them.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float | str, ...], ...]

    def __len__(self) -> int:
        return math.prod(map(len, self.values))

    def factors(self, rows: Indices) -> Factors:
        """Return the factors of some rows of the grid, (K,)."""
        indices = np.stack(np.unravel_index(rows, tuple(map(len, self.values))), axis=1)
        return Factors(self.names, self.values, indices.astype(np.int64))

    def blocks(self, rows: Indices, n_rows: int) -> Iterator[tuple[int, Indices]]:
        """Yield the place of the first of ``n_rows`` rows, and the indices of their factors, (n_rows, F)."""
        for start in range(0, len(rows), n_rows):
            yield start, self.factors(rows[start : start + n_rows]).indices


def joined(parts: Sequence[Factors]) -> Factors:
    """Return the factors of several sets of images with the same factors, one after the other."""
    return replace(parts[0], indices=np.concatenate([part.indices for part in parts]))
