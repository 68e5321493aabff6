"""The scans of a cohort: the file of each participant, what is wrong with it, and the space of the scans."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.scans import MatchedFiles, match_files
from aekit.brains.cohort.table import Cohort
from aekit.brains.config import CohortConfig
from aekit.brains.measures.space import SpaceCheck, check_space
from aekit.brains.quality.cohort import JudgedScans, judge_cohort
from aekit.brains.quality.reasons import FEATURES
from aekit.brains.report.words import count_files
from aekit.brains.volumes.checks import VolumeCheck, inspect_volumes
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.store import prepare_volumes, take_rows
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError

Floats = npt.NDArray[np.floating]

_INTRACRANIAL = re.compile(
    r"(e|s)?(tiv|ticv|icv)(ml|mm3|cm3|cc|l)?|estimatedtotalintracranialvol(ume)?|intracranialvolume"
)
_USUAL_HEAD_ML = 1450.0


@dataclass(frozen=True, eq=False)
class Scans:
    """The files of a cohort and what is wrong with them.

    Attributes:
        folder: Folder of the files.
        matched: The file of each participant.
        checks: Check of each participant's file, None without a file, N of them.
        same_as: For each participant, ids of others with an identical scan, N of them; mostly empty.
        table_ml: Sum of the table's tissue volumes, or its intracranial volume, (N,); NaN where missing.
        space: Whether the scans keep the size of the head; None without volumes in the table.
        judged: How usual each usable scan is, on the grid of mri-train; None without usable scans.
        table_columns: What ``table_ml`` is in the table.
        ids: participant_id of each, N of them.
        off_grid: Why usable files cannot be used on the grid of mri-train, by row.
    """

    folder: Path
    matched: MatchedFiles
    checks: tuple[VolumeCheck | None, ...]
    same_as: tuple[tuple[str, ...], ...]
    table_ml: Floats
    space: SpaceCheck | None
    judged: JudgedScans | None = None
    table_columns: str = "gmv + wmv + csfv"
    ids: tuple[str, ...] = ()
    off_grid: Mapping[int, str] = field(default_factory=dict)

    @property
    def usable(self) -> list[VolumeCheck]:
        """Return the checks of files that can be used."""
        return [check for check in self.checks if check is not None and not check.problem]

    @property
    def unusable(self) -> list[VolumeCheck]:
        """Return the checks of files that cannot be used."""
        return [check for check in self.checks if check is not None and check.problem]

    @property
    def brain_ml(self) -> Floats:
        """Return the brain-mask volume of each participant's scan in mL, (N,); NaN where there is none."""
        return np.array([np.nan if check is None or check.problem else check.brain_ml for check in self.checks])

    def warnings(self) -> list[tuple[str, ...]]:
        """Return what is unusual about each participant's file, also on the grid of mri-train, N of them."""
        found = [() if check is None or check.problem else check.warnings for check in self.checks]
        judged = self.judged
        if judged is not None:
            on_grid = {judged.ids[row]: texts for row, texts in judged.volumes.warnings.items()}
            found = [(*own, *on_grid.get(one, ())) for one, own in zip(self.ids, found, strict=True)]
        return [tuple(dict.fromkeys(texts)) for texts in found]

    def relative_files(self) -> list[str | None]:
        """Return each participant's file relative to the folder; None where it lies elsewhere or is missing."""
        inside = [
            path if path is not None and path.is_relative_to(self.folder) else None for path in self.matched.paths
        ]
        return [None if path is None else path.relative_to(self.folder).as_posix() for path in inside]


