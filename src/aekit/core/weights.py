"""The tensors of a checkpoint: written whole with a checksum, read with it, and put into the network they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from aekit import __version__
from aekit.core.artifacts import write_atomically
from aekit.core.checkpoint import FORMAT, Header, read_header
from aekit.core.device import without_memory
from aekit.errors import AekitError, shown

Network = TypeVar("Network", bound=nn.Module)


def build_checked(
    build: Callable[[], Network], weights: dict[str, torch.Tensor], path: Path, *, is_finite: bool = False
) -> Network:
    """Return a network with its weights in it.

    It is built without memory: a header may ask for a network of any size, a file has only the weights it has. These
    then become the network's own, without drawing initial ones first.

    Args:
        build: Returns the network with any weights.
        weights: Its parameters and buffers by name; they are copied.
        path: The checkpoint, for messages.
        is_finite: Whether it is known that all weights are finite.

    Raises:
        AekitError: It cannot be built, or the weights are not the network's.
    """
    try:
        with without_memory():
            model = build()
        _check_weights(model, weights, path, is_finite=is_finite)
    except AekitError as error:
        if str(error).startswith(shown(path)):
            raise
        raise AekitError(f"{path}: its header is damaged ({error}); train it again") from error
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:  # torch's, of sizes that no tensor has
        raise AekitError(f"{path}: its header is damaged; train it again") from error
    if _takes_as_they_are(model, weights):
        # Copies, as those that were read may still lie in the file, which another program may change.
        model.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
        return model
    model = build()
    model.load_state_dict(weights)
    return model


def _takes_as_they_are(model: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    """Return whether a network without memory needs nothing but these weights: no other tensor and no other type."""
    own = model.state_dict()
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return tensors.keys() == own.keys() and all(own[name].dtype == value.dtype for name, value in weights.items())


def read_tensors(path: Path, header: Header, *, is_verified: bool = False) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors by name, on the CPU.

    Args:
        path: The checkpoint.
        header: As :func:`read_header` returned it.
        is_verified: Whether the checksum of this very file was compared before, and need not be again.

    Raises:
        AekitError: The file is damaged, or header and tensors are not those that were written.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise AekitError(f"{path}: cannot be read ({error}); train it again") from error
    try:
        is_damaged = not is_verified and header.sha256 is not None and header.sha256 != _sha256(header.entries, tensors)
    except (RuntimeError, RecursionError):  # tensors of types, or a header of a depth, that aekit never wrote
        is_damaged = True
    if is_damaged:
        raise AekitError(
            f"{path}: was damaged after it was written (its checksum is another); "
            "copy it again, or remove it and train it again"
        )
    return tensors


def checksum(path: Path, header: Header) -> str:
    """Return the checksum of a checkpoint: that in its header, or of its content if it is older than checksums.

    Raises:
        AekitError: Its weights cannot be read.
    """
    return header.sha256 or _sha256(header.entries, read_tensors(path, header))


def _sha256(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    """Return the checksum of a header, but for its own entry, and of tensors: their names, types, shapes and bytes."""
    sha256 = hashlib.sha256(json.dumps({key: value for key, value in header.items() if key != "sha256"}).encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path, *, is_finite: bool = False) -> None:
    """Copy weights into a model, all of them and nothing else.

    Args:
        model: The network.
        weights: Its parameters and buffers by name.
        path: Where they come from, for messages.
        is_finite: Whether it is known that all weights are finite.

    Raises:
        AekitError: They are not the model's, or not finite.
    """
    _check_weights(model, weights, path, is_finite=is_finite)
    model.load_state_dict(weights)


def _check_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path, *, is_finite: bool = False) -> None:
    own = model.state_dict()
    wrong = sorted(
        name
        for name in own.keys() | weights.keys()
        if name not in own or name not in weights or own[name].shape != weights[name].shape
    )
    if wrong:
        names = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise AekitError(f"{path}: its weights do not fit its header ({names}); train it again")
    if not is_finite:
        _refuse_infinite(weights, path)


def check_intact(path: Path, header: Header | None = None) -> None:
    """Read a checkpoint's weights and refuse those that are damaged or not finite, without building the network.

    Args:
        path: The checkpoint.
        header: As :func:`read_header` returned it; None reads it.

    Raises:
        AekitError: They are, or the file cannot be read.
    """
    _refuse_infinite(read_tensors(path, header or read_header(path)), path)


def _refuse_infinite(weights: dict[str, torch.Tensor], path: Path) -> None:
    infinite = [name for name, value in weights.items() if not _is_finite(value)]
    if infinite:
        raise AekitError(f"{path}: its weights are not finite ({infinite[0]}); train it again, with a lower --lr")


def _is_finite(value: torch.Tensor) -> bool:
    # A sum is finite only if all its terms are; one that overflows says nothing of them. It takes a fifth of the time.
    if value.dtype == torch.float32 and bool(value.sum().isfinite()):
        return True
    return bool(value.isfinite().all())


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], header: Header) -> Path:
    """Return ``path`` with tensors and header, whole or not at all, the same bytes for the same content."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # As it will be read: JSON has lists for tuples, and texts for the keys of objects.
    entries = {"format": FORMAT, "aekit": __version__, **header.to_dict()}
    entries = json.loads(json.dumps(entries, allow_nan=False))
    entries["sha256"] = _sha256(entries, own)
    # One metadata entry: several would be stored in an order that changes from run to run.
    content = save(own, {"aekit": json.dumps(entries)})
    return write_atomically(path, lambda file: file.write(content))
