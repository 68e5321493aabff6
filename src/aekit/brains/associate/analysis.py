"""Every test that is asked for: each measure with each covariate, given age, sex and site."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.associate.covariates import Covariate, count_missing, read_covariate
from aekit.brains.associate.groups import area_under_curve, cohens_d
from aekit.brains.associate.linear import NOTHING, ConfoundedError, Estimate, Fitted, build_design, fit_columns
from aekit.brains.associate.multiple import benjamini_hochberg, holm
from aekit.brains.associate.request import ADJUSTED, AgeTrend, Request
from aekit.brains.associate.sample import Sample
from aekit.brains.cohort.table import TISSUES
from aekit.brains.measures.age_trend import sex_code
from aekit.core.text_table import named
from aekit.errors import AekitError, count, shown

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

GAP, GIVEN_VOLUMES = "gap", "gap given volumes"
OMNIBUS, SLOPE = "any difference", "per unit"
MIN_PARTICIPANTS = 10


@dataclass(frozen=True, eq=False)
class Measure:
    """A quantity that is tested.

    Attributes:
        name: ``gap``, ``gap given volumes``, ``gmv`` ...
        unit: ``years``, ``mL``, or empty for fractions.
        values: (N,), NaN where missing.
        given: Further columns of the model, (N, K).
    """

    name: str
    unit: str
    values: Floats
    given: Floats


@dataclass(frozen=True, eq=False)
class Nuisance:
    """What is in every model.

    Attributes:
        names: Columns in the model.
        age_years: (N,), or None if age is not in the model.
        age_trend: Whether age squared is in the model, too.
        sex: Codes, (N,), NaN where missing, or None.
        others: Further columns.
        is_control: Who determines the age trend, (N,); None for everyone.
    """

    names: tuple[str, ...]
    age_years: Floats | None
    age_trend: AgeTrend
    sex: Floats | None
    others: tuple[Covariate, ...]
    is_control: Bools | None

    def known(self) -> dict[str, Bools]:
        """Return who has a value, (N,), for each column."""
        found = {} if self.age_years is None else {"age": np.isfinite(self.age_years)}
        found |= {} if self.sex is None else {"sex": np.isfinite(self.sex)}
        return found | {one.name: one.is_known for one in self.others}

    def without(self, name: str) -> Nuisance:
        """Return what is in the model of a covariate of this name."""
        return replace(
            self,
            names=tuple(one for one in self.names if one != name),
            age_years=None if name == "age" else self.age_years,
            sex=None if name == "sex" else self.sex,
            others=tuple(one for one in self.others if one.name != name),
        )

    def columns(self, rows: Rows) -> Floats:
        """Return the constant, age, sex and the others, (n, K)."""
        parts = [np.ones((len(rows), 1))]
        if self.age_years is not None:
            parts.append(self.age_columns(rows))
        if self.sex is not None:
            parts.append(self.sex[rows, None])
        parts += [one.dummies(rows) for one in self.others]
        return np.hstack(parts)

    def age_columns(self, rows: Rows) -> Floats:
        """Return age in decades from the mean, and its square if asked for, (n, 1 or 2)."""
        ages = np.asarray(self.age_years)
        x = (ages[rows] - np.nanmean(ages)) / 10.0
        return np.column_stack([x, x**2] if self.age_trend == "quadratic" else [x])


def build_nuisance(sample: Sample, request: Request) -> tuple[Nuisance, list[str]]:
    """Return what is in every model, and notes of what is not although it could be.

    Raises:
        AekitError: A column of ``--adjust`` is missing.
    """
    rows, notes = sample.first_rows, []
    asked = request.adjust
    there = [name for name in ADJUSTED if name == "age" or name in sample.table]
    names = list(asked if asked is not None else there)
    table = sample.table.iloc[rows]
    if asked is None:
        for name in [name for name in names if name != "age" and table[name].nunique() < 2]:
            notes.append(
                f"{name} is not in the models, as it has {'one value' if table[name].nunique() else 'no values'}"
            )
            names.remove(name)
    sex = None
    if "sex" in names and "sex" in sample.table:
        codes = sex_code(table["sex"].to_numpy(object))
        sex = np.where(codes == 0, np.nan, codes)
    others = tuple(
        _nuisance_column(sample, name, request) for name in names if name != "age" and (name != "sex" or sex is None)
    )
    control = None if sample.is_control is None else sample.is_control[rows]
    ages = sample.age_years[rows] if "age" in names else None
    return Nuisance(tuple(names), ages, request.age_trend, sex, others, control), notes


def _nuisance_column(sample: Sample, name: str, request: Request) -> Covariate:
    """Return a column that is in every model; sites may be small and many."""
    if name != "site":
        return read_covariate(sample, name, request, "--adjust")
    if name not in sample.table:
        raise AekitError(f"--adjust: {shown(sample.name)} has no column 'site'; leave it out")
    labels = sample.table[name].to_numpy(object)[sample.first_rows]
    texts = np.array(["" if label is None or label != label else str(label) for label in labels], dtype=object)
    return Covariate(name, None, texts, tuple(sorted(set(texts) - {""})))


def build_measures(sample: Sample) -> list[Measure]:
    """Return the gap, and if the table has them the volumes of tissues, their fractions, and the gap given volumes."""
    rows = sample.first_rows
    nothing = np.empty((len(rows), 0))
    gap = sample.gap_years[rows]
    measures = [Measure(GAP, "years", gap, nothing)]
    names = [name for name in TISSUES if name in sample.table]
    volumes = {name: sample.table[name].to_numpy(np.float64)[rows] for name in names}
    volumes = {name: values for name, values in volumes.items() if np.isfinite(values).sum() >= MIN_PARTICIPANTS}
    if not volumes:
        return measures
    measures.append(Measure(GIVEN_VOLUMES, "years", gap, np.column_stack(list(volumes.values()))))
    measures += [Measure(name, "mL", values, nothing) for name, values in volumes.items()]
    if len(volumes) == len(TISSUES):
        total = np.sum(list(volumes.values()), axis=0)
        measures += [Measure(f"{name} fraction", "", values / total, nothing) for name, values in volumes.items()]
    return measures


@dataclass(frozen=True, eq=False)
class Row:
    """One test, as a row of the table.

    Attributes:
        measure: What was tested.
        covariate: With what.
        contrast: ``per unit``, ``patient - control``, or ``any difference``.
        groups: The group and the reference; None if two groups are not compared.
        fitted: What the model says.
        n_group: Participants in the group, and in the reference; None for numbers.
        n_reference: In the reference.
        missing: Values that are missing, by column.
        d: Cohen's d.
        auc: Area under the ROC curve.
        adjusted: Values without age, sex and site, (n,), with the mean of the reference, or of all, at zero.
        rows: Participants that these are of, (n,).
    """

    measure: Measure
    covariate: Covariate
    contrast: str
    groups: tuple[str, str] | None
    fitted: Fitted
    n_group: int | None
    n_reference: int | None
    missing: str
    d: Estimate
    auc: Estimate
    adjusted: Floats
    rows: Rows


def run_tests(
    covariates: Sequence[Covariate],
    measures: Sequence[Measure],
    nuisance: Nuisance,
    request: Request,
    report: Callable[[int, int], None],
) -> list[Row]:
    """Return all tests of all measures with all covariates.

    A volume is not tested with itself, and the gap given volumes not with what the volumes determine, as their sum.

    Raises:
        AekitError: A covariate cannot be told from what is in every model, or too few participants have all values.
    """
    found = []
    pairs = [(measure, covariate) for covariate in covariates for measure in measures]
    for number, (measure, covariate) in enumerate(pairs):
        report(number, len(pairs))
        if measure.name == covariate.name:
            continue
        own = nuisance.without(covariate.name)
        try:
            found += list(_tests(measure, covariate, own, request))
        except ConfoundedError as error:
            if not measure.given.shape[1]:
                raise AekitError(
                    f"--with {shown(covariate.name)}: cannot be told from {named(own.names) or 'a constant'}, which "
                    "determine it for those with all values; leave one out with --adjust"
                ) from error
    return found


def _tests(measure: Measure, covariate: Covariate, nuisance: Nuisance, request: Request) -> Iterator[Row]:
    known = {covariate.name: covariate.is_known, **nuisance.known()}
    if not np.isfinite(measure.values).all() or not np.isfinite(measure.given).all():
        known[measure.name] = np.isfinite(measure.values) & np.isfinite(measure.given).all(axis=1)
    rows = np.flatnonzero(np.logical_and.reduce(list(known.values()))).astype(np.int64)
    missing = count_missing(known)
    if len(rows) < MIN_PARTICIPANTS:
        raise AekitError(
            f"--with {shown(covariate.name)}: {count(len(rows), 'participant has', 'participants have')} "
            f"{measure.name} and all columns of the model, at least {MIN_PARTICIPANTS} are needed (missing: "
            f"{missing or 'none'}); fill in the table, or leave columns out with --adjust"
        )
    tests = _Tests(measure, covariate, nuisance, request, rows, missing)
    if covariate.numbers is not None:
        yield tests.slope()
        return
    levels = [level for level in covariate.levels if (np.asarray(covariate.labels)[rows] == level).any()]
    if levels[0] != covariate.levels[0] or len(levels) < 2:
        raise AekitError(
            f"--with {shown(covariate.name)}: of those with {measure.name} and all columns of the model only "
            f"{named(levels)} are left (missing: {missing}); fill in the table, or leave columns out with --adjust"
        )
    if len(levels) > 2:
        yield tests.omnibus(tuple(levels))
    for level in levels[1:]:
        yield tests.difference(tuple(levels), level)


def trend_is_of_controls(covariate: Covariate, nuisance: Nuisance, rows: Rows) -> bool:
    """Return whether the controls alone can determine the age trend that groups are compared with.

    They can if the reference is of controls, and each other group either of controls or of none.
    """
    if nuisance.is_control is None or nuisance.age_years is None or covariate.labels is None:
        return False
    labels, control = covariate.labels[rows], nuisance.is_control[rows]
    pure = all(len(set(control[labels == level].tolist())) == 1 for level in set(labels.tolist()))
    return pure and bool(control[labels == covariate.levels[0]].all()) and not control.all()


@dataclass(frozen=True, eq=False)
class _Tests:
    """The tests of one measure with one covariate, on the participants that have all values."""

    measure: Measure
    covariate: Covariate
    nuisance: Nuisance
    request: Request
    rows: Rows
    missing: str

    def slope(self) -> Row:
        """Return the test of numbers."""
        tested = np.asarray(self.covariate.numbers)[self.rows, None]
        fitted = self._fit(self._nuisance(), tested)
        adjusted = self._adjusted(self._nuisance(), tested)
        return self._row(None, SLOPE, fitted, None, None, NOTHING, NOTHING, adjusted - adjusted.mean())

    def omnibus(self, levels: tuple[str, ...]) -> Row:
        """Return the test of whether any group differs."""
        tested = self.covariate.dummies(self.rows, levels=levels)
        fitted = self._fit(np.hstack([self._nuisance(), self._trend_of_others(levels)]), tested)
        return self._row(None, OMNIBUS, fitted, None, None, NOTHING, NOTHING, np.empty(0))

    def difference(self, levels: tuple[str, ...], level: str) -> Row:
        """Return the test of one group against the reference, in the model of all groups."""
        dummies = self.covariate.dummies(self.rows, levels=levels)
        place = levels.index(level) - 1
        tested, others = dummies[:, [place]], np.delete(dummies, place, axis=1)
        main, trend = self._nuisance(), self._trend_of_others(levels)
        fitted = self._fit(np.hstack([main, others, trend]), tested)
        adjusted = self._adjusted(main, np.hstack([dummies, trend]))
        labels = np.asarray(self.covariate.labels)[self.rows]
        first, second = adjusted[labels == level], adjusted[labels == levels[0]]
        n, m = len(first), len(second)
        d = auc = NOTHING
        if min(n, m) > 1:
            d = cohens_d(fitted.estimate.value, first, second, error=fitted.error)
            auc = area_under_curve(first, second)
        contrast = f"{level} - {levels[0]}"
        return self._row((level, levels[0]), contrast, fitted, n, m, d, auc, adjusted - second.mean())

    def _nuisance(self) -> Floats:
        return np.hstack([self.nuisance.columns(self.rows), self.measure.given[self.rows]])

    def _trend_of_others(self, levels: tuple[str, ...]) -> Floats:
        """Return columns that let the controls alone determine the age trend, (n, 0) if there are no controls.

        With a trend of their own about the mean age of their group, the others have no part in that of the controls,
        and the coefficient of a group is its mean distance from the trend of the controls at the ages of its members.
        """
        if not trend_is_of_controls(self.covariate, self.nuisance, self.rows):
            return np.empty((len(self.rows), 0))
        labels = np.asarray(self.covariate.labels)[self.rows]
        control = np.asarray(self.nuisance.is_control)[self.rows]
        ages = self.nuisance.age_columns(self.rows)
        centred = np.zeros_like(ages)
        for level in levels[1:]:
            own = (labels == level) & ~control
            if own.any():
                centred[own] = ages[own] - ages[own].mean(axis=0)
        return centred

    def _fit(self, nuisance: Floats, tested: Floats) -> Fitted:
        design = build_design(nuisance, tested)
        values = self.measure.values[self.rows]
        return fit_columns(design, values, n_permutations=self.request.n_permutations, seed=self.request.seed)

    def _adjusted(self, nuisance: Floats, others: Floats) -> Floats:
        """Return the measure without what the nuisance columns say of it in the model of all columns, (n,)."""
        values = self.measure.values[self.rows]
        scale = np.maximum(np.linalg.norm(nuisance, axis=0), 1e-300)
        solution = np.linalg.lstsq(np.hstack([nuisance / scale, others]), values, rcond=1e-10)[0]
        return np.asarray(values - (nuisance / scale) @ solution[: nuisance.shape[1]])

    def _row(
        self,
        groups: tuple[str, str] | None,
        contrast: str,
        fitted: Fitted,
        n: int | None,
        m: int | None,
        d: Estimate,
        auc: Estimate,
        adjusted: Floats,
    ) -> Row:
        named_so = (self.measure, self.covariate, contrast, groups)
        return Row(*named_so, fitted, n, m, self.missing, d, auc, adjusted, self.rows)


def to_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return a row per test, with p values corrected for the number of tests of the same measure."""
    records = []
    for row in rows:
        fitted = row.fitted
        record: dict[str, object] = {
            "measure": row.measure.name,
            "covariate": row.covariate.name,
            "contrast": row.contrast,
            "n": fitted.n,
            "n_group": row.n_group,
            "n_reference": row.n_reference,
            "missing": row.missing,
            "unit": row.measure.unit,
        }
        for name, value in (("estimate", fitted.estimate), ("d", row.d), ("r", fitted.r), ("auc", row.auc)):
            low, high = ("low", "high") if name == "estimate" else (f"{name}_low", f"{name}_high")
            record |= {name: value.value, low: value.low, high: value.high}
        record |= {"statistic": fitted.statistic, "p": fitted.p, "p_permutation": fitted.p_permutation}
        records.append(record)
    table = pd.DataFrame(records).astype({"n_group": "Int64", "n_reference": "Int64"})
    by_measure = [own.to_numpy() for own in table.groupby("measure", sort=False).groups.values()]
    for name, correct in (("p_holm", holm), ("p_fdr", benjamini_hochberg)):
        for own in by_measure:
            table.loc[own, name] = correct(table.loc[own, "p"].to_numpy(np.float64))
    return table
