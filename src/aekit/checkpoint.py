"""Checkpoints: one ``.safetensors`` file with weights, and in its header everything to rebuild and explain the model.

The header's metadata has one entry, ``aekit``, a JSON object:

- ``format``: 1; ``aekit``: the version that wrote it;
- ``model``, ``data``, ``train``: the run's configuration, every default filled in, and for the data also the shape and
  fingerprint of each split;
- ``ran_on``: device type, threads, precision and number of processes, if there were several, on which the
  last digits of results may depend;
- ``result``: the test figures and the history, without timings, so that equal runs make equal bytes;
- ``state``: only in a ``.resume.safetensors``, where an unfinished run stands;
- ``sha256``: of all the above and of the weights, looked at whenever weights are read; a file without it is read too.

:func:`read_header` needs the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aekit.artifacts import write_atomically
from aekit.config import ModelConfig, from_dict
from aekit.errors import AekitError, shown

if TYPE_CHECKING:
    import torch
    from torch import nn

    from aekit.models.base import Autoencoder
    from aekit.steps import Run
    from aekit.training import State

Network = TypeVar("Network", bound="nn.Module")

FORMAT = 1
RESUME_SUFFIX = ".resume.safetensors"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
Header = dict[str, Any]


# What a header is made of, for those who read it: {name: what}, "*" for all other names, [what] for lists, and [a, b]
# for lists of two. An older aekit left some out, and a list of names says which may not be missing.
_COUNT, _NUMBER, _MAYBE = int, (int, float), (int, float, type(None))
_ROW = {"epoch": _COUNT, "split": str, **dict.fromkeys(("total", "reconstruction", "kl", "mse"), _MAYBE)}
_METRIC = {"target": str, "model": str, "split": str, "mae": _MAYBE}
_INTERVAL = {"model": str, "target": str, "half_width": _NUMBER, "coverage": _NUMBER}
_PARTS: dict[str, Any] = {
    "aekit": str,
    "model": {"kind": str, "*": object},
    "data": {
        "name": str,
        "shape": [_COUNT],
        "splits": {"*": {"n": _COUNT, "fingerprint": str, "*": object}},
        "people": _COUNT,
        "n_bins": _COUNT,
        "*": object,
    },
    "train": {"*": object},
    "ran_on": {"*": (str, int)},
    "result": {
        "parameters": _COUNT,
        "epoch": _COUNT,
        "test": {"split": str, "*": _MAYBE},
        "history": [(_ROW, {"*": _MAYBE})],
        "judged": str,
        "metrics": [(_METRIC, {"mae_low": _MAYBE, "mae_high": _MAYBE, "*": object})],
        "conformal": [(_INTERVAL, {"*": object})],
        "seen": {
            **{name: [_NUMBER, _NUMBER] for name in ("age_years", "brain_ml", "spacing_mm")},
            "shapes": [[_COUNT]],
            "intensity": [_NUMBER],
            "intensity_distance": _NUMBER,
        },
        "*": object,
    },
    "members": [[(str, int)]],
    "state": {
        **dict.fromkeys(("epoch", "step", "best_epoch"), _COUNT),
        "seconds": _NUMBER,
        "best_total": _MAYBE,
        "*": object,
    },
    "sha256": str,
    "*": object,
}


class NotAModelError(AekitError):
    """A file that is whole, but holds something else than a model, such as codes."""


def read_header(path: Path) -> Header:
    """Return what a checkpoint says of itself, after checking that the file is whole.

    Raises:
        AekitError: Not there, not a checkpoint, of another program or a newer format, or cut short.
    """
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if n_bytes < 8 or length > min(n_bytes - 8, MAX_HEADER_BYTES):
                raise _not_a_checkpoint(path)
            head = json.loads(file.read(length))
    except OSError as error:
        raise AekitError(f"{path}: cannot be read ({error.strerror}); give the path of a checkpoint") from error
    except (ValueError, RecursionError) as error:
        raise _not_a_checkpoint(path) from error
    metadata = head.pop("__metadata__", {}) if isinstance(head, dict) else {}
    if not isinstance(metadata, dict) or "aekit" not in metadata:
        raise NotAModelError(f"{path}: was written by another program; give a checkpoint that aekit trained")
    header = _parse_metadata(path, metadata["aekit"])
    try:
        end = max((entry["data_offsets"][1] for entry in head.values()), default=0)
    except (TypeError, KeyError, IndexError) as error:
        raise _not_a_checkpoint(path) from error
    if 8 + length + end != n_bytes:
        raise AekitError(f"{path}: is cut short or padded ({n_bytes} bytes, not {8 + length + end}); train it again")
    return header


def _parse_metadata(path: Path, text: object) -> Header:
    try:
        header = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise AekitError(f"{path}: its header is damaged; train it again") from error
    if isinstance(header, dict) and "command" in header:
        raise NotAModelError(f"{path}: holds what aekit {header['command']} made, not a model; give a checkpoint")
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise AekitError(f"{path}: its header is damaged; train it again")
    if header["format"] > FORMAT:
        raise AekitError(
            f"{path}: has format {header['format']}, newer than {FORMAT}, which this aekit reads; install a newer aekit"
        )
    if not all(part in header for part in ("model", "data", "train")) or not _is_made_of(header, _PARTS):
        raise AekitError(f"{path}: its header is damaged; train it again")
    return header


def _is_made_of(value: object, what: Any) -> bool:
    """Return whether a value is made of what it should be, as ``_PARTS`` says it."""
    if isinstance(what, dict):
        others = what.get("*", object)
        return isinstance(value, dict) and all(_is_made_of(one, what.get(key, others)) for key, one in value.items())
    if isinstance(what, list):
        whats = what if len(what) > 1 else what * len(value) if isinstance(value, list) else []
        return isinstance(value, list) and len(value) == len(whats) and all(map(_is_made_of, value, whats))
    if isinstance(what, tuple) and isinstance(what[0], dict):
        needed, others = what
        return isinstance(value, dict) and needed.keys() <= value.keys() and _is_made_of(value, {**others, **needed})
    if isinstance(value, int) and what is not object:  # JSON's are of any length
        return not isinstance(value, bool) and abs(value) < 2**63 and isinstance(value, what)
    return isinstance(value, what)


def _not_a_checkpoint(path: Path) -> AekitError:
    return AekitError(f"{path}: is not a safetensors file, or a damaged one; give the path of a checkpoint")


def read_model(path: Path, device: torch.device) -> tuple[Autoencoder, Header]:
    """Return a checkpoint's network on ``device``, ready to encode and decode, and its header.

    Raises:
        AekitError: As :func:`read_header`, or the weights are not those of the network in the header.
    """
    from aekit.models import build_model

    header = read_header(path)
    if "state" in header:
        finished = path.with_name(path.name.replace(".resume.", "."))
        raise AekitError(f"{path}: is an unfinished run; finish it with --resume and use {finished.name}")
    if header["model"].get("kind") == "brain":
        raise AekitError(f"{path}: holds networks that read brains, no autoencoder; aekit mri-predict takes it")
    shape = header["data"].get("shape")
    if not (isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise AekitError(f"{path}: its header gives no image shape; train it again")
    config, image_shape = from_dict(ModelConfig, header["model"], str(path)), (shape[0], shape[1], shape[2])
    model = build_checked(lambda: build_model(config, image_shape), read_tensors(path, header), path)
    model.name = str(path)
    return model.to(device).eval(), header


def build_checked(build: Callable[[], Network], weights: dict[str, torch.Tensor], path: Path) -> Network:
    """Return a network with its weights in it.

    It is built without memory first: a header may ask for a network of any size, a file has only the weights it has.

    Raises:
        AekitError: It cannot be built, or the weights are not the network's.
    """
    import torch

    try:
        with torch.device("meta"):
            _check_weights(build(), weights, path)
    except AekitError as error:
        if str(error).startswith(shown(path)):
            raise
        raise AekitError(f"{path}: its header is damaged ({error}); train it again") from error
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:  # torch's, of sizes that no tensor has
        raise AekitError(f"{path}: its header is damaged; train it again") from error
    model = build()
    model.load_state_dict(weights)
    return model


def read_tensors(path: Path, header: Header) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors by name, on the CPU.

    Args:
        path: The checkpoint.
        header: As :func:`read_header` returned it.

    Raises:
        AekitError: The file is damaged, or header and tensors are not those that were written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise AekitError(f"{path}: cannot be read ({error}); train it again") from error
    try:
        is_damaged = "sha256" in header and header["sha256"] != _sha256(header, tensors)
    except (RuntimeError, RecursionError):  # tensors of types, or a header of a depth, that aekit never wrote
        is_damaged = True
    if is_damaged:
        raise AekitError(
            f"{path}: was damaged after it was written (its checksum is another); "
            "copy it again, or remove it and train it again"
        )
    return tensors


def _sha256(header: Header, tensors: dict[str, torch.Tensor]) -> str:
    """Return the checksum of a header, but for its own entry, and of tensors: their names, types, shapes and bytes."""
    import torch

    sha256 = hashlib.sha256(json.dumps({key: value for key, value in header.items() if key != "sha256"}).encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Copy weights into a model, all of them and nothing else.

    Raises:
        AekitError: They are not the model's, or not finite.
    """
    _check_weights(model, weights, path)
    model.load_state_dict(weights)


