"""What is asked of a table of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aekit.brains.cohort.expressions import Expression, parse_expression
from aekit.brains.config import TableColumns
from aekit.errors import UsageError

AgeTrend = Literal["linear", "quadratic"]
ADJUSTED = ("age", "sex", "site")


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        predictions: Table of mri-train or mri-predict.
        table: Participants; None if the predictions have the columns.
        covariates: Columns to test.
        model: Network whose gap is tested; None takes the better one.
        controls: Participants on whom the age trend is fitted, and the reference of groups.
        references: Column -> the group that others are compared with.
        groups: Columns of numbers that are names of groups.
        adjust: Columns that are always in the model; None takes age, sex and site where they exist.
        age_trend: Whether age squared is in the model too.
        n_permutations: Permutations per test.
        seed: Of the permutations.
        pattern: Where the id is in the names of files of mri-predict.
        skip_bad: Leave out rows of the table that cannot be used.
        columns: Columns of the table that options name.
    """

    predictions: Path
    table: Path | None
    covariates: tuple[str, ...]
    model: str | None = None
    controls: Expression | None = None
    references: tuple[Expression, ...] = ()
    groups: tuple[str, ...] = ()
    adjust: tuple[str, ...] | None = None
    age_trend: AgeTrend = "linear"
    n_permutations: int = 5000
    seed: int = 0
    pattern: str | None = None
    skip_bad: bool = False
    columns: TableColumns = field(default_factory=TableColumns)


def parse_names(text: str, option: str) -> tuple[str, ...]:
    """Return the names in a list with commas, each once.

    Raises:
        UsageError: There is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{option}: {text!r} names no column; give names of columns with commas")
    return names


def parse_references(texts: Sequence[str]) -> tuple[Expression, ...]:
    """Return the reference group of each column, from ``diagnosis=control`` and the like.

    Raises:
        UsageError: One is not of this form, or a column has several.
    """
    found = [parse_expression(text, "--reference") for text in texts]
    for one in found:
        if one.negated or len(one.values) > 1:
            raise UsageError(f"--reference: {one.text!r} is not one group; write column=group, such as apoe=e3/e3")
    if len({one.column for one in found}) < len(found):
        raise UsageError("--reference: a column has two reference groups; give one of them")
    return tuple(found)


def build_request(
    predictions: Path,
    table: Path | None,
    covariates: str,
    *,
    controls: str | None = None,
    references: Sequence[str] | None = None,
    groups: str | None = None,
    adjust: str | None = None,
    **others: Any,
) -> Request:
    """Return what is asked, from the texts of a command line.

    Args:
        predictions: Table of mri-train or mri-predict.
        table: Participants.
        covariates: Names with commas.
        controls: An expression.
        references: Expressions.
        groups: Names with commas.
        adjust: Names with commas, or ``none``.
        others: Further fields of :class:`Request`.

    Raises:
        UsageError: A text cannot be parsed.
    """
    adjusted = None if adjust is None else () if adjust.strip() == "none" else parse_names(adjust, "--adjust")
    return Request(
        predictions,
        table,
        parse_names(covariates, "--with"),
        controls=None if controls is None else parse_expression(controls, "--controls"),
        references=parse_references(references or ()),
        groups=() if groups is None else parse_names(groups, "--groups"),
        adjust=adjusted,
        **others,
    )
