"""Which columns of a table have a known meaning, by their names or as options say, and in which units they are."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aekit.brains.cohort.parsed import ColumnRepair
from aekit.brains.cohort.sidecar import Sidecar
from aekit.brains.cohort.units import (
    KNOWN,
    NATIVE,
    PROPORTIONS,
    UNKNOWN,
    Kind,
    header_unit,
    match_header,
    split_header,
    squeeze,
)
from aekit.brains.config import TableColumns
from aekit.core.text_rows import N_EXAMPLES, Repair
from aekit.core.text_table import named
from aekit.errors import AekitError, nearest, shown

TISSUES = ("gmv", "wmv", "csfv")

# Other names of a column, in lower case, without blanks, punctuation, units and text in brackets.
_ALIASES = {
    "participant_id": frozenset(
        {"participantid", "participant", "subjectid", "subject", "subjid", "sub", "id", "ixiid"}
    )
    | {"mrid"},
    "age": frozenset({"age", "ageatscan", "ageatvisit"}),
    "sex": frozenset({"sex", "gender", "sexid", "genderid"}),
    "gmv": frozenset({"gmv", "gm", "gmvol", "graymatter", "greymatter", "graymattervolume", "greymattervolume"})
    | {"totalgrayvol", "totalgreyvol"},
    "wmv": frozenset({"wmv", "wm", "wmvol", "whitematter", "whitemattervolume", "cerebralwhitemattervol"})
    | {"totalwhitevol"},
    "csfv": frozenset({"csfv", "csf", "csfvol", "csfvolume", "cerebrospinalfluid", "cerebrospinalfluidvolume"}),
    "site": frozenset({"site", "siteid", "center", "centre"}),
    "file": frozenset({"file", "filename", "filepath"}),
}
_KINDS: dict[str, Kind] = {"age": "age", **dict.fromkeys(TISSUES, "volume")}
_MALE, _FEMALE = r"(?:m|males?|man|men)", r"(?:f|females?|w|woman|women)"
_TWO_SEXES = re.compile(rf"{_MALE}\W+(?:or\W+)?{_FEMALE}|{_FEMALE}\W+(?:or\W+)?{_MALE}")
_OLD_NAME = "table_{}"  # of a column that has the name of another which an option chose


@dataclass(frozen=True)
class Stated:
    """What header and data dictionary state about the known columns.

    Attributes:
        units: Column -> its unit; columns without a stated unit are absent.
        source: Column -> what states its unit, empty for the header.
        sex_header: The column of sexes as it is written.
        sexes: Code -> sex, of the data dictionary.
        dictionary: Name of the data dictionary.
        notes: Where it contradicts a header.
    """

    units: dict[str, str]
    source: dict[str, str]
    sex_header: str
    sexes: dict[str, str]
    dictionary: str
    notes: tuple[ColumnRepair, ...]


def find_columns(
    header: Sequence[str], sidecar: Sidecar, path: Path, chosen: TableColumns | None = None
) -> tuple[dict[str, int], list[Repair]]:
    """Return the position of each column with a known meaning, and which columns were renamed for it.

    Args:
        header: Names of the columns as they are written.
        sidecar: The data dictionary, which may state units.
        path: The table, for messages.
        chosen: The columns that options name, which go before guesses; None if there are no such options.

    Raises:
        AekitError: A chosen column does not exist, or several columns could be the one of a name.
    """
    found = _find_chosen(header, path, chosen)
    repairs = [
        Repair(f"column '{header[place]}' read as {name}, as {_option(name, chosen)} says", 1, ())
        for name, place in found.items()
        if header[place] != name
    ]
    taken = set(found.values())
    squeezed = [squeeze(split_header(written)[0]) for written in header]
    for name in _ALIASES:
        if name in found:
            continue
        fit = _fitting(name, header, squeezed, sidecar, taken)
        if len(fit) > 1:
            raise AekitError(_several(name, [header[place] for place in fit], path, chosen))
        if fit:
            found[name] = fit[0]
            if header[fit[0]] != name:
                repairs.append(Repair(f"column '{header[fit[0]]}' read as {name}", 1, ()))
    return found, repairs


def _find_chosen(header: Sequence[str], path: Path, chosen: TableColumns | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, wanted in (chosen.by_name() if chosen else {}).items():
        option = _option(name, chosen)
        places = [place for place, written in enumerate(header) if written == wanted]
        places = places or [place for place, written in enumerate(header) if written.lower() == wanted.lower()]
        if len(places) != 1:
            what = f"{len(places)} columns '{shown(wanted)}'" if places else f"no column '{shown(wanted)}'"
            hint = nearest(wanted, header) if not places else ""
            hint = hint or ("; rename or remove the others" if places else "; give one of them")
            raise AekitError(f"{option}: {shown(path)} has {what} (it has {named(header)}){hint}")
        other = next((one for one, place in found.items() if place == places[0]), None)
        if other is not None:
            both = f"{_option(other, chosen)}, {option}"
            raise AekitError(f"{both}: both name the column '{shown(wanted)}'; name one column with each")
        found[name] = places[0]
    return found


def _option(name: str, chosen: TableColumns | None) -> str:
    """Return the option that names a column, or an empty text if there is none."""
    return chosen.option(name) if chosen is not None else ""


def _several(name: str, written: Sequence[str], path: Path, chosen: TableColumns | None) -> str:
    """Return why a column cannot be found among several."""
    option = _option(name, chosen)
    if written[0] == name:
        return f"{shown(path)}: has {len(written)} columns '{name}'; rename or remove the others"
    choose = f"choose one with {option}" if option else f"rename the right one to {name}"
    both = ", ".join(f"'{shown(one)}'" for one in written)
    return f"{shown(path)}: columns {both} could all be '{name}'; {choose}"


def _fitting(
    name: str, header: Sequence[str], squeezed: Sequence[str], sidecar: Sidecar, taken: Collection[int]
) -> list[int]:
    """Return the columns that may be the one of a name: of that name, else in its own unit, else in any other."""
    exact = [place for place, written in enumerate(header) if written == name and place not in taken]
    if exact:
        return exact
    kind, aliases = _KINDS.get(name), _ALIASES[name]
    if kind is None:
        is_sex = name == "sex"
        return [
            place
            for place, bare in enumerate(squeezed)
            if place not in taken and (bare in aliases or (is_sex and _names_two_sexes(header[place])))
        ]
    starts = tuple({alias[:2] for alias in aliases})  # there may be thousands of other columns
    likely = [place for place, bare in enumerate(squeezed) if bare.startswith(starts) and place not in taken]
    units = {place: match_header(header[place], aliases, kind) for place in likely}
    fit = {
        place: sidecar.unit(header[place], kind) or unit or NATIVE[kind]
        for place, unit in units.items()
        if unit is not None
    }
    ranks = {NATIVE[kind]: 0, PROPORTIONS: 2, UNKNOWN: 2}
    best = min((ranks.get(unit, 1) for unit in fit.values()), default=0)
    return [place for place, unit in fit.items() if ranks.get(unit, 1) == best]


def _names_two_sexes(written: str) -> bool:
    """Return whether a header has nothing but the two sexes, as in M/F, Female/Male or Sex: m or f."""
    plain = unicodedata.normalize("NFKC", written).lower()
    plain = re.sub(r"^\W*(?:sex|gender)[\W_]*", "", plain).strip(" ()[]{}")
    return _TWO_SEXES.fullmatch(plain) is not None


def find_stated(
    found: Mapping[str, int], header: Sequence[str], sidecar: Sidecar, path: Path, chosen: TableColumns | None = None
) -> Stated:
    """Return what is stated about the known columns.

    Raises:
        AekitError: A unit cannot be converted.
    """
    units, source, notes = {}, {}, []
    named_by_option = chosen.by_name() if chosen else {}
    for name, kind in _KINDS.items():
        if name not in found:
            continue
        written = header[found[name]]
        own = header_unit(written, kind) if name in named_by_option else match_header(written, _ALIASES[name], kind)
        of_file = sidecar.unit(written, kind)
        unit = of_file or own or ""
        if of_file and own not in ("", None, of_file):
            notes.append(ColumnRepair(f"column '{written}' is in {of_file}, as {sidecar.name} says", ()))
        if unit in (PROPORTIONS, UNKNOWN):
            raise AekitError(_refused(written, name, unit, sidecar if of_file else None, path))
        if unit:
            units[name], source[name] = unit, sidecar.name if of_file else ""
    sex_header = header[found["sex"]] if "sex" in found else "sex"
    sexes = sidecar.sexes(sex_header) if "sex" in found else {}
    return Stated(units, source, sex_header, sexes, sidecar.name, tuple(notes))


def _refused(written: str, name: str, unit: str, sidecar: Sidecar | None, path: Path) -> str:
    """Return why a column cannot be used in its unit."""
    kind, where = _KINDS[name], shown(sidecar.path if sidecar else path)
    give = "ages in years" if kind == "age" else "volumes in mL"
    what = f"holds proportions, not {name} as a volume"
    if unit == UNKNOWN:
        note = split_header(written)[1]
        what = f"could be {name}, but '{shown(note)}' is not {KNOWN[kind]}"
    return f"{where}: column '{shown(written)}' {what}; give {give}, or rename the column if it means something else"


def check_needed(
    found: Mapping[str, int],
    header: Sequence[str],
    need: Sequence[str],
    path: Path,
    chosen: TableColumns | None = None,
) -> None:
    """Raise an AekitError that names the columns that are needed and missing."""
    missing = [name for name in dict.fromkeys(("participant_id", *need)) if name not in found and name not in header]
    if not missing:
        return
    if not found and any(re.fullmatch(r"[+-]?\d+([.,]\d+)?", name) for name in header):
        raise AekitError(
            f"{shown(path)}: its first line is not a header ({named(header)}); put the names of the columns there"
        )
    columns = f"column {missing[0]}" if len(missing) == 1 else f"columns {', '.join(missing)}"
    options = " and ".join(filter(None, (_option(name, chosen) for name in missing)))
    them = "it" if len(missing) == 1 else "them"
    others = [written for place, written in enumerate(header) if place not in found.values()]
    advice = f"name {them} with {options}" if options else ""
    hint = nearest(missing[0], others, advice) if len(missing) == 1 else f"; {advice}" if advice else ""
    hint = hint or f"; rename or add {them}"
    raise AekitError(f"{shown(path)}: has no {columns} (it has {named(header)}){hint}")


def column_names(header: Sequence[str], found: Mapping[str, int], path: Path) -> tuple[list[str], list[Repair]]:
    """Return unique names of the columns, and which of them had none or lost theirs.

    Raises:
        AekitError: Several columns have the same name.
    """
    place_of = {place: name for name, place in found.items()}
    names = [place_of.get(place, written or f"column {place + 1}") for place, written in enumerate(header)]
    displaced = [place for place, name in enumerate(names) if name in found and place not in place_of]
    repairs = []
    for place in displaced:
        names[place] = _OLD_NAME.format(names[place])
        repairs.append(Repair(f"column '{header[place]}' kept as {names[place]}", 1, ()))
    twice = [name for name, n in Counter(names).most_common() if n > 1]
    if twice:
        raise AekitError(f"{shown(path)}: has several columns named {named(twice)}; rename or remove the others")
    unnamed = [name for name, written in zip(names, header, strict=True) if not written]
    if unnamed:
        repairs.append(Repair("columns without a name numbered", len(unnamed), tuple(unnamed[:N_EXAMPLES])))
    return names, repairs
