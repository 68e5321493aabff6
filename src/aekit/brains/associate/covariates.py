"""Columns of the table as what they are in a model: numbers, or groups with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.brains.associate.request import Request
from aekit.brains.associate.sample import Sample, check_column, text_of
from aekit.brains.cohort.repairs import read_numbers
from aekit.brains.measures.regression import natural_key
from aekit.core.text_table import named
from aekit.errors import AekitError, count, nearest, shown

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]
Rows = npt.NDArray[np.int64]

MIN_GROUP = 3
MAX_GROUPS = 12
# Codes of missing values, if they lie far from all other values.
_CODES: tuple[float, ...] = (-999999.0, -99999.0, -9999.0, -999.0, -888.0, -777.0, -99.0, -88.0, -77.0, -9.0, -8.0)
_CODES += (88.0, 99.0, 777.0, 888.0, 999.0, 8888.0, 9999.0, 99999.0, 999999.0)
_FAR = 2.0  # ranges of the middle 90 % of the other values


@dataclass(frozen=True, eq=False)
class Covariate:
    """One column.

    Attributes:
        name: Of the column.
        numbers: (N,), NaN where missing; None for groups.
        labels: Group of each participant, objects (N,), empty where missing; None for numbers.
        levels: Groups, the reference first; empty for numbers.
    """

    name: str
    numbers: Floats | None
    labels: Objects | None
    levels: tuple[str, ...] = ()

    @property
    def is_known(self) -> npt.NDArray[np.bool_]:
        """Return who has a value, (N,)."""
        return np.isfinite(self.numbers) if self.numbers is not None else np.asarray(self.labels != "", np.bool_)

    def dummies(self, rows: Rows, *, levels: tuple[str, ...] | None = None) -> Floats:
        """Return the columns of a model for some rows: the numbers, or 0 and 1 for each group but the reference."""
        if self.numbers is not None:
            return self.numbers[rows, None]
        own = np.asarray(self.labels)[rows]
        return np.column_stack([own == level for level in (levels or self.levels)[1:]]).astype(np.float64)


def read_covariate(sample: Sample, name: str, request: Request, option: str = "--with") -> Covariate:
    """Return a column of the first session of each person as numbers or groups.

    A column of numbers with two values is two groups.

    Raises:
        AekitError: It is missing, constant, has a group of fewer than three participants, too many groups, or codes
            such as -999 among its numbers.
    """
    check_column(sample.table, name, option, sample.name)
    column = sample.table[name].to_numpy(object)[sample.first_rows]
    texts = [text_of(value) for value in column]
    values = sorted({text for text in texts if text}, key=natural_key)
    if not values:
        raise AekitError(
            f"{option}: column '{shown(name)}' is empty for all participants with a prediction; leave it out"
        )
    if len(values) == 1:
        raise AekitError(
            f"{option}: column '{shown(name)}' has one value, '{shown(values[0])}', for all participants with a "
            "prediction; leave it out"
        )
    is_number = sample.table[name].dtype.kind in "iuf" and name not in ("site", "sex")
    if is_number and len(values) > 2 and name not in request.groups:
        numbers = np.array(column, np.float64)
        _check_codes(numbers, name, option)
        return Covariate(name, numbers, None)
    labels = np.array(texts, dtype=object)
    _check_groups(labels, values, name, option)
    return Covariate(name, None, labels, _ordered(labels, values, name, sample, request))


def _check_codes(numbers: Floats, name: str, option: str) -> None:
    """Refuse codes of missing values among numbers: a single one moves every estimate."""
    if np.isinf(numbers).any():
        raise AekitError(f"{option}: column '{shown(name)}' has values that are not finite; empty these cells")
    for code in _CODES:
        is_code, others = numbers == code, numbers[np.isfinite(numbers) & (numbers != code)]
        if not is_code.any() or not len(others):
            continue
        low, high = np.quantile(others, [0.05, 0.95])
        beyond = max(low - code, code - high)
        if (code < others.min() or code > others.max()) and (
            (code < 0 <= others.min()) or beyond > _FAR * max(high - low, 1e-9)
        ):
            raise AekitError(
                f"{option}: column '{shown(name)}' has {code:g} for {count(int(is_code.sum()), 'participant')}, which "
                "looks like a code for a missing value; empty these cells"
            )


def _check_groups(labels: Objects, values: list[str], name: str, option: str) -> None:
    if len(values) > MAX_GROUPS:
        parsed = read_numbers(values, name, is_decimal=False)
        odd = [values[one.row] for one in parsed.bad]
        if odd and len(odd) <= max(3, len(values) // 10):
            raise AekitError(
                f"{option}: column '{shown(name)}' has numbers and texts that are none: {named(odd)}; correct or empty "
                "these cells"
            )
        n = int((labels != "").sum())
        raise AekitError(
            f"{option}: column '{shown(name)}' has {len(values):,} different values in {count(n, 'participant')}, too "
            f"many for groups (at most {MAX_GROUPS}); give a column of groups or numbers"
        )
    small = [value for value in values if (labels == value).sum() < MIN_GROUP]
    if small:
        listed = named(f"{value} ({int((labels == value).sum())})" for value in small)
        raise AekitError(
            f"{option}: column '{shown(name)}' has groups of fewer than {MIN_GROUP} participants with a prediction: "
            f"{listed}; merge them with others in the table, or empty these cells"
        )


def _ordered(labels: Objects, values: list[str], name: str, sample: Sample, request: Request) -> tuple[str, ...]:
    """Return the groups, first the reference: the one asked for, that of the controls, else the largest."""
    reference = max(values, key=lambda value: int((labels == value).sum()))
    if sample.is_control is not None:
        control = sample.is_control[sample.first_rows]
        of_controls = {str(label) for label in labels[control] if label}
        if len(of_controls) == 1:
            reference = of_controls.pop()
    elif "control" in values:
        reference = "control"
    for one in request.references:
        if one.column == name:
            reference = one.values[0]
            if reference not in values:
                raise AekitError(
                    f"--reference: column '{shown(name)}' has no group '{shown(reference)}', only {named(values)}"
                    f"{nearest(reference, values) or '; choose from these'}"
                )
    return (reference, *(value for value in values if value != reference))


def count_missing(covariates: Mapping[str, npt.NDArray[np.bool_]]) -> str:
    """Return how many values are missing in each column, ``mmse 3, sex 1``; empty if none is.

    Args:
        covariates: Column -> who has a value, (N,).
    """
    missing = {name: int((~known).sum()) for name, known in covariates.items()}
    return ", ".join(f"{name} {n:,}" for name, n in missing.items() if n)
