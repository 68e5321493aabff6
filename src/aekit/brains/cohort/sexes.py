"""The texts of a column of sexes -> F and M: words in several languages, and codes where their meaning is clear."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from aekit.brains.cohort.parsed import MISSING_NUMBER, BadValue, ColumnRepair, Parsed
from aekit.brains.cohort.repairs import PLAIN
from aekit.brains.cohort.sentinels import is_sentinel_text

_FEMALE = "f female females fem woman women girl girls w weiblich frau femenino feminino féminin femme mujer femmina 女"
_MALE = "m male males masc man men boy boys männlich maennlich mann masculino masculin homme hombre maschio 男"
_SEXES = dict.fromkeys(_FEMALE.split(), "F") | dict.fromkeys(_MALE.split(), "M")
# A coding is recognised by the number that the other one lacks: 1 alone is ambiguous.
_CODINGS = (({"1": "M", "2": "F"}, "2"), ({"0": "F", "1": "M"}, "0"))
_OTHER = frozenset({"o", "other", "u", "unk", "unknown", "x", "d", "diverse", "non-binary", "nonbinary", "intersex"})
_NOTED = re.compile(r"(?P<code>\d)\s*[=:.(\[-]+\s*(?P<word>[^\W\d_]+)\s*[)\]]?")  # 1=male, 2 (F)
_NOTED_BACK = re.compile(r"(?P<word>[^\W\d_]+)\s*[=:]\s*(?P<code>\d)")  # male=1


def sex_of_words(text: str) -> str:
    """Return "F" or "M" if the words of a text name one sex, as in ``male participant``; else an empty text."""
    found = {sex for word in re.findall(r"[^\W\d_]+", text.lower()) if (sex := _SEXES.get(word))}
    return found.pop() if len(found) == 1 else ""


def read_sexes(
    texts: Sequence[str], header: str = "sex", *, stated: Mapping[str, str] | None = None, source: str = ""
) -> Parsed:
    """Return sexes as "F" and "M", objects (N,), NaN where missing or neither.

    Numbers are read by a note in the header (``SEX (1=m, 2=f)``) or in other values (``1=male``), else as
    1 male, 2 female (IXI and UK codings), or as 0 female, 1 male.

    Args:
        texts: N stripped texts.
        header: Name of the column as it is written.
        stated: Code in lower case -> "F", "M", or empty for neither, as stated elsewhere; goes before everything else.
        source: What states it, for messages.

    Raises:
        ValueError: The meaning of numbers is unclear. The message names them, without the name of the table.
    """
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows_of[text].append(row)
    values = np.full(len(texts), np.nan, dtype=object)
    stated = stated or {}
    repaired: defaultdict[str, list[int]] = defaultdict(list)
    for text in [text for text in rows_of if is_sentinel_text(text) and _stated_key(text, stated) is None]:
        repaired[f"sex: {text} read as missing"] += rows_of.pop(text)
    codes = _sex_codes([text for text in rows_of if _stated_key(text, stated) is None], header)
    for text, key in [(text, _stated_key(text, stated)) for text in rows_of]:
        if key is not None:
            rows, meant = rows_of.pop(text), stated[key]
            values[rows] = meant or np.nan
            if text != meant and key not in MISSING_NUMBER:
                meaning = {"F": "female", "M": "male"}.get(meant, "missing")
                repaired[f"sex: {text} read as {meaning}, as {source} says"] += rows
    coding = ", ".join(f"{code} = {'female' if sex == 'F' else 'male'}" for code, sex in sorted(codes.items()))
    bad: list[BadValue] = []
    for text, rows in rows_of.items():
        word = _sex_word(text)
        sex = codes.get(word) or _SEXES.get(word)
        if sex is not None:
            values[rows] = sex
            if text != sex:
                repaired[f"sex: coded {coding}" if word in codes else f"sex: {text} read as {sex}"] += rows
        elif word in _OTHER:
            repaired[f"sex: {text} read as missing"] += rows
        elif word not in MISSING_NUMBER:
            reason = "is a number among words" if word.isdigit() else "is neither F nor M"
            bad += [BadValue(row, "sex", text, reason) for row in rows]
    return Parsed(values, tuple(ColumnRepair(what, rows) for what, rows in repaired.items()), tuple(bad))


def _stated_key(text: str, stated: Mapping[str, str]) -> str | None:
    """Return the code in ``stated`` that a text is, also as 1.0 for 1, or None."""
    key = text.lower()
    if key not in stated and re.fullmatch(r"\d+\.0*", key):
        key = key.partition(".")[0]
    return key if key in stated else None


def _sex_word(text: str) -> str:
    """Return the word or number of a sex: in lower case, without the number of a note, or the .0 of a number."""
    match = _NOTED.fullmatch(text)
    word = (match["word"] if match else text).lower()
    return word[0] if re.fullmatch(r"\d\.0*", word) else word


def _sex_codes(texts: Iterable[str], header: str) -> dict[str, str]:
    """Return the meaning of each number among sexes; empty if there are none, or if only words tell the sex."""
    words = {_sex_word(text) for text in texts}
    numbers = {word for word in words if PLAIN.fullmatch(word)}
    if not numbers:
        return {}
    noted = {}
    for match in (*(_NOTED.fullmatch(text) for text in texts), *_notes(header)):
        if match and (sex := _SEXES.get(match["word"].lower())):
            noted[match["code"]] = sex
    if numbers <= set(noted):
        return noted
    for coding, telling in _CODINGS:
        is_clear = bool(noted) or (telling in numbers and not words & set(_SEXES) and _agrees(coding, header))
        if is_clear and numbers <= set(coding) and noted.items() <= coding.items():
            return coding
    if words & set(_SEXES):
        return {}
    raise ValueError(
        f"sex is coded by {', '.join(sorted(numbers))}, whose meaning is unclear; write F and M, or rename the column, "
        "for example to 'sex (1=m, 2=f)'"
    )


def _agrees(coding: Mapping[str, str], header: str) -> bool:
    """Return whether a header names the sexes in the order of the numbers, as M/F for 1 male, 2 female, or not both."""
    order = "".join(sex for word in re.findall(r"[^\W\d_]+", header.lower()) if (sex := _SEXES.get(word)))
    return order not in ("MF", "FM") or order == "".join(coding[code] for code in sorted(coding))


def _notes(header: str) -> list[re.Match[str]]:
    """Return the notes of a header, as in (1=m, 2=f) or (m=1, f=2)."""
    return list(_NOTED.finditer(header)) or list(_NOTED_BACK.finditer(header))
