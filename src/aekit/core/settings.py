"""Settings as frozen dataclasses: checks, the way to plain dictionaries and back, and how several of them differ.

What names runs, labels lines of a figure and heads columns is here, so that a setting has the same name everywhere.

Standard library only, so that the command line and ``aekit info`` need not load torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from aekit.errors import AekitError, UsageError

Schedule = Literal["one-cycle", "linear", "constant"]
Precision = Literal["auto", "fp32", "bf16"]

MAX_SEED = 2**32 - 1  # as scikit-learn takes them
_MAX_DIGITS = 4000  # int() refuses more than 4300

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)

# Settings whose values name themselves: "conv", not "arch conv".
SELF_NAMED = ("kind", "model", "arch", "data", "name")


def check_choice(option: str, value: object, literal: Any) -> None:
    """Raise a UsageError if a value is not one of the choices of a Literal."""
    if value not in get_args(literal):
        raise UsageError(f"--{option}: {value!r} is not one of {', '.join(get_args(literal))}; choose one of them")


def check_at_least(option: str, value: float | None, minimum: float) -> None:
    """Raise a UsageError if a number is below its minimum or not finite; None passes."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"--{option}: {value} is not a finite number; give {minimum:g} or more")
    if value is not None and value < minimum:
        raise UsageError(f"--{option}: {value} is below {minimum:g}; give {minimum:g} or more")


def check_seed(option: str, value: int) -> None:
    """Raise an AekitError if a seed is outside 0 to ``MAX_SEED``."""
    if not 0 <= value <= MAX_SEED:
        raise UsageError(f"--{option}: {value} is not between 0 and {MAX_SEED}; choose another")


def check_not_empty(option: str, value: str | None) -> None:
    """Raise a UsageError if the name of a file is an empty text, which would be the working folder; None passes."""
    if value is not None and not value.strip():
        raise UsageError(f"--{option}: {value!r} is empty; give the path of a file, or leave it out")


def is_whole_number(text: str) -> bool:
    """Return whether a text is a whole number without a sign that int() reads."""
    return text.isdecimal() and len(text) <= _MAX_DIGITS


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
    hints = _hints(cls)  # type: ignore[arg-type]
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
    kind, inner = _parts(hint)
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


@functools.cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


def choices_of(hint: Any) -> tuple[str, ...]:
    """Return the names that a field may have; none if it is not a choice. A choice may be left open (``None``)."""
    one = (
        [each for each in get_args(hint) if each is not type(None)]
        if get_origin(hint) in (Union, UnionType)
        else [hint]
    )
    return get_args(one[0]) if len(one) == 1 and get_origin(one[0]) is Literal else ()


def check_type(option: str, value: Any, hint: Any) -> Any:
    """Return a value of the type of an option: numbers of numpy as those of Python, paths as texts, a pair of one.

    Args:
        option: Its name, for the message.
        value: What was given in Python; the command line has parsed its own.
        hint: The annotation.

    Raises:
        UsageError: It is of another type; no number is rounded, and no text is read as a number.
    """
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not _is_a(value, hint) and _is_a((value, value), hint):
        value = (value, value)  # one number for both sides, as on the command line
    is_huge = isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63
    if not _is_a(0 if is_huge else value, hint):  # that a number is too large, its own check says
        words = " or ".join(_type_words(hint))
        text = " ".join(repr(value).split())
        raise UsageError(f"{option}: {text if len(text) < 60 else type(value).__name__} is not {words}; give one")
    return value


def check_types(config: Any) -> None:
    """Check the fields of a frozen dataclass by their annotations, see :func:`check_type`.

    Raises:
        UsageError: The value of a field is of another type.
    """
    cls: type = type(config)
    for name, hint in _hints(cls).items():
        object.__setattr__(config, name, check_type(name, getattr(config, name), hint))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _type_words(hint: Any) -> list[str]:
    """Return what the values of a type are called; None is left out."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return [words for one in inner if one is not type(None) for words in _type_words(one)]
    if kind is tuple:
        return [f"a pair of {_type_words(inner[0])[0].removeprefix('a ')}s"]
    return [{int: "a whole number", float: "a number", bool: "True or False"}.get(hint, "a text")]


def flag(name: str) -> str:
    """Return the option of a setting: ``--batch-size`` for ``batch_size``."""
    return f"--{name.replace('_', '-')}"


def as_text(value: Any) -> str:
    """Return a value as it is written on the command line: ``64x48`` for a tuple, floats without needless digits."""
    if isinstance(value, (tuple, list)):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def in_name(name: str, value: Any) -> str:
    """Return a setting as a part of a file name: ``beta0.5``, ``batchsize200``, ``z10`` for latent dimensions."""
    text = as_text(value)
    is_path = "/" in text or text.endswith(".safetensors")
    return f"{'z' if name == 'latent' else name.replace('_', '')}{Path(text).stem if is_path else text}"


def in_words(name: str, value: Any) -> str:
    """Return a setting as a label shows it: ``beta 0.5``; ``conv`` if that names itself, ``dreg`` if it is True."""
    text, words = as_text(value), name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"without {words}"
    return text if name in SELF_NAMED else f"{words} {text}"


def differing_keys(settings: Sequence[Mapping[Key, Any]], groups: Sequence[str]) -> dict[str, set[Key]]:
    """Return for each group the settings in which its members differ; one that is missing is None.

    Args:
        settings: Those of each member.
        groups: The group of each.
    """
    # Against the first of the group alone: all against all takes ten minutes for ten thousand checkpoints.
    first: dict[str, Mapping[Key, Any]] = {}
    differing: dict[str, set[Key]] = {}
    for own, group in zip(settings, groups, strict=True):
        other = first.setdefault(group, own)
        keys = differing.setdefault(group, set())
        keys |= {key for key in own.keys() | other.keys() if own.get(key) != other.get(key)}
    return differing


def changes_in_name(own: Any, default: Any, *, but: Collection[str] = ()) -> list[str]:
    """Return the parts of a file name for the settings that differ from their default: ``batchsize200``, ``mirror``.

    Args:
        own: A configuration.
        default: One of the same class with the defaults.
        but: Settings that are named otherwise, or not at all.
    """
    defaults = to_dict(default)
    return [
        key.replace("_", "")
        + ("" if value is True else "x".join(map(str, value)) if isinstance(value, (tuple, list)) else f"{value}")
        for key, value in to_dict(own).items()
        if value != defaults[key] and key not in but
    ]
