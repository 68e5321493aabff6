"""Single-purpose commands for representation learning with autoencoders; ``load`` gives a checkpoint's model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aekit.errors import AekitError

if TYPE_CHECKING:
    from aekit.images.models.base import Autoencoder

__version__ = "0.1.0"
__all__ = ["AekitError", "__version__", "load"]


def load(path: str | os.PathLike[str], device: str = "cpu") -> Autoencoder:
    """Return the model of a checkpoint, ready: ``model.encode(x)`` and ``model.decode(z)`` take and give tensors.

    Args:
        path: A checkpoint that aekit wrote.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``auto``.

    Raises:
        AekitError: The file is not a checkpoint, or the device is not available.
    """
    from pathlib import Path

    from aekit.core.device import choose_device
    from aekit.core.torch_settings import torch_settings
    from aekit.images.state import read_model

    # For looking, not for training: codes and images come without a graph, so that .numpy() works on them.
    with torch_settings():  # building it draws random numbers
        return read_model(Path(path), choose_device(device))[0].requires_grad_(False)
