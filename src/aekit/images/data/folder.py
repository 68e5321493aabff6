"""Your own images: a folder of image files, flat or with one folder per class."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aekit.core.damage import readable
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, count, shown
from aekit.images.config import DataConfig, Split, parse_value_range
from aekit.images.data.decode import SUFFIXES, pages_of
from aekit.images.data.files import Values
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.data.labels import read_labels
from aekit.images.data.origins import Origins
from aekit.images.data.prepared import Prepared, prepare
from aekit.images.data.splits import check_not_empty, train_val_test
from aekit.images.data.value_range import check_span, clipped_in_words
from aekit.images.official import NAMES, split_folders

_WIDEST = (-1e30, 1e30)
_MAX_KINDS = 8  # to name in a message
_TABLES = (".csv", ".tsv", ".tab", ".xlsx", ".xls")


@dataclass(frozen=True)
class ImageFiles:
    """Image files and their annotations, before any is decoded.

    Attributes:
        paths: The N files.
        name: Name of the data set.
        source: Its name in messages.
        labels: Class of each image, int64 (N,), or None.
        class_names: One name per class.
        attributes: Binary attributes, bool (N, A), or None.
        attribute_names: One name per attribute.
        is_test: Which images are official test images, bool (N,), or None.
        is_val: Which images are official validation images, bool (N,), or None.
        pages: Page of each image in its file, from 0, (N,); None if each file is one image.
        root: Folder that the files are named relative to.
    """

    paths: Sequence[Path]
    name: str
    source: str
    labels: Indices | None = None
    class_names: tuple[str, ...] = ()
    attributes: npt.NDArray[np.bool_] | None = None
    attribute_names: tuple[str, ...] = ()
    is_test: npt.NDArray[np.bool_] | None = None
    is_val: npt.NDArray[np.bool_] | None = None
    pages: Indices | None = None
    root: Path = Path()

    def origins(self, indices: Indices) -> Origins:
        """Return where some of the images are, (K,)."""
        names = [_relative(self.paths[int(i)], self.root) for i in indices]
        rows = None if self.pages is None else self.pages[indices]
        return Origins(names, np.arange(len(indices)), rows)


def read_folder(config: DataConfig, split: Split, *, progress: Progress = SILENT, with_labels: bool = True) -> ImageSet:
    """Return a split of the images in the folder ``config.name``, flat or with a folder per class.

    Folders ``train``, ``val`` and ``test`` are the splits; without such a ``test`` a fifth of the others is set aside.
    A TIFF of several pages is as many images. What is passed over is counted and named.

    Args:
        config: Which images.
        split: ``train``, ``val``, ``test`` or ``all``.
        progress: Receives the progress of decoding, and notices.
        with_labels: Whether to read the table of labels, if the configuration has one.

    Raises:
        AekitError: There are no images, folders are nested too deep, sizes differ, or a file cannot be decoded.
    """
    folder = Path(config.name).expanduser()
    files = _find_files(folder, config.labels, progress)  # of which a table of labels is none, read or not
    config = config if with_labels else replace(config, labels=None)
    return read_files(files, config, split, progress=progress)


def read_file(config: DataConfig, split: Split, *, progress: Progress = SILENT) -> ImageSet:
    """Return a split of the images in the image file ``config.name``: one, or the pages of a TIFF.

    The arguments and errors are those of :func:`read_folder`.
    """
    path = Path(config.name).expanduser()
    files = _paged([path], ImageFiles([path], shown(path.stem) or "image", shown(path), root=path.parent))
    return read_files(files, config, split, progress=progress)


def read_files(files: ImageFiles, config: DataConfig, split: Split, *, progress: Progress = SILENT) -> ImageSet:
    """Return a split of some image files, decoded, resized and converted according to the configuration.

    Splits and limit are drawn from the list of files, so bad files do not shift them. With a limit, only the images of
    the three limited splits are decoded, together: they share a store and its number of channels.

    Raises:
        AekitError: The split is empty, sizes differ, or a file cannot be read or decoded.
    """
    table = read_labels(config, lambda: files.origins(np.arange(len(files.paths))), files.root, progress)
    splits = train_val_test(len(files.paths), config, is_test=files.is_test, is_val=files.is_val)
    check_not_empty(len(splits[split]), split, config)
    # Those of a limit are drawn in each split, and "all" may have others.
    chosen = splits["all"] if split == "all" else np.sort(np.concatenate([splits[s] for s in ("train", "val", "test")]))
    prepared, value_range = _prepare(files, chosen, config, progress)
    rows = np.searchsorted(chosen, splits[split]).astype(np.int64)
    is_good = ~np.isin(rows, list(prepared.bad))
    rows, indices = rows[is_good], splits[split][is_good]
    labels = None if files.labels is None else files.labels[indices]
    attributes = None if files.attributes is None else files.attributes[indices]
    digest = hashlib.sha256(prepared.fingerprint.encode() + rows.tobytes())
    for companion in (labels, attributes):
        if companion is not None:
            digest.update(np.ascontiguousarray(companion).tobytes())
    images = ImageSet(
        prepared.store,
        files.name,
        labels=labels,
        class_names=files.class_names,
        attributes=attributes,
        attribute_names=files.attribute_names,
        rows=rows,
        fingerprint=digest.hexdigest(),
        n_skipped=int((~is_good).sum()),
        bad={_paged_name(files, int(chosen[row])): reason for row, reason in sorted(prepared.bad.items())},
        origins=files.origins(indices),
        value_range=value_range,
        n_clipped=prepared.values.n_clipped,
        span=_span(prepared.values) if config.value_range in ("auto", "dtype") else None,
    )
    return images if table is None else table.of(images, progress)


def _paged_name(files: ImageFiles, index: int) -> str:
    page = 0 if files.pages is None else int(files.pages[index])
    return shown(files.paths[index]) + (f" page {page + 1}" if page else "")


def _span(values: Values) -> tuple[float, float, int] | None:
    """Return the range of values of one type and the largest of it; None for several types."""
    return next((*ends, full) for full, ends in values.spans.items()) if len(values.spans) == 1 else None


def _prepare(
    files: ImageFiles, chosen: Indices, config: DataConfig, progress: Progress
) -> tuple[Prepared, tuple[float, float] | None]:
    """Return decoded images, and the range of their values if it was taken from them.

    Raises:
        AekitError: They cannot be decoded, or have no range.
    """
    run = functools.partial(
        prepare,
        [files.paths[int(index)] for index in chosen],
        source=files.source,
        image_size=config.image_size,
        grayscale=config.grayscale,
        skip_bad=config.skip_bad,
        progress=progress,
        pages=None if files.pages is None else files.pages[chosen].tolist(),
    )
    if given := parse_value_range(config.value_range):
        prepared = run(value_range=given)
        spans = prepared.values.spans.values()
        if prepared.values.n_clipped:
            found = min(low for low, _ in spans), max(high for _, high in spans)
            progress.notice(clipped_in_words(files.source, prepared.values.n_clipped, found, given))
        return prepared, None
    if config.value_range == "data":
        # Any range that holds every value would do to find theirs.
        spans = run(value_range=_WIDEST).values.spans.values()
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        check_span(files.source, low, high)
        return run(value_range=(low, high)), (low, high)
    prepared = run()
    return prepared, None


def _relative(path: Path, root: Path) -> str:
    return shown((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def _find_files(folder: Path, table: str | None, progress: Progress) -> ImageFiles:
    """Return the images of a folder with their classes and splits, and say what is passed over."""
    name = shown(folder.resolve().name) or "images"
    over = _PassedOver(folder, Path(table).expanduser() if table is not None else None)
    splits = _list_splits(folder, over)
    parts = splits or {"all": _list_images(folder, over)}
    over.report(progress)
    flat = [split for split, (images, _) in parts.items() if images]
    if flat and len(flat) < len(parts):
        other = next(split for split in parts if split not in flat)
        raise AekitError(
            f"{shown(folder)}: {flat[0]} holds images, and {other} folders of them; give all the same classes or none"
        )
    names = sorted({name for _, classes in parts.values() for name in classes})
    paths: list[Path] = []
    labels: list[int] = []
    split_of: list[str] = []
    for split, (images, classes) in parts.items():
        paths += images
        split_of += [split] * len(images)
        for number, class_name in enumerate(names):
            members = classes.get(class_name, [])
            paths += members
            labels += [number] * len(members)
            split_of += [split] * len(members)
    files = ImageFiles(
        paths,
        name,
        shown(folder),
        None if flat else np.array(labels, np.int64),
        tuple(shown(name) for name in names),
        is_test=np.array([split == "test" for split in split_of]) if "test" in parts else None,
        is_val=np.array([split == "val" for split in split_of]) if "val" in parts else None,
        root=folder,
    )
    if splits:
        counts = ", ".join(f"{split_of.count(split):,} in {split}" for split in parts)
        progress.notice(f"{shown(folder)}: its folders are used as the splits: {counts} (files)")
    return _paged(paths, files)


def _paged(paths: Sequence[Path], files: ImageFiles) -> ImageFiles:
    """Return the files with each page as an image of its own."""
    n_pages = [pages_of(path) for path in paths]
    if max(n_pages, default=1) == 1:
        return files
    order = np.repeat(np.arange(len(paths)), n_pages)
    return replace(
        files,
        paths=[paths[int(i)] for i in order],
        pages=np.concatenate([np.arange(n) for n in n_pages]),
        labels=None if files.labels is None else files.labels[order],
        is_test=None if files.is_test is None else files.is_test[order],
        is_val=None if files.is_val is None else files.is_val[order],
    )


Listing = tuple[list[Path], dict[str, list[Path]]]  # images, and images by class; one of the two is empty


def _list_splits(folder: Path, over: _PassedOver) -> dict[Split, Listing]:
    """Return the images of the folders that are splits; none if there are no such folders.

    Raises:
        AekitError: There are other images next to them, two folders of one split, or one without images.
    """
    flat, folders, _ = _entries(folder)
    known = split_folders([path.name for path in folders])
    if not known:
        return {}
    others = [path.name for path in folders if path.name not in known and any(_list_images(path, None))]
    if others or flat:
        what = shown(others[0]) if others else "images"
        raise AekitError(
            f"{shown(folder)}: holds {what} next to {', '.join(map(shown, known))}, which could be splits or classes; "
            "rename or move the ones that are not meant"
        )
    splits: dict[Split, Listing] = {}
    for name, split in sorted(known.items(), key=lambda item: list(NAMES).index(item[1])):
        if split in splits:
            raise AekitError(f"{shown(folder)}: holds two folders of {split} images; join them or rename one")
        splits[split] = _list_images(folder / name, over)
    over.add(folder, _entries(folder)[2])
    return splits


def _list_images(folder: Path, over: _PassedOver | None) -> Listing:
    """Return the images of a folder, or of each of its folders; one of the two is empty.

    Args:
        folder: The folder.
        over: Receives what is passed over; None only asks whether there are images.
    """
    flat, folders, others = _entries(folder)
    classes: dict[str, list[Path]] = {}
    if over is not None:
        over.add(folder, others)
    for inner in folders:
        images, deeper, others = _entries(inner)
        if over is not None and any(_entries(path)[0] for path in deeper):
            raise AekitError(f"{shown(folder)}: holds images two folders down, in {shown(inner.name)}; {_SUPPORTED}")
        if images:
            classes[inner.name] = images
        if over is not None:
            # Those deeper down hold no images: a folder that is named like one, x.jpg, is not lost without a word.
            others += ["folder without images"] * len(deeper)
            over.add(inner, others if images or others else ["folder without images"])
    if over is None:
        return flat, classes
    if flat and classes:
        raise AekitError(
            f"{shown(folder)}: holds both images and a subfolder of images, {shown(next(iter(classes)))}; {_SUPPORTED}"
        )
    if not flat and not classes:
        kinds = ", ".join(s[1:] for s in sorted(SUFFIXES))
        raise AekitError(f"{shown(folder)}: holds no images{over.in_words()}; {_SUPPORTED} ({kinds})")
    return flat, classes


_SUPPORTED = "give a folder of images, or of one folder of images per class"


def _entries(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Return the image files and the folders in a folder, sorted by name, and of what kind the other entries are."""
    with readable(folder):
        # A listing contains the type of each entry: 200,000 files need no system call of their own.
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        images, folders, others = [], [], []
        for entry in entries:
            suffix = Path(entry.name).suffix.lower()
            if entry.name.startswith("."):
                if suffix in SUFFIXES and not entry.name.startswith("._"):  # those are notes of macOS on other files
                    others.append(f"hidden {suffix}")
            elif entry.is_dir():
                folders.append(folder / entry.name)
            elif suffix in SUFFIXES and entry.is_file():
                images.append(folder / entry.name)
            elif entry.is_symlink() and not entry.is_file():
                others.append("link to nothing")
            else:
                others.append(suffix or "file without suffix")
        return images, folders, others


