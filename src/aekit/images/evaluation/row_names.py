"""The name of a PNG file for each row of a file of codes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from aekit.core.progress import Progress
from aekit.core.settings import is_whole_number
from aekit.errors import AekitError, count, shown
from aekit.images.code_files import CodeFile

_NAMES = ("name", "index")  # columns that name a row, the first of them that is there
_MAX_BYTES = 200  # of a file name, which has room for 255


def picture_names(codes: CodeFile, progress: Progress) -> list[str]:
    """Return the file name of each row's image: its name or index, or its number from 0: ``0007.png``.

    Whole numbers get leading zeros, so that files sort as rows do. What may not be part of a file name becomes ``_``,
    which is said.

    Args:
        codes: N rows.
        progress: Receives a notice of names that were changed.

    Raises:
        AekitError: A row has no name, or two have the same, also if only capital letters tell them apart.
    """
    column = next((name for name in _NAMES if name in codes.columns), None)
    texts = [str(value) for value in (range(len(codes)) if column is None else codes.columns[column])]
    digits = max([4, *(len(text) for text in texts if is_whole_number(text))])
    names = [_safe(text, digits) for text in texts]
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if not texts[row]:
            raise AekitError(f"{codes.place(row)} has no {column}, which names its image (--each); fill it in")
        before = first.setdefault(name.casefold(), row)
        if before != row:
            raise AekitError(
                f"{codes.place(row)} has the {column} {shown(texts[row])!r}, whose image would be {name}, as that of "
                f"{codes.place(before).rpartition(': ')[2]}; give each row another {column} (--each)"
            )
    _say_changes(codes, column, texts, names, progress)
    return names


def _safe(text: str, digits: int) -> str:
    if is_whole_number(text):
        return f"{text:0>{digits}}.png"
    # As macOS composes letters: otherwise two names may be one file there.
    bare = re.sub(r"[^\w.+=,@ -]", "_", unicodedata.normalize("NFC", text))
    bare = re.sub(r"^\.|^-", "_", bare)
    return bare.encode()[:_MAX_BYTES].decode(errors="ignore").removesuffix(".png") + ".png"


def _say_changes(
    codes: CodeFile, column: str | None, texts: Sequence[str], names: Sequence[str], progress: Progress
) -> None:
    changed = [
        (text, name)
        for text, name in zip(texts, names, strict=True)
        if not is_whole_number(text) and name.removesuffix(".png") != text.removesuffix(".png")
    ]
    if changed:
        text, name = changed[0]
        n = count(len(changed), "name")
        progress.notice(
            f"{shown(codes.path)}: {n} of {column} cannot be a file name as it is: {shown(text)!r} is {name}"
        )
