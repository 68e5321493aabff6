"""Who belongs to which split or fold: alike in age and sex, and a site or a person in one of them only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aekit.brains.cohort.table import Cohort
from aekit.brains.cohort.text import named
from aekit.errors import AekitError, nearest, shown

SPLITS = ("train", "val", "test")

_SPELLINGS = {
    "train": {"train", "training", "tr"},
    "val": {"val", "valid", "validation", "dev"},
    "test": {"test", "testing", "heldout", "held-out", "held_out"},
}
# People of an average stratum for each split: wider strata are less alike. Distance (Kolmogorov-Smirnov) of the ages of
# train and test at 466 people, split 70/10/20: .026, .029, .035 for 1, 2, 3, and .098 at random; n = 40 seeds.
_PER_SPLIT = 2
_GROUP_BINS = 5  # of age: whole groups cannot be matched more finely
_UNKNOWN = "?"


def stratified_split(
    age_years: ArrayLike,
    sex: ArrayLike,
    *,
    fractions: dict[str, float],
    seed: int,
    groups: ArrayLike | None = None,
) -> NDArray[np.object_]:
    """Return the split of each person, objects (N,), with age and sex distributed alike in all splits.

    Strata are age quantiles x sex; those of fewer people than splits are merged with their neighbours in age, then over
    the sexes. People of unknown age or sex are strata of their own. Within strata people are drawn at random,
    and what is rounded in one stratum is made up for in the next, so every split has its share to within one person.
    The same people and seed give the same splits in whatever order they come, but for people of the same age and sex,
    who may change places.

    Args:
        age_years: Ages, (N,), NaN where missing.
        sex: "F" or "M", (N,), anything else where missing.
        fractions: Name of a split -> its part of all people; together 1. A split of 0 gets nobody.
        seed: Of the draw.
        groups: Names of sites or persons, (N,), whose members stay together; those without one stay together too.
            Whole groups cannot meet the fractions exactly: they are given out from the largest on.

    Raises:
        AekitError: There are too few people or groups, so that a split would be empty.
    """
    names = [name for name, fraction in fractions.items() if fraction > 0]
    shares = np.array([fractions[name] for name in names])
    if not np.isclose(shares.sum(), 1) or min(fractions.values()) < 0:
        raise ValueError(f"fractions must be positive and add up to one, not {fractions}")
    ages, sexes, keys = _checked(age_years, sex, groups)
    options = " and ".join(_option(name) for name in names if name != "train") or "the table"
    n_units = len(ages) if keys is None else int(keys.max(initial=-1)) + 1
    if n_units < len(names):
        raise AekitError(
            f"{options}: {_count(n_units, keys)} cannot make {len(names)} splits ({', '.join(names)}); "
            "use a larger table or fewer splits"
        )
    places = _assign(ages, sexes, keys, shares=shares, seed=seed)
    counts = np.bincount(places, minlength=len(names))
    if not counts.all():
        empty = names[int(np.argmin(counts))]
        raise AekitError(
            f"{_option(empty)} {fractions[empty]:g}: of {len(ages):,} people none is left for {empty}; "
            "give it more or use a larger table"
        )
    return np.array(names, dtype=object)[places]


def stratified_folds(
    age_years: ArrayLike, sex: ArrayLike, *, n_folds: int, seed: int, groups: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Return the fold of each person, int64 (N,) in 0..n_folds-1, with age and sex distributed alike in all folds.

    Args:
        age_years: Ages, (N,), NaN where missing.
        sex: "F" or "M", (N,), anything else where missing.
        n_folds: Number of folds, K >= 2.
        seed: Of the draw.
        groups: As in :func:`stratified_split`, which says how people are given out.

    Raises:
        AekitError: There are fewer people or groups than folds.
    """
    if n_folds < 2:
        raise AekitError(f"--cv: {n_folds} cannot be; cross-validation needs two folds or more")
    ages, sexes, keys = _checked(age_years, sex, groups)
    n_units = len(ages) if keys is None else int(keys.max(initial=-1)) + 1
    if n_units < n_folds:
        mend = f"give at most --cv {n_units}" if n_units > 1 else "use a larger table"
        raise AekitError(f"--cv: {_count(n_units, keys)} cannot make {n_folds} folds; {mend}")
    return _assign(ages, sexes, keys, shares=np.full(n_folds, 1 / n_folds), seed=seed)


def column_split(cohort: Cohort, column: str) -> NDArray[np.object_]:
    """Return the split of each person as a column of the table says it, objects (N,): "train", "val" or "test".

    Args:
        cohort: The people.
        column: Its name. Usual spellings are known: training, valid, validation, dev, testing, heldout.

    Raises:
        AekitError: There is no such column, people have another value or none, or nobody is in train.
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
            f"{shown(cohort.name)}: column {shown(column)} says neither train, val nor test for {who}; correct it"
        )
    if "train" not in splits:
        raise AekitError(f"{shown(cohort.name)}: column {shown(column)} has nobody in train; correct it")
    return splits


def _checked(
    age_years: ArrayLike, sex: ArrayLike, groups: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.object_], NDArray[np.int64] | None]:
    """Return ages, sexes with one sign for missing, and the number of each person's group."""
    ages = np.asarray(age_years, dtype=np.float64)
    sexes = np.array([one if one in ("F", "M") else _UNKNOWN for one in np.asarray(sex, dtype=object)], dtype=object)
    if ages.ndim != 1 or sexes.shape != ages.shape:
        raise ValueError(f"ages and sexes must be (N,), not {ages.shape} and {sexes.shape}")
    if groups is None:
        return ages, sexes, None
    texts = ["" if one is None or one != one else f"={one}" for one in np.asarray(groups, dtype=object)]
    if len(texts) != len(ages):
        raise ValueError(f"groups must be (N,), not ({len(texts)},) for {len(ages)} people")
    return ages, sexes, np.unique(texts, return_inverse=True)[1].astype(np.int64)


