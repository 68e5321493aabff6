"""Who takes part: rows of the table with a scan, an age and volumes; and how they are split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.scans import MatchedFiles, match_files
from aekit.brains.cohort.sessions import describe_sessions, joint_groups, persons_of
from aekit.brains.cohort.splits import column_folds, column_split, stratified_folds, stratified_split
from aekit.brains.cohort.table import Cohort
from aekit.brains.config import CohortConfig, Source, Target
from aekit.brains.copies import find_copies
from aekit.brains.measures.outliers import fit_outlier_limits
from aekit.brains.quality.cohort import JudgedScans, judge_cohort, report_scans
from aekit.brains.unlike import group_texts
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.store import MAX_NAMED, PreparedVolumes, prepare_volumes, take_rows, unusual_poses
from aekit.brains.volumes.template import Template, describe_poses, read_template
from aekit.core.progress import SILENT, Progress
from aekit.core.text_table import named
from aekit.errors import AekitError, count, nearest, shown

Rows = npt.NDArray[np.int64]
MIN_TRAIN = 10  # with fewer, neither normalisation nor batch norm means anything


@dataclass(frozen=True)
class Participants:
    """Everyone who takes part, as a table knows them.

    Attributes:
        cohort: N people, all with a known age, and with volumes unless only ages are learned.
        left_out: participant_id, file, reason: rows of the table and files that are left out.
    """

    cohort: Cohort
    left_out: pd.DataFrame

    def tissues(self, target: Target | None) -> npt.NDArray[np.float64]:
        """Return volumes in mL or proportions, (N, 3), or (N, 0) if they are not learned."""
        values = self.cohort.proportions if target == "proportion" else self.cohort.volumes_ml
        return np.empty((len(self.cohort), 0)) if target is None or values is None else values


@dataclass(frozen=True)
class People(Participants):
    """Everyone who takes part with a scan.

    Attributes:
        volumes: Their scans on the grid, N rows, in the same order.
        n_elsewhere: Scans outside the folder of volumes, as the table's column ``file`` has other paths.
        hint: How ids without a scan differ from the names of files.
        judged: All scans that could be read, those that are left out as doubtful too, and how usual they are.
    """

    volumes: PreparedVolumes
    n_elsewhere: int = 0
    hint: str = ""
    judged: JudgedScans | None = None


def gather_people(
    cohort: Cohort,
    source: Source,
    config: CohortConfig,
    *,
    target: Target | None,
    template: Template | None = None,
    jobs: int | None = None,
    progress: Progress = SILENT,
) -> People:
    """Return the participants of a table that have a scan, with their scans on the grid.

    Args:
        cohort: The table, read.
        source: Where the scans are.
        config: The grid that they are averaged to, and whether bias fields are removed.
        target: None if tissue volumes are not learned.
        template: What scans are aligned to, if they are; None is that of ``source``, or one made from the scans.
        jobs: Threads that read scans; None uses all cores.
        progress: Shows how many scans are read.

    Raises:
        AekitError: A scan cannot be used, table and files do not match, two ids have the same scan, or all scans are
            impossible.
    """
    matched = match_files(cohort, source.scans, table_path=source.table, pattern=source.pattern)
    reasons = _what_is_missing(cohort, matched, with_volumes=target is not None)
    ids = cohort.table["participant_id"].to_numpy(object)
    left_out: list[tuple[str, str, str]] = [
        (str(row.participant_id), "", f"{row.column}: {row.reason}") for row in cohort.left_out.itertuples()
    ]
    left_out += [(str(who), "", str(reason)) for who, reason in zip(ids, reasons, strict=True) if reason]
    left_out += [("", path.name, "no row in the table") for path in matched.without_row]
    used = np.flatnonzero(reasons == "")
    paths = [path for path in (matched.paths[row] for row in used) if path is not None]
    if not paths:
        raise AekitError(f"{source.table}: no participant has a scan, an age and volumes; check its columns")
    cohort = cohort.subset(used)
    prepared = prepare_volumes(
        paths,
        Grid(config.size, config.spacing_mm),
        correct_bias=config.correct_bias,
        intensity=config.intensity,
        register=config.register,
        template=template if source.template is None else read_template(source.template),
        spacing_mm=source.spacing_mm,
        skip_bad=source.skip_bad,
        jobs=jobs,
        progress=progress,
    )
    _notice_poses(prepared, paths, progress)
    bad = {**_copies(prepared, cohort.table["participant_id"], skip_bad=source.skip_bad), **prepared.bad}
    left_out += [(str(cohort.table["participant_id"][row]), paths[row].name, why) for row, why in sorted(bad.items())]
    kept = np.array([row for row in range(len(cohort)) if row not in bad], dtype=np.int64)
    good, prepared = cohort.subset(kept), take_rows(prepared, kept)
    judged = judge_cohort(good, [paths[row].name for row in kept], prepared, keep_outlying=config.keep_outlying)
    left_out += judged.listed()
    used = np.flatnonzero(~judged.left_out).astype(np.int64)
    return People(
        good.subset(used),
        volumes=take_rows(prepared, used),
        left_out=pd.DataFrame(left_out, columns=["participant_id", "file", "reason"], dtype=object),
        n_elsewhere=len(set(matched.elsewhere) & set(paths)),
        hint=matched.hint,
        judged=judged,
    )


def _what_is_missing(cohort: Cohort, matched: MatchedFiles, *, with_volumes: bool) -> npt.NDArray[np.str_]:
    """Return why each participant cannot take part, (N,); empty for those who can."""
    has_file = np.array([path is not None for path in matched.paths])
    has_age = np.isfinite(cohort.age_years)
    volumes_ml = cohort.volumes_ml if with_volumes else None
    has_volumes = np.ones(len(cohort), bool) if volumes_ml is None else np.isfinite(volumes_ml).all(axis=1)
    return np.select(
        [~has_file, ~has_age, ~has_volumes], ["no volume file", "no age", "a tissue volume is missing"], default=""
    )


def _copies(prepared: PreparedVolumes, ids: Sequence[str], *, skip_bad: bool) -> dict[int, str]:
    """Return the rows that have the same scan as another, or raise an AekitError."""
    groups = find_copies(prepared.digests).groups
    if groups and not skip_bad:
        pairs = named(" and ".join(str(ids[row]) for row in rows) for rows in groups)
        raise AekitError(f"--volumes: two ids have the same scan ({pairs}); fix the table, or add --skip-bad")
    return {row: "the same scan as another's" for rows in groups for row in rows}


def _notice_poses(prepared: PreparedVolumes, paths: Sequence[Path], progress: Progress) -> None:
    """Name scans whose alignment to the template is unusual among the others."""
    found = unusual_poses(prepared, describe_poses(prepared.poses))
    for row, texts in list(found.items())[:MAX_NAMED]:
        progress.notice(f"{paths[row].name}: {'; '.join(texts)}")
    if len(found) > MAX_NAMED:
        progress.notice(f"and {len(found) - MAX_NAMED:,} more volumes with an unusual alignment")


def check_log_ages(cohort: Cohort) -> None:
    """Raise an AekitError that names participants whose age has no logarithm."""
    ids = cohort.table["participant_id"].to_numpy(object)
    without = named(ids[~(cohort.age_years > 0)])
    if without:
        raise AekitError(f"--log-age: age 0 has no logarithm: {without}; leave --log-age out, or give ages in decimals")


@dataclass(frozen=True)
class Fold:
    """Which participants a model is trained on, and which are held out.

    Attributes:
        number: From 0.
        train: Rows of train.
        dropped: Rows of outliers that were removed from train.
        held_out: Split -> rows that the model does not see; ``cv`` for those of this fold.
        flagged: Rows of ``cv`` beyond the limits for outliers.
        name: Value of the column that is held out, as in ``--cv site``; empty for folds that were drawn.
        n_elsewhere: Rows of the held-out participants at other sites, which are not in train either.
    """

    number: int
    train: Rows
    dropped: Rows
    held_out: dict[str, Rows]
    flagged: Rows
    name: str = ""
    n_elsewhere: int = 0


def build_folds(people: Participants, config: CohortConfig, target: Target | None) -> list[Fold]:
    """Return the folds of a cross-validation, or the single split of a training without one.

    Raises:
        AekitError: There are too few participants, a column is missing, or outliers are to be dropped without volumes.
    """
    cohort = people.cohort
    groups = _groups(cohort, config.group)
    split = _split(cohort, config, groups)
    rows_of = {name: np.flatnonzero(split == name).astype(np.int64) for name in ("train", "val", "test")}
    aside = {name: rows_of[name] for name in ("val", "test") if len(rows_of[name])}
    if not config.cv:
        return [_fold(people, 0, rows_of["train"], aside, config, target)]
    pool = rows_of["train"] if isinstance(config.test, (int, float)) else np.flatnonzero(split != "test")
    aside.pop("val", None)
    if isinstance(config.cv, str):
        return _column_folds(people, config, config.cv, pool, aside, target)
    folds = stratified_folds(
        cohort.age_years[pool],
        cohort.sex[pool],
        n_folds=config.cv,
        seed=config.split_seed,
        groups=None if groups is None else groups[pool],
    )
    return [
        _fold(people, number, pool[folds != number], {"cv": pool[folds == number], **aside}, config, target)
        for number in range(config.cv)
    ]


def _column_folds(
    people: Participants, config: CohortConfig, column: str, pool: Rows, aside: dict[str, Rows], target: Target | None
) -> list[Fold]:
    """Return a fold for each value of a column; nobody is in train who is held out, at whatever other site."""
    number_of, names = column_folds(people.cohort.subset(pool), column)
    persons = persons_of(people.cohort)
    folds = []
    for number, name in enumerate(names):
        held_out, train = pool[number_of == number], pool[number_of != number]
        elsewhere = np.zeros(len(train), bool) if persons is None else np.isin(persons[train], persons[held_out])
        fold = _fold(people, number, train[~elsewhere], {"cv": held_out, **aside}, config, target)
        folds.append(replace(fold, name=name, n_elsewhere=int(elsewhere.sum())))
    return folds


def describe_held_out(folds: list[Fold], n_participants: int) -> str:
    """Return which values of a column are held out in turn, and who else is held out, or is always in train."""
    text = "held out in turn: " + ", ".join(f"{shown(fold.name)} {len(fold.held_out['cv']):,}" for fold in folds)
    aside = {split: len(rows) for split, rows in folds[0].held_out.items() if split != "cv"}
    text += "".join(f", {split} {n:,}" for split, n in aside.items())
    n_without = n_participants - sum(len(fold.held_out["cv"]) for fold in folds) - sum(aside.values())
    text += f"; {n_without:,} without a value, in every train" if n_without else ""
    n_elsewhere = sum(fold.n_elsewhere for fold in folds)
    return text + (f"; {count(n_elsewhere, 'other row')} of those held out, not in train either" if n_elsewhere else "")


def describe_splits(people: Participants, folds: list[Fold], *, drops_outliers: bool) -> str:
    """Return how many participants there are, and in which splits."""
    first = folds[0]
    n = count(len(people.cohort), "participant")
    sizes = {"train": len(first.train), **{name: len(rows) for name, rows in first.held_out.items()}}
    if first.name:
        text = f"{n}, {describe_held_out(folds, len(people.cohort))}"
    elif len(folds) > 1:
        n_held_out = sum(len(fold.held_out["cv"]) for fold in folds)
        others = "".join(f", {name} {n:,}" for name, n in sizes.items() if name not in ("train", "cv"))
        text = f"{n}, cv {n_held_out:,} in {len(folds)} folds{others}"
    else:
        text = f"{n}, " + ", ".join(f"{name} {n:,}" for name, n in sizes.items())
    if drops_outliers:
        text += f", {count(sum(len(fold.dropped) for fold in folds), 'outlier')} dropped from train"
    return text


def _split(cohort: Cohort, config: CohortConfig, groups: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """Return the split of each participant, (N,)."""
    if isinstance(config.test, str):
        if config.group is not None and not config.cv:
            raise AekitError(
                f"--group: the column {config.test!r} of --test-split assigns the splits; leave one of them out"
            )
        return column_split(cohort, config.test)
    if config.cv and config.test == 0:
        return np.full(len(cohort), "train", dtype=object)
    fractions = {"train": 1 - config.val - config.test, "val": config.val, "test": config.test}
    if fractions["train"] <= 0:
        raise AekitError(
            f"--val, --test-split: {config.val:g} and {config.test:g} leave no participants for train; "
            "give smaller fractions"
        )
    return stratified_split(cohort.age_years, cohort.sex, fractions=fractions, seed=config.split_seed, groups=groups)


def _fold(
    people: Participants,
    number: int,
    train: Rows,
    held_out: dict[str, Rows],
    config: CohortConfig,
    target: Target | None,
) -> Fold:
    nobody = np.empty(0, np.int64)
    dropped = flagged = nobody
    if config.drop_outliers:
        values = people.tissues(target)
        if not values.shape[1]:
            raise AekitError(
                "--drop-outliers: outliers are defined by tissue volumes, and the table has none; leave it out"
            )
        age_years, sex = people.cohort.age_years, people.cohort.sex
        limits = fit_outlier_limits(values[train], age_years[train], sex[train])
        is_outlier = limits.flag(values, age_years, sex)
        train, dropped = train[~is_outlier[train]], train[is_outlier[train]]
        cv = held_out.get("cv", nobody)
        flagged = cv[is_outlier[cv]]
    if len(train) < MIN_TRAIN:
        name, n = people.cohort.name, len(train)
        raise AekitError(f"{name}: {count(n, 'participant')} left for train, at least {MIN_TRAIN} are needed; add more")
    return Fold(number, train, dropped, held_out, flagged)


def _groups(cohort: Cohort, column: str | None) -> npt.NDArray[Any] | None:
    if column is not None and column not in cohort.table:
        seen = ", ".join(map(str, cohort.table.columns))
        hint = nearest(column, cohort.table) or "; give one of them"
        raise AekitError(f"--group: {cohort.name} has no column {column!r}, only {seen}{hint}")
    return joint_groups(cohort, column)


def report_people(people: People, progress: Progress) -> None:
    """Give notice of repairs of the table, of what was left out, and of warnings about volumes."""
    report_table(people.cohort, progress)
    n_doubtful = 0 if people.judged is None else int(people.judged.left_out.sum())
    if len(people.left_out) > n_doubtful:
        counts = people.left_out["reason"].iloc[: len(people.left_out) - n_doubtful].value_counts(sort=False)
        listed = ", ".join(f"{reason} ({n:,})" for reason, n in counts.items())
        progress.notice(f"left out: {listed}")
    if people.hint:
        progress.notice(people.hint)
    if people.n_elsewhere:
        progress.notice(
            f"{count(people.n_elsewhere, 'scan is', 'scans are')} read from the paths in the table's column file, "
            "outside of --volumes; --pattern goes by names instead"
        )
    if people.judged is not None:
        report_scans(people.judged, progress)
    for text, n in _warnings(people):
        progress.notice(f"{n:,} of {count(len(people.cohort), 'volume')}: {text}")


def report_table(cohort: Cohort, progress: Progress) -> None:
    """Give notice of repairs of a table, and of its sessions."""
    for repair in cohort.repairs:
        examples = f": {', '.join(repair.examples)}" if repair.examples else ""
        progress.notice(f"{cohort.name}: {repair.what} ({repair.n:,}{examples})")
    if sessions := describe_sessions(cohort):
        progress.notice(f"{cohort.name}: {sessions}")


def _warnings(people: People) -> list[tuple[str, int]]:
    """Return each warning about volumes once, with its count; warnings that differ in numbers only are the same."""
    return group_texts(text for texts in people.volumes.warnings.values() for text in texts)
