"""Image sets by name or path, as uint8 arrays; and brain cohorts."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from aekit.config import DataConfig, Split
from aekit.data.digits import read_digits
from aekit.data.image_set import ImageSet
from aekit.data.pixels import check_size
from aekit.data.splits import Progress, check_not_empty, check_split, shown
from aekit.data.vision import read_idx_set
from aekit.errors import AekitError, nearest


class Reader(Protocol):
    """What reads one split of a data set."""

    def __call__(
        self, config: DataConfig, split: Split, *, data_root: Path, on_progress: Progress | None = None
    ) -> ImageSet: ...


DATASETS: dict[str, Reader] = {
    "mnist": read_idx_set,
    "fashion-mnist": read_idx_set,
    "kmnist": read_idx_set,
    "emnist": read_idx_set,
    "digits": read_digits,
}


def read_images(config: DataConfig, split: Split, *, data_root: Path, on_progress: Progress | None = None) -> ImageSet:
    """Return one split of the images that a configuration names.

    Args:
        config: A name in :data:`DATASETS` or a path, and how the images are cut, limited, resized and coloured.
        split: ``train``, ``val`` (cut from train) or ``test``. Without an official test split a fifth is set aside.
        data_root: Folder of the public data sets; may be read-only if they are there.
        on_progress: Called with what is done, how much, and the total: downloads and decoding.

    Raises:
        AekitError: No such data set, or one that is missing, damaged or unfit; the message names file and remedy.
        ValueError: ``split`` is ``val`` and ``config.val`` is 0.
    """
    check_split(split, config)
    images = _reader(config.name)(config, split, data_root=data_root, on_progress=on_progress)
    check_not_empty(len(images), split, config)
    check_size(*images.image_shape[1:], source=f"--data {shown(config.name)}")
    return images


def _reader(name: str) -> Reader:
    if name in DATASETS:
        return DATASETS[name]
    raise AekitError(
        f"--data {shown(name)}: no such data set and no such path{nearest(name, DATASETS)}; "
        f"choose one of {', '.join(DATASETS)}, or give the path of a folder or file of images"
    )
