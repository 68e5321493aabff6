"""Which rows and columns of our results and a reference can be compared; whatever cannot is refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from aekit.errors import AekitError, count, nearest
from aekit.images.run_settings import SETTINGS
from aekit.results.comparison import (
    RESULT_COLUMNS,
    Comparison,
    as_key,
    differing_columns,
    repeated_keys,
    to_number,
)
from aekit.results.tables import FILE, read_table, read_tables

# Rows that differ in one of these are different experiments, not repetitions of the same one.
EXPERIMENT = {*SETTINGS, "epoch", "split", "stage", "target", "hypothesis", "method", "labels"}
REPETITIONS = {"seed", "split_seed"}
N_NAMED = 8
_COMMA = re.compile("[+\\-\u2212]?[0-9]+(,[0-9]+)+([.][0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)
_POINT = "write numbers with a decimal point, as 0.1, and without thousands separators"


@dataclass(frozen=True, eq=False)
class Pair:
    """Our results and a reference, a text per cell.

    Attributes:
        ours: Our rows, of all tables together, with a column ``file``.
        study: The rows of the reference.
        paths: Our tables.
        study_path: The table of the reference.
    """

    ours: pd.DataFrame
    study: pd.DataFrame
    paths: list[Path]
    study_path: Path

    def where(self, conditions: Sequence[str]) -> Pair:
        """Return the pair with only those of our rows that meet the conditions, each ``column=value``.

        Several values of one column are alternatives.

        Raises:
            AekitError: A condition has no ``=``, names a column that is not there, or a value that no row has.
        """
        wanted: dict[str, list[str]] = {}
        for text in conditions:
            name, sign, value = text.partition("=")
            if not sign:
                raise AekitError(f"--where {text}: has no =; give a column and a value, as split=test")
            if name.strip() not in self.ours:
                hint = _instead(name.strip(), self.ours)
                raise AekitError(f"--where {text}: our tables have no such column{hint}")
            wanted.setdefault(name.strip(), []).append(as_key(value))
        rows = self.ours
        for name, values in wanted.items():
            found = rows[name].map(as_key)
            for value in values:
                if not (found == value).any():
                    present = few(list(dict.fromkeys(found)))
                    raise AekitError(f"--where {name}={value}: no row has it; the values are {present}")
            rows = rows[found.isin(values)]
        return replace(self, ours=rows.reset_index(drop=True))


def read_pair(paths: list[Path], study_path: Path) -> Pair:
    """Return our tables and the reference.

    Raises:
        AekitError: One of them cannot be read as a table.
    """
    return Pair(read_tables(paths), read_table(study_path), paths, study_path)


def choose_keys(pair: Pair, by: str) -> list[str]:
    """Return the key columns of ``--by``, which both tables have and which distinguish the rows of the reference.

    Raises:
        AekitError: There is none, one is missing or is a column of the result, or two rows have the same key.
    """
    keys = list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    if not keys:
        raise AekitError("--by: names no column; give those that both tables have, such as --by beta,latent")
    for name in keys:
        if name in RESULT_COLUMNS:
            raise AekitError(f"--by {name}: is a column of the result; rename it in both tables")
        own = pair.paths[0] if len(pair.paths) == 1 else "our tables"
        for where, table in ((own, pair.ours), (pair.study_path, pair.study)):
            if name not in table:
                raise AekitError(f"--by {name}: {where} has no such column{_instead(name, table)}")
        _refuse_commas(pair, name)
    if repeated := repeated_keys(pair.study, keys):
        raise AekitError(
            f"{pair.study_path}: two rows have {_key_of(pair.study, repeated[0], keys)}; add a column that "
            "distinguishes them to --by, or leave one out"
        )
    return keys


def find_measures(pair: Pair, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns of numbers that both tables have, and those that ours lack.

    Raises:
        AekitError: There is none in both, or a column has numbers in one table and text in the other.
    """
    measures, lacking = [], []
    for name in (name for name in pair.study.columns if name not in keys):
        if name not in pair.ours:
            if _is_numeric(pair.study[name]) and _has_numbers(pair.study[name]):
                lacking.append(name)
        elif _is_measure(pair, name, keys):
            measures.append(name)
    if not measures:
        columns = [name for name in pair.ours.columns if _is_numeric(pair.ours[name]) and name not in (*keys, FILE)]
        columns.sort(key=lambda name: not any(missing in name for missing in lacking))  # the likely ones come first
        raise AekitError(
            f"{pair.study_path}: has no column of numbers in common with our tables besides {', '.join(keys)}; name "
            f"its columns as they do: {few(columns)}"
        )
    return measures, lacking