def check_scans(
    cohort: Cohort,
    folder: Path,
    *,
    everyone: Cohort,
    table_path: Path,
    pattern: str | None,
    progress: Progress = SILENT,
) -> Scans:
    """Return the files of a cohort with a check of each.

    Args:
        cohort: The participants.
        folder: Folder of their volumes.
        everyone: These and the other participants of the table, who own files too.
        table_path: The table, to which its column ``file`` is relative.
        pattern: Names of files with ``{id}`` in them.
        progress: Shows the number of files checked; a notice counts files outside the folder.

    Raises:
        AekitError: As :func:`aekit.brains.cohort.scans.match_files`; a bad file is reported in the result.
    """
    matched = _match(cohort, folder, everyone=everyone, table_path=table_path, pattern=pattern)
    rows = [row for row, path in enumerate(matched.paths) if path is not None]
    found = inspect_volumes([path for path in matched.paths if path is not None], progress=progress)
    checks: list[VolumeCheck | None] = [None] * len(cohort)
    for row, check in zip(rows, found, strict=True):
        checks[row] = check
    table_ml, columns = _table_volumes(cohort)
    ids = tuple(str(one) for one in cohort.table["participant_id"])
    same_as = _same_scans(ids, checks)
    scans = Scans(folder, matched, tuple(checks), same_as, table_ml, None, table_columns=columns, ids=ids)
    scans = _judge(cohort, scans, progress)
    if columns:
        scans = replace(scans, space=check_space(_usual_ml(cohort, scans), table_ml))
    _notice_elsewhere(scans, progress)
    return scans


def _usual_ml(cohort: Cohort, scans: Scans) -> Floats:
    """Return the brain-mask volume of each participant's scan, (N,); NaN for doubtful ones too, as a few hide all."""
    judged = scans.judged
    if judged is None:
        return scans.brain_ml
    doubtful = {one for one, reason in zip(judged.ids, judged.judgement.reasons, strict=True) if reason}
    is_doubtful = np.array([str(one) in doubtful for one in cohort.table["participant_id"]], bool)
    return np.where(is_doubtful, np.nan, scans.brain_ml)


def _judge(cohort: Cohort, scans: Scans, progress: Progress) -> Scans:
    """Return the scans with how usual each usable one is, and which of them cannot be used on the grid of mri-train."""
    rows = [row for row, check in enumerate(scans.checks) if check is not None and not check.problem]
    paths = [path for path in (scans.matched.paths[row] for row in rows) if path is not None]
    if not paths:
        return scans
    config = CohortConfig()
    grid = Grid(config.size, config.spacing_mm)
    try:
        volumes = prepare_volumes(paths, grid, correct_bias=config.correct_bias, skip_bad=True, progress=progress)
    except AekitError as error:  # every usable file is bad on the grid, for reasons that it gives
        return replace(scans, off_grid=dict.fromkeys(rows, str(error)))
    good = np.array([number for number in range(len(paths)) if number not in volumes.bad], np.int64)
    own = cohort.subset(np.array(rows, np.int64)[good])
    judged = judge_cohort(own, [paths[number].name for number in good], take_rows(volumes, good), keep_outlying=True)
    return replace(scans, judged=judged, off_grid={rows[number]: why for number, why in volumes.bad.items()})


def quality_table(judged: JudgedScans) -> pd.DataFrame:
    """Return how usual each scan is and why it is doubtful, the most unusual first, with its features."""
    order = judged.judgement.order()
    table = pd.DataFrame(
        {
            "participant_id": [judged.ids[row] for row in order],
            "file": [judged.files[row] for row in order],
            "score": judged.judgement.score[order],
            "reason": [judged.judgement.reasons[row] for row in order],
        }
    )
    features = pd.DataFrame(judged.judgement.features[order], columns=list(FEATURES))
    return pd.concat([table, features], axis=1)


def suspicions_table(judged: JudgedScans) -> pd.DataFrame:
    """Return what may be wrong with rows of the table, though their scans are good."""
    rows = [(one.what, "; ".join(one.ids), one.text) for one in judged.suspicions]
    return pd.DataFrame(rows, columns=["what", "participants", "text"])


def _table_volumes(cohort: Cohort) -> tuple[Floats, str]:
    """Return the volume of each head in mL by the table, (N,), and which columns it is from, empty if there are none.

    Intracranial volumes have no fixed unit: they are brought to the power of a thousand that makes mL of them.
    """
    if cohort.volumes_ml is not None:
        return cohort.volumes_ml.sum(axis=1), "gmv + wmv + csfv"
    for column in cohort.table:
        if not _INTRACRANIAL.fullmatch(re.sub(r"[^a-z0-9]", "", str(column).lower())):
            continue
        values = pd.to_numeric(cohort.table[column], errors="coerce").to_numpy(float)
        values = np.where(values > 0, values, np.nan)
        if np.isfinite(values).any():
            middle = float(np.nanmedian(values))
            return values / 1000.0 ** round(float(np.log10(middle / _USUAL_HEAD_ML)) / 3), str(column)
    return np.full(len(cohort), np.nan), ""


