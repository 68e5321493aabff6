"""``aekit export``: a model as files that need no aekit: ONNX, TorchScript, exported programs, a folder for a hub."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from aekit.core.artifacts import check_writable, write_atomically
from aekit.core.device import torch_generator, use_threads
from aekit.core.output import Result
from aekit.core.settings import check_choice
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, UsageError
from aekit.images.config import ExportFormat, ExportPart
from aekit.images.export.hub import write_hub
from aekit.images.export.onnx_files import MAX_BYTES, check_installed, run_onnx, write_onnx
from aekit.images.export.parts import Part, PartName, build_parts, check_outputs
from aekit.images.export.torch_files import run_program, run_torchscript, write_program, write_torchscript
from aekit.images.inference import evaluation_mode
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.session import Session

BATCHES = (1, 3, 64)  # sizes of batch that are compared
LARGEST_DIFFERENCE = 1e-4  # of an output, or relative where it is larger than 1


@dataclass(frozen=True)
class _Kind:
    """A format of files.

    Attributes:
        suffix: Of the files.
        write: Returns the content for a part.
        run: Returns the outputs of a content for inputs by name.
        max_bytes: Of the weights in a file; None is any number.
    """

    suffix: str
    write: Callable[[Part], bytes]
    run: Callable[[bytes, dict[str, Tensor]], list[Tensor]]
    max_bytes: int | None = None


_KINDS: dict[str, _Kind] = {
    "onnx": _Kind(".onnx", write_onnx, run_onnx, MAX_BYTES),
    "torchscript": _Kind(".pt", write_torchscript, run_torchscript),
    "pt2": _Kind(".pt2", write_program, run_program),
}


def run_export(
    session: Session,
    output: Path | None = None,
    *,
    file_format: ExportFormat | None = None,
    part: ExportPart = "all",
) -> Result:
    """Return the main file of an exported model: ``x.onnx``, or a folder of ``hub``.

    ``all`` writes three files, as each is what someone wants alone, and a file with two entries is known to few
    programs: ``x.onnx`` reconstructs, ``x.encoder.onnx`` gives codes, and ``x.decoder.onnx`` images of codes. A single
    part goes to ``output`` under just this name. Each content is compared with the model before anything is written.

    Args:
        session: One checkpoint, on the CPU.
        output: A file, or a folder, which has no suffix or is there already; for ``hub`` a new folder. None is next to
            the checkpoint: ``x.onnx``, ``x.pt``, ``x.pt2``, ``x-hub``.
        file_format: None goes by the suffix of ``output``, or is ``onnx``.
        part: ``encoder``, ``decoder``, ``both`` or ``all``.

    Raises:
        UsageError: The suffix contradicts the format, or a part is asked of ``hub``.
        AekitError: There are several checkpoints, a package is missing, the model is too large for the format or
            computes values that are not finite, the exported one something else, or a file cannot be written.
    """
    check_choice("part", part, ExportPart)
    if len(session.paths) != 1:
        raise AekitError(
            f"export: takes one checkpoint at a time, not {len(session.paths)}; run it for each separately"
        )
    chosen = _format(file_format, output)
    if chosen == "hub":
        if part != "all":
            raise UsageError(f"--part {part}: --format hub holds the whole checkpoint; leave it out")
        return write_hub(session, output)
    if chosen == "onnx":
        check_installed()
    targets = _targets(session.paths[0], output, _KINDS[chosen].suffix, part)
    for target in targets.values():
        check_writable(target)
    checkpoint = _load(session)
    with use_threads(session.threads):
        return _export(session, checkpoint, _KINDS[chosen], targets)


@keeps_torch_settings
def _load(session: Session) -> LoadedCheckpoint:
    # Apart from what follows: torch exports nothing while products are kept exact in aekit's way (torch 2.14).
    (checkpoint,) = session.checkpoints()
    return checkpoint


def _format(file_format: ExportFormat | None, output: Path | None) -> ExportFormat:
    if file_format is not None:
        check_choice("format", file_format, ExportFormat)
    of_suffix: dict[str, ExportFormat] = {".onnx": "onnx", ".pt": "torchscript", ".pt2": "pt2"}
    suffix = "" if output is None or output.is_dir() else output.suffix
    if suffix and suffix not in of_suffix:
        if file_format == "hub":  # a folder may have a point in its name
            return "hub"
        raise AekitError(f"--output {output}: cannot be written as {suffix}; use {', '.join(of_suffix)}")
    found = of_suffix.get(suffix)
    if file_format is not None and found not in (None, file_format):
        raise UsageError(f"--format {file_format}: contradicts --output {output}; leave one of them out")
    return file_format or found or "onnx"


def _targets(path: Path, output: Path | None, suffix: str, part: ExportPart) -> dict[PartName, Path]:
    """Return the file of each part; the main one is first."""
    is_file = output is not None and output.suffix and not output.is_dir()
    folder = path.parent if output is None else output
    main = output if output is not None and is_file else folder / f"{path.stem}{suffix}"
    named: dict[PartName, Path] = {"both": main}
    named |= {"encoder": main.with_suffix(f".encoder{suffix}"), "decoder": main.with_suffix(f".decoder{suffix}")}
    if part == "all":
        return named
    return {part: main if is_file else named[part]}


def _export(session: Session, checkpoint: LoadedCheckpoint, kind: _Kind, targets: dict[PartName, Path]) -> Result:
    parts = build_parts(checkpoint, list(targets))
    for part in parts:
        check_size(checkpoint, part, kind.max_bytes)
    check_outputs(checkpoint)
    contents: dict[PartName, bytes] = {}
    largest = 0.0
    with _quietly():
        for number, part in enumerate(parts):
            session.progress.update("export", number, len(targets))
            contents[part.name] = kind.write(part)
            difference = _difference(checkpoint, part, kind, contents[part.name])
            if not difference <= LARGEST_DIFFERENCE:
                raise AekitError(
                    f"{checkpoint.path}: the exported {part.name} computes values that differ by {difference:.2g} from "
                    f"the model's, more than {LARGEST_DIFFERENCE:g}, so nothing was written; try another --format"
                )
            largest = max(largest, difference)
        session.progress.update("export", len(targets), len(targets))
    for name, target in targets.items():
        write_atomically(target, lambda file, name=name: file.write(contents[name]))  # type: ignore[misc]
    main = next(iter(targets.values()))
    _say(session, checkpoint, targets, largest)
    values: dict[str, Any] = {"checkpoint": str(checkpoint.path), "largest_difference": largest}
    return Result(main, values | {"files": {name: str(target) for name, target in targets.items()}})


def check_size(checkpoint: LoadedCheckpoint, part: Part, max_bytes: int | None) -> None:
    """Raise an AekitError if a part is too large for a format."""
    if max_bytes is not None and part.n_bytes > max_bytes:
        raise AekitError(
            f"{checkpoint.path}: its {part.name} has {part.n_bytes / 1e9:.2f} GB of weights, and an ONNX file holds at "
            f"most {max_bytes / 1e9:.2f} GB; use --format pt2, or export a smaller --part"
        )


def _difference(checkpoint: LoadedCheckpoint, part: Part, kind: _Kind, content: bytes) -> float:
    """Return the largest difference between the outputs of model and file, NaN if their shapes differ."""
    generator, largest = torch_generator(0, 7), 0.0
    for n in BATCHES:
        inputs = part.example(n, generator)
        with evaluation_mode(checkpoint.model):
            expected = part.module(*inputs)
        found = kind.run(content, dict(zip(part.inputs, inputs, strict=True)))
        if [each.shape for each in found] != [each.shape for each in expected]:
            return float("nan")
        for one, other in zip(found, expected, strict=True):
            difference = ((one - other).abs() / other.abs().clamp(min=1)).max()
            largest = max(largest, float(difference)) if difference.isfinite() else float("nan")
    return largest


def _say(session: Session, checkpoint: LoadedCheckpoint, targets: dict[PartName, Path], largest: float) -> None:
    sizes = ", ".join(map(str, BATCHES[:-1]))
    main, *others = targets.values()
    session.progress.notice(
        f"{main}: differs from the model by {largest:.2g} at most, in batches of {sizes} and {BATCHES[-1]}"
        + (f"; also written: {', '.join(map(str, others))}" if others else "")
    )
    if checkpoint.record.model.prior != "normal":
        session.progress.notice(
            f"{checkpoint.path}: its learned prior is not part of the files; aekit sample --codes draws codes from it"
        )
    if checkpoint.model.lower is not None and "both" in targets:
        session.progress.notice(
            f"{checkpoint.path}: of its two layers, both reconstructs from the posterior mean of the lower one, and "
            "decoder from its mean given the code"
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence torch on its own exporters: that one is deprecated, or has no translation for what is not in a model."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
