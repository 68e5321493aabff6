"""Checkpoints opened and checked once, with their images: the starting point of every study."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from aekit import __version__
from aekit.core.artifacts import check_writable
from aekit.core.checkpoint import Header
from aekit.core.device import check_threads, choose_device, set_threads
from aekit.core.environment import default_data_root
from aekit.core.output import choose_target, choose_targets
from aekit.core.progress import SILENT, Named, Progress
from aekit.core.settings import check_choice, differing_keys, flag, in_words
from aekit.core.weights import check_intact
from aekit.errors import AekitError, count
from aekit.images import sizes
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, Split
from aekit.images.data import read_images
from aekit.images.data.image_set import ImageSet
from aekit.images.data.label_notices import LabelNotices
from aekit.images.data.labels import UnlabelledError
from aekit.images.inference import Codes, encode_images
from aekit.images.inputs import refuse_replacing_images
from aekit.images.models.base import Autoencoder
from aekit.images.official import has_validation, official_splits
from aekit.images.record import Checkpoints, RunRecord, read_checkpoints
from aekit.images.state import read_model

_NOT_IN_LABELS = ("lr", "splits", "shape", "batch_size", "labels_fingerprint")


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint with its network.

    Attributes:
        path: Its file.
        name: What tables call it: the name of its file, or its path if others of that name are with it.
        label: A few words that tell it from the others of the session.
        model: The network, on its device.
        header: What the file says of itself.
        record: The same, typed.
    """

    path: Path
    name: str
    label: str
    model: Autoencoder
    header: Header
    record: RunRecord

    @property
    def title(self) -> str:
        """Return a few words for a title: model, latent dimensions, and for a VAE beta."""
        return self.record.title

    def parameters(self, command: str, image_set: ImageSet | None = None, **options: Any) -> dict[str, Any]:
        """Return what a result file records of its origin."""
        parameters = {
            "aekit": __version__,
            "command": command,
            "options": options,
            "checkpoint": self.path.name,
            **self.header.configuration,
        }
        if image_set is not None:
            parameters["images"] = {"name": image_set.name, "n": len(image_set), "fingerprint": image_set.fingerprint}
            if image_set.labels_fingerprint:
                parameters["labels"] = image_set.labels_fingerprint
        return parameters

    def encode(self, image_set: ImageSet) -> Codes:
        """Return the codes, or posterior means, of images.

        Raises:
            AekitError: Some are not finite, as for a model whose training diverged.
        """
        return encode_images(self.model, image_set)


