"""Single-purpose commands for representation learning with autoencoders; ``load`` gives a checkpoint's model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aekit.errors import AekitError

if TYPE_CHECKING:
    from aekit.images.models.base import Autoencoder

__version__ = "0.1.0"
__all__ = ["AekitError", "__version__", "load"]

# libgomp's idle threads spin, and two processes on the same cores then wait for each other: 5,200 images/s for one
# fell to 290 for two. With a short spin one loses 7 %, and two keep 84 % of one. libgomp reads its settings when torch
# is loaded, so they are made here, unless the user made them.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "300"


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
    from aekit.images.state import read_model

    # For looking, not for training: codes and images come without a graph, so that .numpy() works on them.
    return read_model(Path(path), choose_device(device))[0].requires_grad_(False)
