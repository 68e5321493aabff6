"""Settings as frozen dataclasses: checks of single values, and the way to plain dictionaries and back.

Standard library only, so that the command line and ``aekit info`` need not load torch.
"""

from __future__ import annotations

import dataclasses
import math
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from aekit.errors import AekitError

Schedule = Literal["one-cycle", "constant"]
Precision = Literal["auto", "fp32", "bf16"]

MAX_SEED = 2**32 - 1  # as scikit-learn takes them

T = TypeVar("T")


def check_choice(option: str, value: object, literal: Any) -> None:
    """Raise an AekitError if a value is not one of the choices of a Literal."""
    if value not in get_args(literal):
        raise AekitError(f"--{option}: {value!r} is not one of {', '.join(get_args(literal))}; choose one of them")


def check_at_least(option: str, value: float | None, minimum: float) -> None:
    """Raise an AekitError if a number is below its minimum or not finite; None passes."""
    if isinstance(value, float) and not math.isfinite(value):
        raise AekitError(f"--{option}: {value} is no number to compute with; give {minimum:g} or more")
    if value is not None and value < minimum:
        raise AekitError(f"--{option}: {value} is below {minimum:g}; give {minimum:g} or more")


def check_seed(option: str, value: int) -> None:
    """Raise an AekitError if a seed is outside 0 to ``MAX_SEED``."""
    if not 0 <= value <= MAX_SEED:
        raise AekitError(f"--{option}: {value} is not between 0 and {MAX_SEED}; choose another")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as a dictionary of plain values that JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: dict[str, Any], source: str = "configuration") -> T:
    """Return the configuration of type ``cls`` that ``values`` describes.

    Raises:
        AekitError: A key is unknown or a value is refused; ``source`` says where it came from.
    """
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise AekitError(f"{source}: unknown setting {', '.join(unknown)}; it was written by another version of aekit")
    hints = get_type_hints(cls)
    for name, value in values.items():
        if not _is_a(value, hints[name]):
            raise AekitError(f"{source}: its header is damaged ({name} {value!r}); train it again")
    try:
        return cls(**values)
    except AekitError as error:
        raise AekitError(f"{source}: {error}") from error
    except TypeError as error:
        raise AekitError(f"{source}: its header is damaged ({error}); train it again") from error


def _is_a(value: object, hint: Any) -> bool:
    """Return whether a value that was read from JSON is of a field's type; choices are checked by the field's class."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_is_a(value, one) for one in inner)
    if kind is Literal:
        return isinstance(value, str)
    if kind is tuple:
        hints = inner if inner[-1] is not ... else inner[:1] * len(value) if isinstance(value, (list, tuple)) else ()
        is_row = isinstance(value, (list, tuple)) and len(value) == len(hints)
        return is_row and all(map(_is_a, value, hints))  # type: ignore[call-overload]
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if isinstance(value, int):  # JSON has whole numbers of any length, which no tensor has
        return hint in (int, float) and abs(value) < 2**63
    return isinstance(value, hint)
