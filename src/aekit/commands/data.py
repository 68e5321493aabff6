"""``aekit data``: fetch and check image data, and list what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.images.config import DataConfig, Split, parse_image_size
from aekit.terminal import completion, options
from aekit.terminal.console import Console, TrainingProgress

if TYPE_CHECKING:
    from aekit.images.data.image_set import ImageSet


def data(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=completion.images,
            metavar="NAME|PATH...",
            help="Known data sets to fetch, or your own images to check.",
        ),
    ] = None,
    list_known: Annotated[
        bool, typer.Option("--list", rich_help_panel=options.DATA, help="List the known data sets and which are there.")
    ] = False,
    data_root: options.DataRoot = None,
    image_size: options.ImageSize = None,
    grayscale: options.Grayscale = False,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Fetch and check image data, or list the known data sets.

    Reads every image of every set named, downloading a known one first if it is not there. Writes images that had to be
    decoded or resized into the cache folder, ready for training with the same options. Prints the path of each set that
    is whole.

    Example: aekit data mnist fashion-mnist
    """
    console = Console(quiet=quiet, json=json)
    root = options.resolve_data_root(data_root)
    if list_known or not names:
        _list_known(console, root)
    for name in names or []:
        config = DataConfig(name=name, image_size=parse_image_size(image_size), grayscale=grayscale, skip_bad=skip_bad)
        _check(console, config, root)


def _check(console: Console, config: DataConfig, root: Path) -> None:
    from aekit.images.data import find_on_disk, read_images

    splits: tuple[Split, ...] = ("train", "test")
    with TrainingProgress(console) as progress:
        sets = {split: read_images(config, split, data_root=root, on_progress=progress.on_data) for split in splits}
    console.message(_describe(sets))
    values: dict[str, Any] = {
        "name": sets["train"].name,
        "n": {split: len(images) for split, images in sets.items()},
        "shape": list(sets["train"].image_shape),
        "classes": list(sets["train"].class_names),
        "attributes": list(sets["train"].attribute_names),
        "n_skipped": sum(images.n_skipped for images in sets.values()),
    }
    console.result(find_on_disk(config.name, root) or Path(config.name), **values)


def _describe(sets: dict[Split, ImageSet]) -> str:
    train = sets["train"]
    text = f"{train.name}: {len(train):,} training and {len(sets['test']):,} test images, "
    text += "x".join(map(str, train.image_shape))
    if train.class_names:
        text += f", {len(train.class_names)} classes ({_first(train.class_names)})"
    if train.attribute_names:
        text += f", {len(train.attribute_names)} attributes ({_first(train.attribute_names)})"
    n_skipped = sum(images.n_skipped for images in sets.values())
    return text + (f", {n_skipped:,} left out" if n_skipped else "")


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _list_known(console: Console, root: Path) -> None:
    from aekit.images.data import find_on_disk
    from aekit.images.data.catalog import CATALOG

    found = {name: find_on_disk(name, root) for name in CATALOG}
    rows = [("name", "there", "train", "test", "shape", "download", "licence", "what")]
    for name, known in CATALOG.items():
        there = "yes" if found[name] else "no"
        counts = (f"{known.n_train:,}", f"{known.n_test:,}")
        size = f"{known.megabytes:,.0f} MB" if known.megabytes else "none"
        rows.append((name, there, *counts, "x".join(map(str, known.image_shape)), size, known.licence, known.about))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        console.message("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for name, path in found.items():
        if path is not None:
            console.result(path, name=name, about=CATALOG[name].about, licence=CATALOG[name].licence)