def _option(split: str) -> str:
    return "--test-split" if split == "test" else f"--{split}"


def _count(n_units: int, keys: NDArray[np.int64] | None) -> str:
    return f"{n_units:,} {('person' if n_units == 1 else 'people') if keys is None else 'group' + 's' * (n_units != 1)}"


def _assign(
    ages: NDArray[np.float64],
    sexes: NDArray[np.object_],
    keys: NDArray[np.int64] | None,
    *,
    shares: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int64]:
    """Return the place of each person's split among ``shares``."""
    generator = np.random.default_rng(seed)
    if keys is not None:
        strata = _strata(ages, sexes, n_bins=_GROUP_BINS, least=1)
        return _draw_groups(strata, keys, shares, generator)
    n_known = int(np.isfinite(ages).sum())
    strata = _strata(ages, sexes, n_bins=max(1, n_known // (2 * _PER_SPLIT * len(shares))), least=len(shares))
    return _draw_people(strata, ages, sexes, shares, generator)


def _strata(ages: NDArray[np.float64], sexes: NDArray[np.object_], *, n_bins: int, least: int) -> NDArray[np.int64]:
    """Return the stratum of each person, (N,), numbered by sex and then by age.

    Args:
        ages: Years, (N,).
        sexes: "F", "M" or "?", (N,).
        n_bins: Age quantiles, of all people together; equal ages are in the same one.
        least: People that a stratum should have; smaller ones of known age and sex are merged.
    """
    known = np.isfinite(ages)
    bins = np.full(len(ages), -1)
    if known.any():
        edges = np.unique(np.quantile(ages[known], np.arange(1, n_bins) / n_bins))
        bins[known] = np.searchsorted(edges, ages[known], side="right")
    sexes = sexes.copy()
    n_female, n_male = (int(np.sum(known & (sexes == one))) for one in ("F", "M"))
    if 0 < min(n_female, n_male) < least:  # a sex of so few is no stratum even when all of its ages are merged
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
    """Return the number of the merged bin of each bin: neighbours until ``least`` people are together."""
    merged = np.zeros(len(counts), dtype=np.int64)
    number = together = 0
    for place, count in enumerate(counts):
        if together >= least and counts[place:].sum() >= least:
            number, together = number + 1, 0
        merged[place] = number
        together += int(count)
    return merged


def _draw_people(
    strata: NDArray[np.int64],
    ages: NDArray[np.float64],
    sexes: NDArray[np.object_],
    shares: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    places = np.empty(len(strata), dtype=np.int64)
    owed = np.zeros(len(shares))  # people that each split should have by now and has not
    order = np.lexsort((sexes == "M", ages, strata))  # not by row: the order of the table does not matter
    blocks = np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)
    first = int(generator.integers(len(blocks)))  # or the same ages would always wait longest for a small split
    for members in blocks[first:] + blocks[:first]:
        owed += len(members) * shares
        quota = np.maximum(np.floor(owed), 0).astype(np.int64)
        while quota.sum() > len(members):
            quota[np.argmax(np.where(quota > 0, quota - owed, -np.inf))] -= 1
        while quota.sum() < len(members):
            quota[np.argmax(owed - quota)] += 1
        owed -= quota
        places[generator.permutation(members)] = np.repeat(np.arange(len(shares)), quota)
    return places


def _draw_groups(
    strata: NDArray[np.int64],
    keys: NDArray[np.int64],
    shares: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Give out whole groups from the largest on, each to where all strata and the total come closest to their share."""
    numbers = np.unique(strata, return_inverse=True)[1]
    n_groups, n_strata = int(keys.max()) + 1, int(numbers.max()) + 1
    members = np.zeros((n_groups, n_strata + 1))
    np.add.at(members, (keys, numbers), 1.0)
    members[:, -1] = members[:, :-1].sum(axis=1)
    weight = 1 / members.sum(axis=0)  # a person too many matters more in a small stratum
    weight[-1] *= n_strata
    target = np.outer(shares, members.sum(axis=0))
    lacking = target.copy()
    place_of = np.empty(n_groups, dtype=np.int64)
    order = np.lexsort((generator.permutation(n_groups), -members[:, -1]))
    empty = set(range(len(shares)))
    for done, group in enumerate(order):
        # How much nearer to its share, relative to that share, each split comes by this group.
        gain = ((members[group] * (2 * lacking - members[group])) * weight / shares[:, None]).sum(axis=1)
        if n_groups - done <= len(empty):
            gain[[place for place in range(len(shares)) if place not in empty]] = -np.inf
        place = int(np.argmax(gain))
        place_of[group] = place
        lacking[place] -= members[group]
        empty.discard(place)
    return place_of[keys]
