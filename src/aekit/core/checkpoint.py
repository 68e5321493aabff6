"""Checkpoints: one ``.safetensors`` file with weights, and in its header everything to rebuild and explain the model.

The header's metadata has one entry, ``aekit``, a JSON object:

- ``format``: 1; ``aekit``: the version that wrote it;
- ``model``, ``data``, ``train``: the run's configuration, every default filled in, and for the data also the shape and
  fingerprint of each split;
- ``lineage``: only in a run with ``--init``: the checkpoint whose weights it began with, and its ancestors;
- ``ran_on``: device type, threads, precision and number of processes, if there were several, on which the
  last digits of results may depend;
- ``result``: the test results and the history, without timings, so that equal runs give equal bytes;
- ``state``: only in a ``.resume.safetensors``, where an unfinished run stands;
- ``sha256``: checksum of all the above and of the weights, verified whenever weights are read; optional.

This module needs only the standard library.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from aekit import __version__
from aekit.errors import AekitError

FORMAT = 1
RESUME_SUFFIX = ".resume.safetensors"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


@dataclass(frozen=True)
class Header:
    """The header of a checkpoint; its parts are plain JSON values.

    Attributes:
        model: Which network: its configuration, with ``kind``.
        data: What it was trained on: the configuration, and the shape and the fingerprint of each split.
        train: How it was trained: the configuration.
        ran_on: Device, threads, precision and number of processes.
        lineage: The checkpoint whose weights a run began with, then its ancestors: name, sha256 and epoch of each.
        result: Test results and history; empty while a run is in progress.
        state: How far an unfinished run has come; None in a finished checkpoint.
        members: Which network of an ensemble is which; None for a single one.
        aekit: Version that wrote it.
        format: Format of the file.
        sha256: Checksum of header and weights; None in a file that is older than it.
        entries: All entries as they stand in the file, for its checksum; empty until it is written.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    train: dict[str, Any]
    ran_on: dict[str, Any] = field(default_factory=dict)
    lineage: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] | None = None
    members: list[list[Any]] | None = None
    aekit: str = __version__
    format: int = FORMAT
    sha256: str | None = None
    entries: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """Return the kind of model: ``ae``, ``vae`` or ``brain``."""
        return str(self.model.get("kind"))

    @property
    def configuration(self) -> dict[str, dict[str, Any]]:
        """Return the three parts that describe the run: model, data and train."""
        return {"model": self.model, "data": self.data, "train": self.train}

    @property
    def ancestors(self) -> str:
        """Return the checkpoints that a run began with in words, the youngest first; empty if there are none."""
        return ", after ".join(
            f"{each['name']} (epoch {each['epoch']}{_of_data(each)}, sha256 {each['sha256'][:12]})"
            for each in self.lineage
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the parts that are not empty, in the order in which they are written."""
        parts: dict[str, Any] = {"lineage": self.lineage, "ran_on": self.ran_on, "result": self.result}
        parts |= {"state": self.state, "members": self.members}
        return {**self.configuration, **{name: part for name, part in parts.items() if part}}


def _of_data(ancestor: dict[str, Any]) -> str:
    return f" on {ancestor['data']}" if "data" in ancestor else ""


# The structure of a header: {name: what}, "*" for all other names, [what] for lists, [a, b] for lists of two, and a
# pair of dictionaries where the names of the first must be present. Older versions of aekit left some entries out.
_COUNT, _NUMBER, _MAYBE = int, (int, float), (int, float, type(None))
_ROW = {"epoch": _COUNT, "split": str, **dict.fromkeys(("total", "reconstruction", "kl", "mse"), _MAYBE)}
_METRIC = {"target": str, "model": str, "split": str, "mae": _MAYBE}
_INTERVAL = {"model": str, "target": str, "half_width": _NUMBER, "coverage": _NUMBER}
_SCALE = dict.fromkeys(("half_width", "centre", "sd", "slope", "low", "high"), _NUMBER)
_TREND = {"model": str, "intercept": _NUMBER, "slope": _NUMBER}
_DELTA = {"model": str, "group": str, "split": str, "n": _COUNT, **dict.fromkeys(("mean", "low", "high"), _MAYBE)}
_DELTA |= dict.fromkeys(("difference", "difference_low", "difference_high"), _MAYBE)
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
    "lineage": [({"name": str, "sha256": str, "epoch": int}, {"*": object})],
    "ran_on": {"*": (str, int)},
    "result": {
        "parameters": _COUNT,
        "epoch": _COUNT,
        "test": {"split": str, "*": _MAYBE},
        "history": [(_ROW, {"*": _MAYBE})],
        "judged": str,
        "metrics": [(_METRIC, {"mae_low": _MAYBE, "mae_high": _MAYBE, "*": object})],
        "conformal": [(_INTERVAL, {"scale": (_SCALE, {}), "*": object})],
        "deltas": [(_DELTA, {})],
        "age_trend": [(_TREND, {"*": object})],
        "best_age_model": str,
        "against_baseline": {
            **dict.fromkeys(("model", "baseline", "split"), str),
            **dict.fromkeys(("mae", "baseline_mae", "difference"), _NUMBER),
            **dict.fromkeys(("low", "high"), _MAYBE),
            "*": object,
        },
        "stack": (
            {"models": [str], "weights": [_NUMBER], "mean_years": _NUMBER},
            {"voxel_bias": _NUMBER, "*": object},
        ),
        "ridge_histogram": ({"targets": [str], "folds": [{"weight": [[_NUMBER]], "bias": [_NUMBER]}]}, {}),
        "seen": {
            **{name: [_NUMBER, _NUMBER] for name in ("age_years", "brain_ml", "spacing_mm")},
            "shapes": [[_COUNT]],
            "intensity": [_NUMBER],
            "intensity_distance": _NUMBER,
        },
        "features": ({"names": [str], "ignored": [str], "sites": [[str]]}, {}),
        "poses": ({name: [_NUMBER, _NUMBER] for name in ("correlation", "scale", "rotation_deg")}, {}),
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
    """An intact file that holds something other than a model, such as codes."""


def read_header(path: Path) -> Header:
    """Return the header of a checkpoint, after checking that the file is complete.

    Raises:
        AekitError: The file is missing, not a checkpoint, of another program or a newer format, or truncated.
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
    known = {each.name for each in fields(Header)} - {"entries"}
    return Header(**{"aekit": "", **{key: value for key, value in header.items() if key in known}}, entries=header)


def _is_made_of(value: object, what: Any) -> bool:
    """Return whether a value has the structure that ``_PARTS`` describes."""
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


def resume_path(path: Path) -> Path:
    """Return where the state of an unfinished run is kept: ``x.resume.safetensors`` next to ``x.safetensors``."""
    return path.with_name(path.stem + RESUME_SUFFIX)


def read_state_header(path: Path) -> Header:
    """Return the header of the state of an unfinished run.

    Raises:
        AekitError: It is damaged, or the file is not such a state.
    """
    try:
        header = read_header(path)
    except AekitError as error:
        raise damaged_state(path) from error
    if header.state is None:
        raise AekitError(f"{path}: holds no state of an unfinished run; start over with --overwrite")
    return header


def damaged_state(path: Path) -> AekitError:
    """Return the error that reports a damaged state of an unfinished run."""
    return AekitError(f"{path}: is the damaged state of an unfinished run; start over with --overwrite")
