"""Labels of a table for images: which row of the table belongs to which image, and an image set with its labels."""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown
from aekit.images.config import DataConfig
from aekit.images.data.decode import SUFFIXES
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.data.label_table import NO_LABEL, NO_ROW, LabelTable, read_label_table
from aekit.images.data.origins import Origins

_N_NAMED = 3
_ARRAYS = frozenset({".npy", ".npz", ".safetensors"})
_SUFFIXES = SUFFIXES | _ARRAYS


class UnlabelledError(AekitError):
    """A table of labels is missing, or is of other images."""


@dataclass(frozen=True)
class ImageLabels:
    """A table of labels, matched to the images of a data set.

    Attributes:
        table: The table.
        row_of: Row of the table for each image, by the file of the image and the row in it.
    """

    table: LabelTable
    row_of: dict[tuple[str, int], int]

    def of(self, images: ImageSet, progress: Progress = SILENT) -> ImageSet:
        """Return images with the classes and attributes of the table; what it does not have stays as it was.

        The fingerprint of the images does not change: that of the table is recorded next to it.
        """
        table, origins = self.table, images.origins
        assert origins is not None
        chosen = np.array([self.row_of[_key(origins, index)] for index in range(len(images))], np.int64)
        images = replace(images, labels_fingerprint=table.fingerprint)
        if table.labels is not None:
            if images.labels is not None:
                progress.notice(f"{table.source}: replaces the classes that {images.name} brings along")
            images = replace(images, labels=table.labels[chosen], class_names=table.class_names)
        if table.attributes is None:
            return images
        if images.attributes is None:
            return replace(images, attributes=table.attributes[chosen], attribute_names=table.attribute_names)
        kept = [place for place, name in enumerate(images.attribute_names) if name not in table.attribute_names]
        if len(kept) < len(images.attribute_names):
            progress.notice(f"{table.source}: replaces attributes of the same name that {images.name} brings along")
        return replace(
            images,
            attributes=np.concatenate([images.attributes[:, kept], table.attributes[chosen]], axis=1),
            attribute_names=(*(images.attribute_names[place] for place in kept), *table.attribute_names),
        )


def read_labels(
    config: DataConfig, origins: Callable[[], Origins], root: Path, progress: Progress = SILENT
) -> ImageLabels | None:
    """Return the labels of all images of a data set from the table ``config.labels``; None if there is none.

    Files are matched by their path, or else by their name where only one image has it, with or without suffix, in any
    case. Rows of arrays are matched by a column ``row``, from 0, or by their order.

    Args:
        config: Which images, and which table.
        origins: Returns where all of these images are.
        root: Folder that their files are named relative to.
        progress: Receives notices of the table, and of rows without an image.

    Raises:
        UnlabelledError: There is no table, or images are not in it.
        AekitError: The table cannot be read, or says different things of an image.
    """
    if config.labels is None:
        return None
    path = Path(config.labels).expanduser()
    if not path.exists():
        inside = Path(config.name).expanduser() / config.labels
        fix = f"it is in the folder of images, give {shown(inside)}" if inside.exists() else "check the path"
        raise UnlabelledError(f"--labels {shown(path)}: no such file; {fix}")
    table = read_label_table(path, progress)
    images = origins()
    if table.files is None:
        rows = _by_order(table, images, progress)
    else:
        rows = _by_file(table, table.files, images, root, progress)
    _check_labelled(table, images, rows)
    keys = [_key(images, index) for index in range(len(images))]
    return ImageLabels(table, dict(zip(keys, rows.tolist(), strict=True)))


def _key(origins: Origins, index: int) -> tuple[str, int]:
    return origins.file(index), 0 if origins.rows is None else int(origins.rows[index])


def _by_order(table: LabelTable, images: Origins, progress: Progress) -> Indices:
    """Return the row of the table for each image of one array, (N,), by ``row`` or by their order."""
    if images.rows is None:
        raise AekitError(f"{table.source}: has no column file; its first line names the columns, such as file,label")
    names = dict.fromkeys(images.file(index) for index in range(len(images)))
    if len(names) > 1:
        some = ", ".join(list(names)[:_N_NAMED])
        raise AekitError(f"{table.source}: has no column file to tell {some} apart; add it, and a column row from 0")
    if table.rows is not None:
        return _by_row(table, images, {next(iter(names)): list(range(len(table)))}, progress)
    if len(table) != len(images):
        raise UnlabelledError(
            f"{table.source}: has {count(len(table), 'row')} for {count(len(images), 'image')}; give one per image "
            "in their order, or a column row (from 0)"
        )
    order = np.argsort(images.rows, kind="stable")
    rows = np.empty(len(images), np.int64)
    rows[order] = np.arange(len(images))
    return rows


