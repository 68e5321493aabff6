"""Columns of a table without the effects of sites, by ComBat fitted on train, for the cohort report."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.brains.cohort.table import Cohort
from aekit.brains.measures.age_trend import age_sex_design, fit_age_basis
from aekit.brains.measures.cohort import site_difference
from aekit.brains.measures.combat import Combat, fit_combat
from aekit.brains.measures.site_probe import SiteProbe, probe_sites
from aekit.core.text_table import named
from aekit.errors import AekitError, count, nearest, shown

Floats = npt.NDArray[np.float64]

SUFFIX = "_combat"
_KNOWN = ("participant_id", "age", "sex", "site", "file", "split")  # never harmonised


@dataclass(frozen=True, eq=False)
class Harmonised:
    """Columns of a table with the effects of sites removed.

    Attributes:
        names: Columns, (F,).
        values: Their values without the effects of sites, (N, F), NaN where they could not be corrected.
        combat: What was removed, fitted on train.
        explained: Fraction of the variance given age and sex that sites explain, before and after, (F, 2); NaN if
            there are too few participants.
        probes: How well sites are told from the columns given age and sex, before and after; None with small sites.
        not_corrected: Whose values could not be corrected, and why; sentences.
    """

    names: tuple[str, ...]
    values: Floats
    combat: Combat
    explained: Floats
    probes: tuple[SiteProbe | None, SiteProbe | None]
    not_corrected: tuple[str, ...]

    def effects_table(self) -> pd.DataFrame:
        """Return what each site adds to each column and by what it stretches it, as removed."""
        rows = [
            (name, site, int(self.combat.n[at]), self.combat.location[at, number] * self.combat.sd[number],
             self.combat.scale[at, number], *self.explained[number])
            for number, name in enumerate(self.names)
            for at, site in enumerate(self.combat.sites)
        ]  # fmt: skip
        columns = ["column", "site", "n_train", "added", "stretched", "explained_before", "explained_after"]
        return pd.DataFrame(rows, columns=columns)

    def add_to(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with a column ``x_combat`` for each column x."""
        own = pd.DataFrame(self.values, columns=[f"{name}{SUFFIX}" for name in self.names], index=table.index)
        return pd.concat([table.drop(columns=[name for name in own if name in table]), own], axis=1)


def harmonise(cohort: Cohort, split: npt.NDArray[np.object_], patterns: str) -> Harmonised:
    """Return columns of a table without the effects of sites, with the trends with age and sex kept.

    ComBat is fitted on the participants of train who have all of the columns, an age and a site, and applied to
    everyone of these sites.

    Args:
        cohort: The participants.
        split: Their split, (N,).
        patterns: Names of columns, with commas; ``*`` and ``?`` stand for any characters, as in ``roi_*``.

    Raises:
        AekitError: There are no sites, no such columns, one is not numeric, or sites cannot be told from covariates.
    """
    if cohort.site is None:
        raise AekitError(f"--combat: {shown(cohort.name)} has no column site, whose effects could be removed")
    names = _find_columns(cohort, patterns)
    values = np.column_stack([cohort.table[name].to_numpy(np.float64) for name in names])
    site = np.array([str(one) if isinstance(one, str) else "" for one in cohort.site], object)
    complete = np.isfinite(values).all(axis=1) & np.isfinite(cohort.age_years) & (site != "")
    train = complete & (split == "train")
    known = [name for name in sorted(set(site[train])) if (site[train] == name).sum() >= 2]
    train &= np.isin(site.astype(str), known)
    if len(known) < 2:
        raise AekitError(
            f"--combat: {len(known)} site has two participants or more in train with all columns; ComBat compares sites"
        )
    covariates = _covariates(cohort, train)
    combat = fit_combat(values[train], site[train], covariates[train])
    able = complete & np.isin(site.astype(str), known)
    result = np.full(values.shape, np.nan)
    result[able] = combat.transform(values[able], site[able], covariates[able])
    before = np.where(able[:, None], values, np.nan)
    explained = [[_explained(cohort, part[:, number]) for part in (before, result)] for number in range(len(names))]
    probes = [probe_sites(part, site, age_years=cohort.age_years, sex=cohort.sex) for part in (before, result)]
    missing = _not_corrected(values, cohort, site, known)
    return Harmonised(tuple(names), result, combat, np.array(explained), (probes[0], probes[1]), missing)


