"""Who takes part in a training on columns of a table: rows with an age and all features; and who is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cases import build_control_folds
from aekit.brains.cohort.table import Cohort
from aekit.brains.config import BrainConfig, Target
from aekit.brains.people import Fold, Participants, report_table
from aekit.brains.tabular.columns import (
    FeatureColumns,
    describe_ignored,
    describe_suspects,
    feature_values,
    find_features,
    missing_features,
)
from aekit.brains.tabular.ensemble import FeaturePeople
from aekit.core.progress import Progress
from aekit.core.text_table import named
from aekit.errors import AekitError, count, shown

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureCohort:
    """Participants of a training on columns of a table.

    Attributes:
        people: Who takes part, and who is left out.
        columns: The features.
        own: Features, ages, sites and sexes.
        volumes_ml: Grey matter, white matter and CSF of the table in mL, (N, 3); (N, 0) if it has not all of them.
        folds: Who is in train, and who is held out.
    """

    people: Participants
    columns: FeatureColumns
    own: FeaturePeople
    volumes_ml: Floats
    folds: list[Fold]


def gather_features(cohort: Cohort, config: BrainConfig, progress: Progress) -> FeatureCohort:
    """Return the participants of a table that have an age and all features, with their folds.

    Raises:
        AekitError: No column can be a feature, nobody has all of them, ages do not differ, or ``combat`` lacks sites.
    """
    report_table(cohort, progress)
    left_out = [(str(row.participant_id), "", f"{row.column}: {row.reason}") for row in cohort.left_out.itertuples()]
    ids = cohort.table["participant_id"].to_numpy(object)
    has_age = np.isfinite(cohort.age_years)
    left_out += [(str(one), "", "no age") for one in ids[~has_age]]
    cohort = cohort.subset(has_age)
    if not len(cohort):
        raise AekitError(f"{cohort.name}: no participant has an age; check its columns")
    columns = find_features(cohort, config)
    progress.notice(f"{cohort.name}: {describe_ignored(columns)}")
    if text := describe_suspects(columns):
        progress.notice(f"{cohort.name}: {text}")
    values = feature_values(cohort, columns.names)
    reasons = missing_features(values, columns.names)
    ids = cohort.table["participant_id"].to_numpy(object)
    left_out += [(str(one), "", str(why)) for one, why in zip(ids, reasons, strict=True) if why]
    if left_out:
        progress.notice(_describe_left_out(cohort, left_out, values, columns.names))
    complete = reasons == ""
    if not complete.any():
        raise AekitError(
            f"--features: nobody in {shown(cohort.name)} has all {len(columns.names):,} features "
            f"({_most_missing(values, columns.names)}); leave such columns out"
        )
    table = pd.DataFrame(left_out, columns=["participant_id", "file", "reason"], dtype=object)
    people = Participants(cohort.subset(complete), table)
    return _divide(people, columns, values[complete], config, progress)


def site_of(cohort: Cohort) -> npt.NDArray[np.object_]:
    """Return names of sites, objects (N,), None where missing or if there are none."""
    site = np.full(len(cohort), None, object) if cohort.site is None else cohort.site
    return np.array([one.strip() or None if isinstance(one, str) else None for one in site], object)


def _divide(
    people: Participants, columns: FeatureColumns, values: Floats, config: BrainConfig, progress: Progress
) -> FeatureCohort:
    cohort = people.cohort
    if np.ptp(cohort.age_years) == 0:
        raise AekitError(f"{cohort.name}: all ages are {cohort.age_years[0]:g}; there is nothing to learn")
    volumes_ml = _volumes(cohort, progress)
    target: Target | None = "absolute" if volumes_ml.shape[1] else None
    people, folds = build_control_folds(people, config.data, target, progress)
    own = FeaturePeople(values, cohort.age_years, site_of(cohort), cohort.sex)
    if config.model.combat:
        _check_sites(cohort, own.site)
    for fold in folds:
        if np.ptp(cohort.age_years[fold.train]) == 0:
            raise AekitError(f"{cohort.name}: all ages in train are the same; there is nothing to learn")
    return FeatureCohort(people, columns, own, volumes_ml, folds)


def _volumes(cohort: Cohort, progress: Progress) -> Floats:
    """Return volumes in mL, (N, 3), or (N, 0) if the table has none, or not those of everyone, which is said."""
    volumes_ml = cohort.volumes_ml
    if volumes_ml is None:
        return np.empty((len(cohort), 0))
    n = int((~np.isfinite(volumes_ml).all(axis=1)).sum())
    if n:
        progress.notice(f"{cohort.name}: no baselines on gmv, wmv and csfv, missing in {count(n, 'participant')}")
    return np.empty((len(cohort), 0)) if n else volumes_ml


def _check_sites(cohort: Cohort, site: npt.NDArray[np.object_]) -> None:
    names = sorted({str(one) for one in site if one})
    if len(names) < 2:
        what = f"only site {shown(names[0])}" if names else "no column site"
        raise AekitError(
            f"--combat: {shown(cohort.name)} has {what}; name the column with --site, or leave --combat out"
        )


def _describe_left_out(
    cohort: Cohort, left_out: Sequence[tuple[str, str, str]], values: Floats, names: Sequence[str]
) -> str:
    text = f"{cohort.name}: {count(len(left_out), 'participant')} left out: "
    text += named(f"{one} ({why})" for one, _, why in left_out)
    most = _most_missing(values, names)
    return f"{text}; {most}" if most else text


def _most_missing(values: Floats, names: Sequence[str]) -> str:
    """Return the feature that most participants lack; empty if none is missing."""
    n = (~np.isfinite(values)).sum(axis=0)
    column = int(np.argmax(n))
    return f"{shown(names[column])} is missing most often, in {n[column]:,} of {len(values):,}" if n[column] else ""
