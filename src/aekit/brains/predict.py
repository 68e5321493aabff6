"""Tissue volumes and age of new scans, with intervals, and a warning if a scan is outside the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from aekit.brains.batch import OTHER_SCANNER, BatchShift, compare_batch, describe_shift
from aekit.brains.config import BrainConfig
from aekit.brains.copies import describe_copies, find_copies
from aekit.brains.data import build_unlabelled_data
from aekit.brains.domain import domain_warnings
from aekit.brains.members import Ensemble, predict_members, read_ensemble
from aekit.brains.networks import MAX_AGE_YEARS
from aekit.brains.new_ages import (
    Intervals,
    NewAges,
    add_deltas,
    describe_intervals,
    read_new_ages,
    recalibrate,
    summarise,
)
from aekit.brains.predictions import AGE, TISSUE_TARGETS, describe_clamped_scans
from aekit.brains.quality.judgement import Judgement
from aekit.brains.quality.new_scans import judge_new_scans, read_checkpoint_standard
from aekit.brains.runs import COMPANIONS
from aekit.brains.scan_people import NO_TABLES, ScanPeople, ScanTables, check_reference, match_people
from aekit.brains.simple_models import predict_simple_ages
from aekit.brains.unlike import describe_unlike, group_texts, is_unlike, without_interval
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.nifti import list_volumes
from aekit.brains.volumes.store import PreparedVolumes, prepare_volumes, take_rows, with_pose_warnings
from aekit.core.artifacts import check_writable, write_csv
from aekit.core.checkpoint import Header
from aekit.core.device import choose_device, set_threads
from aekit.core.output import Result, choose_target
from aekit.core.progress import SILENT, Named, Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count

N_SHOWN = 20
_TEXTS = ("file", "model", "unlike_training", "warnings", "reason")  # not shown as columns in the terminal
_KNOWN = ("participant_id", "reference", "true_age_years")  # not predicted


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
    tables: ScanTables = NO_TABLES,
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
        tables: Who is in the scans, for their delta, and who of them are controls to recalibrate on.
        progress: Shows the reading of volumes and the first predictions.

    Raises:
        AekitError: The checkpoint, a volume or a table cannot be used, or the result would replace a file of the
            training or a table that is read.
    """
    target = choose_target([checkpoint], output, name="predicted", suffix=".csv")
    if target.resolve() in {checkpoint.with_suffix(suffix).resolve() for suffix in COMPANIONS}:
        raise AekitError(f"--output {target}: is a file of the training and would be replaced; choose another name")
    _check_inputs_stay(target, tables)
    progress = Named(progress, str(target.with_suffix("")))  # others may be running on the same terminal
    paths = list_paths(volumes)
    people = match_people(tables, paths, skip_bad=skip_bad, progress=progress)
    n_threads, chosen = set_threads(threads), choose_device(device)
    ensemble, config, header = read_ensemble(checkpoint, chosen)
    check_finished(checkpoint, header)
    standard = read_checkpoint_standard(checkpoint, header, ensemble.images)
    check_writable(target)
    prepared = prepare_volumes(
        paths,
        Grid(config.data.size, config.data.spacing_mm),
        correct_bias=config.data.correct_bias,
        intensity=config.data.intensity,
        register=config.data.register,
        template=ensemble.template,
        spacing_mm=spacing_mm,
        skip_bad=skip_bad,
        jobs=n_threads,
        progress=progress,
    )
    prepared = with_pose_warnings(prepared, header.result.get("poses", {}))
    for row, why in sorted(prepared.bad.items()):
        progress.notice(f"{paths[row]}: {why}; left out")
    rows = np.array([row for row in range(len(paths)) if row not in prepared.bad], dtype=np.int64)
    judged = judge_new_scans(standard, take_rows(prepared, rows), progress)
    doubtful = judged.left_out(keep_outlying=config.data.keep_outlying)
    copies = find_copies([prepared.digests[row] for row in rows])
    if text := describe_copies(copies, [paths[row].name for row in rows], has_reference=tables.reference is not None):
        progress.notice(text)
    people = None if people is None else people.take(rows).without_reference(doubtful | copies.is_repeated)
    if people is not None and tables.reference is not None:
        check_reference(int(people.is_reference.sum()), tables.reference)
    scans = _Scans(checkpoint, [paths[row] for row in rows], rows, prepared, people, ~doubtful, copies.is_repeated)
    found = _predict(scans, ensemble, config, header, chosen, progress)
    _blank_doubtful(found.table, judged, doubtful)
    write_csv(target, found.table)
    _show(found.table, found.ages.intervals, without_interval(found.unknown), progress)
    _show_warnings(found, scans, progress)
    _show_doubtful(found.table, doubtful, progress)
    batch = {} if found.shift is None else {"batch": found.shift.to_dict()}
    return Result(target, summarise(found.table, found.ages, found.unlike, batch))