def _check_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    own = model.state_dict()
    wrong = sorted(
        name
        for name in own.keys() | weights.keys()
        if name not in own or name not in weights or own[name].shape != weights[name].shape
    )
    if wrong:
        names = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise AekitError(f"{path}: its weights do not fit its header ({names}); train it again")
    _refuse_infinite(weights, path)


def refuse_damaged(path: Path) -> None:
    """Read a checkpoint's weights and refuse those that are damaged or not finite, without building the network.

    Raises:
        AekitError: They are, or the file cannot be read.
    """
    _refuse_infinite(read_tensors(path, read_header(path)), path)


def _refuse_infinite(weights: dict[str, torch.Tensor], path: Path) -> None:
    infinite = [name for name, value in weights.items() if not value.isfinite().all()]
    if infinite:
        raise AekitError(f"{path}: its weights are not finite ({infinite[0]}); train it again, with a lower --lr")


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], header: Header) -> Path:
    """Return ``path`` with tensors and header, whole or not at all, the same bytes for the same content."""
    from safetensors.torch import save

    from aekit import __version__

    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # As it will be read: JSON has lists for tuples, and texts for the keys of objects.
    header = json.loads(json.dumps({"format": FORMAT, "aekit": __version__, **header}, allow_nan=False))
    header["sha256"] = _sha256(header, own)
    # One metadata entry: several would be stored in an order that changes from run to run.
    content = save(own, {"aekit": json.dumps(header)})
    return write_atomically(path, lambda file: file.write(content))


