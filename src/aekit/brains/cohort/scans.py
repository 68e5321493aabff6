"""Match files to participants: by a column of the table, by the id in the name of a file, or by a pattern."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aekit.brains.cohort.table import Cohort
from aekit.brains.volumes.nifti import list_volumes
from aekit.core.text_table import named
from aekit.errors import AekitError, shown

_SUFFIX = re.compile(r"\.(nii|nii\.gz|npy)\Z", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_]+")  # letters and digits
_ID = re.compile(r"\{id(?::0?(?P<width>\d+)d?)?\}")
# BIDS entities: what follows one of them, as in ses-1, is not the id of a participant.
_ENTITIES = frozenset(
    {"ses", "run", "acq", "echo", "rec", "dir", "task", "desc", "space", "res", "ce", "mod", "inv", "flip", "part"}
)


@dataclass(frozen=True)
class MatchedFiles:
    """The volumes of a cohort.

    Attributes:
        paths: File of each participant, N of them, None where there is none.
        without_file: Ids of participants without a file.
        without_row: Files of the folder without a participant, also among the rows that were left out.
        elsewhere: Files outside the folder, where the column ``file`` says that they are.
        hint: How ids without a file differ from the names of files; empty if not in a known way.
    """

    paths: tuple[Path | None, ...]
    without_file: tuple[str, ...]
    without_row: tuple[Path, ...]
    elsewhere: tuple[Path, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class _Span:
    """The id of a row at a place in the name of a file."""

    start: int
    end: int
    row: int


def match_files(cohort: Cohort, folder: Path, *, table_path: Path, pattern: str | None = None) -> MatchedFiles:
    """Return the file of each participant.

    A pattern comes first, as it was asked for. Else a ``file`` column: its values are taken relative to the table, then
    to the folder, then by base name anywhere in the folder; nothing outside the two folders is followed. Else the name
    of the file must contain the id as a whole, with or without ``sub-``: 12 is not in sub-112_T1w.nii.gz.

    Args:
        cohort: The participants.
        folder: Folder of the volumes, searched with its subfolders.
        table_path: The table, to which values of ``file`` are relative.
        pattern: Names relative to any subfolder, with ``{id}`` for the id and ``* ? [ ] **`` as in the shell;
            ``{id:03}`` is the id padded with zeros to three characters.

    Raises:
        AekitError: The folder or the pattern is unusable, a participant has several files, a file belongs to several
            participants, or nobody has a file.
    """
    files = list_volumes(folder)
    ids = [str(one) for one in cohort.table["participant_id"]]
    if pattern is not None:
        choices = _by_pattern(ids, files, folder, pattern)
    elif "file" in cohort.table and cohort.table["file"].notna().any():
        choices = _by_column(list(cohort.table["file"]), files, folder, table_path)
    else:
        choices = _by_name(ids, files)
    _check_single(choices, ids, cohort.name)
    paths = tuple(choices[row][0] if row in choices else None for row in range(len(ids)))
    without_file = tuple(one for one, path in zip(ids, paths, strict=True) if path is None)
    taken = _Places()
    places = {taken.of(path) for path in paths if path is not None}
    without_row = [path for path in files if taken.of(path) not in places]
    without_row = _without_left_out(cohort, without_row, folder, pattern)
    hint = _zeros_hint(without_file, without_row)
    if len(without_file) == len(ids):
        raise AekitError(_no_overlap(cohort, files, folder, pattern, hint))
    listed = set(files)  # a link in the folder is in the folder, wherever it leads
    others = [path for path in paths if path is not None and path not in listed]
    inside = {taken.of(path) for path in files} if others else set()
    return MatchedFiles(
        paths, without_file, tuple(without_row), tuple(path for path in others if taken.of(path) not in inside), hint
    )


def _without_left_out(cohort: Cohort, files: list[Path], folder: Path, pattern: str | None) -> list[Path]:
    """Return the files that are not those of rows that were left out, such as another session."""
    ids = sorted({str(one) for one in cohort.left_out["participant_id"]}) if len(cohort.left_out) else []
    if not ids or not files:
        return files
    choices = _by_name(ids, files) if pattern is None else _by_pattern(ids, files, folder, pattern)
    theirs = {path for found in choices.values() for path in found}
    return [path for path in files if path not in theirs]


def match_names(cohort: Cohort, files: Sequence[Path], *, pattern: str | None = None) -> tuple[Path | None, ...]:
    """Return the file of each participant among names of files that need not be there any more, (N,).

    They are matched as in :func:`match_files`: by the pattern, else by the column ``file``, where a path must end like
    the value and a base name is enough if it is the only one, else by the id in the name.

    Args:
        cohort: The participants.
        files: Paths as they were written down.
        pattern: Names relative to any of their folders.

    Raises:
        AekitError: The pattern is unusable, a participant has several files, or a file belongs to several participants.
    """
    ids = [str(one) for one in cohort.table["participant_id"]]
    if pattern is not None:
        choices = _by_pattern(ids, [path.relative_to(path.anchor) for path in files], Path(), pattern)
        whole = {path.relative_to(path.anchor): path for path in files}
        choices = {row: [whole[path] for path in found] for row, found in choices.items()}
    elif "file" in cohort.table and cohort.table["file"].notna().any():
        choices = {}
        for row, value in enumerate(cohort.table["file"]):
            if isinstance(value, str):
                parts = [part for part in PurePosixPath(value.replace("\\", "/")).parts if part not in ("/", ".")]
                named_so = [path for path in files if path.name == parts[-1]]
                ending = [path for path in named_so if list(path.parts[-len(parts) :]) == parts]
                if found := ending or named_so:
                    choices[row] = found
    else:
        choices = _by_name(ids, files)
    _check_single(choices, ids, cohort.name)
    return tuple(choices[row][0] if row in choices else None for row in range(len(ids)))


def rows_of_files(cohort: Cohort, files: Sequence[Path]) -> dict[Path, int]:
    """Return the row of the participant to whom each file belongs; files without a row are absent.

    Its column ``file`` comes first, compared by base name; else the id must be in the name of the file.

    Args:
        cohort: The participants.
        files: Some of their volumes; several of one participant are allowed.

    Raises:
        AekitError: A file belongs to several participants.
    """
    ids = [str(one) for one in cohort.table["participant_id"]]
    if "file" in cohort.table and cohort.table["file"].notna().any():
        bases = [Path(value).name if isinstance(value, str) else "" for value in cohort.table["file"]]
        choices = {row: [path for path in files if path.name == base] for row, base in enumerate(bases)}
    else:
        choices = _by_name(ids, files)
    row_of: dict[Path, int] = {}
    for row, paths in sorted(choices.items()):
        for path in paths:
            if path in row_of:
                both = f"{ids[row_of[path]]} and {ids[row]}"
                raise AekitError(f"{shown(path)}: belongs to several participants, {both}; fix the ids or the names")
            row_of[path] = row
    return row_of


class _Places:
    """The real paths of files, with one question to the file system per folder."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def of(self, path: Path) -> str:
        """Return the real path of a file; a link in its own name is not followed."""
        folder, name = os.path.split(os.path.normpath(path))
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return f"{self._real[folder]}/{name}"


