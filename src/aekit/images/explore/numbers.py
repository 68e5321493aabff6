"""Arrays of numbers as one block of bytes, which a page reads by name."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass
class Numbers:
    """Float32 arrays that a page reads by name.

    Attributes:
        places: Where each is: the first number, and its shape.
    """

    places: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    _blocks: list[bytes] = field(default_factory=list)
    _n_before: int = 0

    def add(self, name: str, values: npt.ArrayLike) -> None:
        """Store an array of any shape under a name."""
        array = np.ascontiguousarray(values, np.dtype("<f4"))
        self.places[name] = (self._n_before, list(array.shape))
        self._blocks.append(array.tobytes())
        self._n_before += array.size

    @property
    def data(self) -> bytes:
        """Return all arrays one after another, little-endian."""
        return b"".join(self._blocks)