def _notice_elsewhere(scans: Scans, progress: Progress) -> None:
    n = len(set(scans.matched.elsewhere) & set(scans.matched.paths))
    if n:
        progress.notice(
            f"{count_files(n)} outside of --volumes, from the table's column file; --pattern matches names instead"
        )


def _match(cohort: Cohort, folder: Path, *, everyone: Cohort, table_path: Path, pattern: str | None) -> MatchedFiles:
    matched = match_files(everyone, folder, table_path=table_path, pattern=pattern)
    path_of = dict(zip(everyone.table["participant_id"], matched.paths, strict=True))
    ids = [str(one) for one in cohort.table["participant_id"]]
    paths = tuple(path_of[one] for one in ids)
    return replace(matched, paths=paths, without_file=tuple(one for one in ids if path_of[one] is None))


def _same_scans(ids: Sequence[str], checks: list[VolumeCheck | None]) -> tuple[tuple[str, ...], ...]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, check in enumerate(checks):
        if check is not None and check.digest:
            rows_of[check.digest].append(row)
    same: list[tuple[str, ...]] = [()] * len(ids)
    for rows in rows_of.values():
        for row in rows:
            same[row] = tuple(ids[other] for other in rows if other != row)
    return tuple(same)


def files_table(cohort: Cohort, scans: Scans) -> pd.DataFrame:
    """Return one row per participant: the file, what is wrong or odd about it, and its geometry."""
    nothing: list[object] = [np.nan] * 3
    files, warnings = scans.relative_files(), scans.warnings()
    rows: list[dict[str, object]] = []
    for row, check in enumerate(scans.checks):
        shape = nothing if check is None or not check.shape or not any(check.shape) else list(check.shape)
        spacing = nothing if check is None else list(check.spacing_mm)
        brain = scans.brain_ml[row]
        rows.append(
            {
                "participant_id": cohort.table["participant_id"].iloc[row],
                "file": files[row] or (check.path.name if check else ""),
                "problem": "no file" if check is None else check.problem or scans.off_grid.get(row, ""),
                "warnings": "; ".join(warnings[row]),
                "same_scan_as": "; ".join(scans.same_as[row]),
                **dict(zip(("size_x", "size_y", "size_z"), shape, strict=True)),
                **dict(zip(("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"), spacing, strict=True)),
                "orientation": "" if check is None else check.orientation,
                "n_nan": np.nan if check is None else check.n_nan,
                "brain_ml": brain,
                "table_ml": scans.table_ml[row],
                "brain_to_table": brain / scans.table_ml[row],
                "space": scans.space.each[row] if scans.space is not None and scans.space.each else "",
                "sha256": "" if check is None else check.digest,
            }
        )
    table = pd.DataFrame(rows)
    whole = ["size_x", "size_y", "size_z", "n_nan"]
    table[whole] = table[whole].astype("Int64")
    return table


def unmatched_table(scans: Scans) -> pd.DataFrame:
    """Return the participants without a file, and the files without a participant."""
    rows = [("row without file", one) for one in scans.matched.without_file]
    files = [("file without row", path.relative_to(scans.folder).as_posix()) for path in scans.matched.without_row]
    return pd.DataFrame([*rows, *files], columns=["what", "name"])


def geometry_of(check: VolumeCheck) -> tuple[str, str, str]:
    """Return the size, spacing in mm and orientation of a file."""
    size, spacing = (
        " x ".join(parts) for parts in (map(str, check.shape), (f"{side:.3g}" for side in check.spacing_mm))
    )
    return size, spacing, check.orientation or "-"


def geometries(scans: Scans) -> list[tuple[str, str, str, int]]:
    """Return each geometry of the usable files, the most frequent first: :func:`geometry_of` and number of files."""
    return [(*kind, n) for kind, n in Counter(map(geometry_of, scans.usable)).most_common()]
