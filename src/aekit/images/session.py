"""Checkpoints opened and checked once, with their images: the starting point of every study."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aekit.core.artifacts import check_writable
from aekit.core.checkpoint import Header
from aekit.core.device import check_threads, choose_device, set_threads
from aekit.core.environment import default_data_root
from aekit.core.output import choose_target, choose_targets
from aekit.core.progress import SILENT, Named, Progress
from aekit.core.weights import check_intact
from aekit.errors import AekitError, count
from aekit.images.config import DataConfig, Split
from aekit.images.data.image_set import ImageSet
from aekit.images.differences import check_same_images, label_checkpoints
from aekit.images.inputs import refuse_replacing_images, say_if_among_images
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.models.base import Autoencoder
from aekit.images.models.own import Builder
from aekit.images.record import Checkpoints, RunRecord, read_checkpoints
from aekit.images.state import read_model
from aekit.images.studied_images import StudiedImages

_ENDS = (".csv", "-differences.csv")  # of the names of companions, behind the stem
_N_NAMED = 3  # checkpoints of a notice; of more the first and their number
_WITH_FIGURE = (".png", ".json")  # main files that are a figure, or have one next to them


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
        parts: Builds the parts of networks of your own; None if there are none.
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
    parts: Builder | None = None
    _verified: dict[Path, os.stat_result] = field(default_factory=dict)
    _is_binarized: bool = False
    _said_grey: bool = False

    def __post_init__(self) -> None:
        self._source = StudiedImages(self.data, self.data_root, self.table)

    def check_comparable(self, splits: Sequence[Split]) -> None:
        """Refuse checkpoints that cannot be compared: images of other shapes, other images in a split, or damaged.

        Several are read whole here, so that the last one does not fail when all others have been computed.

        Args:
            splits: The splits that must be the same for all; with ``data`` all are measured on it, and only the shape
                must be the same.

        Raises:
            AekitError: One of them differs from the first, or is damaged.
        """
        check_same_images(self._found, splits if self.data is None else ())
        for path, header in zip(self.paths, self.headers, strict=True) if len(self.paths) > 1 else ():
            before = path.stat()
            check_intact(path, header)
            self._verified[path] = before

    def target(
        self,
        output: Path | str | None,
        *,
        name: str,
        suffix: str = ".png",
        inputs: Sequence[str] = (),
        ends: Sequence[str] = _ENDS,
    ) -> Path:
        """Return the one file to write for all checkpoints, which can be written; see ``choose_target``.

        From then on, updates of the session's progress start with its name: others may run on the same terminal.
        ``inputs`` are images that are read besides those of the checkpoints, ``ends`` what stands behind the stem in
        the names of companions.
        """
        target = choose_target(self.paths, output, name=name, suffix=suffix)
        self._check_target(target, inputs, ends)
        self._name_updates(target.with_suffix(""))
        return target

    def targets(
        self,
        output: Path | str | None,
        *,
        name: str,
        suffixes: tuple[str, ...],
        inputs: Sequence[str] = (),
        ends: Sequence[str] = _ENDS,
    ) -> list[Path]:
        """Return the main file to write for each checkpoint, which can be written; see ``choose_targets``.

        From then on, updates of the session's progress start with the name of the first and the number of the others.
        ``inputs`` are images that are read besides those of the checkpoints, ``ends`` what stands behind the stem in
        the names of companions.
        """
        targets = choose_targets(self.paths, output, name=name, suffixes=suffixes)
        for target in targets:
            self._check_target(target, inputs, ends)
        others = f" and {count(len(targets) - 1, 'other')}" if len(targets) > 1 else ""
        self._name_updates(targets[0].with_suffix(""), others)
        return targets

    def _name_updates(self, path: Path, others: str = "") -> None:
        before = self.progress.watched if isinstance(self.progress, Named) else self.progress  # by another study
        self.progress = Named(before, f"{path}{others}")

    def _check_target(self, target: Path, inputs: Sequence[str] = (), ends: Sequence[str] = _ENDS) -> None:
        """Raise an AekitError if a result cannot be written, or would replace images or the table of labels."""
        check_writable(target)
        companions = [target, *(target.with_name(f"{target.stem}{end}") for end in ends)]
        own = [self.data] if self.data is not None else [record.data.name for record in self.records]
        refuse_replacing_images(target, companions, [*dict.fromkeys(own), *inputs])
        if target.suffix in _WITH_FIGURE:
            say_if_among_images(target.parent, list(dict.fromkeys(own)), self.progress)
        table = None if self.table is None else Path(self.table).expanduser()
        if table is not None and any(path.exists() and table.exists() and path.samefile(table) for path in companions):
            raise AekitError(f"--output {target}: would replace the table of labels, {table}; choose another name")

    def checkpoints(self, *, in_place: bool = False) -> Iterator[LoadedCheckpoint]:
        """Yield the checkpoints with their networks, one after another.

        Args:
            in_place: Let a network take the weights of the next checkpoint, if that has the same one, instead of
                building another: for a study that needs no network any more when it asks for the next.

        Raises:
            AekitError: One is damaged, or its weights are not those of the network in its header.
        """
        n_of_name = Counter(path.name for path in self.paths)
        labels = self.labels()
        model: Autoencoder | None = None
        for path, label, header, record in zip(self.paths, labels, self.headers, self.records, strict=True):
            set_threads(self.threads)  # in each step of a study, as the caller's number is back between them
            is_verified, onto = self._is_verified(path), model if in_place else None
            model, _ = read_model(
                path, self.device, header=header, is_verified=is_verified, parts=self.parts, onto=onto
            )
            yield LoadedCheckpoint(
                path, path.name if n_of_name[path.name] == 1 else str(path), label, model, header, record
            )

    def take_binarized(self, wanted: bool) -> None:
        """Say whether codes are those of pixels drawn black or white as in the training, instead of grey ones.

        Raises:
            AekitError: They are wanted, and a checkpoint was trained on grey images.
        """
        grey = [path for path, record in zip(self.paths, self.records, strict=True) if record.data.binarize == "none"]
        if wanted and grey:
            advice = "leave it out" if len(grey) == len(self.paths) else "leave it out, or study them separately"
            verb = "was" if len(grey) == 1 else "were"
            raise AekitError(f"--binarize: {_some(grey)} {verb} trained on grey images; {advice}")
        self._is_binarized = wanted

    @property
    def is_binarized(self) -> bool:
        """Return whether codes are those of black and white pixels."""
        return self._is_binarized

    def name_table(self, option: str) -> None:
        """Give the table of labels the name that its option has, in errors and notices from now on."""
        self._source.table_option = option

    def name_data(self, option: str) -> None:
        """Give the images of the session the name that their option has, in errors and notices from now on."""
        self._source.data_option = option

    def labels(self) -> list[str]:
        """Return a few words for each checkpoint that tell it from the others: see :func:`label_checkpoints`."""
        return label_checkpoints(self._found)

    @property
    def _found(self) -> Checkpoints:
        return Checkpoints(self.paths, self.headers, self.records)

    def images(self, checkpoint: LoadedCheckpoint, split: Split, *, with_labels: bool = True) -> ImageSet:
        """Return one split of a checkpoint's images, or of ``data``: see :meth:`StudiedImages.images`."""
        images = self._source.images(checkpoint, split, self.progress, with_labels=with_labels)
        return self._as_met(checkpoint, images)

    def studied(self, checkpoint: LoadedCheckpoint, split: Split, *, with_labels: bool = True) -> ImageSet:
        """Return the images that a study is about: see :meth:`StudiedImages.studied`."""
        images = self._source.studied(checkpoint, split, self.progress, with_labels=with_labels)
        return self._as_met(checkpoint, images)

    def measured(self, checkpoint: LoadedCheckpoint, split: Split, *, seed: int, with_labels: bool = True) -> ImageSet:
        """Return the images that a loss is measured on: those of :meth:`studied`, drawn as in the training.

        Args:
            checkpoint: The model that takes them.
            split: Which of them.
            seed: Of pixels that the training drew anew whenever an image was used.
            with_labels: Whether to read the table of labels of the training.
        """
        images = self._source.studied(checkpoint, split, self.progress, with_labels=with_labels)
        return images.drawn(checkpoint.record.data.pixel_seed(seed))

    def _as_met(self, checkpoint: LoadedCheckpoint, images: ImageSet) -> ImageSet:
        """Return images for a study of codes: grey ones, which is said of a training on black and white ones."""
        data = checkpoint.record.data
        if self._is_binarized:
            return images.drawn(data.pixel_seed(checkpoint.record.train.seed))
        if data.binarize != "none" and not self._said_grey:
            self._said_grey = True
            self._say_grey()
        return images

    def _say_grey(self) -> None:
        """Say of which checkpoints the codes are of other pixels than those of the training."""
        drawn: dict[str, list[Path]] = {}
        for path, record in zip(self.paths, self.records, strict=True):
            if record.data.binarize != "none":
                drawn.setdefault(record.data.binarize, []).append(path)
        for kind, paths in drawn.items():
            self.progress.notice(f"{_some(paths)}: trained with --binarize {kind}; the codes here are of grey images")

    def reading(self, checkpoint: LoadedCheckpoint) -> DataConfig:
        """Return how other images than those of the training are read for a checkpoint: with its range of values."""
        return self._source.reading(checkpoint)

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


def _some(paths: Sequence[Path]) -> str:
    """Return the names of checkpoints, of many the first and the number of the others."""
    names = list(map(str, paths))
    return ", ".join(names) if len(names) <= _N_NAMED else f"{names[0]} and {len(names) - 1} more checkpoints"


def open_session(
    checkpoints: Checkpoints | Sequence[str | Path] | str | Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
    table: str | None = None,
    parts: Builder | None = None,
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
        parts: Builds the parts of networks of your own, see :mod:`aekit.images.models.own`; None if there are none.

    Raises:
        AekitError: There is no checkpoint, one cannot be read, or holds something other than an autoencoder.
    """
    found = checkpoints if isinstance(checkpoints, Checkpoints) else read_checkpoints(checkpoints, progress)
    check_threads(threads)
    root, place = data_root or default_data_root(), choose_device(device)
    return Session(*found, data, root, place, threads, progress, table, parts)
