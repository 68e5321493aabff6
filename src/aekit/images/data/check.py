"""The body of ``aekit data``: read whole data sets to check them, or list the known ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from aekit.core.environment import default_data_root
from aekit.core.output import Result
from aekit.core.process import keeps_settings
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.errors import AekitError, UsageError, count, shown
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, Split
from aekit.images.data import find_on_disk, read_images
from aekit.images.data.celeba import count_images
from aekit.images.data.image_set import ImageSet
from aekit.images.data.pixels import LEFT_OUT, DifferentSizes, NoImages
from aekit.images.data.value_range import check_visible
from aekit.images.official import has_validation
from aekit.images.sizes import in_words

_OPTION = "--data "  # begins the errors of the readers: other commands name images by this option
_MAX_NAMES = 10  # of classes or attributes in a message


@keeps_settings
def run_data(
    names: Sequence[str],
    *,
    list_known: bool = False,
    data_root: Path | None = None,
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
    skip_bad: bool = False,
    value_range: str = "auto",
    labels: str | None = None,
    lists_all: bool = False,
    progress: Progress = SILENT,
) -> Iterator[Result]:
    """Yield the folder or file of each data set, after reading all of its images.

    Args:
        names: Known data sets, which are downloaded if they are missing, or paths of images.
        list_known: First show a table of the known data sets and yield those on disk, as without any names.
        data_root: Folder of the known data sets; None is the default.
        image_size: (height, width) in pixels to which images are resized and cropped; None keeps their size.
        grayscale: Convert to one channel of luma.
        skip_bad: Leave out images that cannot be decoded or are not finite.
        value_range: Which values become black and white; see :class:`aekit.images.config.DataConfig`.
        labels: A table of labels; see there too.
        lists_all: Of the known data sets, also yield those that are not on disk.
        progress: Receives progress, every bad image, a summary of each set, and the table.

    Raises:
        AekitError: A data set cannot be read, or holds bad images; the others are checked first.
    """
    root = data_root or default_data_root()
    if list_known or not names:
        yield from _list_known(root, progress, lists_all=lists_all)
    failures: list[AekitError] = []
    for name in names:
        config = DataConfig(
            name=name, image_size=image_size, grayscale=grayscale, value_range=value_range, labels=labels
        )
        try:
            yield _check(config, root, progress, skip_bad=skip_bad)
        except UsageError:
            raise
        except AekitError as error:
            failures.append(_of_argument(error))
    if len(failures) > 1:
        for failure in failures:
            progress.notice(str(failure))
        raise AekitError(f"data: {len(failures)} of {len(names)} data sets cannot be used; each is named above")
    for failure in failures:
        raise failure


def _of_argument(error: AekitError) -> AekitError:
    """Return an error about a data set under its name alone: it is an argument here, not that of an option."""
    text = str(error)
    return AekitError(text.removeprefix(_OPTION)) if text.startswith(_OPTION) else error


class _Unrepeated(Labelled):
    """Progress without the reader's notices of some of the bad images: all of them are listed."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress, "")

    def update(
        self, what: str, done: int, total: int, *, lane: str = "", detail: Callable[[], str] | None = None
    ) -> None:
        """Show how far it has come."""
        self._progress.update(what, done, total, lane=lane, detail=detail)

    def notice(self, text: str) -> None:
        """Say one line that must not be missed, unless it is about an image that is left out."""
        if not text.startswith(LEFT_OUT):
            self._progress.notice(text)


