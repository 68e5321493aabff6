"""Which columns of a table are features that age is learned from, and which must not be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from aekit.brains.cohort.session_names import RUNS, SESSIONS
from aekit.brains.cohort.table import Cohort
from aekit.brains.cohort.units import squeeze
from aekit.brains.config import BrainConfig
from aekit.core.text_table import named
from aekit.errors import AekitError, count, nearest, shown

Floats = npt.NDArray[np.float64]

OPTION = "--features"
SEX = "sex"
_NEVER = {
    "participant_id": "it is an id",
    "age": "it is what is learned",
    "site": "a site is a name; --combat removes the effects of sites",
    "file": "it is the name of a file",
}
_LARGEST = 1e50  # of a measurement in any unit; squares of more overflow
_SUSPECT = 0.95  # correlation with age that is unusual
_LEAK = 0.995  # correlation with age, of values or ranks, above that of any measurement of a brain
_MIN_LEAK = 10  # participants for such a correlation
_MIN_NUMBERED = 5  # rows in equal steps that are not a measurement


@dataclass(frozen=True)
class FeatureColumns:
    """Columns that age is learned from.

    Attributes:
        names: Their names, in the order of the table.
        ignored: Columns that fit a pattern and are not used, with the reason.
        suspect: Features that go with age more than measurements of brains do, with the correlation.
    """

    names: tuple[str, ...]
    ignored: dict[str, str]
    suspect: dict[str, float] = field(default_factory=dict)


def find_features(cohort: Cohort, config: BrainConfig) -> FeatureColumns:
    """Return the columns that names and patterns of a configuration stand for.

    A column that is named must be usable. Of those that fit a pattern, text, constant columns and those that options
    use otherwise are ignored; sex is a feature only if it is named. Columns that tell the age are always refused.

    Args:
        cohort: Participants with ages.
        config: With ``model.features``.

    Raises:
        AekitError: No column fits, a named one cannot be a feature, or one tells the age.
    """
    reasons = {**_NEVER, **_used_by_options(config)}
    chosen: dict[str, None] = {}
    ignored: dict[str, str] = {}
    for pattern in config.model.features:
        named_alone = pattern in cohort.table.columns
        own = [pattern] if named_alone else _fitting(cohort, pattern)
        for name in own:
            why = reasons.get(name) or _unusable(cohort, name, is_named=named_alone)
            if why and named_alone:
                raise AekitError(f"{OPTION}: {shown(name)} of {shown(cohort.name)} cannot be a feature: {why}")
            if why:
                ignored[name] = why
            else:
                chosen[name] = None
        if not any(name in chosen for name in own):
            why = named(f"{name}: {ignored[name]}" for name in own)
            raise AekitError(f"{OPTION}: no column that fits {shown(pattern)} can be a feature ({why})")
    names = tuple(str(name) for name in cohort.table.columns if name in chosen)
    _refuse_leaks(cohort, names)
    unused = {name: why for name, why in ignored.items() if name not in chosen}
    return FeatureColumns(names, unused, _suspects(cohort, names))


def fitting_columns(cohort: Cohort, patterns: Sequence[str]) -> list[str]:
    """Return the columns of a table that fit a name or a pattern, in the order of the table."""
    own = {
        name for pattern in patterns for name in ([pattern] if pattern in cohort.table else _matches(cohort, pattern))
    }
    return [str(name) for name in cohort.table.columns if name in own]


def feature_values(cohort: Cohort, names: Sequence[str]) -> Floats:
    """Return features, (N, F), NaN where missing; female is 0 and male 1."""
    columns = [_values(cohort, name) for name in names]
    return np.column_stack(columns) if columns else np.empty((len(cohort), 0))


def missing_features(values: Floats, names: Sequence[str]) -> npt.NDArray[np.object_]:
    """Return which features each participant lacks, as a reason, objects (N,); empty for none."""
    found = np.full(len(values), "", object)
    for row in np.flatnonzero(~np.isfinite(values).all(axis=1)):
        lacking = [name for name, value in zip(names, values[row], strict=True) if not np.isfinite(value)]
        found[row] = f"no value of {named(lacking)}"
    return found


def describe_ignored(columns: FeatureColumns) -> str:
    """Return how many columns are features, and which are not and why."""
    by_reason: dict[str, list[str]] = {}
    for name, why in columns.ignored.items():
        by_reason.setdefault(why, []).append(name)
    text = f"{count(len(columns.names), 'column')} as features"
    return text + "".join(f"; not {named(names)} ({why})" for why, names in by_reason.items())


def describe_suspects(columns: FeatureColumns) -> str:
    """Return which features may have been made from the age; empty if none."""
    if not columns.suspect:
        return ""
    listed = named(f"{name} ({r:+.2f})" for name, r in columns.suspect.items())
    return (
        f"correlated with age more than measurements of brains usually are: {listed}; leave out with --features what "
        "was made from ages or dates"
    )


def _matches(cohort: Cohort, pattern: str) -> list[str]:
    return [str(name) for name in cohort.table.columns if fnmatchcase(str(name), pattern)]


def _fitting(cohort: Cohort, pattern: str) -> list[str]:
    if own := _matches(cohort, pattern):
        return own
    columns = [str(name) for name in cohort.table.columns]
    hint = nearest(pattern, columns) or f"; it has {named(columns)}"
    raise AekitError(f"{OPTION}: no column of {shown(cohort.name)} fits {shown(pattern)}{hint}")


def _used_by_options(config: BrainConfig) -> dict[str, str]:
    """Return the columns that other options name, which say how participants are divided."""
    data = config.data
    found = {data.group: "--group", data.cv: "--cv", data.test: "--test-split"}
    if data.controls is not None:
        found[data.controls.partition("=")[0].rstrip("!").strip()] = "--controls"
    return {name: f"{option} uses it" for name, option in found.items() if isinstance(name, str)}


def _unusable(cohort: Cohort, name: str, *, is_named: bool) -> str:
    """Return why a column cannot be a feature; empty if it can."""
    if name == SEX:
        return "" if is_named else "named it is a feature, as in 'roi_*,sex'"
    if squeeze(name) in (*SESSIONS, *RUNS):
        return "it names a session"
    if cohort.table[name].isna().all():
        return "it has no values"
    if not _is_numeric(cohort, name):
        return describe_text(cohort, name)
    values = _values(cohort, name)
    known = values[np.isfinite(values)]
    if not 1 / _LARGEST < np.abs(known).max() < _LARGEST and known.any():
        row = int(np.nanargmax(np.abs(values)))
        return f"it has values of {values[row]:.0e} ({cohort.table['participant_id'][row]}), as no measurement has"
    return "it is the same for everyone" if np.ptp(known) <= 1e-12 * np.abs(known).max() else ""


def describe_text(cohort: Cohort, name: str) -> str:
    """Return that a column is not numeric, with the participants who have text in it if others have numbers."""
    column = cohort.table[name]
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    is_text = column.notna().to_numpy() & ~np.isfinite(numbers)
    if is_text.all():
        return "it is not numeric"
    ids = cohort.table["participant_id"]
    return "it has text: " + named(f"{shown(column[row])} ({ids[row]})" for row in np.flatnonzero(is_text))


def _is_numeric(cohort: Cohort, name: str) -> bool:
    column = cohort.table[name]
    return bool(pd.api.types.is_numeric_dtype(column)) or bool(column.isna().all())


def _values(cohort: Cohort, name: str) -> Floats:
    if name == SEX:
        return np.select([cohort.sex == "F", cohort.sex == "M"], [0.0, 1.0], default=np.nan)
    values = cohort.table[name].to_numpy(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _refuse_leaks(cohort: Cohort, names: Sequence[str]) -> None:
    """Raise an AekitError that names columns from which the age, or the place in the table, can be read."""
    told: dict[str, list[str]] = {}
    ids = pd.to_numeric(pd.Series(cohort.table["participant_id"]), errors="coerce").to_numpy(np.float64)
    for name in names:
        if name != SEX and (why := _leak(_values(cohort, name), cohort.age_years, ids)):
            told.setdefault(why, []).append(name)
    if told:
        listed = "; ".join(f"{named(own)} {why}" for why, own in told.items())
        raise AekitError(f"{OPTION}: {listed}; leave such columns out")


def _suspects(cohort: Cohort, names: Sequence[str]) -> dict[str, float]:
    """Return features with a correlation with age above 0.95, which thickness of cortex, say, does not have."""
    found = {name: _correlation(_values(cohort, name), cohort.age_years) for name in names if name != SEX}
    return {name: r for name, r in found.items() if abs(r) >= _SUSPECT}


def _correlation(x: Floats, y: Floats) -> float:
    """Return the correlation of values that are known with age, 0 for fewer than ten or constant ones."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < _MIN_LEAK or not np.ptp(x) > 0 or not np.ptp(y) > 0:
        return 0.0
    return float(np.corrcoef(x / np.abs(x).max(), y)[0, 1])