def resume_path(path: Path) -> Path:
    """Return where the state of an unfinished run is kept: ``x.resume.safetensors`` beside ``x.safetensors``."""
    return path.with_name(path.stem + RESUME_SUFFIX)


def write_state(path: Path, run: Run, state: State, header: Header) -> Path:
    """Return ``path`` with everything it takes to go on with a run: see :class:`aekit.training.State`."""
    names = [name for name, _ in run.model.named_parameters()]
    tensors = {f"model.{name}": value for name, value in run.model.state_dict().items()}
    for index, moments in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{key}.{names[index]}": value for key, value in moments.items()}
    tensors |= {f"best.{name}": value for name, value in state.best_weights.items()}
    tensors |= {"noise": run.noise.get_state(), "terms": state.terms}
    where = {
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.seconds,
        "history": [asdict(row) for row in state.history],
        "best_total": state.best_total if math.isfinite(state.best_total) else None,
        "best_epoch": state.best_epoch,
    }
    return write_checkpoint(path, tensors, {**header, "state": where})


def read_state_header(path: Path) -> Header:
    """Return what the state of an unfinished run says of itself.

    Raises:
        AekitError: It is damaged, or no such state.
    """
    try:
        header = read_header(path)
    except AekitError as error:
        raise _damaged_state(path) from error
    if not isinstance(header.get("state"), dict):
        raise AekitError(f"{path}: holds no state of an unfinished run; start over with --overwrite")
    return header


def _damaged_state(path: Path) -> AekitError:
    return AekitError(f"{path}: the state of an unfinished run, is damaged; start over with --overwrite")


def read_state(path: Path, run: Run) -> State:
    """Return where an unfinished run stands, after putting weights, optimiser and noise back into ``run``.

    Raises:
        AekitError: The file is damaged or does not belong to such a run.
    """
    import torch

    from aekit.training import Row, State

    header = read_state_header(path)
    where = header["state"]
    try:
        tensors = read_tensors(path, header)
    except AekitError as error:
        raise _damaged_state(path) from error
    load_weights(run.model, _strip_prefix(tensors, "model."), path)
    try:
        moments = {
            index: {
                "step": tensors[f"optimizer.step.{name}"],
                # The fused optimiser walks through memory, so moments must lie there in the order of their weights.
                "exp_avg": torch.empty_like(parameter).copy_(tensors[f"optimizer.exp_avg.{name}"]),
                "exp_avg_sq": torch.empty_like(parameter).copy_(tensors[f"optimizer.exp_avg_sq.{name}"]),
            }
            for index, (name, parameter) in enumerate(run.model.named_parameters())
            if f"optimizer.step.{name}" in tensors
        }
        groups = run.optimizer.state_dict()["param_groups"]
        run.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        run.noise.set_state(tensors["noise"])
        terms = tensors["terms"]
        if terms.ndim != 2 or terms.shape[1] != 3 or not 0 <= where["step"] <= len(terms) or where["epoch"] < 0:
            raise ValueError("its losses do not fit its step")
        return State(
            epoch=where["epoch"],
            step=where["step"],
            seconds=where["seconds"],
            terms=tensors["terms"].to(run.train.device),
            history=[Row(**row) for row in where["history"]],
            best_total=math.inf if where["best_total"] is None else where["best_total"],
            best_epoch=where["best_epoch"],
            best_weights=_strip_prefix(tensors, "best."),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise AekitError(f"{path}: is damaged ({error}); start over with --overwrite") from error


def _strip_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