@dataclass
class Session:
    """Several checkpoints and the images that they are studied on; made by :func:`open_session`.

    Attributes:
        paths: The checkpoints, each once.
        headers: What each says of itself.
        records: The same, typed.
        data: Other images than those of the training, a name or path; None takes these.
        data_root: Folder of the known data sets.
        device: Where the networks are.
        threads: CPU threads; None uses all cores.
        progress: Receives updates and notices of reading and computing.
        table: A table of labels; None takes that of the training, for images that are in it.
    """

    paths: list[Path]
    headers: list[Header]
    records: list[RunRecord]
    data: str | None
    data_root: Path
    device: torch.device
    threads: int | None = None
    progress: Progress = SILENT
    table: str | None = None
    _verified: dict[Path, os.stat_result] = field(default_factory=dict)
    _images: dict[tuple[DataConfig, Split, bool], ImageSet] = field(default_factory=dict)

    def check_comparable(self, splits: Sequence[Split]) -> None:
        """Refuse checkpoints that cannot be compared: images of other shapes, other images in a split, or damaged.

        Several are read whole here, so that the last one does not fail when all others have been computed.

        Args:
            splits: The splits that must be the same for all; with ``data`` all are measured on it, and only the shape
                must be the same.

        Raises:
            AekitError: One of them differs from the first, or is damaged.
        """
        first = self.records[0]
        for path, record in zip(self.paths[1:], self.records[1:], strict=True):
            if first.image_shape != record.image_shape:
                there, wanted = map(sizes.in_words, (record.image_shape, first.image_shape))
                raise AekitError(
                    f"{path}: takes images of {there}; {self.paths[0]} of {wanted}; compare them separately"
                )
            for split in splits if self.data is None else ():
                if _fingerprints(first, split) != _fingerprints(record, split):
                    how = _differing_data(record.data, first.data)
                    raise AekitError(
                        f"{path}: was {_used(split)} different images from {self.paths[0]} ({how}); compare them "
                        "separately"
                    )
        for path, header in zip(self.paths, self.headers, strict=True) if len(self.paths) > 1 else ():
            before = path.stat()
            check_intact(path, header)
            self._verified[path] = before

    def target(self, output: Path | str | None, *, name: str, suffix: str = ".png", inputs: Sequence[str] = ()) -> Path:
        """Return the one file to write for all checkpoints, which can be written; see ``choose_target``.

        From then on, updates of the session's progress start with its name: others may run on the same terminal.
        ``inputs`` are images that are read besides those of the checkpoints.
        """
        target = choose_target(self.paths, output, name=name, suffix=suffix)
        self._check_target(target, inputs)
        self._name_updates(target.with_suffix(""))
        return target

    def targets(self, output: Path | str | None, *, name: str, suffixes: tuple[str, ...]) -> list[Path]:
        """Return the main file to write for each checkpoint, which can be written; see ``choose_targets``.

        From then on, updates of the session's progress start with the name of the first and the number of the others.
        """
        targets = choose_targets(self.paths, output, name=name, suffixes=suffixes)
        for target in targets:
            self._check_target(target)
        others = f" and {count(len(targets) - 1, 'other')}" if len(targets) > 1 else ""
        self._name_updates(targets[0].with_suffix(""), others)
        return targets

    def _name_updates(self, path: Path, others: str = "") -> None:
        before = self.progress.watched if isinstance(self.progress, Named) else self.progress  # by another study
        self.progress = Named(before, f"{path}{others}")

    def _check_target(self, target: Path, inputs: Sequence[str] = ()) -> None:
        """Raise an AekitError if a result cannot be written, or would replace images or the table of labels."""
        check_writable(target)
        companions = [target, *(target.with_name(f"{target.stem}{end}.csv") for end in ("", "-differences"))]
        own = [self.data] if self.data is not None else [record.data.name for record in self.records]
        refuse_replacing_images(target, companions, [*dict.fromkeys(own), *inputs])
        table = None if self.table is None else Path(self.table).expanduser()
        if table is not None and any(path.exists() and table.exists() and path.samefile(table) for path in companions):
            raise AekitError(f"--output {target}: would replace the table of labels, {table}; choose another name")

    def checkpoints(self) -> Iterator[LoadedCheckpoint]:
        """Yield the checkpoints with their networks, one after another.

        Raises:
            AekitError: One is damaged, or its weights are not those of the network in its header.
        """
        n_of_name = Counter(path.name for path in self.paths)
        labels = self.labels()
        for path, label, header, record in zip(self.paths, labels, self.headers, self.records, strict=True):
            set_threads(self.threads)  # in each step of a study, as the caller's number is back between them
            model, _ = read_model(path, self.device, header=header, is_verified=self._is_verified(path))
            yield LoadedCheckpoint(
                path, path.name if n_of_name[path.name] == 1 else str(path), label, model, header, record
            )

    def labels(self) -> list[str]:
        """Return a few words for each checkpoint that tell it from the others: the settings in which they differ.

        If the model is none of them, it is said too. One alone, or those that do not differ in any setting, are called
        by the name of their file.
        """
        parts = [header.configuration for header in self.headers]
        differing = [
            (part, key)
            for part in ("model", "train", "data")
            for keys in differing_keys([each[part] for each in parts], [part] * len(parts)).values()
            for key in dict.fromkeys(key for each in parts for key in each[part])  # some are only in a few headers
            if key in keys and key not in _NOT_IN_LABELS
        ]
        labels = [self._label(number, differing) for number in range(len(self.paths))]
        if len(self.paths) == 1 or len(set(labels)) < len(labels):
            return [path.stem for path in self.paths]
        if all(labels) and any(part == "model" for part, _ in differing):
            return labels
        models = [record.model for record in self.records]
        names = [f"{model.kind} {model.arch}, latent {model.latent}" for model in models]
        return [", ".join(filter(None, pair)) for pair in zip(names, labels, strict=True)]

    def _label(self, number: int, differing: list[tuple[str, str]]) -> str:
        """Return the settings of one checkpoint in words, those that it has: an autoencoder has no beta."""
        header, has_prior = self.headers[number], self.records[number].model.has_prior
        own = [(key, header.configuration[part].get(key)) for part, key in differing]
        return ", ".join(
            in_words(key, value)
            for key, value in own
            if value is not None and (has_prior or not key.startswith("beta"))
        )

    def images(self, checkpoint: LoadedCheckpoint, split: Split, *, with_labels: bool = True) -> ImageSet:
        """Return one split of a checkpoint's images, or of ``data``.

        Args:
            checkpoint: The model that takes them.
            split: Which of them.
            with_labels: Whether to read the table of labels of the training; one that is given is read in any case.

        Raises:
            AekitError: They cannot be read, the split is empty, or the model takes images of another shape.
        """
        check_choice("split", split, Split)
        config = self._config(checkpoint, with_labels)
        if self.data is None:
            if split == "val" and "val" not in checkpoint.record.fingerprints:
                fix = "use train, test or all"
                raise AekitError(f"--split val: {checkpoint.path} was trained without validation images; {fix}")
            _refuse_outside(config.name, str(checkpoint.path))
        elif split == "val" and not has_validation(config):
            raise AekitError(f"--split val: {self.data} has no validation images; use train, test or all")
        images = self._kept(checkpoint, config, split, with_labels)
        self._compare(checkpoint, split, images)
        return images

    def studied(self, checkpoint: LoadedCheckpoint, split: Split, *, with_labels: bool = True) -> ImageSet:
        """Return the images that a study is about: a split, or all of ``data`` if that has no splits of its own.

        ``data`` that are the images of the training at another place have its splits. The arguments are those of
        :meth:`images`.

        Raises:
            AekitError: As :meth:`images`.
        """
        if self.data is None or split == "all" or official_splits(self.data) or self.data in CATALOG:
            return self.images(checkpoint, split, with_labels=with_labels)
        check_choice("split", split, Split)
        config = self._config(checkpoint, with_labels)
        if known := checkpoint.record.fingerprints.get(split):
            with contextlib.suppress(AekitError):  # one or two images have no test split
                images = self._kept(checkpoint, config, split, with_labels)
                if images.fingerprint == known:
                    return images
        images = self._kept(checkpoint, replace(config, limit=None), "all", with_labels)
        used = f"all {len(images):,} are used" if len(images) > 1 else "the only one is used"
        self.progress.notice(f"--data {self.data}: not the images of the training; {used}")
        self._compare(checkpoint, "all", images)
        return images

    def reading(self, checkpoint: LoadedCheckpoint) -> DataConfig:
        """Return how other images than those of the training are read for a checkpoint: with its range of values."""
        record = checkpoint.record
        if record.data.value_range != "data" or record.value_range is None:
            return record.data
        low, high = record.value_range
        return replace(record.data, value_range=f"{low!r},{high!r}")

    def _config(self, checkpoint: LoadedCheckpoint, with_labels: bool) -> DataConfig:
        """Return which images to read for a checkpoint, with its table and the range of values of its training."""
        table = self._own_table(checkpoint, with_labels) if self.table is None else self.table
        if self.data is None:
            return replace(checkpoint.record.data, labels=table)
        config = replace(self.reading(checkpoint), name=self.data, labels=table)
        return replace(config, val=0.0) if "val" in official_splits(self.data) else config

    def _own_table(self, checkpoint: LoadedCheckpoint, with_labels: bool) -> str | None:
        """Return the table of labels of the training; None if there was none, or it is not here.

        That it is not here is said if it would be read.
        """
        table = checkpoint.record.data.labels
        if table is not None and (_is_outside(table) or not Path(table).exists()):
            if with_labels:
                lost = f"its table of labels, {table}, is not here; give it with --labels"
                self.progress.notice(f"{checkpoint.path}: {lost}")
            return None
        return table

    def _kept(self, checkpoint: LoadedCheckpoint, config: DataConfig, split: Split, with_labels: bool) -> ImageSet:
        """Return images that were read before, or read them."""
        with_labels = config.labels is not None and (with_labels or self.table is not None)
        if (config, split, with_labels) not in self._images:
            # Those of one configuration are kept, for the next checkpoint.
            self._images = {key: images for key, images in self._images.items() if key[0] == config}
            self._images[config, split, with_labels] = self._read(checkpoint, config, split, with_labels)
        return self._images[config, split, with_labels]

    def _is_verified(self, path: Path) -> bool:
        """Return whether the file is the one whose checksum was compared."""
        before = self._verified.get(path)
        now = path.stat()
        return before is not None and (now.st_size, now.st_mtime_ns, now.st_ino, now.st_dev) == (
            before.st_size,
            before.st_mtime_ns,
            before.st_ino,
            before.st_dev,
        )

    def _read(self, checkpoint: LoadedCheckpoint, config: DataConfig, split: Split, with_labels: bool) -> ImageSet:
        notices = LabelNotices(self.progress)
        try:
            images = read_images(config, split, data_root=self.data_root, progress=notices, with_labels=with_labels)
        except UnlabelledError:
            if self.table is not None or self.data is None:
                raise
            what = f"some images are not in {config.labels}, the table of labels of the training"
            self.progress.notice(f"--data {self.data}: {what}; no labels are used")
            return self._read(checkpoint, replace(config, labels=None), split, with_labels=False)
        except AekitError as error:
            notices.say()
            if self.data is not None or str(error).startswith("--labels"):
                raise
            raise AekitError(
                f"{checkpoint.path}: cannot find the images it was trained on, {config.name!r} "
                f"({str(error).partition(';')[0]}); give their place with --data"
            ) from error
        is_known = images.labels_fingerprint == checkpoint.record.labels_fingerprint
        is_of_training = self.data is None or images.fingerprint == checkpoint.record.fingerprints.get(split)
        if not (is_known and is_of_training):
            notices.say()  # what was not said when the model was trained
        if self.table is None and images.labels_fingerprint and not is_known:
            self.progress.notice(f"{checkpoint.path}: its table of labels, {config.labels}, was changed after training")
        return images

    def _compare(self, checkpoint: LoadedCheckpoint, split: Split, images: ImageSet) -> None:
        path = checkpoint.path
        if images.image_shape != checkpoint.model.image_shape:
            there, wanted = map(sizes.in_words, (images.image_shape, checkpoint.model.image_shape))
            raise AekitError(f"--data {images.name}: images have {there}, {path} takes {wanted}; use others")
        if split == "all" or checkpoint.record.fingerprints.get(split) == images.fingerprint:
            return
        if self.data is None:
            raise AekitError(
                f"{path}: the {split} images of {images.name} are not those that it was trained with; "
                "choose the images with --data"
            )
        self.progress.notice(f"{path}: these {split} images of {images.name} are not those that it was trained with")


