"""Several sessions of one person: rows whose ids differ in the session only, and that stay in one split."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aekit.brains.cohort.session_names import person_of
from aekit.brains.cohort.table import Cohort
from aekit.core.text_table import named
from aekit.errors import AekitError, shown


def persons_of(cohort: Cohort) -> NDArray[np.object_] | None:
    """Return the person of each row, objects (N,): its id without the session; None if each row is someone else."""
    persons = [person_of(one) for one in cohort.table["participant_id"]]
    return np.array(persons, dtype=object) if len(set(persons)) < len(persons) else None


def describe_sessions(cohort: Cohort) -> str:
    """Return a sentence on how many participants have several sessions; empty if nobody has."""
    persons = persons_of(cohort)
    if persons is None:
        return ""
    n = sum(rows > 1 for rows in Counter(persons).values())
    have = "participant has" if n == 1 else "participants have"
    return (
        f"{n:,} {have} several sessions ({len(cohort):,} rows of {len(set(persons)):,} participants): those of one "
        "participant are kept in one split; intervals and tests count each row as another participant"
    )


def joint_groups(cohort: Cohort, column: str | None) -> NDArray[np.object_] | None:
    """Return the group of each row, objects (N,), of which none is divided between splits; None if rows are free.

    Rows with the same value of the column are together, and so are those of the same person. Rows without a value are
    a group of their own, as in :func:`aekit.brains.cohort.splits.stratified_split`.

    Args:
        cohort: The participants.
        column: Column of the table, such as ``site``; None for none.
    """
    persons = persons_of(cohort)
    groups = None if column is None else np.array(cohort.table[column], dtype=object)
    if persons is None or groups is None:
        return persons if groups is None else groups
    texts = ["" if one is None or one != one else f"={one}" for one in groups]
    number = np.unique(texts, return_inverse=True)[1]
    person = np.unique(persons.astype(str), return_inverse=True)[1]
    n_groups = int(number.max()) + 1
    n = n_groups + int(person.max()) + 1
    links = coo_array((np.ones(len(number)), (number, n_groups + person)), shape=(n, n))
    return np.array(connected_components(links, directed=False)[1][number], dtype=object)


def check_together(cohort: Cohort, splits: NDArray[np.object_], column: str) -> None:
    """Raise an AekitError that names participants with sessions in several splits of a column."""
    persons = persons_of(cohort)
    if persons is None:
        return
    splits_of: dict[str, set[str]] = {}
    for person, split in zip(persons, splits, strict=True):
        splits_of.setdefault(person, set()).add(split)
    torn = [person for person, found in splits_of.items() if len(found) > 1]
    if torn:
        raise AekitError(
            f"{shown(cohort.name)}: column {shown(column)} has sessions of one participant in several splits: "
            f"{named(torn)}; put them into the same"
        )
