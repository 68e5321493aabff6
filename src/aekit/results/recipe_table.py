"""The verdicts on a recipe as a table: for machines (.csv), for reading (.md), and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aekit import __version__
from aekit.core.artifacts import write_atomically, write_csv
from aekit.core.intervals import Interval
from aekit.core.progress import Progress
from aekit.core.text_tables import TextTable
from aekit.results.recipe import Protocol, Recipe
from aekit.results.recipe_values import Judged

_DIGITS = 4  # significant digits of a number for reading, at least
_MINUS = "\u2212"
_ONE_SEED = "one seed, so no interval"
_BETTER = {"lower": "lower is better", "higher": "higher is better", "within": "within the tolerance"}


def write_verdicts(
    path: Path,
    recipe: Recipe,
    protocol: Protocol,
    seeds: Sequence[int],
    judged: Sequence[Judged],
    seconds: float | None,
) -> None:
    """Write the table of a recipe: ``path`` (.csv), with a row per value, and next to it one for reading (.md).

    Args:
        path: The table.
        recipe: The recipe.
        protocol: Which of its protocols was run.
        seeds: The seeds.
        judged: The verdicts.
        seconds: How long its commands took; None if one failed.
    """
    rows = [_row(each, recipe, protocol, seeds) | {"seconds": seconds} for each in judged]
    write_csv(path, pd.DataFrame(rows))
    text = f"# {_title(recipe, protocol)}\n\n{_readable(recipe, protocol, seeds, judged).to_markdown()}"
    write_atomically(path.with_suffix(".md"), lambda file: file.write(text.encode()))


def rows_for_json(protocol: Protocol, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return the verdicts as ``--json`` reports them; what does not exist is null."""
    return [
        {name: None if isinstance(cell, float) and not math.isfinite(cell) else cell for name, cell in row.items()}
        | {"by_seed": list(each.ours)}
        for each in judged
        for row in [_numbers(each, protocol)]
    ]


def show_verdicts(name: str, protocol: Protocol, judged: Sequence[Judged], progress: Progress) -> None:
    """Show the verdicts, and say where there is no interval."""
    columns = ["value", "ours", protocol.reference, "difference", "verdict"]
    rows = [
        (
            each.value.name,
            *_cells(each)[:1],
            _target(each),
            *_cells(each)[1:2],
            each.verdict,
        )
        for each in judged
    ]
    progress.table(f"{name}, ours and {protocol.reference}", columns, rows)
    if any(len(each.ours) == 1 for each in judged):
        progress.notice(f"{name}: {_ONE_SEED}")


def _title(recipe: Recipe, protocol: Protocol) -> str:
    return recipe.title if protocol.reference == "published" else f"{recipe.title}: quick protocol"


def _numbers(each: Judged, protocol: Protocol) -> dict[str, Any]:
    return {
        "value": each.value.name,
        "ours": each.mean.value,
        "sd": each.sd,
        "n": len(each.ours),
        "ours_low": each.mean.low,
        "ours_high": each.mean.high,
        protocol.reference: each.value.reference,
        "difference": each.difference.value,
        "difference_low": each.difference.low,
        "difference_high": each.difference.high,
        "tolerance": each.value.tolerance,
        "direction": each.value.direction,
        "verdict": each.verdict,
        "problem": each.problem or None,
    }


def _row(each: Judged, recipe: Recipe, protocol: Protocol, seeds: Sequence[int]) -> dict[str, Any]:
    own = seeds if each.value.per_seed else ()
    own_values = {"seeds": " ".join(map(str, own)), "by_seed": " ".join(f"{value:.9g}" for value in each.ours)}
    return {"recipe": recipe.name, **_numbers(each, protocol), **own_values, "source": protocol.source}


def _readable(recipe: Recipe, protocol: Protocol, seeds: Sequence[int], judged: Sequence[Judged]) -> TextTable:
    """Return the table for reading, with what made it below."""
    columns = [("", name) for name in ("value", "ours", protocol.reference, "difference", "tolerance", "verdict")]
    rows = []
    for each in judged:
        ours, difference, tolerance = _cells(each)
        reference = _number(each.value.reference, _decimals(each))
        rows.append(
            (
                f"{each.value.name}, {_BETTER[each.value.direction]}",
                ours,
                reference,
                difference,
                tolerance,
                each.verdict,
            )
        )
    n_most = max(len(each.ours) for each in judged)
    interval = _ONE_SEED if n_most == 1 else "[in brackets]: 95 % interval over seeds, Student's t"
    of_seeds = f"; seeds {', '.join(map(str, seeds))}" if protocol.has_seeds else ""
    notes = [
        f"{protocol.reference}: {protocol.source}",
        *([recipe.note] if recipe.note and protocol is recipe.full else []),
        *(each.problem for each in judged if each.problem),
        f"ours: mean{of_seeds}; {interval}. Made by aekit {__version__} reproduce.",
    ]
    return TextTable(columns, rows, 1, [note for line in notes for note in (line, "")][:-1])


def _cells(each: Judged) -> tuple[str, str, str]:
    """Return our mean, the difference and the tolerance as text."""
    decimals = _decimals(each)
    tolerance = _number(each.value.tolerance, decimals)
    if each.verdict == "failed":
        return "", "", tolerance
    return _interval(each.mean, decimals), _interval(each.difference, decimals, sign="+"), tolerance


def _target(each: Judged) -> str:
    """Return what a value should be: within, at most or at least, with the tolerance if there is one."""
    reference, tolerance = (_number(value, _decimals(each)) for value in (each.value.reference, each.value.tolerance))
    if each.value.direction == "within":
        return f"{reference} \u00b1 {tolerance}"
    sign, away = ("\u2264", "+") if each.value.direction == "lower" else ("\u2265", _MINUS)
    return f"{sign} {reference}" + (f" {away} {tolerance}" if each.value.tolerance else "")


def _interval(interval: Interval, decimals: int, *, sign: str = "") -> str:
    text = _number(interval.value, decimals, sign)
    if math.isnan(interval.low):
        return text
    return f"{text} [{_number(interval.low, decimals, sign)}, {_number(interval.high, decimals, sign)}]"


def _number(value: float, decimals: int, sign: str = "") -> str:
    return f"{round(value, decimals) + 0.0:{sign},.{decimals}f}".replace("-", _MINUS)  # + 0.0: zero without a sign


def _decimals(each: Judged) -> int:
    """Return how many decimals are shown: those of the recipe, or as many as make four significant digits."""
    written = max(_written(each.value.reference), _written(each.value.tolerance))
    largest = abs(each.value.reference)
    return max(written, _DIGITS - 1 - math.floor(math.log10(largest)) if largest else 0, 0)


def _written(value: float) -> int:
    text = f"{value:.12g}"
    return len(text.partition(".")[2]) if "e" not in text else 0