def _check_inputs_stay(target: Path, tables: ScanTables) -> None:
    for option, path in (("--table", tables.table), ("--reference", tables.reference)):
        if path is not None and target.resolve() == path.resolve():
            raise AekitError(f"--output {target}: is the {option} that is read and would be replaced; choose another")


def list_paths(volumes: Sequence[Path]) -> list[Path]:
    """Return the volumes, each once, with folders replaced by their volumes.

    Raises:
        AekitError: One does not exist, or a folder has no volumes.
    """
    paths: dict[Path, Path] = {}
    for path in volumes:
        if not path.exists():
            raise AekitError(f"{path}: does not exist; give volumes, or folders of them")
        for one in list_volumes(path) if path.is_dir() else [path]:
            paths.setdefault(one.resolve(), one)
    return list(paths.values())


def check_finished(checkpoint: Path, header: Header) -> None:
    """Check that a training is finished.

    Raises:
        AekitError: It is not, or its header is damaged.
    """
    if not header.result or header.state is not None:
        raise AekitError(f"{checkpoint}: is an unfinished run; finish it with mri-train --resume")
    if "seen" not in header.result:
        raise AekitError(f"{checkpoint}: its header is damaged; train it again")


@dataclass(frozen=True)
class _Scans:
    """Scans that can be used.

    Attributes:
        checkpoint: Whose networks predict them.
        paths: Files, n of them.
        rows: Their rows among the prepared volumes, (n,).
        prepared: The volumes.
        people: Who is in them; None without tables.
        is_good: Which are not doubtful, (n,).
        is_repeated: Which are the same scan as one before, (n,).
    """

    checkpoint: Path
    paths: list[Path]
    rows: npt.NDArray[np.int64]
    prepared: PreparedVolumes
    people: ScanPeople | None
    is_good: npt.NDArray[np.bool_]
    is_repeated: npt.NDArray[np.bool_]

    @property
    def is_reference(self) -> npt.NDArray[np.bool_] | None:
        """Return who belongs to the reference, (n,); None without one."""
        return None if self.people is None or not self.people.is_reference.any() else self.people.is_reference


@dataclass(frozen=True)
class _Found:
    """The predictions of scans.

    Attributes:
        table: A row per scan.
        ages: Their ages, with intervals.
        reasons: In which ways each scan is outside the training data.
        shift: How far all scans together are from it; None for a few, or with an older checkpoint.
        unlike: Which are outside it, (n,).
        unknown: Which are outside the reference as well, so that their errors are unknown, (n,).
    """

    table: pd.DataFrame
    ages: NewAges
    reasons: list[list[str]]
    shift: BatchShift | None
    unlike: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.bool_]

    @property
    def is_other(self) -> bool:
        """Return whether all scans together are of another scanner than that of the training."""
        return self.shift is not None and self.shift.is_other


