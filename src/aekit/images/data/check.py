"""The body of ``aekit data``: read whole data sets to check them, or list the known ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aekit.core.environment import default_data_root
from aekit.core.output import Result
from aekit.core.process import keeps_settings
from aekit.core.progress import SILENT, Progress
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, Split
from aekit.images.data import find_on_disk, read_images
from aekit.images.data.image_set import ImageSet
from aekit.images.data.value_range import check_visible
from aekit.images.official import has_validation

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
        progress: Receives progress, a summary of each set, and the table.

    Raises:
        AekitError: A data set cannot be read; see :func:`aekit.images.data.read_images`.
    """
    root = data_root or default_data_root()
    if list_known or not names:
        yield from _list_known(root, progress)
    for name in names:
        config = DataConfig(
            name=name,
            image_size=image_size,
            grayscale=grayscale,
            skip_bad=skip_bad,
            value_range=value_range,
            labels=labels,
        )
        yield _check(config, root, progress)


def _check(config: DataConfig, data_root: Path, progress: Progress) -> Result:
    splits: tuple[Split, ...] = ("train", "val", "test") if has_validation(config) else ("train", "test")
    sets = {split: read_images(config, split, data_root=data_root, progress=progress) for split in splits}
    if config.value_range == "auto" and sets["train"].span:
        check_visible(f"--data {config.name}", sets["train"].span, progress)
    progress.notice(_describe(sets))
    train = sets["train"]
    values = {
        "name": train.name,
        "n": {split: len(images) for split, images in sets.items()},
        "shape": list(train.image_shape),
        "classes": list(train.class_names),
        "attributes": list(train.attribute_names),
        "n_skipped": sum(images.n_skipped for images in sets.values()),
    }
    return Result(find_on_disk(config.name, data_root) or Path(config.name), values)


def _describe(sets: dict[Split, ImageSet]) -> str:
    train = sets["train"]
    val = f", {len(sets['val']):,} validation" if "val" in sets else ""
    text = f"{train.name}: {len(train):,} training{val} and {len(sets['test']):,} test images, "
    text += "x".join(map(str, train.image_shape))
    if train.class_names:
        text += f", {len(train.class_names)} classes ({_first(train.class_names)})"
    if train.attribute_names:
        text += f", {len(train.attribute_names)} attributes ({_first(train.attribute_names)})"
    n_skipped = sum(images.n_skipped for images in sets.values())
    return text + (f", {n_skipped:,} left out" if n_skipped else "")


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")


def _list_known(data_root: Path, progress: Progress) -> Iterator[Result]:
    found = {name: find_on_disk(name, data_root) for name in CATALOG}
    columns = ("name", "on disk", "train", "test", "shape", "download", "licence", "description")
    rows = [
        (
            name,
            "yes" if found[name] else "no",
            f"{known.n_train:,}",
            f"{known.n_test:,}",
            "x".join(map(str, known.image_shape)),
            f"{known.megabytes:,.0f} MB" if known.megabytes else "none",
            known.licence,
            known.about,
        )
        for name, known in CATALOG.items()
    ]
    progress.table("Known data sets", columns, rows)
    for name, path in found.items():
        if path is not None:
            yield Result(path, {"name": name, "about": CATALOG[name].about, "licence": CATALOG[name].licence})