def open_session(
    checkpoints: Checkpoints | Sequence[str | Path] | str | Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
    table: str | None = None,
) -> Session:
    """Return a session over checkpoints, after reading each header once, unless that is done already.

    Args:
        checkpoints: Paths, or a single one, or what :func:`read_checkpoints` returned.
        data: Other images than those of the training, a name or path, or where these lie now.
        data_root: Folder of the known data sets; None takes ``$AEKIT_DATA`` or the user's data folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads; None uses all cores.
        progress: Receives updates and notices of reading and computing.
        table: A table of labels; None takes that of the training, for images that are in it.

    Raises:
        AekitError: There is no checkpoint, one cannot be read, or holds something other than an autoencoder.
    """
    found = checkpoints if isinstance(checkpoints, Checkpoints) else read_checkpoints(checkpoints, progress)
    check_threads(threads)
    return Session(*found, data, data_root or default_data_root(), choose_device(device), threads, progress, table)


def _used(split: Split) -> str:
    return {"train": "trained on", "val": "validated on", "test": "tested on", "all": "trained or tested on"}[split]


def _fingerprints(record: RunRecord, split: Split) -> Any:
    return record.fingerprints if split == "all" else record.fingerprints.get(split)


def _differing_data(found: DataConfig, first: DataConfig) -> str:
    """Return in which settings of the data two checkpoints differ: ``--val 0.2, not 0``."""
    for key, value in vars(found).items():
        if value != getattr(first, key):
            return f"{'--data' if key == 'name' else flag(key)} {value}, not {getattr(first, key)}"
    return "the files differ"


def _refuse_outside(name: str, source: str) -> None:
    """Refuse image paths outside the working folder: a checkpoint may come from an untrusted source."""
    if _is_outside(name):
        raise AekitError(f"{source}: names images outside this folder, {name}; if they are yours, use --data")


def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(os.path.normpath(name)).parts
