"""What a run records of the checkpoint that it begins with (``--init``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aekit.core.checkpoint import Header
from aekit.core.weights import checksum


def lineage_of(path: Path, header: Header, epoch: int) -> list[dict[str, Any]]:
    """Return what a run records that begins with a checkpoint: this one, and then its ancestors, the youngest first.

    Args:
        path: The checkpoint.
        header: As it was read from there.
        epoch: The epoch of its weights.

    Raises:
        AekitError: Its weights cannot be read.
    """
    data = {"data": header.data["name"]} if "name" in header.data else {}
    return [{"name": path.name, "sha256": checksum(path, header), "epoch": epoch, **data}, *header.lineage]
