"""Tissue volumes and age of new scans, with intervals, and a warning if a scan is outside the training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from aekit.brains.config import BrainConfig
from aekit.brains.data import build_unlabelled_data
from aekit.brains.domain import domain_warnings
from aekit.brains.finished import describe_interval_level, interval_level
from aekit.brains.members import Ensemble, MemberPrediction, predict_members, read_ensemble
from aekit.brains.networks import MAX_AGE_YEARS
from aekit.brains.predictions import AGE, TISSUE_TARGETS, describe_clamped
from aekit.brains.quality.judgement import Judgement
from aekit.brains.quality.new_scans import judge_new_scans, read_checkpoint_standard
from aekit.brains.runs import COMPANIONS
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.nifti import list_volumes
from aekit.brains.volumes.store import PreparedVolumes, prepare_volumes, take_rows
from aekit.core.artifacts import check_writable, write_csv
from aekit.core.checkpoint import Header
from aekit.core.device import choose_device, set_threads
from aekit.core.output import Result, choose_target
from aekit.core.progress import SILENT, Named, Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count

N_SHOWN = 20
_TEXTS = ("file", "warnings", "reason")  # all other columns are predictions
_DIRECT_AGE = f"direct_{AGE}"


@keeps_torch_settings
def run_predict(
    checkpoint: Path,
    volumes: Sequence[Path],
    output: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    *,
    spacing_mm: float | None = None,
    skip_bad: bool = False,
    progress: Progress = SILENT,
) -> Result:
    """Return the table of predictions for new scans, a row per scan, with its number of rows and of warnings.

    Args:
        checkpoint: Of a training of brain networks.
        volumes: Skull-stripped T1 volumes, or folders of them.
        output: The table, .csv, or a folder for it; None writes next to the checkpoint.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads; None uses all cores.
        spacing_mm: Voxel size of .npy files, which have none; None assumes 1 mm and warns.
        skip_bad: Leave out volumes that cannot be used, with a notice.
        progress: Shows the reading of volumes and the first predictions.

    Raises:
        AekitError: The checkpoint or a volume cannot be used, or the table would replace a file of the training.
    """
    target = choose_target([checkpoint], output, name="predicted", suffix=".csv")
    if target.resolve() in {checkpoint.with_suffix(suffix).resolve() for suffix in COMPANIONS}:
        raise AekitError(f"--output {target}: is a file of the training and would be replaced; choose another name")
    progress = Named(progress, str(target.with_suffix("")))  # others may be running on the same terminal
    paths = _list_paths(volumes)
    n_threads, chosen = set_threads(threads), choose_device(device)
    ensemble, config, header = read_ensemble(checkpoint, chosen)
    _check_finished(checkpoint, header)
    standard = read_checkpoint_standard(checkpoint, header, ensemble.images)
    check_writable(target)
    prepared = prepare_volumes(
        paths,
        Grid(config.data.size, config.data.spacing_mm),
        correct_bias=config.data.correct_bias,
        spacing_mm=spacing_mm,
        skip_bad=skip_bad,
        jobs=n_threads,
        progress=progress,
    )
    for row, why in sorted(prepared.bad.items()):
        progress.notice(f"{paths[row]}: {why}; left out")
    rows = np.array([row for row in range(len(paths)) if row not in prepared.bad], dtype=np.int64)
    table = _predict([paths[row] for row in rows], rows, prepared, ensemble, config, header, chosen, progress)
    judged = judge_new_scans(standard, take_rows(prepared, rows), progress)
    _blank_doubtful(table, judged, keep_outlying=config.data.keep_outlying)
    write_csv(target, table)
    _show(table, header, progress)
    _show_doubtful(table, progress, keep_outlying=config.data.keep_outlying)
    n_warned, n_doubtful = (int((table[name] != "").sum()) for name in ("warnings", "reason"))
    ages = [name for name in (AGE, _DIRECT_AGE) if name in table]
    values = {"n": len(table), "n_warned": n_warned, "n_doubtful": n_doubtful, "columns": list(table), "ages": ages}
    if (level := interval_level(header)) is not None:
        values["interval_level"] = level
    return Result(target, values)


def _list_paths(volumes: Sequence[Path]) -> list[Path]:
    """Return the volumes, each once, with folders replaced by their volumes."""
    paths: dict[Path, Path] = {}
    for path in volumes:
        if not path.exists():
            raise AekitError(f"{path}: does not exist; give volumes, or folders of them")
        for one in list_volumes(path) if path.is_dir() else [path]:
            paths.setdefault(one.resolve(), one)
    return list(paths.values())


def _check_finished(checkpoint: Path, header: Header) -> None:
    if not header.result or header.state is not None:
        raise AekitError(f"{checkpoint}: is an unfinished run; finish it with mri-train --resume")
    if "seen" not in header.result:
        raise AekitError(f"{checkpoint}: its header is damaged; train it again")


def _predict(
    paths: list[Path],
    rows: npt.NDArray[np.int64],
    prepared: PreparedVolumes,
    ensemble: Ensemble,
    config: BrainConfig,
    header: Header,
    device: torch.device,
    progress: Progress,
) -> pd.DataFrame:
    """Return the table of predictions for the volumes in ``rows``, with the warnings of each."""
    predicted = predict_members(
        ensemble.networks.values(),
        build_unlabelled_data(prepared),
        rows,
        device=device,
        mirrored="flip" in config.train.augment,
    )
    table = _table(paths, predicted, header)
    clamped = np.zeros(len(rows), np.bool_) if predicted.clamped is None else predicted.clamped > 0
    if clamped.any():
        progress.notice(describe_clamped(int(clamped.sum()), count(len(rows), "scan")))
    table["warnings"] = _warnings(prepared, rows, table, header, clamped)
    return table


def _table(paths: list[Path], predicted: MemberPrediction, header: Header) -> pd.DataFrame:
    """Return a row per scan: age, from the chain if there is one, then volumes or proportions, with intervals."""
    columns: dict[str, Any] = {"file": [str(path) for path in paths]}

    def add(name: str, values: npt.NDArray[np.float64], model: str, target: str) -> None:
        columns[name] = values
        for interval in header.result.get("conformal", []):
            if (interval["model"], interval["target"]) == (model, target):
                most = _most(target)
                columns[f"{name}_low"] = np.clip(values - interval["half_width"], 0.0, most)
                columns[f"{name}_high"] = np.clip(values + interval["half_width"], 0.0, most)

    if predicted.chain_age is not None:
        add(AGE, predicted.chain_age, "chain", AGE)
    if predicted.direct_age is not None:
        add(AGE if predicted.chain_age is None else _DIRECT_AGE, predicted.direct_age, "direct", AGE)
    if predicted.tissues is not None:
        for column, target in enumerate(TISSUE_TARGETS[header.model["target"]]):
            add(target, predicted.tissues[:, column], "volumes", target)
    return pd.DataFrame(columns)


def _most(target: str) -> float:
    """Return the largest value that a quantity can have; none is negative."""
    if target == AGE:
        return MAX_AGE_YEARS
    return 1.0 if target.endswith("_fraction") else np.inf


def _blank_doubtful(table: pd.DataFrame, judged: Judgement, *, keep_outlying: bool) -> None:
    """Add the reasons of doubtful scans to a table, and remove their predictions."""
    table["reason"] = judged.reasons
    names = [name for name in table if name not in _TEXTS]
    table.loc[judged.left_out(keep_outlying=keep_outlying), names] = np.nan


def _warnings(
    prepared: PreparedVolumes,
    rows: npt.NDArray[np.int64],
    table: pd.DataFrame,
    header: Header,
    clamped: npt.NDArray[np.bool_],
) -> list[str]:
    """Return the warnings of each row of the table, about its file and about the training data."""
    texts = []
    for place, row in enumerate(rows):
        ages = [float(table[name].iloc[place]) for name in (AGE, _DIRECT_AGE) if name in table]
        outside = domain_warnings(header.result["seen"], prepared, int(row), ages)
        if clamped[place]:
            outside.append(f"an age outside 0 to {MAX_AGE_YEARS:.0f} years was predicted and clipped")
        texts.append("; ".join([*prepared.warnings.get(int(row), ()), *outside]))
    return texts


def _show(table: pd.DataFrame, header: Header, progress: Progress) -> None:
    """Show the first predictions and warnings."""
    names = [
        name for name in table if name not in ("file", "warnings", "reason") and not name.endswith(("_low", "_high"))
    ]
    cells = []
    for _, row in table.head(N_SHOWN).iterrows():
        cells.append([Path(row["file"]).name, *(_with_interval(row, name) for name in names)])
    more = f", the first {N_SHOWN} of {len(table):,}" if len(table) > N_SHOWN else ""
    level = interval_level(header)
    how = ", without intervals, as no participants were held out"
    how = how if level is None else f" with {100 * level:.0f} % intervals"
    progress.table(f"predicted{how}{more}", ["file", *names], cells)
    if text := describe_interval_level(header):
        progress.notice(text)
    warned = table[table["warnings"] != ""]
    for _, row in warned.head(N_SHOWN).iterrows():
        progress.notice(f"{row['file']}: {row['warnings']}")
    if len(warned) > N_SHOWN:
        progress.notice(f"and {len(warned) - N_SHOWN:,} more volumes with warnings; see the table")


def _show_doubtful(table: pd.DataFrame, progress: Progress, *, keep_outlying: bool) -> None:
    """Show why scans are doubtful, and that they have no predictions."""
    doubtful = table[table["reason"] != ""]
    for _, row in doubtful.head(N_SHOWN).iterrows():
        is_kept = keep_outlying and np.isfinite(row.get(AGE, np.nan))
        progress.notice(f"{row['file']}: {row['reason']}" + ("" if is_kept else "; not predicted"))
    if len(doubtful) > N_SHOWN:
        progress.notice(f"and {len(doubtful) - N_SHOWN:,} more doubtful scans; see the column reason")


def _with_interval(row: Any, name: str) -> str:
    if not np.isfinite(row[name]):
        return "-"
    digits = 3 if name.endswith("_fraction") else 1
    text = f"{row[name]:.{digits}f}"
    if f"{name}_low" in row:
        text += f" [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"
    return text
