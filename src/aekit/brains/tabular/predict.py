"""Ages of new participants from columns of their table, with intervals, and who is unlike the training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aekit.brains.cohort.table import Cohort, read_cohort
from aekit.brains.config import TableColumns
from aekit.brains.members import MemberPrediction
from aekit.brains.networks import MAX_AGE_YEARS
from aekit.brains.new_ages import NewAges, add_deltas, describe_intervals, read_new_ages, recalibrate, summarise
from aekit.brains.people import report_table
from aekit.brains.predictions import AGE
from aekit.brains.scan_people import ScanPeople, ScanTables, check_reference
from aekit.brains.tabular.checkpoint import FeatureCheckpoint, read_feature_checkpoint
from aekit.brains.tabular.columns import feature_values, missing_features, needed_columns
from aekit.brains.tabular.preparation import site_of
from aekit.brains.tabular.writing import COMPANIONS
from aekit.brains.unlike import describe_unlike, is_unlike, without_interval
from aekit.core.artifacts import check_writable, write_csv
from aekit.core.checkpoint import Header
from aekit.core.output import Result, choose_target
from aekit.core.progress import Named, Progress
from aekit.core.text_table import named, read_text_table
from aekit.errors import AekitError, UsageError, count, shown

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

N_SHOWN = 20


def run_feature_predict(
    checkpoint: Path, header: Header, output: Path | None, *, tables: ScanTables, skip_bad: bool, progress: Progress
) -> Result:
    """Return the table of ages of new participants, a row each, with its number of rows and of warnings.

    Args:
        checkpoint: Of a training on columns of a table.
        header: Its header.
        output: The table, .csv, or a folder for it; None writes next to the checkpoint.
        tables: The participants, and who of them are controls to recalibrate on.
        skip_bad: Leave out rows that cannot be used.
        progress: Told what is unusual, and shows the first predictions.

    Raises:
        AekitError: The checkpoint or a table cannot be used, columns are missing or others would be features, or the
            result would replace a file that is read.
    """
    if tables.table is None:
        raise UsageError(f"--table: is missing; {shown(checkpoint.name)} learned from columns of a table; give one")
    target = _choose_target(checkpoint, output, tables)
    progress = Named(progress, str(target.with_suffix("")))  # others may be running on the same terminal
    if not header.result:
        raise AekitError(f"{checkpoint}: is an unfinished run; finish it with mri-train --resume")
    model = read_feature_checkpoint(checkpoint, header)
    cohort = _read(checkpoint, tables.table, model.columns, skip_bad=skip_bad, progress=progress)
    needed_columns(checkpoint, model.names, cohort, model.patterns, model.ignored)
    check_writable(target)
    found = _predict(checkpoint, model, cohort, tables, progress)
    write_csv(target, found.table)
    _show(found, progress)
    return Result(target, summarise(found.table, found.ages, found.unlike))


def _choose_target(checkpoint: Path, output: Path | None, tables: ScanTables) -> Path:
    target = choose_target([checkpoint], output, name="predicted", suffix=".csv")
    if target.resolve() in {checkpoint.with_suffix(suffix).resolve() for suffix in COMPANIONS}:
        raise AekitError(f"--output {target}: is a file of the training and would be replaced; choose another name")
    for option, path in (("--table", tables.table), ("--reference", tables.reference)):
        if path is not None and target.resolve() == path.resolve():
            raise AekitError(f"--output {target}: is the {option} that is read and would be replaced; choose another")
    return target


def _read(checkpoint: Path, path: Path, columns: TableColumns, *, skip_bad: bool, progress: Progress) -> Cohort:
    """Return the participants of a table, its columns named as in the training where it has them."""
    chosen = _chosen_columns(path, columns)
    try:
        cohort = read_cohort(path, skip_bad=skip_bad, chosen=chosen)
    except AekitError as error:
        if chosen is None:
            raise
        options = " ".join(f"{columns.option(name)} {shown(one)}" for name, one in vars(chosen).items() if one)
        raise AekitError(f"{checkpoint}: was trained with {options}; {error}") from error
    report_table(cohort, progress)
    if len(cohort.left_out):
        progress.notice(f"{cohort.name}: rows left out: {named(cohort.left_out['participant_id'])}")
    return cohort


def _chosen_columns(path: Path, columns: TableColumns) -> TableColumns | None:
    """Return the columns that options of the training name and a table has; None for none."""
    header = read_text_table(path).header
    found = {name: column for name, column in vars(columns).items() if column in header}
    return TableColumns(**found) if found else None


@dataclass(frozen=True)
class _Found:
    """The ages of n participants.

    Attributes:
        table: A row each.
        ages: With intervals; of those who have all features, (m,).
        reasons: In which ways each of these is unlike the training.
        unknown: Whose errors are unknown, (m,).
        unlike: Who is unlike the training, (m,).
    """

    table: pd.DataFrame
    ages: NewAges
    reasons: list[list[str]]
    unknown: Flags
    unlike: Flags


def _predict(
    checkpoint: Path, model: FeatureCheckpoint, cohort: Cohort, tables: ScanTables, progress: Progress
) -> _Found:
    values = feature_values(cohort, model.names)
    missing = missing_features(values, model.names)
    rows = np.flatnonzero(missing == "")
    if lacking := [f"{one} ({why})" for one, why in zip(cohort.table["participant_id"], missing, strict=True) if why]:
        progress.notice(f"{cohort.name}: {count(len(lacking), 'participant')} not predicted: {named(lacking)}")
    if not len(rows):
        raise AekitError(f"{checkpoint}: needs features that nobody in {shown(cohort.name)} has all of; add values")
    own, features = cohort.subset(rows), values[rows]
    _check_units(checkpoint, model, features, cohort)
    site = site_of(own)
    with threadpool_limits(1, user_api="blas"):
        years_of = model.predict(features, site, own.sex)
    if not all(np.isfinite(years).all() for years in years_of.values()):
        raise AekitError(f"{checkpoint}: its models predict ages that are not numbers; train it again")
    ages = read_new_ages(MemberPrediction(), model.header, years_of)
    people = _people(own, tables, model.columns, progress)
    if people.is_reference.any():
        ages = recalibrate(ages, people, progress)
    years = np.column_stack([ages.years[name] for name in ages.years])
    reasons = model.limits.unlike(features, model.names, years)
    _add_sites(reasons, model, site, own, progress)
    if n := _n_without_sex(model, own):
        progress.notice(
            f"{cohort.name}: {count(n, 'participant')} without a sex: effects of sites are removed as half way between "
            "female and male"
        )
    has_reference = bool(people.is_reference.any())
    unlike, unknown = is_unlike(reasons, None), is_unlike(reasons, people.is_reference if has_reference else None)
    table = _table(ages, people, reasons, without_interval(unknown), unlike, progress, has_reference=has_reference)
    table = cohort.table[["participant_id"]].merge(table, on="participant_id", how="left")
    table["reason"] = missing
    table["true_age_years"] = table["true_age_years"].fillna(pd.Series(cohort.age_years))
    for name, empty in (("model", ""), ("unlike_training", ""), ("warnings", ""), ("reference", "no")):
        if name in table:
            table[name] = table[name].fillna(empty)
    return _Found(table, ages, reasons, unknown, unlike)


def _check_units(checkpoint: Path, model: FeatureCheckpoint, features: Floats, cohort: Cohort) -> None:
    """Raise an AekitError that names features which are larger or smaller than in train by far in everybody."""
    if found := model.limits.in_other_units(features, model.names):
        listed = named(f"{name} (x {factor:.3g})" for name, factor in found.items())
        raise AekitError(
            f"{checkpoint}: values of {shown(cohort.name)} are too large or too small in everybody, as in other units "
            f"than those of the training: {listed}; convert them"
        )


def _people(cohort: Cohort, tables: ScanTables, columns: TableColumns, progress: Progress) -> ScanPeople:
    """Return ids and ages of participants, and who of them is in the reference."""
    ids = cohort.table["participant_id"].to_numpy(object)
    people = ScanPeople(ids, cohort.age_years, np.zeros(len(ids), np.bool_))
    if tables.reference is None:
        return people
    reference = read_cohort(
        tables.reference, need=("participant_id", "age"), chosen=_chosen_columns(tables.reference, columns)
    )
    age_of = dict(zip(reference.table["participant_id"], reference.age_years, strict=True))
    if absent := [str(one) for one in age_of if one not in set(ids)]:
        progress.notice(
            f"{reference.name}: {count(len(absent), 'participant')} without a row with all features in "
            f"{cohort.name}: {named(absent)}"
        )
    ages = np.array([age_of.get(one, np.nan) for one in ids], np.float64)
    check_reference(int(np.isfinite(ages).sum()), tables.reference, f"all features in {shown(cohort.name)}")
    return replace(
        people, age_years=np.where(np.isfinite(ages), ages, people.age_years), is_reference=np.isfinite(ages)
    )


def _n_without_sex(model: FeatureCheckpoint, cohort: Cohort) -> int:
    """Return of how many participants the sex is unknown, if effects of sites are removed given sex."""
    uses_sex = any(one.effects is not None and one.effects.expected[1].any() for one in model.models)
    return int((~np.isin(cohort.sex.astype(str), ("F", "M"))).sum()) if uses_sex else 0


def _add_sites(
    reasons: list[list[str]],
    model: FeatureCheckpoint,
    site: npt.NDArray[np.object_],
    cohort: Cohort,
    progress: Progress,
) -> None:
    """Say which sites could not be corrected; unless such sites were held out, errors there are unknown."""
    if not model.has_site_effects:
        return
    known = model.sites()
    unknown = Counter(str(one) if one else "" for one in site if one not in known)
    if not unknown:
        return
    n_without = unknown.pop("", 0)
    texts = [named(f"{name} ({n:,})" for name, n in sorted(unknown.items()))] if unknown else []
    texts += [f"without a site ({n_without:,})"] if n_without else []
    progress.notice(
        f"{cohort.name}: the effects of sites are not removed where the training did not know the site: "
        f"{', '.join(texts)}; it knew {named(sorted(known)) or 'none in all folds'}"
    )
    if isinstance(model.header.data.get("cv"), str):
        return
    for own, name in zip(reasons, site, strict=True):
        if name not in known:
            own.append("site is not one of the training, so its effects are not removed")


def _table(
    ages: NewAges,
    people: ScanPeople,
    reasons: list[list[str]],
    without: Flags,
    unlike: Flags,
    progress: Progress,
    *,
    has_reference: bool,
) -> pd.DataFrame:
    """Return a row per participant who has all features: ages with intervals, deltas and warnings."""
    columns: dict[str, Any] = {"participant_id": people.ids}
    if has_reference:
        columns["reference"] = np.where(people.is_reference, "yes", "no")
    columns["true_age_years"] = people.age_years
    for name, model in ages.columns.items():
        columns[name] = ages.years[model]
        if (interval := ages.intervals.get((model, AGE))) is not None:
            for end, values in zip(("low", "high"), interval.interval(ages.years[model]).T, strict=True):
                columns[f"{name}_{end}"] = np.where(without, np.nan, np.clip(values, 0.0, MAX_AGE_YEARS))
        if name == AGE:
            columns["model"] = model
    lacking = add_deltas(columns, ages, people.age_years)
    if lacking and np.isfinite(people.age_years).any():
        progress.notice(
            f"no delta_corrected of {', '.join(lacking)}: fewer than ten participants were held out in the training; "
            "train it again with --cv"
        )
    columns["unlike_training"] = np.where(unlike, "yes", "no")
    columns["warnings"] = ["; ".join(own) for own in reasons]
    return pd.DataFrame(columns)


def _show(found: _Found, progress: Progress) -> None:
    """Show the first predictions, * marks ages whose error is unknown, and who is unlike the training."""
    table, first = found.table, found.ages.columns[AGE]
    marks = dict(zip(table.loc[table["reason"] == "", "participant_id"], without_interval(found.unknown), strict=True))
    cells = [
        _cells(row, is_marked=marks.get(row["participant_id"], False)) for _, row in table.head(N_SHOWN).iterrows()
    ]
    how, why = describe_intervals(found.ages.intervals, table)
    more = f", the first {N_SHOWN} of {len(table):,}" if len(table) > N_SHOWN else ""
    columns = ["participant_id", "true_age_years", AGE, "delta", "delta_corrected"]
    progress.table(f"predicted {how}, age_years by {first}{more}", columns, cells)
    if why:
        progress.notice(why)
    text = describe_unlike(
        found.reasons,
        found.unknown,
        has_reference=bool(found.ages.recalibrations),
        has_intervals=bool(found.ages.intervals),
        noun="participant",
    )
    if text:
        progress.notice(text)


def _cells(row: Any, *, is_marked: bool) -> list[str]:
    def text(name: str, form: str) -> str:
        return format(row[name], form) if np.isfinite(row[name]) else "-"

    age = text(AGE, ".1f")
    low, high = (row.get(f"{AGE}_{end}", np.nan) for end in ("low", "high"))
    age += f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else ""
    age += "*" if is_marked else ""
    return [
        str(row["participant_id"]), text("true_age_years", ".1f"), age, text("delta", "+.1f"),
        text("delta_corrected", "+.1f"),
    ]  # fmt: skip
