"""Splits and folds of participants: balanced in age and sex, with each site or person in only one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aekit.brains.cohort.sessions import check_together, joint_groups
from aekit.brains.cohort.table import Cohort
from aekit.core.text_table import named
from aekit.errors import AekitError, count, nearest, shown

SPLITS = ("train", "val", "test")

_SPELLINGS = {
    "train": {"train", "training", "tr"},
    "val": {"val", "valid", "validation", "dev"},
    "test": {"test", "testing", "heldout", "held-out", "held_out"},
}
# Participants per split in an average stratum: wider strata balance less well. Distance (Kolmogorov-Smirnov) between
# the ages of train and test, 466 participants split 70/10/20: .026, .029, .035 for 1, 2, 3; .098 at random; 40 seeds.
_PER_SPLIT = 2
_GROUP_BINS = 5  # of age; whole groups cannot be matched more finely
_UNKNOWN = "?"
MAX_HELD_OUT = 50  # values of a column that are held out in turn: each trains all networks anew


@dataclass(frozen=True)
class SplitPlan:
    """How to split a cohort into train, val and test.

    Attributes:
        val: Fraction of participants for validation, in [0, 1).
        test: Fraction of participants for test, in [0, 1).
        seed: Seed of the draw.
        group: Column whose groups stay in one split; None for none.

    Raises:
        AekitError: A value is not a fraction, or nothing is left for train.
    """

    val: float = 0.15
    test: float = 0.2
    seed: int = 0
    group: str | None = None

    def __post_init__(self) -> None:
        """Check the fractions."""
        for name, fraction in (("--val", self.val), ("--test-split", self.test)):
            if not 0 <= fraction < 1:
                raise AekitError(f"{name}: {fraction:g} is not a fraction; give a number from 0 up to 1")
        if self.val + self.test >= 1:
            raise AekitError(
                f"--val and --test-split: {self.val:g} and {self.test:g} leave no participants for train; "
                "make them smaller"
            )

    def draw(self, cohort: Cohort) -> NDArray[np.object_]:
        """Return the split of each participant by :func:`stratified_split`, objects (N,); sessions stay together."""
        groups = joint_groups(cohort, self.group)
        fractions = {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}
        return stratified_split(cohort.age_years, cohort.sex, fractions=fractions, seed=self.seed, groups=groups)


def stratified_split(
    age_years: ArrayLike,
    sex: ArrayLike,
    *,
    fractions: dict[str, float],
    seed: int,
    groups: ArrayLike | None = None,
) -> NDArray[np.object_]:
    """Return the split of each participant, objects (N,), with similar distributions of age and sex in all splits.

    Strata are age quantiles x sex; those with fewer participants than splits are merged with their neighbours in age,
    then across the sexes. Participants of unknown age or sex form their own strata. Within strata, participants are
    drawn at random, and rounding in one stratum is compensated in the next, so every split has its size to within one
    participant. The same participants and seed give the same splits in any order, except that participants of the same
    age and sex may swap places.

    Args:
        age_years: Ages, (N,), NaN where missing.
        sex: "F" or "M", (N,); anything else is missing.
        fractions: Name of a split -> its fraction of all participants; they add up to 1. A split of 0 stays empty.
        seed: Seed of the draw.
        groups: Names of sites or persons, (N,), whose rows stay together; those without one stay together too. Whole
            groups cannot meet the fractions exactly: they are assigned from the largest on.

    Raises:
        AekitError: With so few participants or groups, a split would be empty.
    """
    names = [name for name, fraction in fractions.items() if fraction > 0]
    sizes = np.array([fractions[name] for name in names])
    if not np.isclose(sizes.sum(), 1) or min(fractions.values()) < 0:
        raise ValueError(f"fractions must be positive and add up to one, not {fractions}")
    ages, sexes, keys = _checked(age_years, sex, groups)
    options = " and ".join(_option(name) for name in names if name != "train") or "the table"
    n_units = len(ages) if keys is None else int(keys.max(initial=-1)) + 1
    if n_units < len(names):
        raise AekitError(
            f"{options}: {_count(n_units, keys)} cannot fill {len(names)} splits ({', '.join(names)}); "
            "use a larger table or fewer splits"
        )
    places = _assign(ages, sexes, keys, fractions=sizes, seed=seed)
    counts = np.bincount(places, minlength=len(names))
    if not counts.all():
        empty = names[int(np.argmin(counts))]
        raise AekitError(
            f"{_option(empty)} {fractions[empty]:g}: leaves none of {count(len(ages), 'participant')} for {empty}; "
            "give a larger fraction or a larger table"
        )
    return np.array(names, dtype=object)[places]


def stratified_folds(
    age_years: ArrayLike, sex: ArrayLike, *, n_folds: int, seed: int, groups: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Return the fold of each participant, int64 (N,) in 0..n_folds-1, with similar ages and sexes in all folds.

    Args:
        age_years: Ages, (N,), NaN where missing.
        sex: "F" or "M", (N,); anything else is missing.
        n_folds: Number of folds, K >= 2.
        seed: Seed of the draw.
        groups: As in :func:`stratified_split`, which describes the assignment.

    Raises:
        AekitError: There are fewer participants or groups than folds.
    """
    if n_folds < 2:
        raise AekitError(f"--cv: {n_folds} is too few; cross-validation needs at least two folds")
    ages, sexes, keys = _checked(age_years, sex, groups)
    n_units = len(ages) if keys is None else int(keys.max(initial=-1)) + 1
    if n_units < n_folds:
        advice = f"give at most --cv {n_units}" if n_units > 1 else "use a larger table"
        raise AekitError(f"--cv: {_count(n_units, keys)} cannot fill {n_folds} folds; {advice}")
    return _assign(ages, sexes, keys, fractions=np.full(n_folds, 1 / n_folds), seed=seed)


