"""participants.json, the data dictionary of a BIDS table: units and codings of its columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit.brains.cohort.sexes import sex_of_words
from aekit.brains.cohort.units import KNOWN, UNKNOWN, Kind, described_unit, stated_unit
from aekit.errors import AekitError, shown

_MAX_BYTES = 16 << 20
_CODED = re.compile(r"(?<![\w.])(?P<code>\w{1,2})\s*[=:]\s*(?P<word>[^\W\d_]{2,})")


@dataclass(frozen=True)
class Sidecar:
    """What a participants.json states.

    Attributes:
        path: The file; None if the table has none.
        entries: Name of a column in lower case -> its entry.
    """

    path: Path | None = None
    entries: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.path.name if self.path else ""

    def unit(self, column: str, kind: Kind) -> str:
        """Return the unit of a column: of ``Units``, else one that ``Description`` names; empty if neither has one.

        Raises:
            AekitError: ``Units`` is not a text, or not a unit of this kind.
        """
        entry = self._entry(column)
        text = entry.get("units", entry.get("unit"))
        if text is not None and not isinstance(text, str):
            raise self._odd(column, "Units", "is not a text")
        unit = stated_unit(text or "", kind)
        if unit == UNKNOWN:
            raise self._odd(column, "Units", f"is '{shown(text)}', not {KNOWN[kind]}")
        description = entry.get("description")
        return unit or (described_unit(description, kind) if isinstance(description, str) else "")

    def sexes(self, column: str) -> dict[str, str]:
        """Return the meaning of codes in ``Levels``, or else in ``Description``: "F", "M", or empty for neither.

        Raises:
            AekitError: ``Levels`` is not an object, or does not say which code is which sex.
        """
        entry = self._entry(column)
        levels = entry.get("levels")
        if levels is None:
            text = entry.get("description")
            notes = _CODED.finditer(text) if isinstance(text, str) else ()
            return {note["code"].lower(): sex for note in notes if (sex := sex_of_words(note["word"]))}
        if not isinstance(levels, dict):
            raise self._odd(column, "Levels", "is not an object of codes and their meanings")
        return self._coding(column, {str(code).strip().lower(): _text_of(value) for code, value in levels.items()})

    def _coding(self, column: str, meanings: Mapping[str, str]) -> dict[str, str]:
        coding = {code: sex_of_words(meaning) for code, meaning in meanings.items()}
        if meanings and not any(coding.values()):  # {"male": 1, "female": 2}
            swapped = {meaning.strip().lower(): sex_of_words(code) for code, meaning in meanings.items()}
            coding = swapped if len(swapped) == len(meanings) else {}
        if meanings and not any(coding.values()):
            raise self._odd(column, "Levels", "does not say which code is male or female")
        return coding

    def _entry(self, column: str) -> Mapping[str, Any]:
        entry = (self.entries or {}).get(column.strip().lower(), {})
        if not isinstance(entry, dict):
            raise AekitError(f"{shown(self.path)}: the entry of '{shown(column)}' is not an object; fix or remove it")
        return {key.lower(): value for key, value in entry.items()}

    def _odd(self, column: str, key: str, what: str) -> AekitError:
        return AekitError(f"{shown(self.path)}: {key} of '{shown(column)}' {what}; correct or remove it")


def read_sidecar(table: Path) -> Sidecar:
    """Return the data dictionary of a table: the .json with the name of a .tsv, or of any table ``participants``.

    Raises:
        AekitError: It is there but cannot be read, or is not a JSON object.
    """
    if table.suffix.lower() != ".tsv" and table.stem.lower() != "participants":
        return Sidecar()
    path = table.with_suffix(".json")
    try:
        if not path.exists():
            return Sidecar()
        if path.stat().st_size > _MAX_BYTES:
            raise AekitError(f"{shown(path)}: is too large for the description of a table; fix or remove it")
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise AekitError(f"{shown(path)}: cannot be read ({error.strerror}); fix or remove it") from error
    except (ValueError, RecursionError) as error:
        raise AekitError(f"{shown(path)}: is not valid JSON ({error}); fix or remove it") from error
    if not isinstance(found, dict):
        raise AekitError(f"{shown(path)}: is not a JSON object with one entry per column; fix or remove it")
    return Sidecar(path, {name.strip().lower(): entry for name, entry in found.items()})


def _text_of(meaning: object) -> str:
    """Return the text of a level, which may be an object with a description of its own."""
    if isinstance(meaning, dict):
        return " ".join(str(meaning[key]) for key in ("LongName", "Description") if key in meaning)
    return str(meaning)
