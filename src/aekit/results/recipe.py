"""A recipe: the commands that should give a published value, as a TOML file whose every key is checked."""

from __future__ import annotations

import itertools
import math
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from aekit.core.settings import MAX_SEED
from aekit.errors import AekitError, nearest

RECIPES = Path(__file__).parent / "recipes"
SUFFIX = ".toml"
PLACEHOLDERS = ("seed", "seeds", "out", "data_root")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
FIX = "correct the recipe"

Direction = Literal["lower", "higher", "within"]
_NUMBER = (int, float)
_PROTOCOL: dict[str, tuple[Any, bool]] = {  # the type of each key, and whether it must be there
    "commands": (list, True),
    "seeds": (list, True),
    "source": (str, True),
    "minutes": (_NUMBER, True),
    "data": (list, True),
    "values": (list, True),
}
_VALUE: dict[str, tuple[Any, bool]] = {
    "name": (str, True),
    "file": (str, True),
    "key": (str, False),
    "column": (str, False),
    "where": (dict, False),
    "factor": (_NUMBER, False),
    "tolerance": (_NUMBER, True),
    "direction": (str, True),
}
_OWN_OPTIONS = ("--resume", "--overwrite", "--quiet", "-q")  # reproduce decides on these
_WRITING = ("--output", "--tensorboard", "--each", "--codes")  # options whose values are written
_GLUED = re.compile(r"-[A-Za-z].")  # a short option with its value, or several in one word
_SHELL = {"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"}


@dataclass(frozen=True)
class Value:
    """A number that a protocol should give.

    Attributes:
        name: What it is, with its unit.
        file: The file that has it, with placeholders.
        key: Its place in a JSON file, with dots: ``log_p``; None in a table.
        column: Its column in a table (.csv); None in a JSON file.
        where: Cells of the one row of the table that has it, with placeholders.
        factor: What it is multiplied by: -1 turns a log-likelihood into its negative.
        reference: What it is compared with, in the same unit.
        tolerance: How much worse it may be, or for ``within`` how far away.
        direction: Whether less or more is better, or neither.
    """

    name: str
    file: str
    key: str | None
    column: str | None
    where: Mapping[str, str]
    factor: float
    reference: float
    tolerance: float
    direction: Direction

    @property
    def per_seed(self) -> bool:
        """Whether each seed has a value of its own."""
        return any("{seed}" in text for text in (self.file, self.key or "", *self.where.values()))


@dataclass(frozen=True)
class Protocol:
    """Commands, and the values that they should give.

    Attributes:
        commands: Words of each command without ``aekit``, with placeholders.
        seeds: Seeds of the commands that have ``{seed}`` or ``{seeds}``.
        source: Where the reference values come from.
        minutes: How long all of it takes on two cores.
        data: The data sets that it needs.
        values: The values.
        reference: What the reference values are: ``published``, or ``expected`` where they were measured with aekit.
    """

    commands: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    source: str
    minutes: float
    data: tuple[str, ...]
    values: tuple[Value, ...]
    reference: Literal["published", "expected"]

    @property
    def has_seeds(self) -> bool:
        """Whether its commands depend on seeds."""
        return any("{seed" in word for words in self.commands for word in words)


@dataclass(frozen=True)
class Recipe:
    """What a recipe says.

    Attributes:
        path: Its file.
        title: What is reproduced, in a few words.
        note: What readers must know of the full protocol, a line for below the table; empty if nothing.
        full: The protocol of the published values.
        quick: A reduced one, whose expected values were measured with aekit; None if there is none.
    """

    path: Path
    title: str
    note: str
    full: Protocol
    quick: Protocol | None

    @property
    def name(self) -> str:
        """Name of the recipe: that of its file."""
        return self.path.name.removesuffix(SUFFIX)


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that aekit has, by name."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted(RECIPES.glob(f"*{SUFFIX}"))}