def _predict(
    scans: _Scans, ensemble: Ensemble, config: BrainConfig, header: Header, device: torch.device, progress: Progress
) -> _Found:
    """Return the table of predictions for scans, with the warnings of each."""
    predicted = predict_members(
        ensemble.networks.values(),
        build_unlabelled_data(scans.prepared),
        scans.rows,
        device=device,
        mirrored="flip" in config.train.augment,
    )
    simple = predict_simple_ages(scans.checkpoint, header, ensemble.simple, predicted, scans.prepared, scans.rows)
    ages = read_new_ages(predicted, header, simple)
    if scans.people is not None and scans.is_reference is not None:
        ages = recalibrate(ages, scans.people, progress)
    clamped = ages.is_outside if predicted.clamped is None else ages.is_outside | (predicted.clamped > 0)
    if n_clamped := int((clamped & scans.is_good).sum()):
        progress.notice(describe_clamped_scans(n_clamped, count(len(scans.rows), "scan")))
    reasons = _reasons(scans, ages, header, clamped)
    histograms_ml = scans.prepared.histograms_ml[scans.rows[scans.is_good & ~scans.is_repeated]]
    shift = compare_batch(header.result.get("batch"), histograms_ml, str(scans.checkpoint))
    is_other = shift is not None and shift.is_other
    unlike = is_unlike(reasons, None, is_other=is_other)
    unknown = is_unlike(reasons, scans.is_reference, is_other=is_other)
    table = _table(scans.paths, ages, predicted.tissues, header, without_interval(unlike), without_interval(unknown))
    if scans.people is not None:
        table = _with_people(table, ages, scans.people, progress, has_reference=scans.is_reference is not None)
    table["unlike_training"] = np.where(unlike, "yes", "no")
    of_files = [scans.prepared.warnings.get(int(row), ()) for row in scans.rows]
    of_all = [OTHER_SCANNER] if is_other else []
    table["warnings"] = ["; ".join([*own, *why, *of_all]) for own, why in zip(of_files, reasons, strict=True)]
    return _Found(table, ages, reasons, shift, unlike, unknown)


def _table(
    paths: list[Path],
    ages: NewAges,
    tissues: npt.NDArray[np.float64] | None,
    header: Header,
    unlike: npt.NDArray[np.bool_],
    unknown: npt.NDArray[np.bool_],
) -> pd.DataFrame:
    """Return a row per scan: ages, the best model's first, then volumes or proportions, with intervals.

    The intervals of scans that are unlike those on which errors were measured are empty: nobody knows their coverage.

    Args:
        paths: Files, n of them.
        ages: Predictions and intervals.
        tissues: Predicted volumes in mL or proportions, (n, 3), or None.
        header: Of the checkpoint.
        unlike: Scans without intervals of volumes, as they are unlike those of the training, (n,).
        unknown: Scans without intervals of age, as they are unlike those of the reference, too, (n,).
    """
    columns: dict[str, Any] = {"file": [str(path) for path in paths]}

    def add(name: str, values: npt.NDArray[np.float64], model: str, target: str) -> None:
        columns[name] = values
        if (interval := ages.intervals.get((model, target))) is not None:
            low, high = interval.interval(values).T
            empty = unknown if target == AGE else unlike
            columns[f"{name}_low"] = np.where(empty, np.nan, np.clip(low, 0.0, _most(target)))
            columns[f"{name}_high"] = np.where(empty, np.nan, np.clip(high, 0.0, _most(target)))

    for name, model in ages.columns.items():
        add(name, ages.years[model], model, AGE)
        if name == AGE and ages.has_choice:
            columns["model"] = model
    if tissues is not None:
        for column, target in enumerate(TISSUE_TARGETS[header.model["target"]]):
            add(target, tissues[:, column], "volumes", target)
    return pd.DataFrame(columns)


def _most(target: str) -> float:
    """Return the largest value that a quantity can have; none is negative."""
    if target == AGE:
        return MAX_AGE_YEARS
    return 1.0 if target.endswith("_fraction") else np.inf


def _blank_doubtful(table: pd.DataFrame, judged: Judgement, doubtful: npt.NDArray[np.bool_]) -> None:
    """Add the reasons of doubtful scans to a table, and remove the predictions of those that are left out."""
    table["reason"] = judged.reasons
    table.loc[doubtful, [name for name in table if name not in (*_TEXTS, *_KNOWN)]] = np.nan


def _with_people(
    table: pd.DataFrame, ages: NewAges, people: ScanPeople, progress: Progress, *, has_reference: bool
) -> pd.DataFrame:
    """Return the table with participants, true ages and deltas."""
    columns: dict[str, Any] = {"file": table["file"], "participant_id": people.ids}
    if has_reference:
        columns["reference"] = np.where(people.is_reference, "yes", "no")
    columns["true_age_years"] = people.age_years
    columns |= {str(name): table[name] for name in table if name != "file"}
    without = add_deltas(columns, ages, people.age_years)
    if without and np.isfinite(people.age_years).any():
        progress.notice(
            f"no delta_corrected of {', '.join(without)}: the checkpoint has no trend of delta with age, as it is "
            "of an earlier version or had fewer than ten held-out participants; train it again with --cv"
        )
    return pd.DataFrame(columns)