def _by_column(
    values: Sequence[object], files: Sequence[Path], folder: Path, table_path: Path
) -> dict[int, list[Path]]:
    by_base: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_base[path.name].append(path)
    choices: dict[int, list[Path]] = {}
    for row, value in enumerate(values):
        if not isinstance(value, str):
            continue
        relative = PurePosixPath(value.replace("\\", "/"))
        is_inside = not relative.is_absolute() and ".." not in relative.parts
        for base in (table_path.parent, folder) if is_inside else ():
            if _is_file(base / relative):
                choices[row] = [base / relative]
                break
        else:
            if found := by_base.get(relative.name):
                choices[row] = found
    return choices


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or a folder without permission
        return False


def _by_name(ids: Sequence[str], files: Sequence[Path]) -> dict[int, list[Path]]:
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(ids):
        tokens = list(_TOKEN.finditer(one.removeprefix("sub-")))
        if tokens:
            rows_of[one.removeprefix("sub-")[tokens[0].start() : tokens[-1].end()]].append(row)
    n_tokens = {len(_TOKEN.findall(key)) for key in rows_of}
    choices: defaultdict[int, list[Path]] = defaultdict(list)
    for path in files:
        for row in _longest(_spans(_SUFFIX.sub("", path.name), rows_of, n_tokens)):
            choices[row].append(path)
    return dict(choices)


