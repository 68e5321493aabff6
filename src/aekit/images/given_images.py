"""Images in memory, or by their name, as networks and trainings take them."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from aekit.core.environment import default_data_root
from aekit.core.progress import Progress
from aekit.errors import AekitError, shown
from aekit.images import sizes
from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig, RunConfig, TrainConfig
from aekit.images.data import read_images
from aekit.images.data.array_labels import Load, times
from aekit.images.data.arrays import read_arrays
from aekit.images.data.image_set import ImageSet
from aekit.images.data.value_range import check_as_trained, check_in_range
from aekit.images.given_arrays import as_images, as_labels
from aekit.images.models.base import Autoencoder
from aekit.images.record import read_record

Images = npt.ArrayLike | torch.Tensor | str | os.PathLike[str]
Labels = npt.ArrayLike | torch.Tensor

ARRAY = "array"  # what images in memory are called, if the configuration gives them no name


def named_after(config: RunConfig, images: Images | None) -> RunConfig:
    """Return the configuration with the name of the images: their own, or ``array`` in place of a known data set's."""
    if images is None:
        return config
    if isinstance(images, (str, os.PathLike)):
        return replace(config, data=replace(config.data, name=os.fspath(images)))
    return replace(config, data=replace(config.data, name=ARRAY)) if config.data.name in CATALOG else config


def as_file(images: Any, labels: Any) -> dict[str, Load]:
    """Return how to load images and labels in memory, as from an array file: by their names, ``labels`` if given."""
    arrays = {"images": as_images(images)} | ({} if labels is None else {"labels": as_labels(labels)})
    return {name: functools.partial(np.asarray, array) for name, array in arrays.items()}


def class_numbers(model: Autoencoder, labels: Labels | None, n_codes: int) -> npt.NDArray[np.int64] | None:
    """Return the number of the class of each code, (N,), for a network that is told it; None if it is told none.

    Args:
        model: The network.
        labels: Names of classes as the training had them, (N,).
        n_codes: N.

    Raises:
        AekitError: Labels are missing, too many, or unknown, or the network is told none.
    """
    if model.classes is None:
        if labels is not None:
            raise AekitError(f"decode: {model.name} was not trained with condition label; leave labels out")
        return None
    if labels is None:
        raise AekitError(f"decode: {model.name} decodes a code as a class; give labels, one per code")
    given = as_labels(labels)
    if given.ndim != 1:
        raise AekitError(f"labels: are of shape {times(given.shape)}; give the name of one class per code")
    names = [shown(str(label)) for label in given.tolist()]
    if other := sorted(set(names) - set(model.classes.names)):
        raise AekitError(f"decode: {model.name} has no class {other[0]}; choose from {', '.join(model.classes.names)}")
    if len(names) != n_codes:
        raise AekitError(f"decode: {len(names)} labels for {n_codes} codes; give one per code")
    return np.array([model.classes.names.index(name) for name in names], np.int64)


def _is_constant(array: npt.NDArray[Any]) -> bool:
    return bool(array.min() == array.max())


def trained_with(model: Autoencoder) -> TrainConfig:
    """Return how a model was trained: the defaults for one that is of no checkpoint."""
    return TrainConfig() if model.header is None else read_record(model.header, model.name).train


def _data_config(model: Autoencoder) -> DataConfig:
    """Return how a model's images were read, with the range of values that they had."""
    return DataConfig() if model.header is None else read_record(model.header, model.name).reading


def pixel_seed(model: Autoencoder, seed: int) -> int | None:
    """Return the seed of black and white pixels; None if the training was on grey ones."""
    return _data_config(model).pixel_seed(seed)


def image_set_for(
    model: Autoencoder,
    images: Images,
    labels: Labels | None,
    data_root: str | os.PathLike[str] | None,
    progress: Progress,
) -> ImageSet:
    """Return images as a network takes them: resized and in grey if those of its training were, in its range.

    Args:
        model: The network, which takes (C, H, W).
        images: A path, the name of a known data set, or an array.
        labels: Labels of an array, (N,) or (N, A); None without any.
        data_root: Folder of the known data sets; None takes ``$AEKIT_DATA`` or the user's data folder.
        progress: Receives updates and notices of reading.

    Raises:
        AekitError: The images cannot be read or have another shape, are outside the range of values of the training or
            nearly black in it, or labels belong to a path.
    """
    is_named = isinstance(images, (str, os.PathLike))
    name = os.fspath(images) if isinstance(images, (str, os.PathLike)) else ARRAY
    if labels is not None and model.classes is None:
        raise AekitError(f"labels: {model.name} was not trained with condition label; leave labels out")
    config = replace(_data_config(model), name=name, labels=None, limit=None, val=0.0, skip_bad=False)
    if is_named and labels is not None:
        raise AekitError("labels: belong to images in an array; leave them out")
    if is_named:
        root = Path(data_root) if data_root else default_data_root()
        found = read_images(config, "all", data_root=root, progress=progress)
    else:
        found = read_arrays(config, "all", progress=progress, arrays=as_file(images, labels))
    check_as_trained(name, config.value_range, found, progress)
    is_blank = found.span is not None and found.span[0] == found.span[1]
    is_constant = is_blank if is_named else _is_constant(as_images(images))
    check_in_range(name, config.value_range, found, is_constant=is_constant)
    if found.image_shape != model.image_shape:
        there, wanted = map(sizes.in_words, (found.image_shape, model.image_shape))
        raise AekitError(f"{name}: images have {there}, {model.name} takes {wanted}; use others")
    return found