def _check(config: DataConfig, data_root: Path, progress: Progress, *, skip_bad: bool) -> Result:
    sets, bad, error = _read(config, data_root, progress)
    for name, reason in sorted(bad.items(), key=lambda each: _natural(each[0])):
        progress.notice(f"bad: {name}: {reason}")
    if isinstance(error, DifferentSizes):
        if bad and not skip_bad:
            text = f"{count(len(bad), 'image')} cannot be used, named above"
            progress.notice(f"{shown(config.name)}: {text}; fix or remove them, or leave them out with --skip-bad")
        raise error
    n_good = sum(len(images) for images in sets.values())
    if bad and not skip_bad:
        raise AekitError(
            f"{shown(config.name)}: {len(bad):,} of {count(n_good + len(bad), 'image')} cannot be used, named above, "
            f"and {count(n_good, 'is', 'are')} good; fix or remove them, or leave them out with --skip-bad"
        )
    if error is not None:
        raise error
    if config.value_range == "auto" and sets["train"].span:
        check_visible(shown(config.name), sets["train"].span, progress)
    progress.notice(_describe(sets))
    train = sets["train"]
    values = {
        "name": train.name,
        "n": {split: len(images) for split, images in sets.items()},
        "shape": list(train.image_shape),
        "classes": list(train.class_names),
        "attributes": list(train.attribute_names),
        "n_skipped": len(bad),
    }
    return Result(find_on_disk(config.name, data_root) or Path(config.name), values)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts row 2 before row 10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", name)]


def _read(
    config: DataConfig, data_root: Path, progress: Progress
) -> tuple[dict[Split, ImageSet], dict[str, str], AekitError | None]:
    """Return the images by split, what is wrong with each that cannot be used, and the error of a split without any."""
    splits: tuple[Split, ...] = ("train", "val", "test") if has_validation(config) else ("train", "test")
    sets: dict[Split, ImageSet] = {}
    bad: dict[str, str] = {}
    failure: AekitError | None = None
    for split in splits:
        try:
            lenient = replace(config, skip_bad=True)
            sets[split] = read_images(lenient, split, data_root=data_root, progress=_Unrepeated(progress))
        except DifferentSizes as error:  # the other splits are read together with this one
            return {}, dict(error.bad), error
        except NoImages as error:
            bad |= error.bad
            failure = error
        else:
            bad |= sets[split].bad
    return sets, bad, failure


def _describe(sets: dict[Split, ImageSet]) -> str:
    train = sets["train"]
    val = f", {len(sets['val']):,} validation" if "val" in sets else ""
    text = f"{train.name}: {len(train):,} training{val} and {count(len(sets['test']), 'test image')}, "
    text += in_words(train.image_shape)
    if train.class_names:
        text += f", {count(len(train.class_names), 'class', 'classes')} ({_first(train.class_names)})"
    if train.attribute_names:
        text += f", {count(len(train.attribute_names), 'attribute')} ({_first(train.attribute_names)})"
    n_bad = len({name for images in sets.values() for name in images.bad})
    return text + (f", {n_bad:,} left out" if n_bad else "")


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")


def _list_known(data_root: Path, progress: Progress, *, lists_all: bool) -> Iterator[Result]:
    found = {name: find_on_disk(name, data_root) for name in CATALOG}
    columns = ("name", "on disk", "images", "height", "width", "channels", "download")
    rows = []
    for name, known in CATALOG.items():
        channels, height, width = known.image_shape
        without = "by hand" if known.folder else "none"
        download = f"{known.megabytes:,.0f} MB" if known.megabytes else without
        n_images = f"{known.n_train + known.n_test:,}"
        rows.append((name, _n_found(name, found[name]) or "no", n_images, height, width, channels, download))
    progress.table(f"Known data sets, and their images under {shown(data_root)}", columns, rows)
    for name, known in CATALOG.items():
        progress.notice(f"{name}: {known.about}; licence: {known.licence}")
    for name, known in CATALOG.items():
        path = found[name]
        if path is None and not lists_all:
            continue
        values = {
            "name": name,
            "on_disk": path is not None,
            "n_on_disk": _n_images(name, path),
            "n": {"train": known.n_train, "test": known.n_test},
            "shape": list(known.image_shape),
            "megabytes": known.megabytes,
            "about": known.about,
            "licence": known.licence,
        }
        yield Result(path or data_root / known.folder, values)


def _n_found(name: str, path: Path | None) -> str:
    return f"{_n_images(name, path):,}" if path is not None else ""


def _n_images(name: str, path: Path | None) -> int:
    """Return how many images of a known data set are on disk: only the folder of CelebA can hold some of them."""
    if path is None:
        return 0
    return count_images(path) if name == "celeba" else CATALOG[name].n_train + CATALOG[name].n_test
