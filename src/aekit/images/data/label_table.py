"""A table of labels -> classes and attributes: columns ``file`` and ``label``, and one column per attribute."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.core.progress import SILENT, Progress
from aekit.core.text_table import TextTable, named, read_text_table
from aekit.errors import AekitError, count, shown

Indices = npt.NDArray[np.int64]

OPTION = "--labels"  # that names a table of labels in most commands, and begins its errors and notices
NOTICE = f"{OPTION} "
NO_ROW = -1  # of a file that is one image
NO_LABEL = -1  # of an empty field
# Other names of a column, in lower case, without blanks and punctuation.
_ALIASES = {
    "file": frozenset(
        {"file", "filename", "filepath", "path", "image", "imagefile", "imagename", "imagepath", "imageid"}
    ),
    "label": frozenset({"label", "labels", "class", "classname", "category"}),
    "row": frozenset({"row"}),
}
# Names that people give to the page of a file, in the same spelling; these are numbered from 0 or from 1.
_PAGES = frozenset({"page", "pages", "pageno", "pagenumber", "pageindex", "frame", "slice"})
_HOW_PAGES = "pages of a file are numbered in a column row, from 0"
# The values of an attribute, without it and with it: numbers, words, and those that spreadsheets write in the language
# of their user. Single letters of other languages could mean anything.
_BINARY = (
    *(("0", "1"), ("-1", "1"), ("n", "y")),
    *(("no", "yes"), ("nein", "ja"), ("nee", "ja"), ("non", "oui"), ("no", "si"), ("no", "sí"), ("no", "sì")),
    *(("não", "sim"), ("nao", "sim")),
    *(("false", "true"), ("falsch", "wahr"), ("onwaar", "waar"), ("faux", "vrai")),
    *(("falso", "verdadero"), ("falso", "vero"), ("falso", "verdadeiro")),
)


@dataclass(frozen=True)
class LabelTable:
    """What a table says of each image, before it is known which images there are.

    Attributes:
        path: The table.
        lines: Line of each of the R rows.
        files: File of each row, (R,); None if the table has no such column.
        rows: Row in its file, from 0, int64 (R,), :data:`NO_ROW` where it is empty; None if there is no such column.
        labels: Class of each row, int64 (R,), :data:`NO_LABEL` where it is empty; None if there is no such column.
        class_names: One name per class of the table, in natural order: 2 before 10.
        attributes: bool (R, A); None if there are none.
        attribute_names: One name per attribute.
        fingerprint: SHA-256 over all of this.
    """

    path: Path
    lines: Sequence[int]
    files: Sequence[str] | None
    rows: Indices | None
    labels: Indices | None
    class_names: tuple[str, ...]
    attributes: npt.NDArray[np.bool_] | None
    attribute_names: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def source(self) -> str:
        """Return the name of the table in messages."""
        return f"{NOTICE}{shown(self.path)}"

    def meaning(self, row: int) -> tuple[int, bytes]:
        """Return what a row says, to compare it with another."""
        label = NO_LABEL if self.labels is None else int(self.labels[row])
        return label, b"" if self.attributes is None else self.attributes[row].tobytes()

    def words(self, row: int) -> str:
        """Return what a row says, for messages."""
        parts = []
        if self.labels is not None:
            parts.append(self.class_names[self.labels[row]] if self.labels[row] != NO_LABEL else "empty")
        if self.attributes is not None:
            parts += [name for name, has in zip(self.attribute_names, self.attributes[row], strict=True) if has]
        return ", ".join(parts) or "without attributes"


def read_label_table(path: Path, progress: Progress = SILENT) -> LabelTable:
    """Return the rows of a table of labels.

    Args:
        path: CSV or TSV; separator and encoding are found.
        progress: Receives notices of what was corrected, and of columns that are not used.

    Raises:
        AekitError: It cannot be read, has neither labels nor attributes, or a row has too many or too few fields.
    """
    source = f"{NOTICE}{shown(path)}"
    try:
        text = read_text_table(path, table="a table of labels", row="image", keep_repeats=True)
    except AekitError as error:
        raise AekitError(f"--labels {error}") from error
    if text.repairs:
        progress.notice(f"{source}: {'; '.join(repair.in_words for repair in text.repairs)}")
    if text.ragged:
        line, fields = text.ragged[0]
        others = count(len(text.ragged) - 1, "other has", "others have")
        raise AekitError(
            f"{source}: line {line} has {count(len(fields), 'field')}, not {len(text.header)}, and "
            f"{others} the same problem; put quotes around values that hold the separator"
            if len(text.ragged) > 1
            else f"{source}: line {line} has {count(len(fields), 'field')}, not {len(text.header)}; correct it"
        )
    found = _known_columns(text, source, progress)
    names, attributes = _attributes(text, found, source, progress)
    if "label" not in found and not names:
        raise AekitError(
            f"{source}: has no column label, and no attributes (it has {named(text.header)}); its first line names the "
            "columns, such as file,label"
        )
    label_texts = _normal(text.columns[found["label"]]) if "label" in found else None
    classes = natural_order({one for one in label_texts if one}) if label_texts is not None else []
    _report_alike(classes, source, progress)
    number = {name: place for place, name in enumerate(classes)}
    files = _normal(text.columns[found["file"]]) if "file" in found else None
    rows = _row_numbers(text, found["row"], source) if "row" in found else None
    meaning = (files, None if rows is None else rows.tolist(), label_texts, names, attributes)
    return LabelTable(
        path,
        text.lines,
        files,
        rows,
        None if label_texts is None else np.array([number.get(one, NO_LABEL) for one in label_texts], np.int64),
        tuple(map(shown, classes)),
        np.array(attributes, bool).T.reshape(len(text.lines), len(names)) if names else None,
        tuple(map(shown, names)),
        hashlib.sha256(json.dumps(meaning).encode()).hexdigest(),
    )


def table_fingerprint(path: Path) -> str:
    """Return the fingerprint of a table of labels; the same table is parsed once, however often it is asked for.

    Raises:
        AekitError: As :func:`read_label_table`.
    """
    try:
        content = hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return read_label_table(path).fingerprint  # which says what is wrong
    return _fingerprint(path, content)


@functools.lru_cache(maxsize=8)
def _fingerprint(path: Path, content: bytes) -> str:
    # The content is there for the cache: a table that was edited is another one.
    return read_label_table(path).fingerprint


def natural_order(names: set[str]) -> list[str]:
    """Return names in the order that people expect: numbers by their value, also within names."""
    try:
        values = {name: float(name) for name in names}
        if all(map(math.isfinite, values.values())):
            return sorted(names, key=lambda name: (values[name], name))
    except ValueError:
        pass

    def key(name: str) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.split(r"([0-9]{1,4000})", name.casefold())
        return [(0, int(part), "") if place % 2 else (1, 0, part) for place, part in enumerate(parts) if part], name

    return sorted(names, key=key)


def _normal(texts: Sequence[str]) -> list[str]:
    """Return texts with letters composed: macOS writes names of files in pieces."""
    return [text if text.isascii() else unicodedata.normalize("NFC", text) for text in texts]


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _known_columns(text: TextTable, source: str, progress: Progress) -> dict[str, int]:
    """Return the position of each column with a known meaning."""
    squeezed = [_squeezed(name) for name in text.header]
    found: dict[str, int] = {}
    for name, aliases in _ALIASES.items():
        exact = [place for place, written in enumerate(text.header) if written == name]
        fit = exact or [place for place, bare in enumerate(squeezed) if bare in aliases]
        if len(fit) > 1:
            both = ", ".join(f"'{shown(text.header[place])}'" for place in fit)
            raise AekitError(f"{source}: columns {both} could all be {name}; rename the right one to {name}")
        if fit:
            found[name] = fit[0]
            if text.header[fit[0]].lower() != name:
                progress.notice(f"{source}: column '{text.header[fit[0]]}' read as {name}")
    return found


def _attributes(
    text: TextTable, known: Mapping[str, int], source: str, progress: Progress
) -> tuple[list[str], list[list[bool]]]:
    """Return the names and values of the columns that are attributes, and say which columns are not."""
    names: list[str] = []
    columns: list[list[bool]] = []
    unused: dict[str, str] = {}
    for place, (written, texts) in enumerate(zip(text.header, text.columns, strict=True)):
        if place in known.values():
            continue
        values, reason = _binary(texts)
        if not written:
            reason = "has no name"
        hint = _HOW_PAGES if _is_page(written, known) else ""
        if reason and hint:
            reason += f", and {hint}"
        elif hint:
            progress.notice(f"{source}: column '{shown(written)}' read as an attribute; {hint}")
        if reason:
            unused[written or f"column {place + 1}"] = reason
        elif written in names:
            raise AekitError(f"{source}: has several columns '{shown(written)}'; rename or remove the others")
        else:
            names.append(written)
            columns.append(values)
    if unused:
        which = named((f"{name} {reason}" for name, reason in unused.items()), separator="; ")
        what = "1 column is" if len(unused) == 1 else f"{len(unused):,} columns are"
        progress.notice(f"{source}: {what} not used ({which}); attributes are 0/1, -1/1, yes/no or true/false")
    return names, columns


def _is_page(name: str, known: Mapping[str, int]) -> bool:
    """Return whether a column seems to number the pages of files, which is what a column ``row`` is for."""
    return "row" not in known and _squeezed(name) in _PAGES


def _binary(texts: Sequence[str]) -> tuple[list[bool], str]:
    """Return the values of an attribute, or why a column is none."""
    values = [_plain(text) for text in texts]
    different = set(values)
    if n_empty := values.count(""):
        return [], f"has {n_empty:,} empty fields" if n_empty > 1 else "has an empty field"
    for pair in _BINARY:
        if different <= set(pair):
            return [value == pair[1] for value in values], ""
    if len(different) > 2:
        return [], f"has {len(different):,} different values"
    return [], f"holds {named(sorted(set(texts)))}"


def _plain(text: str) -> str:
    """Return a value in lower case with letters composed, and ``1.0`` as ``1``."""
    try:
        value = float(text)
    except ValueError:
        return unicodedata.normalize("NFC", text.lower())
    return f"{value:g}" if value in (-1, 0, 1) else text


def _row_numbers(text: TextTable, column: int, source: str) -> Indices:
    numbers = []
    for line, written in zip(text.lines, text.columns[column], strict=True):
        whole = re.fullmatch(r"([0-9]{1,12})(\.0*)?", written)
        if written and not whole:
            raise AekitError(f"{source}: row '{shown(written)}' in line {line} is not a number; rows count from 0")
        numbers.append(int(whole[1]) if whole else NO_ROW)
    return np.array(numbers, np.int64)


def _report_alike(classes: Sequence[str], source: str, progress: Progress) -> None:
    counts = Counter(name.casefold() for name in classes)
    alike = [name for name in classes if counts[name.casefold()] > 1]
    if alike:
        progress.notice(f"{source}: classes that differ only in upper and lower case: {named(alike)}")