def check_overlap(pair: Pair, comparison: Comparison, keys: Sequence[str]) -> None:
    """Raise an AekitError if no row of one table has a key of the other, and say in which column."""
    if len(comparison.unmatched) < len(pair.study):
        return
    for name in keys:
        there, wanted = (list(dict.fromkeys(table[name].map(as_key))) for table in (pair.ours, pair.study))
        if not set(there) & set(wanted):
            raise AekitError(
                f"--by {name}: our tables have no value of it in common with {pair.study_path}; there it is "
                f"{few(wanted)}, here {few(there)}"
            )
    raise AekitError(
        f"--by {','.join(keys)}: none of our rows has a key of {pair.study_path}; there the first is "
        f"{_key_of(pair.study, 0, keys)}, here {_key_of(pair.ours, 0, keys)}"
    )


def warnings(pair: Pair, comparison: Comparison, keys: Sequence[str], lacking: Sequence[str]) -> list[str]:
    """Return what the comparison hides: columns left out, rows without a partner, averages over experiments."""
    texts = [
        f"{pair.study_path}: {name} is left out, our tables have no such column{nearest(name, pair.ours.columns)}"
        for name in lacking
    ]
    if comparison.unmatched:
        first = _key_of(pair.study, comparison.unmatched[0], keys)
        texts.append(
            f"{pair.study_path}: {len(comparison.unmatched)} of {count(len(pair.study), 'reference row')} "
            f"{'has' if len(comparison.unmatched) == 1 else 'have'} no match in our tables, the first with {first}"
        )
    if comparison.n_averaged > 1:
        candidates = [name for name in pair.ours.columns if name in EXPERIMENT - REPETITIONS - set(keys)]
        if different := differing_columns(pair.ours, keys, candidates):
            texts.append(
                f"--by {','.join(keys)}: averages over rows that differ in {', '.join(different)}; add it to --by, or "
                "choose one with --where"
            )
        elif FILE not in keys and differing_columns(pair.ours, keys, [FILE]):
            n_tables = pair.ours[FILE].nunique()
            texts.append(f"averages over rows of {n_tables} tables; --by {FILE} keeps them apart")
    return texts


def few(values: Sequence[str]) -> str:
    """Return the first values as one text, and how many more there are."""
    more = f" and {len(values) - N_NAMED} more" if len(values) > N_NAMED else ""
    return ", ".join(value or "(empty)" for value in values[:N_NAMED]) + more


def _is_measure(pair: Pair, name: str, keys: Sequence[str]) -> bool:
    """Return whether a column that both tables have is one of numbers; text in both, or nothing, is not.

    Raises:
        AekitError: It has numbers in one of them and text in the other.
    """
    study, ours = pair.study[name], pair.ours[name]
    if not _has_numbers(study) and (not _is_numeric(ours) or _is_numeric(study)):
        return False
    if not _is_numeric(study):
        place = [to_number(text) for text in study].index(None)
        raise AekitError(
            f"{pair.study_path}: {name} is {study[place]!r} where {_key_of(pair.study, place, keys)}; "
            f"{_POINT if _COMMA.fullmatch(study[place]) else 'give a plain number, or leave the cell empty'}"
        )
    if not _is_numeric(ours):
        place = [to_number(text) for text in ours].index(None)
        raise AekitError(
            f"{pair.ours[FILE][place]}: {name} is {ours[place]!r}, not a number to compare with {pair.study_path}; "
            f"{_POINT if _COMMA.fullmatch(ours[place]) else 'choose rows with --where, or rename the column'}"
        )
    return True


def _refuse_commas(pair: Pair, name: str) -> None:
    """Raise an AekitError if numbers of a key have commas in one table only: they would match no row of the other."""
    for table, other in ((pair.study, pair.ours), (pair.ours, pair.study)):
        place = next((place for place, text in enumerate(table[name]) if _COMMA.fullmatch(text)), None)
        if place is not None and _is_numeric(other[name]) and _has_numbers(other[name]):
            source = pair.study_path if table is pair.study else table[FILE][place]
            raise AekitError(f"{source}: {name} is {table[name][place]!r}; {_POINT}")


def _is_numeric(column: pd.Series) -> bool:
    """Return whether no cell is text; empty cells are numbers that are missing."""
    return None not in [to_number(text) for text in column]


def _has_numbers(column: pd.Series) -> bool:
    return any(number is not None and not math.isnan(number) for number in map(to_number, column))


def _instead(name: str, table: pd.DataFrame) -> str:
    """Return the column that was probably meant, or all that there are."""
    return nearest(name, table.columns) or f"; the columns are {', '.join(table.columns)}"


def _key_of(table: pd.DataFrame, place: int, keys: Sequence[str]) -> str:
    return ", ".join(f"{name}={table[name].iloc[place]}" for name in keys)
