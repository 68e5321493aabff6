"""How several checkpoints differ: in words that tell one from the others, and in images that do not compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aekit.core.settings import as_text, differing_keys, flag, in_words
from aekit.errors import AekitError
from aekit.images import sizes
from aekit.images.config import DataConfig, Split
from aekit.images.record import Checkpoints, RunRecord

if TYPE_CHECKING:
    from aekit.images.data.image_set import ImageSet

_NOT_IN_LABELS = ("lr", "splits", "shape", "batch_size", "labels_fingerprint", "class_names")
_NOT_OF_IMAGES = ("labels",)  # changes no image
# What a VAE has whose header does not mention them.
_UNSAID = {"objective": "elbo", "prior": "normal", "stochastic_layers": 1}


def label_checkpoints(found: Checkpoints) -> list[str]:
    """Return a few words for each checkpoint that tell it from the others: the settings in which they differ.

    If the model is none of them, it is said too. One alone, or those that do not differ in any setting, are called by
    the name of their file.
    """
    parts = [header.configuration for header in found.headers]
    differing = [
        (part, key)
        for part in ("model", "train", "data")
        for keys in differing_keys([each[part] for each in parts], [part] * len(parts)).values()
        for key in dict.fromkeys(key for each in parts for key in each[part])  # some are only in a few headers
        if key in keys and key not in _NOT_IN_LABELS
    ]
    labels = [_label(found, number, differing) for number in range(len(found.paths))]
    if len(found.paths) == 1 or len(set(labels)) < len(labels):
        return [path.stem for path in found.paths]
    if all(labels) and any(part == "model" for part, _ in differing):
        return labels
    models = [record.model for record in found.records]
    names = [f"{model.kind} {model.arch}, latent {model.latent}" for model in models]
    return [", ".join(filter(None, pair)) for pair in zip(names, labels, strict=True)]


def _label(found: Checkpoints, number: int, differing: list[tuple[str, str]]) -> str:
    """Return the settings of one checkpoint in words, those that it has: an autoencoder has no beta."""
    header, has_prior = found.headers[number], found.records[number].model.has_prior
    unsaid = _UNSAID if has_prior else {}
    own = [(key, header.configuration[part].get(key, unsaid.get(key))) for part, key in differing]
    return ", ".join(
        in_words(key, value) for key, value in own if value is not None and (has_prior or not key.startswith("beta"))
    )


def refuse_other_images(path: Path, own: ImageSet, first: ImageSet) -> None:
    """Raise an AekitError if a checkpoint is studied on other images than the first one."""
    if own.fingerprint != first.fingerprint:
        raise AekitError(f"{path}: uses other images of {first.name} than those before; compare them separately")


def check_same_images(found: Checkpoints, splits: Sequence[Split]) -> None:
    """Refuse checkpoints that cannot be compared: images of other shapes, or other images in a split.

    Args:
        found: The checkpoints.
        splits: The splits that must be the same for all.

    Raises:
        AekitError: One of them differs from the first.
    """
    first = found.records[0]
    for path, record in zip(found.paths[1:], found.records[1:], strict=True):
        if first.image_shape != record.image_shape:
            there, wanted = map(sizes.in_words, (record.image_shape, first.image_shape))
            raise AekitError(f"{path}: takes images of {there}; {found.paths[0]} of {wanted}; compare them separately")
        for split in splits:
            if _fingerprints(first, split) != _fingerprints(record, split):
                how = _differing_data(record.data, first.data)
                raise AekitError(
                    f"{path}: was {_used(split)} different images from {found.paths[0]} ({how}); compare them "
                    "separately"
                )


def _used(split: Split) -> str:
    return {"train": "trained on", "val": "validated on", "test": "tested on", "all": "trained or tested on"}[split]


def _fingerprints(record: RunRecord, split: Split) -> Any:
    return record.fingerprints if split == "all" else record.fingerprints.get(split)


def _differing_data(found: DataConfig, first: DataConfig) -> str:
    """Return in which setting of the data two checkpoints differ: ``--val 0.2, not 0.0``."""
    for key, value in vars(found).items():
        other = getattr(first, key)
        if value != other and key not in _NOT_OF_IMAGES:
            option = "--data" if key == "name" else flag(key)
            without = f"without {option}"
            if value is None or value is False:
                return f"{without}, not {option}{_argument(other)}"
            return f"{option}{_argument(value)}, not {without if other is None or other is False else _text(other)}"
    return "the files differ"


def _argument(value: Any) -> str:
    return "" if value is True else f" {_text(value)}"


def _text(value: Any) -> str:
    return as_text(value) if isinstance(value, tuple) else str(value)
