"""The values that the commands of a recipe left in their files, and what they say: reached, or missed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aekit.core.intervals import Interval, mean_interval
from aekit.errors import AekitError, count, nearest
from aekit.results.comparison import as_key, to_number
from aekit.results.recipe import FIX, Value
from aekit.results.tables import read_table

Verdict = Literal["better", "reached", "missed", "failed"]
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Judged:
    """What a recipe gave for one value.

    Attributes:
        value: The value as the recipe has it.
        ours: One number per seed; none if it failed.
        mean: Their mean with Student's t interval over seeds, whose ends are NaN for one seed; all NaN if it failed.
        difference: The same less the reference.
        verdict: ``better``: reached, and the interval of the difference lies on the better side of zero; ``reached``:
            the mean is as good as the reference or worse by no more than the tolerance; ``missed``: it is not;
            ``failed``: there is none.
        problem: Why it failed; empty if it did not.
    """

    value: Value
    ours: tuple[float, ...]
    mean: Interval
    difference: Interval
    verdict: Verdict
    problem: str = ""

    @property
    def sd(self) -> float:
        """Standard deviation over seeds (N - 1); NaN for fewer than two."""
        return float(np.std(self.ours, ddof=1)) if len(self.ours) > 1 else math.nan


def judge(value: Value, ours: Sequence[float]) -> Judged:
    """Return the verdict on a value from one number per seed, at least one."""
    mean = mean_interval(np.array(ours, dtype=np.float64), confidence=_CONFIDENCE)
    difference = Interval(*(end - value.reference for end in mean))
    # How much worse ours is than the reference; neither side of it is better for "within".
    worse = {"lower": difference.value, "higher": -difference.value, "within": abs(difference.value)}[value.direction]
    verdict: Verdict = "reached" if worse <= value.tolerance or math.isclose(worse, value.tolerance) else "missed"
    sign = {"lower": -1, "higher": 1, "within": 0}[value.direction]
    if sign * difference.low > 0 and sign * difference.high > 0:
        verdict = "better"
    return Judged(value, tuple(ours), mean, difference, verdict)


def failed(value: Value, problem: str) -> Judged:
    """Return that there is no number for a value, and why."""
    nothing = Interval(math.nan, math.nan, math.nan)
    return Judged(value, (), nothing, nothing, "failed", problem)


def read_value(value: Value, names: Mapping[str, str]) -> float:
    """Return a value from its file.

    Args:
        value: Which one.
        names: What each placeholder stands for.

    Raises:
        AekitError: The file is missing or damaged, or the number is not in it or not finite.
    """
    path = Path(fill(value.file, names))
    what = f"{path}: the value {value.name!r}"
    if not path.is_file():
        raise AekitError(f"{what} is not there, no command wrote this file; {FIX}")
    if value.key is not None:
        number = _in_json(path, fill(value.key, names), what)
    else:
        number = _in_table(path, value, {name: fill(cell, names) for name, cell in value.where.items()}, what)
    if not math.isfinite(number):
        raise AekitError(f"{what} is {number}, not a finite number; see how its command ended")
    return number * value.factor


def fill(text: str, names: Mapping[str, str]) -> str:
    """Return a text with its placeholders replaced."""
    for name, own in names.items():
        text = text.replace(f"{{{name}}}", own)
    return text


def _in_json(path: Path, key: str, what: str) -> float:
    try:
        inner: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AekitError(
            f"{what} cannot be read, the file is damaged ({error}); remove it and run this again"
        ) from error
    for part in key.split("."):
        if not isinstance(inner, dict) or part not in inner:
            known = inner if isinstance(inner, dict) else {}
            raise AekitError(f"{what} is not there, {key} leads nowhere at {part}{nearest(part, known, FIX)}")
        inner = inner[part]
    if isinstance(inner, bool) or not isinstance(inner, (int, float)):
        raise AekitError(f"{what} is {inner!r}, not a number; {FIX}")
    return float(inner)


def _in_table(path: Path, value: Value, where: Mapping[str, str], what: str) -> float:
    table = read_table(path)
    for name in (value.column or "", *where):
        if name not in table.columns:
            raise AekitError(f"{what} is not there, the table has no column {name}{nearest(name, table.columns, FIX)}")
    for name, cell in where.items():
        table = table[table[name].map(as_key) == as_key(cell)]
    if len(table) != 1:
        chosen = f" where {', '.join(f'{name} = {cell}' for name, cell in where.items())}" if where else ""
        raise AekitError(f"{what} needs one row of the table, {count(len(table), 'row')} found{chosen}; {FIX}")
    text = str(table[value.column].iloc[0])
    number = to_number(text)
    if number is None:
        raise AekitError(f"{what} is {text!r}, not a number; {FIX}")
    return number