def _reasons(scans: _Scans, ages: NewAges, header: Header, clamped: npt.NDArray[np.bool_]) -> list[list[str]]:
    """Return in which ways each scan lies outside the training data."""
    found = []
    for place, row in enumerate(scans.rows):
        own = [float(ages.years[model][place]) for model in dict.fromkeys(ages.columns.values())]
        outside = domain_warnings(header.result["seen"], scans.prepared, int(row), own)
        if clamped[place]:
            outside.append(f"an age outside 0 to {MAX_AGE_YEARS:.0f} years was predicted and clipped")
        found.append(outside)
    return found


def _show(table: pd.DataFrame, intervals: Intervals, unknown: npt.NDArray[np.bool_], progress: Progress) -> None:
    """Show the first predictions; * marks ages whose error is unknown."""
    first = table["model"].iloc[0] if "model" in table and len(table) else ""
    names = [name for name in table if name not in _TEXTS and not name.endswith(("_low", "_high"))]
    if first:  # the ages and deltas of all models would not fit into a terminal
        own = (f"_{AGE}", "_delta", "_delta_corrected")
        names = [name for name in names if not name.endswith(own) or name in _KNOWN]
    cells = []
    for (_, row), is_unknown in zip(table.head(N_SHOWN).iterrows(), unknown, strict=False):
        values = [_with_interval(row, name) for name in names]
        marked = [
            f"{text}*" if is_unknown and text != "-" and name.endswith(AGE) and name not in _KNOWN else text
            for name, text in zip(names, values, strict=True)
        ]
        cells.append([Path(row["file"]).name, *marked])
    more = f", the first {N_SHOWN} of {len(table):,}" if len(table) > N_SHOWN else ""
    how, why = describe_intervals(intervals, table)
    how += f", age_years by {first}" if first else ""
    progress.table(f"predicted {how}{more}", ["file", *names], cells)
    if why:
        progress.notice(why)


def _show_warnings(found: _Found, scans: _Scans, progress: Progress) -> None:
    """Say whether the scanner is another one, how many scans are unlike the training, and each warning about files."""
    has_reference, has_intervals = bool(found.ages.recalibrations), bool(found.ages.intervals)
    if found.shift is not None:
        text = describe_shift(found.shift, has_reference=has_reference, has_intervals=has_intervals)
        if text:
            progress.notice(text)
    text = describe_unlike(
        found.reasons,
        is_unlike(found.reasons, scans.is_reference),
        has_reference=has_reference,
        has_intervals=has_intervals,
        is_other=found.is_other,
    )
    if text:
        progress.notice(text)
    texts = (text for row in scans.rows for text in scans.prepared.warnings.get(int(row), ()))
    for text, n in group_texts(texts):
        progress.notice(f"{n:,} of {count(len(scans.rows), 'volume')}: {text}")


def _show_doubtful(table: pd.DataFrame, left_out: npt.NDArray[np.bool_], progress: Progress) -> None:
    """Show why scans are doubtful, and that they have no predictions."""
    doubtful = np.flatnonzero(table["reason"] != "")
    for place in doubtful[:N_SHOWN]:
        row = table.iloc[place]
        progress.notice(f"{row['file']}: {row['reason']}" + ("; not predicted" if left_out[place] else ""))
    if len(doubtful) > N_SHOWN:
        progress.notice(f"and {len(doubtful) - N_SHOWN:,} more doubtful scans; see the column reason")


def _with_interval(row: Any, name: str) -> str:
    value = row[name]
    if isinstance(value, str):
        return value
    if not np.isfinite(value):
        return "-"
    if "delta" in name:
        return f"{value:+.1f}"
    digits = 3 if name.endswith("_fraction") else 1
    text = f"{value:.{digits}f}"
    low, high = (row.get(f"{name}_{end}", np.nan) for end in ("low", "high"))
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else text
