"""The images that checkpoints are studied on: those of their training, or others, each read once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from aekit.core.progress import Progress
from aekit.core.settings import check_choice
from aekit.errors import AekitError
from aekit.images import sizes
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, Split
from aekit.images.data import read_images
from aekit.images.data.bad_images import read_by_study
from aekit.images.data.image_set import ImageSet
from aekit.images.data.label_notices import LabelNotices
from aekit.images.data.label_table import OPTION
from aekit.images.data.labels import UnlabelledError
from aekit.images.data.value_range import check_as_trained
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.official import has_validation, official_splits


@dataclass
class StudiedImages:
    """The images of a session.

    Attributes:
        data: Other images than those of the training, a name or path; None takes these.
        data_root: Folder of the known data sets.
        table: A table of labels; None takes that of the training, for images that are in it.
        table_option: What names the table on the command line.
        data_option: What names the images there.
    """

    data: str | None
    data_root: Path
    table: str | None
    table_option: str = OPTION
    data_option: str = "--data"
    _images: dict[tuple[DataConfig, Split, bool], ImageSet] = field(default_factory=dict)

    def images(
        self, checkpoint: LoadedCheckpoint, split: Split, progress: Progress, *, with_labels: bool = True
    ) -> ImageSet:
        """Return one split of a checkpoint's images, or of ``data``.

        Args:
            checkpoint: The model that takes them.
            split: Which of them.
            progress: Receives updates and notices of reading.
            with_labels: Whether to read the table of labels of the training; one that is given is read in any case.

        Raises:
            AekitError: They cannot be read, the split is empty, or the model takes images of another shape.
        """
        check_choice("split", split, Split)
        with_labels = with_labels or checkpoint.record.model.is_conditional
        with self._named_table():
            config = self._config(checkpoint, with_labels, progress)
        if self.data is None:
            if split == "val" and "val" not in checkpoint.record.fingerprints:
                fix = "use train, test or all"
                raise AekitError(f"--split val: {checkpoint.path} was trained without validation images; {fix}")
            _refuse_outside(config.name, str(checkpoint.path))
        elif split == "val" and not has_validation(config):
            raise AekitError(f"--split val: {self.data} has no validation images; use train, test or all")
        images = self._kept(checkpoint, config, split, with_labels, progress)
        self._compare(checkpoint, split, images, progress)
        return images

    def studied(
        self, checkpoint: LoadedCheckpoint, split: Split, progress: Progress, *, with_labels: bool = True
    ) -> ImageSet:
        """Return the images that a study is about: a split, or all of ``data`` if that has no splits of its own.

        ``data`` that are the images of the training at another place have its splits. The arguments are those of
        :meth:`images`.

        Raises:
            AekitError: As :meth:`images`.
        """
        if self.data is None or split == "all" or official_splits(self.data) or self.data in CATALOG:
            return self.images(checkpoint, split, progress, with_labels=with_labels)
        check_choice("split", split, Split)
        with_labels = with_labels or checkpoint.record.model.is_conditional
        with self._named_table():
            config = self._config(checkpoint, with_labels, progress)
        if known := checkpoint.record.fingerprints.get(split):
            with contextlib.suppress(AekitError):  # one or two images have no test split
                images = self._kept(checkpoint, config, split, with_labels, progress)
                if images.fingerprint == known:
                    return images
        images = self._kept(checkpoint, replace(config, limit=None), "all", with_labels, progress)
        used = f"all {len(images):,} are used" if len(images) > 1 else "the only one is used"
        progress.notice(f"{self.data_option} {self.data}: not the images of the training; {used}")
        self._compare(checkpoint, "all", images, progress)
        return images

    def reading(self, checkpoint: LoadedCheckpoint) -> DataConfig:
        """Return how other images than those of the training are read for a checkpoint: with its range of values."""
        return checkpoint.record.reading

    def _config(self, checkpoint: LoadedCheckpoint, with_labels: bool, progress: Progress) -> DataConfig:
        """Return which images to read for a checkpoint, with its table and the range of values of its training."""
        table = self._own_table(checkpoint, with_labels, progress) if self.table is None else self.table
        if self.data is None:
            return replace(checkpoint.record.data, labels=table)
        config = replace(self.reading(checkpoint), name=self.data, labels=table)
        return replace(config, val=0.0) if "val" in official_splits(self.data) else config

    def _own_table(self, checkpoint: LoadedCheckpoint, with_labels: bool, progress: Progress) -> str | None:
        """Return the table of labels of the training; None if there was none, or it is not here.

        That it is not here is said if it would be read.
        """
        table = checkpoint.record.data.labels
        if table is not None and (_is_outside(table) or not Path(table).exists()):
            if with_labels:
                lost = f"its table of labels, {table}, is not here; give it with {self.table_option}"
                progress.notice(f"{checkpoint.path}: {lost}")
            return None
        return table

    def _kept(
        self, checkpoint: LoadedCheckpoint, config: DataConfig, split: Split, with_labels: bool, progress: Progress
    ) -> ImageSet:
        """Return images that were read before, or read them."""
        with_labels = config.labels is not None and (with_labels or self.table is not None)
        if (config, split, with_labels) not in self._images:
            # Those of one configuration are kept, for the next checkpoint.
            self._images = {key: images for key, images in self._images.items() if key[0] == config}
            with self._named_table():
                self._images[config, split, with_labels] = self._read(checkpoint, config, split, with_labels, progress)
        return self._images[config, split, with_labels]

    @contextlib.contextmanager
    def _named_table(self) -> Iterator[None]:
        """Give the errors of a table of labels the name that its option has in this command."""
        try:
            yield
        except AekitError as error:
            if self.table_option == OPTION or not str(error).startswith(OPTION):
                raise
            raise type(error)(f"{self.table_option}{str(error).removeprefix(OPTION)}") from error

    def _read(
        self, checkpoint: LoadedCheckpoint, config: DataConfig, split: Split, with_labels: bool, progress: Progress
    ) -> ImageSet:
        notices = LabelNotices(progress, self.table_option)
        try:
            with read_by_study():
                images = read_images(config, split, data_root=self.data_root, progress=notices, with_labels=with_labels)
        except UnlabelledError:
            if self.table is not None or self.data is None:
                notices.say()
                raise
            what = f"some images are not in {config.labels}, the table of labels of the training"
            progress.notice(f"{self.data_option} {self.data}: {what}; no labels are used")
            return self._read(checkpoint, replace(config, labels=None), split, False, progress)
        except AekitError as error:
            notices.say()
            if self.data is not None or str(error).startswith(OPTION):
                raise
            raise AekitError(
                f"{checkpoint.path}: cannot find the images it was trained on, {config.name!r} "
                f"({str(error).partition(';')[0]}); give their place with {self.data_option}"
            ) from error
        is_known = images.labels_fingerprint == checkpoint.record.labels_fingerprint
        is_of_training = self.data is None or images.fingerprint == checkpoint.record.fingerprints.get(split)
        if not (is_known and is_of_training):
            notices.say()  # what was not said when the model was trained
        if self.data is not None and not is_of_training:
            check_as_trained(f"{self.data_option} {self.data}", config.value_range, images, progress)
        if self.table is None and images.labels_fingerprint and not is_known:
            progress.notice(f"{checkpoint.path}: its table of labels, {config.labels}, was changed after training")
        return images

    def _compare(self, checkpoint: LoadedCheckpoint, split: Split, images: ImageSet, progress: Progress) -> None:
        path = checkpoint.path
        if images.image_shape != checkpoint.model.image_shape:
            there, wanted = map(sizes.in_words, (images.image_shape, checkpoint.model.image_shape))
            raise AekitError(
                f"{self.data_option} {images.name}: images have {there}, {path} takes {wanted}; use others"
            )
        if split == "all" or checkpoint.record.fingerprints.get(split) == images.fingerprint:
            return
        if self.data is None:
            raise AekitError(
                f"{path}: the {split} images of {images.name} are not those that it was trained with; "
                f"choose the images with {self.data_option}"
            )
        progress.notice(f"{path}: these {split} images of {images.name} are not those that it was trained with")


def _refuse_outside(name: str, source: str) -> None:
    """Refuse image paths outside the working folder: a checkpoint may come from an untrusted source."""
    if _is_outside(name):
        raise AekitError(f"{source}: names images outside this folder, {name}; if they are yours, use --data")


def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(os.path.normpath(name)).parts