def read_recipe(path: Path) -> Recipe:
    """Return a recipe from its file.

    Raises:
        AekitError: It cannot be read, is not TOML, or has a key or a value that a recipe cannot have.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AekitError(f"{path}: cannot be read ({error.strerror}); give the path of a recipe ({SUFFIX})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AekitError(f"{path}: is not TOML ({error}); {FIX}") from error
    except RecursionError as error:
        raise AekitError(f"{path}: is nested too deeply; {FIX}") from error
    except ValueError as error:  # of int, beyond its limit
        raise AekitError(f"{path}: has a number of thousands of digits; {FIX}") from error
    place = str(path)
    _check_keys(content, _PROTOCOL | {"title": (str, True), "note": (str, False), "quick": (dict, False)}, place)
    full = _protocol(content, place, "published")
    quick = content.get("quick")
    if quick is not None:
        _check_keys(quick, _PROTOCOL, f"{place}: [quick]")
        quick = _protocol(quick, f"{place}: [quick]", "expected")
    return Recipe(path, content["title"], content.get("note", ""), full, quick)


def _check_keys(table: Any, keys: Mapping[str, tuple[Any, bool]], place: str) -> None:
    """Check that a table has the keys that it must have, no others, and values of their types."""
    for key in table:
        if key not in keys:
            advice = f"the keys are {', '.join(keys)}"
            raise AekitError(f"{place}: unknown key {key!r}{nearest(key, keys, advice)}")
    for key, (kind, is_needed) in keys.items():
        if key not in table:
            if is_needed:
                raise AekitError(f"{place}: has no key {key!r}; add it")
            continue
        value = table[key]
        if isinstance(value, bool) or not isinstance(value, kind):
            name = "number" if kind == _NUMBER else {str: "text", list: "list", dict: "table"}[kind]
            raise AekitError(f"{place}: {key} is {value!r}, not a {name}; {FIX}")
        if kind == _NUMBER and not _is_usual(value):
            raise AekitError(f"{place}: {key} is {value}, not a finite number; {FIX}")
        if kind in (str, list, dict) and not value:
            raise AekitError(f"{place}: {key} is empty; {FIX}")


def _is_usual(number: float) -> bool:
    return abs(number) < 1e300 if isinstance(number, int) else math.isfinite(number)


def _protocol(table: Mapping[str, Any], place: str, reference: Literal["published", "expected"]) -> Protocol:
    for key in ("commands", "data"):
        if strange := [item for item in table[key] if not isinstance(item, str) or not item.strip()]:
            raise AekitError(f"{place}: {key} has {strange[0]!r}, not a text; {FIX}")
    if table["minutes"] <= 0:
        raise AekitError(f"{place}: minutes is {table['minutes']}, not above 0; {FIX}")
    protocol = Protocol(
        commands=tuple(
            _command(text, f"{place}: command {number}") for number, text in enumerate(table["commands"], start=1)
        ),
        seeds=check_seeds(table["seeds"], f"{place}: seeds", FIX),
        source=table["source"],
        minutes=float(table["minutes"]),
        data=tuple(table["data"]),
        values=tuple(
            _value(item, f"{place}: value {number}", reference) for number, item in enumerate(table["values"], start=1)
        ),
        reference=reference,
    )
    _check_together(protocol, place)
    return protocol


def check_seeds(seeds: list[Any], place: str, fix: str) -> tuple[int, ...]:
    """Return seeds, each of which is a whole number that no other is.

    Raises:
        AekitError: One is not; ``place`` says where they are from, ``fix`` what to do.
    """
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            raise AekitError(f"{place}: {seed!r} is not a whole number from 0 to {MAX_SEED}; {fix}")
        if seeds.count(seed) > 1:
            raise AekitError(f"{place}: {seed} is there twice; {fix}")
    return tuple(seeds)


def _command(text: str, place: str) -> tuple[str, ...]:
    """Return the words of a command after ``aekit``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise AekitError(f"{place}: its quotes do not close ({text}); {FIX}") from error
    if words[:1] != ["aekit"] or len(words) < 2:
        raise AekitError(f"{place}: is not an aekit command ({text}); begin it with aekit and the command's name")
    if words[1] == "reproduce":
        raise AekitError(f"{place}: a recipe cannot run recipes; {FIX}")
    if operators := [word for word in words if word in _SHELL]:
        raise AekitError(f"{place}: no shell runs it, so {operators[0]} has no meaning; write a command of its own")
    if glued := [word for word in words if _GLUED.match(word)]:
        raise AekitError(f"{place}: {glued[0]} is several words in one; write short options apart, as -o {{out}}/...")
    if own := [word for word in words if word in _OWN_OPTIONS]:
        raise AekitError(f"{place}: has {own[0]}, on which reproduce decides; leave it out")
    check_placeholders(text, place)
    if not any("{out}" in word for word in words):
        raise AekitError(f"{place}: writes outside of the folder of its recipe; give it -o {{out}}/...")
    for output in outputs(words):
        if not _is_in_folder(output):
            raise AekitError(f"{place}: writes {output}, outside of the folder of its recipe; give it -o {{out}}/...")
        if any("{seed}" in word for word in words) and "{seed}" not in output:
            raise AekitError(f"{place}: every seed would write {output}; put {{seed}} into the name")
    return tuple(words[1:])