def _by_file(table: LabelTable, files: Sequence[str], images: Origins, root: Path, progress: Progress) -> Indices:
    """Return the row of the table for each image, (N,), by the file of both; -1 for images without a row."""
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, file in enumerate(files):
        rows_of[file].append(row)
    found = _find_files(table, list(rows_of), images, root, progress)
    used: dict[str, list[int]] = {}
    for text, file in found.items():
        used.setdefault(file, []).extend(rows_of[text])
    without = [row for text, rows in rows_of.items() if text not in found for row in rows]
    if without:
        names = list(dict.fromkeys(files[row] or "empty" for row in without))
        rows_have = _rows_have(len(without))
        if len(names) < len(without):  # as those of arrays or pages
            rows_have = f"{len(without):,} rows of {count(len(names), 'file')} have"
        progress.notice(f"{table.source}: {rows_have} no image ({_some(names)})")
    if images.rows is None and table.rows is not None and (table.rows > 0).any():
        progress.notice(f"{table.source}: column row is not used, as each file is one image")
    return _by_row(table, images, used, progress)


def _by_row(table: LabelTable, images: Origins, used: dict[str, list[int]], progress: Progress) -> Indices:
    """Return the row of the table for each image, (N,), from those of each file; -1 for images without a row."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index in range(len(images)):
        places[images.file(index)].append(index)
    result = np.full(len(images), -1, np.int64)
    beyond: list[str] = []
    for file, rows in used.items():
        own = places[file]
        pairs: list[tuple[int, int | None]]
        if table.rows is not None and images.rows is not None and (table.rows[rows] != NO_ROW).any():
            index_of = {int(images.rows[index]): index for index in own}
            pairs = [(row, index_of.get(int(table.rows[row]))) for row in rows]
            beyond += [f"{file}[{table.rows[row]}]" for row, index in pairs if index is None]
        elif len(own) == 1 or not _is_array(file):  # all pages of a file have its label
            pairs = [(row, index) for row in rows for index in own]
        elif len(rows) == len(own):
            pairs = list(zip(rows, own, strict=True))
        else:
            raise UnlabelledError(
                f"{table.source}: has {count(len(rows), 'row')} for the {count(len(own), 'image')} of {file}; give "
                "one per image in their order, or a column row (from 0)"
            )
        for row, place in pairs:
            if place is not None:
                _put(table, images, result, place, row)
    if beyond:
        progress.notice(f"{table.source}: {_rows_have(len(beyond))} no image ({_some(beyond)}); rows count from 0")
    return result


def _is_array(file: str) -> bool:
    return PurePosixPath(file.partition(":")[0]).suffix.lower() in _ARRAYS


def _rows_have(n: int) -> str:
    return count(n, "row has", "rows have")


def _put(table: LabelTable, images: Origins, result: Indices, index: int, row: int) -> None:
    """Note the row of an image.

    Raises:
        AekitError: Another row says something else of it.
    """
    before = int(result[index])
    if before >= 0 and table.meaning(before) != table.meaning(row):
        is_page = images.rows is not None and not _is_array(images.file(index)) and table.rows is None
        fix = "or number the pages in a column row, from 0" if is_page else ""
        raise AekitError(
            f"{table.source}: {images.text(index)} is '{table.words(before)}' in line {table.lines[before]} and "
            f"'{table.words(row)}' in line {table.lines[row]}; {', '.join(filter(None, ('keep one of them', fix)))}"
        )
    result[index] = row if before < 0 else before


def _check_labelled(table: LabelTable, images: Origins, rows: Indices) -> None:
    """Check that each image has a row and a label.

    Raises:
        UnlabelledError: Some have no row.
        AekitError: Some have an empty label.
    """
    if (missing := np.flatnonzero(rows < 0)).size:
        some, example = _some([images.text(int(index)) for index in missing]), ""
        what = f"{len(missing):,} of {count(len(rows), 'image')} {'has' if len(missing) == 1 else 'have'} no row"
        if len(missing) == len(rows):
            what = f"none of {count(len(rows), 'image')} has a row"
            example = "" if table.files is None else f"; its files are {_some(table.files)}"
        if images.file(0) not in (table.files or ()) and _is_array(images.file(0)) and len(missing) == len(rows):
            raise UnlabelledError(
                f"{table.source}: {what} ({some}{example}); write {images.file(0)} in column file and the row (from 0) "
                "in column row, or remove column file if the rows are in the order of the images"
            )
        raise UnlabelledError(
            f"{table.source}: {what} ({some}{example}); add the missing rows, with a class such as 'none', or move "
            "these images elsewhere"
        )
    if table.labels is not None and (empty := np.flatnonzero(table.labels[rows] == NO_LABEL)).size:
        what = count(len(empty), "image has", "images have")
        raise AekitError(
            f"{table.source}: {what} an empty label ({_some([images.text(int(index)) for index in empty])}); fill in "
            "a class, such as 'none', or move these images elsewhere"
        )


def _some(names: Sequence[str]) -> str:
    """Return the first names as one text, each once."""
    different = list(dict.fromkeys(names))
    return ", ".join(map(shown, different[:_N_NAMED])) + (", ..." if len(different) > _N_NAMED else "")


def _find_files(
    table: LabelTable, texts: Sequence[str], images: Origins, root: Path, progress: Progress
) -> dict[str, str]:
    """Return the file of the images for each file of the table; those that are not found are absent."""
    index = _FileIndex(list(dict.fromkeys(images.file(i) for i in range(len(images)))), root)
    found: dict[str, _Found] = {}
    for text in texts:
        try:
            if hit := index.find(text):
                found[text] = hit
        except LookupError as error:
            raise AekitError(
                f"{table.source}: '{shown(text)}' can be {error}; give more of the path in column file"
            ) from error
    # Of tables of several folders the row counts whose path agrees furthest.
    furthest: defaultdict[str, float] = defaultdict(float)
    for hit in found.values():
        furthest[hit.file] = max(furthest[hit.file], hit.n_common)
    found = {text: hit for text, hit in found.items() if hit.n_common == furthest[hit.file]}
    loose = [(text, hit.file) for text, hit in found.items() if hit.is_loose]
    if loose:
        what = count(len(loose), "file is", "files are")
        text, file = loose[0]
        progress.notice(f"{table.source}: {what} found by a part of the name, such as {file} for '{text}'")
    return {text: hit.file for text, hit in found.items()}


@dataclass(frozen=True)
class _Found:
    """The file of images that a text names.

    Attributes:
        file: The file.
        n_common: Number of names at the end of both paths that agree.
        is_loose: Whether they disagree in something: a folder, a suffix, or the case.
    """

    file: str
    n_common: float
    is_loose: bool


class _FileIndex:
    """Files of images by the ends of their paths.

    Args:
        files: The files, relative to the root.
        root: Their folder: a table may name it as well.
    """

    def __init__(self, files: Sequence[str], root: Path) -> None:
        self._files = files
        self._exact = {file: file for file in files}
        self._exact |= {file.rpartition(":")[2]: file for file in files if ":" in file}  # an array within a file
        above = list(PurePosixPath(_slashes(str(root.resolve()))).parts)
        self._parts = [[*above, *_slashes(file).split("/")] for file in files]
        self._depths = [file.count("/") + 1 for file in files]
        self._ends: dict[tuple[int, int], dict[str, list[int]]] = {}

    def find(self, text: str) -> _Found | None:
        """Return the file that a text names, or None.

        Raises:
            LookupError: It can be several files, which the exception names.
        """
        if text in self._exact:
            return _Found(self._exact[text], math.inf, False)
        parts = [part for part in _slashes(text).split("/") if part not in ("", ".")]
        for n_parts in (2, 1) if len(parts) > 1 else (1,) if parts else ():
            for level in range(4):
                numbers = self._by_end(n_parts, level).get(_end(parts, n_parts, level))
                if not numbers:
                    continue
                common = [_n_common(parts, self._parts[number], level) for number in numbers]
                best = [number for number, n in zip(numbers, common, strict=True) if n == max(common)]
                if len(best) == 1:
                    is_loose = level > 0 or max(common) < min(len(parts), self._depths[best[0]])
                    return _Found(self._files[best[0]], max(common), is_loose)
                if max(common) == len(parts):
                    raise LookupError(" or ".join(self._files[number] for number in best[:_N_NAMED]))
                return None  # of another folder
        return None

    def _by_end(self, n_parts: int, level: int) -> dict[str, list[int]]:
        if (n_parts, level) not in self._ends:
            ends: defaultdict[str, list[int]] = defaultdict(list)
            for number, parts in enumerate(self._parts):
                ends[_end(parts, n_parts, level)].append(number)
            self._ends[n_parts, level] = dict(ends)
        return self._ends[n_parts, level]


def _slashes(path: str) -> str:
    return unicodedata.normalize("NFC", path).replace("\\", "/")


def _end(parts: Sequence[str], n_parts: int, level: int) -> str:
    """Return the last names of a path at a level: 0 as they are, 1 without suffix, 2 and 3 the same in any case."""
    end = "/".join(parts[-n_parts:])
    if level % 2:
        stem, dot, suffix = end.rpartition(".")
        end = stem if stem and f"{dot}{suffix.lower()}" in _SUFFIXES else end
    return end.casefold() if level > 1 else end


def _n_common(parts: Sequence[str], others: Sequence[str], level: int) -> int:
    """Return how many names at the end of two paths agree; the last ones do."""
    n = 1
    while n < min(len(parts), len(others)) and _end(parts[:-n], 1, level & 2) == _end(others[:-n], 1, level & 2):
        n += 1
    return n
