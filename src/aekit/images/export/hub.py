"""A folder for a model hub: the checkpoint and a model card. Nothing is uploaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.core.artifacts import write_atomically
from aekit.core.folders import check_new_folder, whole_folder
from aekit.core.output import Result
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, shown
from aekit.images.export.card import build_card
from aekit.images.export.parts import check_outputs
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.session import Session

WEIGHTS = "model.safetensors"  # the name that hubs and their libraries look for


@keeps_torch_settings
def write_hub(session: Session, output: Path | None) -> Result:
    """Return a new folder with the checkpoint itself, byte for byte, and README.md, its model card.

    Args:
        session: One checkpoint.
        output: A folder, new or empty; None is ``x-hub`` next to the checkpoint.

    Raises:
        AekitError: The folder is not empty or cannot be written, or the checkpoint is damaged, or computes values
            that are not finite.
    """
    path = session.paths[0]
    folder = output or path.with_name(f"{path.stem}-hub")
    check_new_folder(folder, "--output")
    (checkpoint,) = session.checkpoints()  # which compares its checksum
    check_outputs(checkpoint)
    evaluation = _read_evaluation(session, checkpoint)
    card = build_card(checkpoint, evaluation, weights=WEIGHTS, snippet_name=folder.absolute().name)
    content = path.read_bytes()
    with whole_folder(folder) as unfinished:
        write_atomically(unfinished / WEIGHTS, lambda file: file.write(content))
        write_atomically(unfinished / "README.md", lambda file: file.write(card.encode()))
    session.progress.notice(f"{folder}: its README.md names no licence; choose one before you upload it")
    return Result(folder, {"checkpoint": str(path), "files": [str(folder / WEIGHTS), str(folder / "README.md")]})


def _read_evaluation(session: Session, checkpoint: LoadedCheckpoint) -> Mapping[str, Any] | None:
    """Return what ``evaluate`` has written next to the checkpoint; None if that is nothing, or of another model."""
    path = checkpoint.path.with_suffix(".evaluate.json")
    if not path.exists():
        session.progress.notice(
            f"{checkpoint.path}: no {path.name} next to it, so the card has results without intervals; run aekit "
            "evaluate before"
        )
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parameters = found["parameters"]
        same = all(parameters[part] == what for part, what in checkpoint.header.configuration.items())
        known = checkpoint.record.fingerprints.get(parameters["options"]["split"])
        same = same and known is not None and parameters["images"]["fingerprint"] == known
        if not isinstance(parameters["options"]["split"], str) or not isinstance(found["n"], int):
            raise TypeError("its split or n is missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AekitError(f"{shown(path)}: cannot be read as results of aekit evaluate; run it again") from error
    if not same or parameters["options"]["split"] == "train":
        session.progress.notice(f"{shown(path)}: is not of held-out images of this model; the card leaves it out")
        return None
    numbers = {
        name: value
        for name, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    }
    return {**numbers, "split": parameters["options"]["split"], "images": parameters.get("images", {})}