def _zeros_hint(ids: Sequence[str], files: Sequence[Path]) -> str:
    """Return how many ids differ from names of files in leading zeros only, with an example; empty if none does."""
    names = [Path(_without_zeros(path.name)) for path in files]
    choices = _by_name([_without_zeros(one) for one in ids], names)
    found = [row for row in sorted(choices) if len(choices[row]) == 1]
    if not found:
        return ""
    one, file = ids[found[0]], files[names.index(choices[found[0]][0])].name
    ids_text = "1 id differs" if len(found) == 1 else f"{len(found):,} ids differ"
    text = f"{ids_text} from the names of files in leading zeros only, as '{shown(one)}' and '{shown(file)}'"
    pattern = _padding_pattern(one, file)
    advice = f"find them with --pattern '{pattern}', or correct the ids" if pattern else "correct the ids"
    return f"{text}; {advice}"


def _without_zeros(text: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def _padding_pattern(one: str, file: str) -> str:
    """Return the pattern that pads an id of digits as the name of a file does, or an empty text."""
    digits = one.removeprefix("sub-")
    match = re.search(rf"(?<!\d)0+{re.escape(digits)}(?!\d)", file) if digits.isdigit() else None
    if match is None:
        return ""
    before = re.sub(r"^.*?([^\W\d_]*-?)$", r"\1", file[: match.start()])
    start = "" if len(before) == match.start() else "*"
    return f"{start}{before}{{id:0{len(match[0])}}}*"


def _spans(name: str, rows_of: Mapping[str, list[int]], n_tokens: set[int]) -> Iterator[_Span]:
    """Yield the places of ids in a name as whole tokens, but not as the value of a BIDS entity like ses-1."""
    tokens = list(_TOKEN.finditer(name))
    subject = next((place + 1 for place, token in enumerate(tokens) if _is_key(name, token, {"sub"})), None)
    for first in range(len(tokens)) if subject is None else [subject]:
        if first > 0 and _is_key(name, tokens[first - 1], _ENTITIES):
            continue
        for n in n_tokens:
            if first + n <= len(tokens):
                start, end = tokens[first].start(), tokens[first + n - 1].end()
                for row in rows_of.get(name[start:end], ()):
                    yield _Span(start, end, row)


def _is_key(name: str, token: re.Match[str], keys: set[str] | frozenset[str]) -> bool:
    return (
        token[0] in keys
        and name[token.end() : token.end() + 1] == "-"
        and name[token.end() + 1 : token.end() + 2].isalnum()
    )


def _longest(spans: Iterator[_Span]) -> list[int]:
    """Return the rows of ids that are not part of a longer id: sub-12-1 is 12-1, not 12."""
    every = list(spans)
    if len(every) < 2:
        return [span.row for span in every]
    outer = [
        one
        for one in every
        if not any(
            other.start <= one.start and one.end <= other.end and other.end - other.start > one.end - one.start
            for other in every
        )
    ]
    return sorted({span.row for span in outer})


@dataclass(frozen=True)
class _Pattern:
    """A pattern for ids of some lengths.

    Attributes:
        before: What precedes the first id.
        is_word: Whether a word must start and end with the id: next to a wildcard, 12 would be found in 112.
        head: Matches the part of a name before the id.
        tails: For each length of an id, matches the id and the rest of a name.
    """

    before: str
    is_word: tuple[bool, bool]
    head: re.Pattern[str]
    tails: Mapping[int, re.Pattern[str]]

    def spans(self, name: str, rows_of: Mapping[str, list[int]]) -> Iterator[_Span]:
        """Yield the places of ids in a name, relative to the folder."""
        for start in filter(lambda place: self._may_start(name, place), range(len(name))):
            for n, tail in self.tails.items():
                end = start + n
                is_cut = self.is_word[1] and name[end : end + 1].isalnum()
                rows = () if is_cut else rows_of.get(name[start:end], ())
                if rows and self.head.fullmatch(name, 0, start) and tail.match(name, start):
                    yield from (_Span(start, end, row) for row in rows)

    def _may_start(self, name: str, start: int) -> bool:
        if self.is_word[0]:
            return start == 0 or not name[start - 1].isalnum()
        return name.startswith(self.before[-1], start - 1)


def _by_pattern(ids: Sequence[str], files: Sequence[Path], folder: Path, pattern: str) -> dict[int, list[Path]]:
    before, after, width = _split_pattern(pattern)
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(ids):
        for spelling in {one.zfill(width), one.removeprefix("sub-").zfill(width)}:
            rows_of[spelling].append(row)
    compiled = _compile(pattern, before, after, sorted({len(spelling) for spelling in rows_of}))
    choices: defaultdict[int, list[Path]] = defaultdict(list)
    for path in files:
        for row in _longest(compiled.spans(path.relative_to(folder).as_posix(), rows_of)):
            choices[row].append(path)
    return dict(choices)


def _compile(pattern: str, before: str, after: Sequence[str], lengths: Sequence[int]) -> _Pattern:
    rest = "(?P=id)".join(_translated(part) for part in after)
    is_word = (not before or before[-1] in "*?]/", after[0][:1] in ("*", "?", "["))
    try:
        head = re.compile(rf"(?:.*/)?{_translated(before)}", re.DOTALL)
        tails = {n: re.compile(rf"(?P<id>.{{{n}}}){rest}\Z", re.DOTALL) for n in lengths}
    except re.error as error:
        raise AekitError(f"--pattern: '{shown(pattern)}' cannot be parsed ({error}); fix its brackets") from error
    return _Pattern(before, is_word, head, tails)


def _split_pattern(pattern: str) -> tuple[str, list[str], int]:
    """Return what precedes the first {id}, what follows each, and the width to which ids are padded."""
    matches = list(_ID.finditer(pattern))
    if not matches:
        raise AekitError(
            f"--pattern: '{shown(pattern)}' has no {{id}}; write {{id}} in place of the participant_id, "
            "as in '{id}_T1w.nii.gz'"
        )
    parts = [text for place, text in enumerate(_ID.split(pattern)) if place % 2 == 0]
    if pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
        raise AekitError(f"--pattern: '{shown(pattern)}' leaves the folder; make it relative to --volumes")
    widths = {int(match["width"] or 0) for match in matches}
    if len(widths) > 1:
        raise AekitError(f"--pattern: '{shown(pattern)}' pads its ids in two ways; write the same {{id}} everywhere")
    return parts[0].removeprefix("./"), parts[1:], widths.pop()


def _translated(pattern: str) -> str:
    """Return the regular expression of a shell pattern, in which * stops at folders and ** does not."""

    def translate(match: re.Match[str]) -> str:
        text = match[0]
        if text[0] == "[":
            is_negated = text[1] in "!^"
            inside = re.sub(r"([\\[&~|])", r"\\\1", text[2:-1] if is_negated else text[1:-1])
            return f"[{'^' if is_negated else ''}{inside}]"
        return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(text) or re.escape(text)

    return re.sub(r"\*\*/|\*\*|\*|\?|\[[!^]?[^\]]+\]|.", translate, pattern, flags=re.DOTALL)


def _check_single(choices: Mapping[int, list[Path]], ids: Sequence[str], name: str) -> None:
    """Refuse several files for a participant and several participants for a file, naming all of them."""
    several = [row for row in sorted(choices) if len(choices[row]) > 1]
    if several:
        who = named(f"{ids[row]} ({named(str(path) for path in choices[row][:3])})" for row in several)
        raise AekitError(
            f"{shown(name)}: several files match {who}; distinguish them with --pattern, as in '{{id}}_T1w.nii.gz', "
            "or with a column named file"
        )
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    places = _Places()
    for row in sorted(choices):
        rows_of[places.of(choices[row][0])].append(row)
    shared = [rows for rows in rows_of.values() if len(rows) > 1]
    if shared:
        what = named(f"{choices[rows[0]][0]} ({' and '.join(ids[row] for row in rows)})" for rows in shared)
        raise AekitError(f"{shown(name)}: one file for several participants: {what}; fix the ids or the column file")


def _no_overlap(cohort: Cohort, files: Sequence[Path], folder: Path, pattern: str | None, hint: str) -> str:
    """Return why nobody has a file, with an example id and an example file."""
    one = shown(cohort.table["participant_id"][0])
    file = shown(files[0].relative_to(folder))
    if pattern is not None:
        fix = f"; {hint}" if hint else ", fix it"
        return f"--pattern: '{shown(pattern)}' matches no file; an id is '{one}' and a file '{file}'{fix}"
    if "file" in cohort.table and cohort.table["file"].notna().any():
        value = shown(cohort.table["file"].dropna().iloc[0])
        return (
            f"{shown(folder)}: has none of the files in column file; that of '{one}' is '{value}' and a file here "
            f"'{file}', give their folder as --volumes"
        )
    if hint:
        return f"{shown(folder)}: no file has the id of a participant in its name, but {hint}"
    return (
        f"{shown(folder)}: no file has the id of a participant in its name; an id is '{one}' and a file '{file}', "
        "show with --pattern where the id is, as in 'IXI{id:03}-*' for 12 in IXI012-HH"
    )
