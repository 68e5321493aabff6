"""Cells that are in the folder of a sweep under another name than theirs: they are found, not trained again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from aekit.core.checkpoint import RESUME_SUFFIX, read_header, resume_path
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count
from aekit.images.config import RunConfig
from aekit.images.run_headers import run_files
from aekit.images.sweep.plan import Cell, Plan

_Key = tuple[object, ...]


def keep_names(plan: Plan, progress: Progress = SILENT) -> Plan:
    """Return the plan with the cells whose run is in its folder under another name at the path of that run.

    Such runs are those of an earlier version, of a sweep over other options or the same ones in another order, and of
    a training command. Finished or not, they have the settings of their cell.

    Args:
        plan: What is about to be trained.
        progress: Told how many there are.
    """
    missing: dict[_Key, list[Cell]] = {}
    for cell in plan.cells:
        if not (cell.path.exists() or resume_path(cell.path).exists()):
            missing.setdefault(_key_of(cell.config), []).append(cell)
    found: dict[Path, Path] = {}
    for path in _others(plan) if missing else ():
        for cell in missing.get(_key_in(path), ()):
            if cell.path not in found and _is_of(cell, path):
                found[cell.path] = _finished_name(path)
                break
    if found:
        first = next(cell for cell in plan.cells if cell.path in found)
        are = "are there under other names, which they keep"
        are = "is there under another name, which it keeps" if len(found) == 1 else are
        progress.notice(
            f"{plan.folder}: {len(found)} of {count(len(plan.cells), 'cell')} {are}; the first is "
            f"{found[first.path].name} ({first.label})"
        )
    return replace(plan, cells=tuple(replace(cell, path=found.get(cell.path, cell.path)) for cell in plan.cells))


def _others(plan: Plan) -> Iterator[Path]:
    """Yield the checkpoints and states in the folder that are not at the path of a cell."""
    own = {cell.path for cell in plan.cells}
    for path in sorted(plan.folder.glob("*.safetensors")):
        if _finished_name(path) not in own:
            yield path


def _finished_name(path: Path) -> Path:
    """Return the checkpoint of a run, given it or its state."""
    return path.with_name(f"{path.name.removesuffix(RESUME_SUFFIX)}.safetensors") if _is_state(path) else path


def _is_state(path: Path) -> bool:
    return path.name.endswith(RESUME_SUFFIX)


def _key_of(config: RunConfig) -> _Key:
    """Return settings that are never left open: runs that differ in them are others."""
    model, train = config.model, config.train
    return model.kind, model.arch, model.latent, train.beta, train.epochs, train.seed


def _key_in(path: Path) -> _Key:
    """Return the same settings of a file; nothing if it is not a checkpoint, or damaged."""
    try:
        header = read_header(path)
    except AekitError:
        return ()
    model, train = header.model, header.train
    values = (*map(model.get, ("kind", "arch", "latent")), *map(train.get, ("beta", "epochs", "seed")))
    return values if all(isinstance(value, (str, int, float)) for value in values) else ()


def _is_of(cell: Cell, path: Path) -> bool:
    """Return whether a file has the settings of a cell."""
    try:
        run_files(cell.config, _finished_name(path)).read_own(path)
    except AekitError:
        return False
    return True