def column_split(cohort: Cohort, column: str) -> NDArray[np.object_]:
    """Return the split of each participant from a column of the table, objects (N,): "train", "val" or "test".

    Args:
        cohort: The participants.
        column: Name of the column. The usual spellings are known: training, valid, validation, dev, testing, heldout.

    Raises:
        AekitError: There is no such column, it has other or missing values, sessions of one participant are in several
            splits, or nobody is in train.
    """
    if column not in cohort.table:
        hint = nearest(column, cohort.table.columns) or "; give one of them"
        raise AekitError(
            f"{shown(cohort.name)}: has no column {shown(column)} (it has {named(cohort.table.columns)}){hint}"
        )
    meant = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}
    values = [str(value).strip() for value in cohort.table[column]]
    splits = np.array([meant.get(value.lower(), "") for value in values], dtype=object)
    unknown = np.flatnonzero(splits == "")
    if len(unknown):
        ids = cohort.table["participant_id"]
        who = named(f"{ids[row]} ({'missing' if values[row] == 'nan' else values[row]})" for row in unknown)
        raise AekitError(
            f"{shown(cohort.name)}: column {shown(column)} is neither train, val nor test for {who}; correct it"
        )
    check_together(cohort, splits, column)
    if "train" not in splits:
        raise AekitError(f"{shown(cohort.name)}: column {shown(column)} has no participants in train; correct it")
    return splits


