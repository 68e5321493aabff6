"""Which new scans are unlike those of the training, and for what reasons, in one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from aekit.errors import count

_MANY = 1 / 3  # of the scans
# How the sentences of aekit.brains.domain and of predict begin.
_KINDS = (
    "values outside",
    "all values together",
    "site is not one",
    "voxel size",
    "shape",
    "brain volume",
    "intensities",
    "predicted age",
    "an age outside",
)


def kind_of(reason: str) -> str:
    """Return what a reason is about: its first words if they are known, else the reason with 0 for all numbers."""
    return next((kind for kind in _KINDS if reason.startswith(kind)), re.sub(r"\d[\d.,]*", "0", reason))


def is_unlike(
    reasons: Sequence[Sequence[str]], is_reference: npt.NDArray[np.bool_] | None, *, is_other: bool = False
) -> npt.NDArray[np.bool_]:
    """Return which scans are unlike those of the training and, with a reference, of the reference as well, (n,).

    Errors of the reference tell how much the model errs for scans that differ from the training in the same ways.

    Args:
        reasons: Of each scan.
        is_reference: Whose errors are known, (n,); None without a reference.
        is_other: Whether all scans together are of another scanner than that of the training.
    """
    if is_other and is_reference is None:
        return np.ones(len(reasons), np.bool_)
    kinds = [{kind_of(reason) for reason in own} for own in reasons]
    known: set[str] = set()
    if is_reference is not None:
        known = set().union(*(own for own, is_known in zip(kinds, is_reference, strict=True) if is_known))
    return np.array([bool(own - known) for own in kinds], np.bool_)


def without_interval(unlike: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which scans have no interval, (n,): those that are unlike the others, or all if more than a third are.

    Scans are predicted by scanner, as a rule. If many of one scanner are beyond the limits, the rest is close to them:
    phantoms with another contrast had intensities beyond in 76 %, and ages 30 years too old in all.
    """
    return unlike | (unlike.mean() > _MANY if len(unlike) else False)


def describe_unlike(
    reasons: Sequence[Sequence[str]],
    unlike: npt.NDArray[np.bool_],
    *,
    has_reference: bool,
    has_intervals: bool,
    noun: str = "scan",
    is_other: bool = False,
) -> str:
    """Return how many scans are unlike the training and why, in one line; empty if none is.

    Args:
        reasons: Of each scan.
        unlike: From :func:`is_unlike`.
        has_reference: Whether the model was recalibrated.
        has_intervals: Whether other scans have intervals.
        noun: What they are of.
        is_other: Whether all are of another scanner together, which another line says with all that follows.
    """
    n = int(unlike.sum())
    if not n:
        return ""
    counts = Counter(
        kind for own, is_one in zip(reasons, unlike, strict=True) if is_one for kind in {kind_of(one) for one in own}
    )
    why = ", ".join(
        f"{kind} ({number:,})" for kind, number in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    )
    what = "those of the training and of the reference" if has_reference else "those of the training"
    text = f"{n:,} of {count(len(unlike), noun)} {'is' if n == 1 else 'are'} unlike {what}: {why}"
    if is_other and not has_reference:
        return text
    text += "; "
    none = f", and {'it has' if n == 1 else 'they have'} no intervals" if has_intervals else ""
    if n < len(unlike) and without_interval(unlike).all():
        text += f"* marks all ages{f', and no {noun} has intervals' if has_intervals else ''}, as these are many"
    else:
        text += f"* marks {'its age' if n == 1 else 'their ages'}{none}"
    return text if has_reference else f"{text}; --reference recalibrates on controls of their scanner"


def group_texts(texts: Iterable[str]) -> list[tuple[str, int]]:
    """Return each text once, with its count; texts that differ in numbers only are the same."""
    found: dict[str, list[str]] = {}
    for text in texts:
        found.setdefault(re.sub(r"[\d.,]+", "0", text), []).append(text)
    return [(one[0] if len(set(one)) == 1 else f"{one[0]}, or similar", len(one)) for one in found.values()]
