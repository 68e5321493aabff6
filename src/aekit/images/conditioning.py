"""The classes that a conditional network is told: those of its training images, and which of them other images have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from aekit.errors import AekitError, count, nearest
from aekit.images.config import ModelConfig, Split
from aekit.images.data.batches import ImageLoader
from aekit.images.data.image_set import ImageSet
from aekit.images.data.selection import split_names
from aekit.images.models.base import Autoencoder

Labels = npt.NDArray[np.int64]

_MAX_NAMES = 10  # to list in an error


def training_classes(config: ModelConfig, sets: Mapping[Split, ImageSet]) -> tuple[str, ...]:
    """Return the classes that a network is to be told, those of the training images; none if it is told none.

    Raises:
        AekitError: Images have no classes, or others have one that those of the training do not have.
    """
    if not config.is_conditional:
        return ()
    for split, images in sets.items():
        if images.labels is None:
            raise AekitError(
                f"--condition label: the {split} images of {images.name} have no classes; add a table with --labels, "
                "or sort them into class folders"
            )
    names = tuple(_names(sets["train"]).values())
    for split, images in sets.items():
        if other := [name for name in _names(images).values() if name not in names]:
            raise AekitError(
                f"--condition label: {split} has images of class {_listed(other)}, train has none; leave them out, or "
                "use another --split-seed or --limit"
            )
    return names


def class_numbers(model: Autoencoder, images: ImageSet) -> Labels | None:
    """Return the number of each image's class in a network that is told it, (N,); None if it is told none.

    Raises:
        AekitError: The images have no classes, or others than those of the training.
    """
    if model.classes is None:
        return None
    if images.labels is None:
        raise AekitError(
            f"{model.name}: is told the class of each image, and those of {images.name} have none; use images with "
            f"the classes of the training ({_listed(model.classes.names)})"
        )
    names = _names(images)
    if other := [name for name in names.values() if name not in model.classes.names]:
        raise AekitError(
            f"{model.name}: knows the classes {_listed(model.classes.names)}, and {images.name} has {_listed(other)}; "
            "leave those images out"
        )
    numbers = {label: model.classes.names.index(name) for label, name in names.items()}
    return np.array([numbers[label] for label in images.labels.tolist()], np.int64)


def build_loader(model: Autoencoder, images: ImageSet, device: torch.device) -> ImageLoader:
    """Return a loader of images, with their classes for a network that is told them.

    Raises:
        AekitError: The images have no classes, or others than those of the training.
    """
    return ImageLoader(images, device, class_numbers(model, images))


def choose_classes(model: Autoencoder, text: str | None) -> list[int]:
    """Return the numbers of the classes that ``--label`` names, separated by commas, all for None; none without any.

    Raises:
        AekitError: One is not there, or the network is told no class.
    """
    if model.classes is None:
        if text is not None:
            raise AekitError(f"--label: {model.name} was not trained with --condition label; leave it out")
        return []
    names = model.classes.names
    if text is None:
        return list(range(len(names)))
    if text in names:  # which may have commas in it
        return [names.index(text)]
    chosen = split_names(text, "--label", lambda name: name in names)
    for name in chosen:
        if name not in names:
            fix = nearest(name, names) or f"; choose from {_listed(names)}"
            raise AekitError(f"--label {name}: {model.name} has no such class{fix}")
    return [names.index(name) for name in dict.fromkeys(chosen)]


def one_class(model: Autoencoder, text: str | None, option: str) -> int | None:
    """Return the number of the one class that ``--label`` names; None for a model that is told none.

    Raises:
        AekitError: It names none or several, and one is needed.
    """
    chosen = choose_classes(model, text)
    if model.classes is not None and (text is None or len(chosen) != 1):
        raise AekitError(f"{option}: {model.name} decodes a code as a class; add --label with one of them")
    return chosen[0] if chosen else None


def _names(images: ImageSet) -> dict[int, str]:
    """Return the name of each class that is there, by its number: a class without a name is called by its number."""
    assert images.labels is not None
    of, names = np.unique(images.labels), images.class_names
    return {label: names[label] if 0 <= label < len(names) else str(label) for label in of.tolist()}


def _listed(names: Sequence[str]) -> str:
    more = f" and {count(len(names) - _MAX_NAMES, 'other')}" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"