def _leak(values: Floats, age_years: Floats, ids: Floats) -> str:
    known = np.isfinite(values) & np.isfinite(age_years)
    x, y = values[known], age_years[known]
    if len(x) >= _MIN_NUMBERED and np.ptp(np.diff(x)) == 0 and x[0] != x[1]:
        return "numbers the rows"
    if known.any() and np.array_equal(x, ids[known]):
        return "is the id"
    if known.any() and np.array_equal(x, y):
        return "is the age"
    if len(x) >= _MIN_LEAK and np.ptp(x) > 0 and np.ptp(y) > 0:
        pairs = ((x, y), (rankdata(x), rankdata(y)))
        if max(abs(float(np.corrcoef(*pair)[0, 1])) for pair in pairs) >= _LEAK:
            return "follows from the age (correlation above 0.995)"
    return ""


def needed_columns(
    checkpoint: Path, names: Sequence[str], cohort: Cohort, patterns: Sequence[str], ignored: Collection[str]
) -> None:
    """Check that a table of new participants has the features of a training, and no others.

    Raises:
        AekitError: One is missing or not numeric, or another column fits the patterns of the training.
    """
    missing = [name for name in names if name not in cohort.table]
    if missing:
        raise AekitError(f"{checkpoint}: needs {named(missing)}, which {shown(cohort.name)} lacks; add what is missing")
    texts = [name for name in names if name != SEX and not _is_numeric(cohort, name)]
    if texts:
        why = named(f"{name} ({describe_text(cohort, name)})" for name in texts)
        raise AekitError(f"{checkpoint}: needs numbers in {shown(cohort.name)}, not {why}; correct the values")
    known = {*names, *ignored, *_NEVER}
    extra = [
        name
        for name in fitting_columns(cohort, patterns)
        if name not in known and name != SEX and pd.api.types.is_numeric_dtype(cohort.table[name])
    ]
    if extra:
        raise AekitError(
            f"{checkpoint}: was trained on the columns {','.join(map(shown, patterns))}, without {named(extra)}, which "
            f"{shown(cohort.name)} has too; rename or remove it"
        )
