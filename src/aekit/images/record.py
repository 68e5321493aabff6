"""What the header of a checkpoint says of a run of images, as typed records; standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from aekit.core.checkpoint import RESUME_SUFFIX, Header, read_header
from aekit.core.progress import SILENT, Progress
from aekit.core.settings import as_text, from_dict
from aekit.errors import AekitError, count
from aekit.images.config import DEFAULT_COMPONENTS, DEFAULT_SAMPLES, DataConfig, ModelConfig, TrainConfig

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
        value_range: Values that became 0 and 255, if they were taken from the training images.
        labels_fingerprint: SHA-256 of the table of labels; empty if there was none.
        class_names: The classes that a network is told, in the order of its numbers; empty if it is told none.
    """

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    image_shape: tuple[int, ...]
    fingerprints: dict[str, str | None]
    value_range: tuple[float, float] | None = None
    labels_fingerprint: str = ""
    class_names: tuple[str, ...] = ()

    @property
    def reading(self) -> DataConfig:
        """Return how other images than those of the training are read: with its range of values."""
        if self.data.value_range != "data" or self.value_range is None:
            return self.data
        low, high = self.value_range
        return replace(self.data, value_range=f"{low!r},{high!r}")

    @property
    def title(self) -> str:
        """Return a few words for a title: model, latent dimensions, and for a VAE objective and prior."""
        network = f"{self.model.kind} {self.model.arch}, latent {self.model.latent}"
        return ", ".join([network, *vae_words(vars(self.model), vars(self.train))])


def vae_words(model: Mapping[str, Any], train: Mapping[str, Any]) -> list[str]:
    """Return what a VAE is trained on in a few words each: objective and beta, prior, layers; nothing for others.

    Args:
        model: Settings of the network, as a header has them: what is at its default may be missing.
        train: Those of the training.
    """
    if model.get("kind") != "vae":
        return []
    words = []
    objective, prior = train.get("objective", "elbo"), model.get("prior", "normal")
    if objective == "iwae":
        n_samples = train.get("samples") or DEFAULT_SAMPLES
        words.append(f"iwae of {count(n_samples, 'sample')}" + (" with dreg" if train.get("dreg") else ""))
    elif objective != "elbo":
        words.append(str(objective))
    if objective != "iwae" and "beta" in train:
        words.append(f"beta {as_text(train['beta'])}")
    words += [
        f"{name.replace('_', ' ')} {as_text(train[name])} nats"
        for name in ("capacity", "free_bits")
        if train.get(name) is not None
    ]
    if prior != "normal":
        words.append(f"{prior} prior of {model.get('components') or DEFAULT_COMPONENTS}")
    if model.get("stochastic_layers", 1) != 1:
        words.append(f"{model['stochastic_layers']} stochastic layers")
    if model.get("condition", "none") != "none":
        words.append(f"given the {model['condition']}")
    return words


class Checkpoints(NamedTuple):
    """Checkpoints whose headers have been read.

    Attributes:
        paths: Their files, each once.
        headers: What each says of itself.
        records: The same, typed.
    """

    paths: list[Path]
    headers: list[Header]
    records: list[RunRecord]


def read_checkpoints(given: Sequence[str | Path] | str | Path, progress: Progress = SILENT) -> Checkpoints:
    """Return checkpoints after reading each header once, without loading torch.

    Args:
        given: Paths, or a single one; one that is named twice is taken once, and unfinished runs among others are left
            out, as a pattern such as ``runs/*.safetensors`` matches them too.
        progress: Receives a notice of what is left out.

    Raises:
        AekitError: There is no checkpoint, one cannot be read, or holds something other than an autoencoder.
    """
    paths = _distinct([Path(path) for path in ([given] if isinstance(given, (str, Path)) else given)], progress)
    if not paths:
        raise AekitError("checkpoints: there is none; give at least one path")
    headers = [read_header(path) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        if header.kind == "brain":
            raise AekitError(f"{path}: contains brain-image networks, not an autoencoder; use aekit mri-predict")
    records = [read_record(header, str(path)) for path, header in zip(paths, headers, strict=True)]
    return Checkpoints(paths, headers, records)


def _distinct(given: list[Path], progress: Progress) -> list[Path]:
    resumes = [path for path in given if path.name.endswith(RESUME_SUFFIX)]
    if 0 < len(resumes) < len(given):
        given = [path for path in given if path not in resumes]
        others = f", with {count(len(resumes) - 1, 'other', 'others')} like it" if len(resumes) > 1 else ""
        progress.notice(f"{resumes[0]}: is an unfinished run; left out{others}")
    paths: dict[Path, Path] = {}
    for path in given:
        if paths.setdefault(path.resolve(), path) is not path:
            progress.notice(f"{path}: is named twice; it is used once")
    return list(paths.values())


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
        value_range=_read_range(header, source),
        labels_fingerprint=str(header.data.get("labels_fingerprint", "")),
        class_names=read_classes(header, source),
    )


def read_classes(header: Header, source: str) -> tuple[str, ...]:
    """Return the classes that the network of a checkpoint is told, in the order of its numbers; empty if none.

    Raises:
        AekitError: They are missing or damaged.
    """
    if header.model.get("condition", "none") == "none":
        return ()
    names: Any = header.data.get("class_names")
    is_list = isinstance(names, list) and len(names) > 0 and all(isinstance(name, str) for name in names)
    if not is_list or len(set(names)) < len(names):
        raise AekitError(f"{source}: its header is damaged (class_names {names!r}); train it again")
    return tuple(names)


def _read_range(header: Header, source: str) -> tuple[float, float] | None:
    found = header.data.get("range")
    if found is None:
        return None
    if not (isinstance(found, list) and len(found) == 2 and all(isinstance(end, (int, float)) for end in found)):
        raise AekitError(f"{source}: its header is damaged (range {found!r}); train it again")
    return float(found[0]), float(found[1])


def data_config(header: Header, source: str) -> DataConfig:
    """Return the configuration of a checkpoint's data.

    Raises:
        AekitError: It is damaged.
    """
    return _known(DataConfig, header.data, source)


def _known(cls: type[Config], values: dict[str, Any], source: str) -> Config:
    known = {each.name for each in fields(cls)}
    return from_dict(cls, {key: value for key, value in values.items() if key in known}, source)
