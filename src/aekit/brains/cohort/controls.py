"""Who is healthy: expressions such as ``diagnosis=control``, and columns that name patients."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from aekit.brains.cohort.expressions import Expression, parse_expression
from aekit.brains.cohort.sessions import persons_of
from aekit.brains.cohort.table import Cohort
from aekit.core.text_table import named
from aekit.errors import AekitError, nearest, shown

OPTION = "--controls"

# Names of columns that say who is a patient, and values that say that somebody is none; in lower case, letters alone.
_COLUMNS = frozenset({"diagnosis", "dx", "group", "diag", "dxgroup", "diagnosticgroup", "dxbl", "disease", "condition"})
_CONTROL_LIKE = frozenset(
    {"control", "controls", "healthycontrol", "healthycontrols", "healthy", "hc", "nc", "cn", "hv", "ctl", "ctrl"}
    | {"con", "normal", "cognitivelynormal", "cognitivelyunimpaired", "cu", "nondemented", "none", "no", "td", "tdc"}
    | {"typicallydeveloping", "healthyvolunteer", "healthyvolunteers", "normalcontrol", "0"}
)
_MAX_VALUES = 12  # a column of more is no diagnosis


class Controls(Expression):
    """Those who are healthy, by an expression."""

    def labels(self, cohort: Cohort) -> NDArray[np.object_]:
        """Return the value of each participant in the column as a text, objects (N,); empty where missing.

        Raises:
            AekitError: The table has no such column.
        """
        if self.column not in cohort.table:
            columns = [str(one) for one in cohort.table.columns]
            advice = nearest(self.column, columns) or "; choose one of them"
            raise AekitError(
                f"{OPTION}: {shown(cohort.name)} has no column '{shown(self.column)}' (it has {named(columns)}){advice}"
            )
        return np.array([_text_of(value) for value in cohort.table[self.column]], dtype=object)

    def mask(self, cohort: Cohort) -> NDArray[np.bool_]:
        """Return who is a control, (N,); rows without a value are not, whatever the expression.

        Raises:
            AekitError: There is no such column, or nobody has one of the values.
        """
        labels = self.labels(cohort)
        there = sorted({str(label) for label in labels if label})
        for value in self.values:
            if value not in there:
                advice = nearest(value, there) or "; choose from these"
                raise AekitError(
                    f"{OPTION}: nobody in {shown(cohort.name)} has {shown(self.column)} '{shown(value)}', only "
                    f"{named(there) or 'empty cells'}{advice}"
                )
        return np.array([bool(label) and ((label in self.values) != self.negated) for label in labels], np.bool_)

    def split(self, cohort: Cohort) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return who is a control and who is a case, both (N,); those without a value are neither.

        All sessions of somebody who is a case in one of them are of a case: nobody is in train and among the cases.

        Raises:
            AekitError: As in :meth:`mask`.
        """
        is_control = self.mask(cohort)
        is_case = ~is_control & (self.labels(cohort) != "")
        if (persons := persons_of(cohort)) is not None:
            converted = np.isin(persons, persons[is_case])
            is_case |= converted & is_control
            is_control &= ~converted
        return is_control, is_case


def parse_controls(text: str) -> Controls:
    """Return an expression: ``column=value``, ``column=value,value`` or ``column!=value``.

    Raises:
        UsageError: It is something else.
    """
    found = parse_expression(text, OPTION)
    return Controls(found.column, found.values, found.negated, found.text)


def describe_cases_in_train(cohort: Cohort, train: NDArray[np.int64]) -> str:
    """Return who in train seems not to be healthy, and the option that leaves them out; empty if nobody does.

    Args:
        cohort: The participants.
        train: Rows of train.
    """
    for column in map(str, cohort.table.columns):
        if re.sub(r"[^a-z]", "", column.lower()) not in _COLUMNS:
            continue
        labels = [_text_of(value) for value in cohort.table[column]]
        there = sorted({label for label in labels if label})
        healthy = [label for label in there if re.sub(r"[^a-z0]", "", label.lower()) in _CONTROL_LIKE]
        others = Counter(labels[row] for row in train if labels[row] and labels[row] not in healthy)
        if not healthy or not others or len(there) > _MAX_VALUES:
            continue  # without a control-like value, the groups may be of another kind
        n = f"{sum(others.values()):,} of {len(train):,} participants in train"
        listed = ", ".join(f"{shown(label)} ({number:,})" for label, number in others.most_common())
        verb = "has" if sum(others.values()) == 1 else "have"
        return f"{n} {verb} {shown(column)} {listed}; --controls '{column}={','.join(healthy)}' leaves them out"
    return ""


def _text_of(value: object) -> str:
    """Return a value of a table as it is written there: 1 for 1.0; empty where missing."""
    if value is None or value != value:
        return ""
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.10g}"
    return str(value).strip()
