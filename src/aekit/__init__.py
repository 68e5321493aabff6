"""Single-purpose commands for representation learning with autoencoders, and the same in Python.

``aekit.train``, ``aekit.load``, ``aekit.encode`` and the others below are loaded when they are first used, so that
importing aekit costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aekit.errors import AekitError

if TYPE_CHECKING:
    from aekit.images.code_files import read_codes
    from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
    from aekit.images.models.base import Parts
    from aekit.images.session import open_session
    from aekit.python import Trained, decode, encode, evaluate, load, reconstruct, train

__version__ = "0.1.0"
__all__ = [
    "AekitError",
    "DataConfig",
    "ModelConfig",
    "Parts",
    "RunConfig",
    "TrainConfig",
    "Trained",
    "__version__",
    "decode",
    "encode",
    "evaluate",
    "load",
    "open_session",
    "read_codes",
    "reconstruct",
    "train",
]

_HOMES = {
    "aekit.python": ("Trained", "decode", "encode", "evaluate", "load", "reconstruct", "train"),
    "aekit.images.config": ("DataConfig", "ModelConfig", "RunConfig", "TrainConfig"),
    "aekit.images.models.base": ("Parts",),
    "aekit.images.session": ("open_session",),
    "aekit.images.code_files": ("read_codes",),
}


def __getattr__(name: str) -> Any:
    """Return what is imported when it is first used.

    Raises:
        AttributeError: There is nothing of that name.
    """
    for home, names in _HOMES.items():
        if name in names:
            found = getattr(importlib.import_module(home), name)
            globals()[name] = found  # once
            return found
    raise AttributeError(f"module 'aekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that there are, whether they were used or not."""
    return sorted({*globals(), *__all__})