def describe_harmonised(found: Harmonised) -> str:
    """Return in a sentence how well sites are told before and after."""
    what = f"{len(found.names)} columns" if len(found.names) > 1 else found.names[0]
    text = f"ComBat on {what}, fitted on {count(int(found.combat.n.sum()), 'participant')} of train"
    before, after = found.probes
    if before is not None and after is not None:
        text += (
            f": sites are told with a balanced accuracy of {100 * before.accuracy:.0f} % before and "
            f"{100 * after.accuracy:.0f} % after ({100 * before.chance:.0f} % by chance, age and sex regressed out)"
        )
    return ". ".join((text, *found.not_corrected))


def _find_columns(cohort: Cohort, patterns: str) -> list[str]:
    found: list[str] = []
    able = [str(name) for name in cohort.table.columns if name not in _KNOWN and not str(name).endswith(SUFFIX)]
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        own = [name for name in able if fnmatchcase(name, pattern)]
        if not own:
            hint = nearest(pattern, able) or "; give names or patterns of its columns"
            raise AekitError(f"--combat: no column of {shown(cohort.name)} is called {shown(pattern)}{hint}")
        is_pattern = any(sign in pattern for sign in "*?[")
        texts = [name for name in own if not pd.api.types.is_numeric_dtype(cohort.table[name])]
        if texts and not is_pattern:
            raise AekitError(f"--combat: column {shown(texts[0])} of {shown(cohort.name)} is not numeric; leave it out")
        found += [name for name in own if name not in texts and name not in found]
        if len(texts) == len(own):
            raise AekitError(f"--combat: no column that fits {shown(pattern)} is numeric ({named(texts)})")
    if not found:
        raise AekitError("--combat: is empty; give names of columns, such as gmv,wmv,csfv or 'roi_*'")
    return found


def _covariates(cohort: Cohort, train: npt.NDArray[np.bool_]) -> Floats:
    """Return age as a spline and sex, (N, C), without columns that are the same for everyone in train."""
    ages = np.where(np.isfinite(cohort.age_years), cohort.age_years, 0.0)
    columns = age_sex_design(fit_age_basis(cohort.age_years[train]), ages, cohort.sex)[:, 1:]
    return np.asarray(columns[:, np.ptp(columns[train], axis=0) > 0], np.float64)


def _explained(cohort: Cohort, values: Floats) -> float:
    found = site_difference(values, cohort.age_years, cohort.sex, cohort.site if cohort.site is not None else [])
    return np.nan if found is None else found.explained


def _not_corrected(values: Floats, cohort: Cohort, site: npt.NDArray[np.object_], known: list[str]) -> tuple[str, ...]:
    """Return who has no corrected values, and why."""
    texts = []
    unseen = sorted({str(one) for one in site if one and one not in known})
    if unseen:
        n = int(np.isin(site.astype(str), unseen).sum())
        texts.append(
            f"{count(n, 'participant')} of sites with fewer than two in train not corrected, as the effects of these "
            f"sites are unknown: {named(unseen)}"
        )
    for n, why in (
        (int((site == "").sum()), "without a site"),
        (int((~np.isfinite(cohort.age_years)).sum()), "without an age"),
        (int((~np.isfinite(values).all(axis=1)).sum()), "without a value in one of the columns"),
    ):
        if n:
            texts.append(f"{count(n, 'participant')} {why} not corrected")
    return tuple(texts)
