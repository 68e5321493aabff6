"""Arrays as .safetensors files that are results, not checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from aekit.core.artifacts import write_atomically


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], parameters: dict[str, Any]) -> Path:
    """Return ``path`` with arrays by name, and the parameters that produced them in the metadata ``aekit``."""
    content = save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        {"aekit": json.dumps(parameters, sort_keys=True)},
    )
    return write_atomically(path, lambda file: file.write(content))