class _PassedOver:
    """What a folder holds that is not read, counted by kind and folder."""

    def __init__(self, root: Path, labels: Path | None) -> None:
        self._root = root
        self._labels = labels
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, folder: Path, kinds: Iterable[str]) -> None:
        """Count entries of a folder."""
        place = "" if folder == self._root else folder.relative_to(self._root).as_posix()
        self._counts.update((kind, place) for kind in kinds)
        if self._labels is not None and self._labels.resolve().parent == folder.resolve():
            self._counts -= Counter({(self._labels.suffix.lower(), place): 1})

    def in_words(self) -> str:
        """Return a clause that counts everything; empty if there is nothing."""
        items = [
            f"{count(n, kind, _plural(kind))}{f' in {shown(place)}' if place else ''}"
            for (kind, place), n in sorted(self._counts.items())
        ]
        more = f" and {count(len(items) - _MAX_KINDS, 'more kind')}" if len(items) > _MAX_KINDS else ""
        return f" (passed over: {', '.join(items[:_MAX_KINDS])}{more})" if items else ""

    def report(self, progress: Progress) -> None:
        """Say what was passed over."""
        if words := self.in_words():
            progress.notice(f"{shown(self._root)}: some files are not read{words}")
        if self._labels is None and (tables := sorted({kind for kind, _ in self._counts if kind in _TABLES})):
            progress.notice(
                f"{shown(self._root)}: contains a {' and a '.join(tables)} file; if it has labels (columns file and "
                "label), give it with --labels"
            )


def _plural(kind: str) -> str:
    return {"link to nothing": "links to nothing", "file without suffix": "files without suffix"}.get(kind, kind)
