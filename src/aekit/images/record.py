"""What the header of a checkpoint says of a run of images, as typed records; standard library only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from aekit.core.checkpoint import Header
from aekit.core.settings import from_dict
from aekit.images.config import DataConfig, ModelConfig, TrainConfig

Config = TypeVar("Config", DataConfig, TrainConfig)


@dataclass(frozen=True)
class RunRecord:
    """What a checkpoint says of its run; an option that is younger than the file has its default.

    Attributes:
        model: Which network.
        data: Which images.
        train: How it was trained.
        image_shape: (channels, height, width); empty if the header has none.
        fingerprints: Of the images of each split.
    """

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    image_shape: tuple[int, ...]
    fingerprints: dict[str, str | None]

    @property
    def title(self) -> str:
        """Return a few words for a title: model, latent dimensions, and for a VAE beta."""
        beta = f", beta {self.train.beta:g}" if self.model.has_prior else ""
        return f"{self.model.kind} {self.model.arch}, latent {self.model.latent}{beta}"


def read_record(header: Header, source: str) -> RunRecord:
    """Return the typed parts of the header of a checkpoint of images.

    Args:
        header: As :func:`aekit.core.checkpoint.read_header` returned it.
        source: What to call the file in messages.

    Raises:
        AekitError: It is damaged.
    """
    splits = header.data.get("splits", {})
    return RunRecord(
        model=from_dict(ModelConfig, header.model, source),
        data=data_config(header, source),
        train=_known(TrainConfig, header.train, source),
        image_shape=tuple(header.data.get("shape", ())),
        fingerprints={split: found.get("fingerprint") for split, found in splits.items()},
    )


def data_config(header: Header, source: str) -> DataConfig:
    """Return the configuration of a checkpoint's data.

    Raises:
        AekitError: It is damaged.
    """
    return _known(DataConfig, header.data, source)


def _known(cls: type[Config], values: dict[str, Any], source: str) -> Config:
    known = {each.name for each in fields(cls)}
    return from_dict(cls, {key: value for key, value in values.items() if key in known}, source)
