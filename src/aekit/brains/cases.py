"""Training on controls alone: the folds of the controls, and the cases that every fold's models predict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from aekit.brains.cohort.controls import Controls, describe_cases_in_train, parse_controls
from aekit.brains.config import CohortConfig, Target
from aekit.brains.people import Fold, Participants, build_folds
from aekit.brains.predictions import AGE, FEATURE_MODELS, NETWORKS, Predictions
from aekit.brains.scores import corrected_delta, judged_split
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Everyone = TypeVar("Everyone", bound=Participants)

CASES = "cases"  # their split
_LEVEL = 0.95


def build_control_folds(
    people: Everyone, config: CohortConfig, target: Target | None, progress: Progress = SILENT
) -> tuple[Everyone, list[Fold]]:
    """Return the participants and the folds; with ``config.controls``, cases are held out of all folds.

    Participants whose diagnosis is missing are in no split; ``left_out`` of the participants that are returned names
    them.

    Args:
        people: Everyone.
        config: How they are split.
        target: Tissue volumes that are learned.
        progress: Told if cases seem to be in train.

    Raises:
        AekitError: The expression does not fit the table, nobody is left, or as in :func:`build_folds`.
    """
    if config.controls is None:
        folds = build_folds(people, config, target)
        train = np.unique(np.concatenate([fold.train for fold in folds]))
        if text := describe_cases_in_train(people.cohort, train):
            progress.notice(f"{people.cohort.name}: {text}")
        return people, folds
    controls = parse_controls(config.controls)
    is_control, is_case = controls.split(people.cohort)
    rows, cases = (np.flatnonzero(mask).astype(np.int64) for mask in (is_control, is_case))
    if not len(rows):
        raise AekitError(f"--controls: '{shown(controls.text)}' leaves nobody to train on; choose other values")
    if not len(cases):
        progress.notice(f"--controls: everyone with a {controls.column} fits '{controls.text}'; there are no cases")
    folds = build_folds(replace(people, cohort=people.cohort.subset(rows)), config, target)
    return _name_unknown(people, controls, ~is_control & ~is_case), [_among_all(fold, rows, cases) for fold in folds]


def _among_all(fold: Fold, rows: Rows, cases: Rows) -> Fold:
    """Return a fold of the controls with their rows among all participants, and with the cases held out."""
    held_out = {split: rows[own] for split, own in fold.held_out.items()}
    if len(cases):
        held_out[CASES] = cases
    return replace(
        fold,
        train=rows[fold.train],
        dropped=rows[fold.dropped],
        held_out=held_out,
        flagged=rows[fold.flagged],
    )


def _name_unknown(people: Everyone, controls: Controls, unknown: npt.NDArray[np.bool_]) -> Everyone:
    ids = people.cohort.table["participant_id"].to_numpy(object)[unknown]
    left_out = people.left_out
    for place, one in enumerate(ids, len(left_out)):
        left_out = left_out.copy() if place == len(people.left_out) else left_out
        left_out.loc[place] = [str(one), "", f"no {controls.column}, which --controls needs"]
    return replace(people, left_out=left_out)


@dataclass(frozen=True)
class GroupDelta:
    """Mean delta given age of a group, ``delta_corrected``, in years.

    Attributes:
        model: Network, or model of columns of the table.
        group: ``controls``, ``cases``, or a value of the column if cases have several.
        split: Split of the participants.
        n: Their number.
        mean: Mean; None without a corrected delta.
        low: Lower end of its 95 % interval (Student's t); None for fewer than two.
        high: Upper end.
        difference: Mean minus that of the controls; None for the controls.
        difference_low: Lower end of its 95 % interval (Welch).
        difference_high: Upper end.
    """

    model: str
    group: str
    split: str
    n: int
    mean: float | None
    low: float | None
    high: float | None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


def group_deltas(predictions: list[Predictions], people: Participants, config: CohortConfig) -> list[dict[str, Any]]:
    """Return the mean corrected delta of controls, cases, and each kind of case, by network, as plain values.

    The controls are those of the split by which the networks are judged; nothing is returned without cases. The age
    trend counts as known, so the intervals are slightly too short if few controls determined it.
    """
    if config.controls is None:
        return []
    labels = parse_controls(config.controls).labels(people.cohort)
    split = judged_split(predictions)
    by_key = {(part.model, part.split): part for part in predictions if part.target == AGE}
    found: list[GroupDelta] = []
    for model in (*NETWORKS, *FEATURE_MODELS):
        own, cases = by_key.get((model, split)), by_key.get((model, CASES))
        if own is None or cases is None:
            continue
        healthy, ill = corrected_delta(own, predictions), corrected_delta(cases, predictions)
        found.append(_group_delta(model, "controls", split, healthy, None))
        found.append(_group_delta(model, CASES, CASES, ill, healthy))
        kinds = labels[cases.rows]
        names = sorted({str(kind) for kind in kinds})
        for name in names if len(names) > 1 else ():
            found.append(_group_delta(model, name, CASES, ill[kinds == name], healthy))
    return [asdict(one) for one in found]


def _group_delta(model: str, group: str, split: str, values: Floats, controls: Floats | None) -> GroupDelta:
    known = values[np.isfinite(values)]
    mean, error, df = _mean_and_error(known)
    low, high = _ends(mean, error, df)
    if controls is None or mean is None:
        return GroupDelta(model, group, split, len(values), mean, low, high)
    other, other_error, other_df = _mean_and_error(controls[np.isfinite(controls)])
    difference = None if other is None else mean - other
    ends: tuple[float | None, float | None] = (None, None)
    if error is not None and other_error is not None and error + other_error > 0:
        total = error**2 + other_error**2
        ends = _ends(difference, float(np.sqrt(total)), total**2 / (error**4 / df + other_error**4 / other_df))
    return GroupDelta(model, group, split, len(values), mean, low, high, difference, *ends)


def _mean_and_error(values: Floats) -> tuple[float | None, float | None, float]:
    if not len(values):
        return None, None, 0.0
    error = None if len(values) < 2 else float(values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()), error, len(values) - 1.0


def _ends(mean: float | None, error: float | None, df: float) -> tuple[float | None, float | None]:
    if mean is None or error is None:
        return None, None
    half = float(student_t.ppf((1 + _LEVEL) / 2, df)) * error
    return mean - half, mean + half


def show_group_deltas(rows: list[dict[str, Any]], name: str, progress: Progress) -> None:
    """Show the mean corrected delta of each group with its interval, controls first; nothing without cases."""
    if not rows:
        return
    n_without = sum(row["mean"] is None for row in rows)
    cells = [
        (row["model"], row["group"], f"{row['n']:,}", _signed(row, "mean", "low", "high"),
         _signed(row, "difference", "difference_low", "difference_high"))
        for row in rows
    ]  # fmt: skip
    columns = ["model", "group", "n", "mean [95 %]", "minus controls [95 %]"]
    progress.table(f"{name}: delta given age (delta_corrected), years", columns, cells)
    if n_without:
        progress.notice(
            f"{name}: no corrected delta for {count(n_without, 'group')}: fewer than ten held-out controls determine "
            "the age trend; use --cv"
        )


def _signed(row: dict[str, Any], mean: str, low: str, high: str) -> str | None:
    if row[mean] is None:
        return None
    text = f"{row[mean]:+.1f}"
    return text if row[low] is None else f"{text} [{row[low]:+.1f}, {row[high]:+.1f}]"