def outputs(words: Sequence[str]) -> list[str]:
    """Return what stands behind ``--output``, or another option that is written to, among the words of a command."""
    parts = [word.partition("=") for word in words]
    joined = [value for option, sign, value in parts if sign and option in _WRITING]
    return joined + [after for word, after in itertools.pairwise(words) if word in ("-o", *_WRITING)]


def _is_in_folder(path: str) -> bool:
    """Return whether a path with placeholders is the folder of the recipe, or in it."""
    first, *others = path.split("/")
    return first == "{out}" and ".." not in others


def check_placeholders(text: str, place: str) -> None:
    """Raise an AekitError if a text has a placeholder that recipes do not have."""
    for name in PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise AekitError(f"{place}: unknown placeholder {{{name}}}; there are {known}")


def _value(table: Any, place: str, reference: str) -> Value:
    if not isinstance(table, dict):
        raise AekitError(f"{place}: is {table!r}, not a table; {FIX}")
    _check_keys(table, _VALUE | {reference: (_NUMBER, True)}, place)
    place = f"{place} ({table['name']})"
    if table["direction"] not in get_args(Direction):
        raise AekitError(f"{place}: direction is {table['direction']!r}; it is one of {', '.join(get_args(Direction))}")
    if table["tolerance"] < 0 or (table["direction"] == "within" and table["tolerance"] == 0):
        raise AekitError(f"{place}: tolerance is {table['tolerance']}; give 0 or more, with direction within above 0")
    if not table.get("factor", 1):
        raise AekitError(f"{place}: factor is 0; {FIX}")
    where = table.get("where", {})
    if strange := [
        cell for cell in where.values() if isinstance(cell, bool) or not isinstance(cell, (str, int, float))
    ]:
        raise AekitError(f"{place}: where has {strange[0]!r}, neither a text nor a number; {FIX}")
    _check_kind(table, place)
    for text in (table["file"], table.get("key", ""), *map(str, where.values())):
        check_placeholders(text, place)
    return Value(
        name=table["name"],
        file=table["file"],
        key=table.get("key"),
        column=table.get("column"),
        where={name: str(cell) for name, cell in where.items()},
        factor=float(table.get("factor", 1)),
        reference=float(table[reference]),
        tolerance=float(table["tolerance"]),
        direction=table["direction"],
    )


def _check_kind(table: Mapping[str, Any], place: str) -> None:
    """Check that a value of a JSON file has a key, and one of a table a column."""
    suffix = Path(table["file"]).suffix
    needed = {".json": ("key",), ".csv": ("column",)}.get(suffix)
    if needed is None:
        raise AekitError(f"{place}: file is {table['file']}, neither .json nor .csv; {FIX}")
    if needed[0] not in table:
        raise AekitError(f"{place}: has no {needed[0]}, which says where it is in {table['file']}; add it")
    if other := [key for key in ("key", "column", "where") if key in table and (suffix == ".csv") == (key == "key")]:
        raise AekitError(f"{place}: {other[0]} does not apply to a {suffix} file; leave it out")
    if not _is_in_folder(table["file"]):
        raise AekitError(
            f"{place}: file is {table['file']}, outside of the folder of its recipe; begin it with {{out}}/"
        )


def _check_together(protocol: Protocol, place: str) -> None:
    """Check what concerns several keys of a protocol."""
    names = [value.name for value in protocol.values]
    if twice := [name for name in names if names.count(name) > 1]:
        raise AekitError(f"{place}: two values are called {twice[0]!r}; give each a name of its own")
    if len(protocol.seeds) > 1 and not protocol.has_seeds:
        raise AekitError(f"{place}: has {len(protocol.seeds)} seeds, but no command uses {{seed}}; {FIX}")
    commands = {word for words in protocol.commands for word in words}
    if any(value.per_seed for value in protocol.values) and not any("{seed" in word for word in commands):
        raise AekitError(f"{place}: a value depends on {{seed}}, but no command does; {FIX}")