def column_folds(cohort: Cohort, column: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the fold of each participant, int64 (N,), and the value of the column that each fold holds out.

    Participants without a value are in no fold: theirs is -1.

    Args:
        cohort: The participants.
        column: Name of the column, such as ``site``.

    Raises:
        AekitError: There is no such column, or it has one value or more than fifty.
    """
    if column not in cohort.table:
        hint = nearest(column, cohort.table.columns) or "; give a number of folds or one of them"
        raise AekitError(
            f"--cv: {shown(cohort.name)} has no column {shown(column)} (it has {named(cohort.table.columns)}){hint}"
        )
    values = ["" if one is None or one != one else str(one).strip() for one in cohort.table[column]]
    names = sorted(set(values) - {""})
    if not 2 <= len(names) <= MAX_HELD_OUT:
        what = f"column {shown(column)} of {shown(cohort.name)} has {count(len(names), 'value')}"
        raise AekitError(f"--cv: {what}; holding out each in turn needs 2 to {MAX_HELD_OUT}")
    number = {name: place for place, name in enumerate(names)}
    return np.array([number.get(value, -1) for value in values], np.int64), names


def _checked(
    age_years: ArrayLike, sex: ArrayLike, groups: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.object_], NDArray[np.int64] | None]:
    """Return ages, sexes with one marker for missing, and the number of each participant's group."""
    ages = np.asarray(age_years, dtype=np.float64)
    sexes = np.array([one if one in ("F", "M") else _UNKNOWN for one in np.asarray(sex, dtype=object)], dtype=object)
    if ages.ndim != 1 or sexes.shape != ages.shape:
        raise ValueError(f"ages and sexes must be (N,), not {ages.shape} and {sexes.shape}")
    if groups is None:
        return ages, sexes, None
    texts = ["" if one is None or one != one else f"={one}" for one in np.asarray(groups, dtype=object)]
    if len(texts) != len(ages):
        raise ValueError(f"groups must be (N,), not ({len(texts)},) for {len(ages)} participants")
    return ages, sexes, np.unique(texts, return_inverse=True)[1].astype(np.int64)


def _option(split: str) -> str:
    return "--test-split" if split == "test" else f"--{split}"


def _count(n_units: int, keys: NDArray[np.int64] | None) -> str:
    what = "participant" if keys is None else "group"
    return count(n_units, what)


def _assign(
    ages: NDArray[np.float64],
    sexes: NDArray[np.object_],
    keys: NDArray[np.int64] | None,
    *,
    fractions: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int64]:
    """Return the index of each participant's split in ``fractions``."""
    generator = np.random.default_rng(seed)
    if keys is not None:
        strata = _strata(ages, sexes, n_bins=_GROUP_BINS, least=1)
        return _draw_groups(strata, keys, fractions, generator)
    n_known = int(np.isfinite(ages).sum())
    strata = _strata(ages, sexes, n_bins=max(1, n_known // (2 * _PER_SPLIT * len(fractions))), least=len(fractions))
    return _draw_participants(strata, ages, sexes, fractions, generator)


def _strata(ages: NDArray[np.float64], sexes: NDArray[np.object_], *, n_bins: int, least: int) -> NDArray[np.int64]:
    """Return the stratum of each participant, (N,), numbered by sex and then by age.

    Args:
        ages: Years, (N,).
        sexes: "F", "M" or "?", (N,).
        n_bins: Number of age quantiles, of all participants together; equal ages are in the same one.
        least: Size that a stratum should have; smaller ones of known age and sex are merged.
    """
    known = np.isfinite(ages)
    bins = np.full(len(ages), -1)
    if known.any():
        edges = np.unique(np.quantile(ages[known], np.arange(1, n_bins) / n_bins))
        bins[known] = np.searchsorted(edges, ages[known], side="right")
    sexes = sexes.copy()
    n_female, n_male = (int(np.sum(known & (sexes == one))) for one in ("F", "M"))
    if 0 < min(n_female, n_male) < least:  # too few for a stratum even if all ages are merged
        sexes[known & (sexes == "M")] = "F"
    strata = np.empty(len(ages), dtype=np.int64)
    n_strata = 0
    for one in sorted(set(sexes)):
        of_sex = sexes == one
        merged = _merged(np.bincount(bins[of_sex & known], minlength=n_bins), least) + n_strata
        strata[of_sex & known] = merged[bins[of_sex & known]]
        strata[of_sex & ~known] = merged.max(initial=n_strata) + 1
        n_strata = int(merged.max(initial=n_strata)) + 2
    return strata


def _merged(counts: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """Return the number of the merged bin of each bin: neighbours until they have ``least`` participants."""
    merged = np.zeros(len(counts), dtype=np.int64)
    number = together = 0
    for place, n in enumerate(counts):
        if together >= least and counts[place:].sum() >= least:
            number, together = number + 1, 0
        merged[place] = number
        together += int(n)
    return merged


def _draw_participants(
    strata: NDArray[np.int64],
    ages: NDArray[np.float64],
    sexes: NDArray[np.object_],
    fractions: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    places = np.empty(len(strata), dtype=np.int64)
    owed = np.zeros(len(fractions))  # participants that each split should have by now but does not
    order = np.lexsort((sexes == "M", ages, strata))  # not by row: the order of the table must not matter
    blocks = np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)
    first = int(generator.integers(len(blocks)))  # or a small split would always miss the same ages
    for members in blocks[first:] + blocks[:first]:
        owed += len(members) * fractions
        quota = np.maximum(np.floor(owed), 0).astype(np.int64)
        while quota.sum() > len(members):
            quota[np.argmax(np.where(quota > 0, quota - owed, -np.inf))] -= 1
        while quota.sum() < len(members):
            quota[np.argmax(owed - quota)] += 1
        owed -= quota
        places[generator.permutation(members)] = np.repeat(np.arange(len(fractions)), quota)
    return places


def _draw_groups(
    strata: NDArray[np.int64],
    keys: NDArray[np.int64],
    fractions: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Assign whole groups from the largest on, each to where all strata and the total come closest to their target."""
    numbers = np.unique(strata, return_inverse=True)[1]
    n_groups, n_strata = int(keys.max()) + 1, int(numbers.max()) + 1
    members = np.zeros((n_groups, n_strata + 1))
    np.add.at(members, (keys, numbers), 1.0)
    members[:, -1] = members[:, :-1].sum(axis=1)
    weight = 1 / members.sum(axis=0)  # one participant too many matters more in a small stratum
    weight[-1] *= n_strata
    target = np.outer(fractions, members.sum(axis=0))
    lacking = target.copy()
    place_of = np.empty(n_groups, dtype=np.int64)
    order = np.lexsort((generator.permutation(n_groups), -members[:, -1]))
    empty = set(range(len(fractions)))
    for done, group in enumerate(order):
        # How much closer to its target, relative to its size, each split comes with this group.
        gain = ((members[group] * (2 * lacking - members[group])) * weight / fractions[:, None]).sum(axis=1)
        if n_groups - done <= len(empty):
            gain[[place for place in range(len(fractions)) if place not in empty]] = -np.inf
        place = int(np.argmax(gain))
        place_of[group] = place
        lacking[place] -= members[group]
        empty.discard(place)
    return place_of[keys]
