"""What is found out about a cohort for its report, before it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.table import Cohort
from aekit.brains.measures.cohort import (
    NO_INTERVAL,
    Correlations,
    Floor,
    SexDifference,
    SiteDifference,
    age_floor,
    correlate,
    sex_difference,
    site_difference,
    stronger_correlation,
)
from aekit.brains.measures.outliers import OutlierLimits, fit_outlier_limits
from aekit.brains.report.harmonise import Harmonised
from aekit.core.intervals import Interval
from aekit.errors import AekitError

Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]

LABELS = {"gmv": "grey matter", "wmv": "white matter", "csfv": "CSF", "total": "total"}
Kind = Literal["volumes", "proportions"]


@dataclass(frozen=True, eq=False)
class Measures:
    """Measures of one kind.

    Attributes:
        kind: Volumes in mL, or proportions of the sum of the three tissues.
        keys: gmv, wmv, csfv, and for volumes the total of the three; those that the table has.
        values: (N, P), NaN where missing.
    """

    kind: Kind
    keys: tuple[str, ...]
    values: Floats

    @property
    def unit(self) -> str:
        """Return the unit; proportions have none."""
        return "mL" if self.kind == "volumes" else ""

    @property
    def names(self) -> list[str]:
        """Return the names of the measures."""
        return [LABELS[key] for key in self.keys]


@dataclass(frozen=True, eq=False)
class Outliers:
    """Participants whose volumes are unusual for their age and sex.

    Attributes:
        limits: Limits of what is usual.
        keys: Volumes that are compared.
        z: Robust z, (N, P), NaN where missing.
        squared: Squared Mahalanobis distances, (N,), NaN where missing.
        flagged: Which participants are outliers, (N,).
    """

    limits: OutlierLimits
    keys: tuple[str, ...]
    z: Floats
    squared: Floats
    flagged: Flags

    def order(self) -> list[int]:
        """Return the rows of outliers, the most extreme first."""
        rows = np.flatnonzero(self.flagged)
        by_z = np.nanmax(np.abs(self.z[rows]), axis=1, initial=0.0) / self.limits.z_limit
        by_distance = np.sqrt(np.nan_to_num(self.squared[rows]) / self.limits.squared_limit)
        return [int(row) for row in rows[np.argsort(-np.maximum(by_z, by_distance), kind="stable")]]


@dataclass(frozen=True)
class Comparison:
    """One tissue as a volume and as a proportion, as hypothesis H1 compares them.

    Attributes:
        key: Key of the tissue.
        d_volume: Cohen's d between the sexes, for the volume.
        d_proportion: The same for the proportion.
        d_proportion_given_age: The same for the proportion at equal age.
        r_volume: Correlation of the volume with age.
        r_proportion: Correlation of the proportion with age.
        gained: |r| of the proportion minus |r| of the volume.
    """

    key: str
    d_volume: Interval
    d_proportion: Interval
    d_proportion_given_age: Interval
    r_volume: float
    r_proportion: float
    gained: Interval


@dataclass(frozen=True, eq=False)
class Analysis:
    """A cohort and what was found out about it; parts without columns in the table are empty or None.

    Attributes:
        cohort: The participants.
        split: "train", "val" or "test" for each, (N,).
        floor: Errors of predicting the same age for everyone.
        measures: Volumes, and proportions if the table has all three.
        correlations: Correlations of age and the measures, by kind.
        sexes: Differences between men and women, by kind and measure.
        sites: Differences between sites, by kind and measure, such as "volumes gmv".
        outliers: None if there are too few participants or no volumes.
        why_no_outliers: The reason, if there are none.
        comparisons: One per tissue, if there are proportions.
        harmonised: Columns without the effects of sites; None if they were not asked for.
    """

    cohort: Cohort
    split: npt.NDArray[np.object_]
    floor: Floor
    measures: dict[Kind, Measures]
    correlations: dict[Kind, Correlations]
    sexes: dict[tuple[Kind, str], SexDifference]
    sites: dict[str, SiteDifference]
    outliers: Outliers | None
    why_no_outliers: str
    comparisons: tuple[Comparison, ...]
    harmonised: Harmonised | None = None

    @property
    def has_age(self) -> Flags:
        """Return which participants have an age, (N,)."""
        return np.isfinite(self.cohort.age_years)


def analyse_cohort(cohort: Cohort, split: npt.NDArray[np.object_], harmonised: Harmonised | None = None) -> Analysis:
    """Return what can be found out about a cohort.

    Args:
        cohort: The participants.
        split: Their split, (N,).
        harmonised: Columns of it without the effects of sites.

    Raises:
        AekitError: No participant has an age.
    """
    known = np.isfinite(cohort.age_years)
    if not known.any():
        raise AekitError(f"{cohort.name}: no participant has an age; fill in the column age")
    measures = _measures(cohort)
    correlations = {
        kind: correlate(np.column_stack([cohort.age_years, each.values])) for kind, each in measures.items()
    }
    outliers, why = _find_outliers(cohort, measures)
    sexes = _sexes(cohort, measures)
    return Analysis(
        cohort=cohort,
        split=split,
        floor=age_floor(cohort.age_years[known]),
        measures=measures,
        correlations=correlations,
        sexes=sexes,
        sites=_sites(cohort, measures),
        outliers=outliers,
        why_no_outliers=why,
        comparisons=_compare(cohort, measures, correlations, sexes),
        harmonised=harmonised,
    )


def _measures(cohort: Cohort) -> dict[Kind, Measures]:
    keys = [key for key in ("gmv", "wmv", "csfv") if key in cohort.table and cohort.table[key].notna().any()]
    if not keys:
        return {}
    columns = [cohort.table[key].to_numpy(np.float64) for key in keys]
    proportions = cohort.proportions
    if len(keys) < 3 or proportions is None:
        return {"volumes": Measures("volumes", tuple(keys), np.column_stack(columns))}
    total = np.sum(columns, axis=0)
    return {
        "volumes": Measures("volumes", (*keys, "total"), np.column_stack([*columns, total])),
        "proportions": Measures("proportions", tuple(keys), proportions),
    }


def _sexes(cohort: Cohort, measures: dict[Kind, Measures]) -> dict[tuple[Kind, str], SexDifference]:
    sex = cohort.sex
    if min((sex == "F").sum(), (sex == "M").sum()) < 2:
        return {}
    return {
        (kind, key): sex_difference(column, cohort.age_years, sex)
        for kind, each in measures.items()
        for key, column in zip(each.keys, each.values.T, strict=True)
    }


def _sites(cohort: Cohort, measures: dict[Kind, Measures]) -> dict[str, SiteDifference]:
    if cohort.site is None:
        return {}
    found = {
        f"{kind} {key}": site_difference(column, cohort.age_years, cohort.sex, cohort.site)
        for kind, each in measures.items()
        for key, column in zip(each.keys, each.values.T, strict=True)
    }
    return {name: difference for name, difference in found.items() if difference is not None}


def _find_outliers(cohort: Cohort, measures: dict[Kind, Measures]) -> tuple[Outliers | None, str]:
    if "volumes" not in measures:
        return None, "the table has no tissue volumes"
    keys = tuple(key for key in measures["volumes"].keys if key != "total")
    values = measures["volumes"].values[:, : len(keys)]
    age, sex = cohort.age_years, cohort.sex
    try:
        limits = fit_outlier_limits(values, age, sex)
    except AekitError as error:
        return None, str(error).removeprefix("outliers: ")
    found = Outliers(
        limits,
        keys,
        limits.robust_z(values, age, sex),
        limits.mahalanobis(values, age, sex),
        limits.flag(values, age, sex),
    )
    return found, ""


def _compare(
    cohort: Cohort,
    measures: dict[Kind, Measures],
    correlations: dict[Kind, Correlations],
    sexes: dict[tuple[Kind, str], SexDifference],
) -> tuple[Comparison, ...]:
    if "proportions" not in measures:
        return ()
    volumes, proportions = measures["volumes"], measures["proportions"]
    found = []
    for number, key in enumerate(proportions.keys):
        d_volume, d_proportion = (
            sexes[kind, key].d if sexes else NO_INTERVAL for kind in (volumes.kind, proportions.kind)
        )
        r_volume, r_proportion = (
            float(correlations[kind].pearson[0, 1 + number]) for kind in (volumes.kind, proportions.kind)
        )
        gained = stronger_correlation(proportions.values[:, number], volumes.values[:, number], cohort.age_years)
        given_age = sexes[proportions.kind, key].d_given_age if sexes else NO_INTERVAL
        found.append(Comparison(key, d_volume, d_proportion, given_age, r_volume, r_proportion, gained))
    return tuple(found)


def add_columns(analysis: Analysis, files: list[str | None] | None) -> pd.DataFrame:
    """Return the participants table with outliers, split and files as columns, as mri-train reads it.

    Args:
        analysis: The cohort.
        files: File of each participant relative to the folder of volumes; None keeps what the table says, for one
            participant or for all.
    """
    table = analysis.cohort.table.copy()
    old = [name for name in table.columns if name == "outlier" or str(name).startswith("outlier_")]
    table = table.drop(columns=old)
    if analysis.outliers is not None:
        for key, column in zip(analysis.outliers.keys, analysis.outliers.z.T, strict=True):
            table[f"outlier_z_{key}"] = column
        table["outlier_distance"] = np.sqrt(analysis.outliers.squared)
        table["outlier"] = analysis.outliers.flagged.astype(int)
    if "split" in table:
        before = table.pop("split").astype(object)
        if not np.array_equal(before.to_numpy(), analysis.split):
            table["split_before"] = before
    table["split"] = analysis.split
    if files is not None and any(files):
        kept = table["file"].tolist() if "file" in table else [None] * len(table)
        table["file"] = [new or old for new, old in zip(files, kept, strict=True)]
    return table
