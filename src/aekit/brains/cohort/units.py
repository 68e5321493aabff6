"""The unit that a text states, such as the brackets of a header: months, mm^3, %; or that it cannot be understood."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Literal

Kind = Literal["age", "volume"]

DAYS_PER_YEAR = 365.25
YEARS_PER_UNIT = {"years": 1.0, "months": 1 / 12, "weeks": 7 / DAYS_PER_YEAR, "days": 1 / DAYS_PER_YEAR}
ML_PER_UNIT = {"litres": 1000.0, "mL": 1.0, "mm^3": 1e-3}
NATIVE = {"age": "years", "volume": "mL"}
KNOWN = {"age": "years, months, weeks or days", "volume": "litres, mL or mm^3"}
PROPORTIONS = "proportions"
UNKNOWN = "unknown"

_WORDS: dict[Kind, dict[str, str]] = {
    "age": {
        "years": "years year yrs yr y a yo jahre jahren jahr ans année années años anni anos jaar år 年 岁 歳 세",
        "months": "months month mths mth mos mo mon monate monaten monat mois meses mesi maanden 月 个月 ヶ月 개월",
        "weeks": "weeks week wks wk w wochen woche semaines semanas settimane weken 周 週",
        "days": "days day d tage tagen tag jours días giorni dagen 天 日",
    },
    "volume": {
        "litres": "l litre litres liter liters dm3",
        "mL": "ml mls millilitre millilitres milliliter milliliters cm3 ccm cc",
        "mm^3": "mm3 cmm ul microlitre microlitres microliter microliters",
    },
}
_UNIT_OF = {kind: {word: unit for unit, words in units.items() for word in words.split()}
            for kind, units in _WORDS.items()}  # fmt: skip
# Words next to a unit that do not change it, and what may stand in brackets without being a unit.
_AROUND_AGES = (
    "in at the of on and or age unit units decimal decimals full completed old exact scan scanning scans mri visit "
    "baseline imaging time acquisition enrolment enrollment inclusion session test testing rounded whole integer o "
    "since from birth postnatal chronological participant participants subject patient"
)
_AROUND_VOLUMES = "in of the unit units volume volumes total gm gmv wm wmv csf csfv gray grey white matter"
_NOISE: dict[Kind, frozenset[str]] = {
    "age": frozenset(_AROUND_AGES.split()),
    "volume": frozenset(_AROUND_VOLUMES.split()),
}
_OF_PROPORTIONS = (
    "percent percentage pct prozent proportion proportions prop fraction fractions frac ratio ratios share relative "
    "normalised normalized tiv icv etiv ticv"
)
_PROPORTION_WORDS = frozenset(_OF_PROPORTIONS.split())
_NOT_STATED = frozenset({"", "n/a", "na", "none", "null", "-"})
_IN_TEXT = re.compile(
    r"\bin\s+(?:decimal\s+|full\s+|completed\s+|whole\s+)?([^\W\d_]+(?:\s*\^?\s*3)?)|[(\[]([^)\]]*)[)\]]"
)


def stated_unit(text: str, kind: Kind) -> str:
    """Return the unit in a text: a key of the conversions of its kind, ``proportions``, ``unknown``, or empty.

    Args:
        text: What stands in brackets in a header, or ``Units`` in a participants.json.
        kind: Whether it is the unit of an age or of a volume.
    """
    plain = _plain(text)
    if plain in _NOT_STATED:
        return ""
    if "%" in plain:
        return PROPORTIONS if kind == "volume" else UNKNOWN
    words = [word for word in re.findall(r"[^\W_]+", plain) if word not in _NOISE[kind]]
    if not words:
        return "" if re.search(r"[^\W_]", plain) else UNKNOWN
    units = {_UNIT_OF[kind].get(word, "") for word in words}
    if len(units) == 1 and "" not in units:
        return units.pop()
    if kind == "volume" and units == {""} and _PROPORTION_WORDS & set(words):
        return PROPORTIONS
    return UNKNOWN


def described_unit(text: str, kind: Kind) -> str:
    """Return the unit that a sentence names, as in ``age in months``, or empty if it names none or several."""
    candidates = [stated_unit(one or other, kind) for one, other in _IN_TEXT.findall(_plain(text))]
    whole = stated_unit(text, kind)
    if whole != PROPORTIONS or re.search(r"%|\b(?:percent|proportion|fraction)", _plain(text)):
        candidates.append(whole)  # not for "from normalised images"
    found = {unit for unit in candidates if unit not in ("", UNKNOWN)}
    return found.pop() if len(found) == 1 else ""


def squeeze(name: str) -> str:
    """Return a name in lower case, without blanks and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def split_header(written: str) -> tuple[str, str]:
    """Return the name of a column without what stands in brackets, and that; a bare % counts as in brackets."""
    plain = unicodedata.normalize("NFKC", written)
    notes = re.findall(r"[(\[{](.*?)[)\]}]", plain)
    bare = re.sub(r"[(\[{].*?[)\]}]", " ", plain)
    return bare, ", ".join([*notes, *(["%"] if "%" in bare else [])])


def match_header(written: str, names: Collection[str], kind: Kind) -> str | None:
    """Return the unit that a header states, empty for none, or None if it is not the header of such a column.

    Args:
        written: The header, such as ``Age at scan [months]``, ``age_days`` or ``gmv_mm3``.
        names: Names that the column may have, squeezed.
        kind: Kind of its unit.
    """
    bare, note = split_header(written)
    noted = stated_unit(note, kind) if note else ""
    if squeeze(bare) in names:
        return noted
    for unit, rest in _worded(bare, kind):
        if rest in names:
            return unit if noted in ("", unit) else UNKNOWN
    return None


def header_unit(written: str, kind: Kind) -> str:
    """Return the unit that a header states, whatever its name means, as in ``AgeMRI_months``; empty for none."""
    bare, note = split_header(written)
    if note:
        return stated_unit(note, kind)
    tokens = [squeeze(token) for token in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", bare) if token]
    units = {unit for token in tokens[1:] if (unit := _UNIT_OF[kind].get(token)) and token not in _NOISE[kind]}
    return units.pop() if len(units) == 1 else ""


def _worded(bare: str, kind: Kind) -> list[tuple[str, str]]:
    """Return each unit that is a word or the end of a name, with the rest of the name, squeezed."""
    squeezed, found = squeeze(bare), []
    tokens = [squeeze(token) for token in re.split(r"[\W_]+", bare) if token]
    for word, unit in _UNIT_OF[kind].items():
        if len(word) > 1 and squeezed.endswith(word):
            found.append((unit, squeezed[: -len(word)].removesuffix("in")))
        if word in tokens[1:]:
            place = tokens.index(word, 1)
            found.append((unit, "".join(tokens[:place]).removesuffix("in") + "".join(tokens[place + 1 :])))
    return found


def _plain(text: str) -> str:
    """Return a text in lower case with cubes spelled ``mm3`` and the sign for micro as ``u``."""
    plain = unicodedata.normalize("NFKC", text).strip().lower().replace("μ", "u")
    plain = re.sub(r"\b(?:cubic|cu\.?)\s+(mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)", r"\1 3", plain)
    plain = re.sub(r"\bmillimet(?:er|re)s?(?=\s*\^?\s*3|\s+cubed)", "mm", plain)
    plain = re.sub(r"\bcentimet(?:er|re)s?(?=\s*\^?\s*3|\s+cubed)", "cm", plain)
    return re.sub(r"\b(mm|cm|dm)\s*(?:\^|\*\*)?\s*(?:3|cubed)\b", r"\g<1>3", plain)
