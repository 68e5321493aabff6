"""What a run is made of: frozen dataclasses that check themselves and turn into plain dictionaries and back.

Standard library only, so that the command line and ``aekit info`` need not load torch.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from aekit.errors import AekitError

Kind = Literal["ae", "vae"]
Arch = Literal["conv", "dense", "resize-conv", "strided", "blocks"]
Loss = Literal["bernoulli", "gaussian", "continuous-bernoulli", "mse"]
Schedule = Literal["one-cycle", "constant"]
Precision = Literal["auto", "fp32", "bf16"]
Keep = Literal["last", "best"]
Split = Literal["train", "val", "test"]

MAX_SEED = 2**32 - 1  # as scikit-learn takes them

T = TypeVar("T")


def _check_choice(option: str, value: object, literal: Any) -> None:
    if value not in get_args(literal):
        raise AekitError(f"--{option}: {value!r} is not one of {', '.join(get_args(literal))}; choose one of them")


def _check_at_least(option: str, value: float | None, minimum: float) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise AekitError(f"--{option}: {value} is no number to compute with; give {minimum:g} or more")
    if value is not None and value < minimum:
        raise AekitError(f"--{option}: {value} is below {minimum:g}; give {minimum:g} or more")


def _check_seed(option: str, value: int) -> None:
    if not 0 <= value <= MAX_SEED:
        raise AekitError(f"--{option}: {value} is not between 0 and {MAX_SEED}; choose another")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are cut into splits.

    Attributes:
        name: A known data set, or the path of a folder or file of images.
        image_size: (height, width) in pixels that images are resized and centre-cropped to; None keeps theirs.
        grayscale: Turn colour into one channel of luma.
        limit: At most so many images of each split, drawn with ``split_seed``; None takes all.
        val: Fraction of the training images that is set aside for validation, in [0, 1).
        split_seed: Seed of every random split. Apart from the run's seed, so that seeds compare on the same images.
        skip_bad: Leave out images that cannot be decoded, or have values that are not finite, instead of stopping.
    """

    name: str = "mnist"
    image_size: tuple[int, int] | None = None
    grayscale: bool = False
    limit: int | None = None
    val: float = 0.0
    split_seed: int = 0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.image_size is not None:
            object.__setattr__(self, "image_size", tuple(self.image_size))
            if len(self.image_size) != 2:
                raise AekitError("--image-size: needs one number or HEIGHTxWIDTH; for example 64 or 218x178")
            if min(self.image_size) < 8 or max(self.image_size) > 4096:
                size = "x".join(map(str, self.image_size))
                raise AekitError(f"--image-size: {size} is outside 8 to 4096 pixels; choose a size in between")
        _check_at_least("limit", self.limit, 1)
        _check_seed("split-seed", self.split_seed)
        if not 0 <= self.val < 1:
            raise AekitError(f"--val: {self.val} is outside [0, 1); give the fraction of train to set aside, as 0.2")


@dataclass(frozen=True)
class ModelConfig:
    """Which network.

    Attributes:
        kind: ``ae`` for a plain autoencoder, ``vae`` for one with a Gaussian posterior.
        arch: One of the architectures in :mod:`aekit.models`.
        latent: Dimensions of the code.
        layers: Depth, where the architecture has a choice; None is its default.
        width: Channels (or hidden units) of the first layer, where there is a choice; None is its default.
        loss: How the decoder's logits are read: the likelihood of a pixel, or for an ``ae`` plain squared error.
    """

    kind: Kind = "vae"
    arch: Arch = "conv"
    latent: int = 10
    layers: int | None = None
    width: int | None = None
    loss: Loss = "bernoulli"

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, Kind)
        _check_choice("arch", self.arch, Arch)
        _check_choice("loss", self.loss, Loss)
        _check_at_least("latent", self.latent, 1)
        _check_at_least("layers", self.layers, 1)
        _check_at_least("width", self.width, 1)
        if self.kind == "vae" and self.loss == "mse":
            raise AekitError("--loss: mse is no log-likelihood, so beta would have no scale; use gaussian for a VAE")


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained.

    Attributes:
        epochs: Passes over the training images (or over ``samples_per_epoch`` of them).
        batch_size: Images per step; None is the default, or all images if there are fewer.
        lr: Learning rate, at its peak for ``one-cycle``; None is the architecture's default.
        weight_decay: Decoupled decay of all weights: each step takes lr * weight_decay of them off.
        schedule: ``one-cycle`` (linear warm-up, cosine decay to zero) or ``constant``.
        beta: Weight of the KL divergence; 1 is the evidence lower bound.
        beta_warmup: Epochs over which the weight rises linearly from 0 to ``beta``; may be a fraction.
        samples_per_epoch: Images drawn for an epoch, without repetition until all were seen; None takes all.
        mirror: Turn half of an epoch's training images left to right, another half each epoch.
        precision: ``bf16`` runs the network under autocast; ``auto`` takes it where the hardware has it.
        compile: Run the network through ``torch.compile``.
        keep: Write the weights of the ``last`` epoch, or of the one with the ``best`` validation total.
        seed: Seed of initial weights, order of images and sampling noise.
    """

    epochs: int = 10
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float = 0.1
    schedule: Schedule = "one-cycle"
    beta: float = 1.0
    beta_warmup: float = 0.0
    samples_per_epoch: int | None = None
    mirror: bool = False
    precision: Precision = "auto"
    compile: bool = False
    keep: Keep = "last"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choice("schedule", self.schedule, Schedule)
        _check_choice("precision", self.precision, Precision)
        _check_choice("keep", self.keep, Keep)
        _check_at_least("epochs", self.epochs, 1)
        _check_at_least("batch-size", self.batch_size, 1)
        _check_at_least("beta", self.beta, 0)
        _check_at_least("beta-warmup", self.beta_warmup, 0)
        _check_at_least("samples-per-epoch", self.samples_per_epoch, 1)
        _check_at_least("weight-decay", self.weight_decay, 0)
        if self.beta_warmup > self.epochs:
            raise AekitError(
                f"--beta-warmup: {self.beta_warmup:g} epochs are more than the {self.epochs} of the run, which would "
                "never reach beta; make it shorter"
            )
        _check_seed("seed", self.seed)
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise AekitError(f"--lr: {self.lr} is not a positive number; the default trains well")


@dataclass(frozen=True)
class RunConfig:
    """One training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.train.keep == "best" and self.data.val == 0:
            raise AekitError("--keep best: needs validation images to choose by, never the test set; add --val 0.1")


BrainArch = Literal["strided", "base", "deep"]
Target = Literal["absolute", "proportion"]
Augmentation = Literal["flip", "shift", "gain", "noise"]


@dataclass(frozen=True)
class CohortConfig:
    """Which people, on which grid of voxels, and how they are cut into splits.

    Attributes:
        name: Name of the table of participants.
        size: Voxels of the grid along right, anterior and superior.
        spacing_mm: Edge of a voxel of the grid.
        correct_bias: Take the slow drift of intensity out of each volume.
        cv: Folds of the cross-validation; 0 has one split into train, val and test.
        val: Share of the people that validate, in [0, 1); with ``cv`` there is no need of it.
        test: Share of the people that are set aside for the test, in [0, 1), or the column of the table that says who
            is in which split.
        group: Column of which all people with one value are kept in one split, such as ``site``; None for none.
        split_seed: Seed of the split; apart from the seed of training, so that trainings compare on the same people.
        drop_outliers: Leave outliers out of train, by limits from train only.
    """

    name: str = "participants.tsv"
    size: tuple[int, int, int] = (48, 48, 48)
    spacing_mm: float = 4.0
    correct_bias: bool = True
    cv: int = 0
    val: float = 0.15
    test: float | str = 0.2
    group: str | None = None
    split_seed: int = 0
    drop_outliers: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        _check_seed("split-seed", self.split_seed)
        if self.cv != 0:
            _check_at_least("cv", self.cv, 2)
        for option, share in (("val", self.val), ("test-split", self.test)):
            if not isinstance(share, str) and not 0 <= share < 1:
                raise AekitError(f"--{option}: {share} is outside [0, 1); give the share of people, as 0.2")


@dataclass(frozen=True)
class BrainModelConfig:
    """Which networks read a brain.

    Attributes:
        kind: ``brain``, what tells it from an autoencoder.
        arch: ``strided`` (stride-2 convolutions), ``base`` (one 5x5x5 convolution and a linear layer) or ``deep`` (five
            convolutions with pooling and a small MLP).
        target: Tissue volumes in mL, or their shares of the sum; None is mL if the table has volumes, and otherwise
            leaves them out, so that only ages are learned.
        histogram: Feed the intensity histogram of the brain beside the image, and start as the ridge regression on it.
        direct: Also learn age from the image without volumes in between.
        log_age: Learn the logarithm of age.
    """

    kind: Literal["brain"] = "brain"
    arch: BrainArch = "strided"
    target: Target | None = None
    histogram: bool = True
    direct: bool = False
    log_age: bool = False

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, Literal["brain"])
        _check_choice("arch", self.arch, BrainArch)
        if self.target is not None:
            _check_choice("target", self.target, Target)


@dataclass(frozen=True)
class BrainTrainConfig:
    """How brain networks are trained.

    Attributes:
        epochs: Passes over the train people from image to volumes or to age, the chain takes half as many more; None is
            the architecture's default.
        batch_size: Brains a step.
        lr: Peak of the one-cycle learning rate; None is the architecture's default.
        weight_decay: Decoupled decay of all weights.
        augment: What is done to the train images at random, anew in each epoch. There is no zoom: it would change the
            volumes.
        seeds: Networks that are trained from different starts; predictions are their mean.
        seed: First of these seeds.
        precision: As for autoencoders.
    """

    epochs: int | None = None
    batch_size: int = 8
    lr: float | None = None
    weight_decay: float = 0.05
    augment: tuple[Augmentation, ...] = ("flip", "shift", "gain")
    seeds: int = 2
    seed: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", tuple(self.augment))
        for kind in self.augment:
            _check_choice("augment", kind, Augmentation)
        _check_choice("precision", self.precision, Precision)
        _check_at_least("epochs", self.epochs, 1)
        _check_at_least("batch-size", self.batch_size, 2)
        _check_at_least("weight-decay", self.weight_decay, 0)
        _check_at_least("seeds", self.seeds, 1)
        _check_seed("seed", self.seed)
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise AekitError(f"--lr: {self.lr} is not a positive number; the default trains well")


@dataclass(frozen=True)
class BrainConfig:
    """One training of brain networks."""

    model: BrainModelConfig = field(default_factory=BrainModelConfig)
    data: CohortConfig = field(default_factory=CohortConfig)
    train: BrainTrainConfig = field(default_factory=BrainTrainConfig)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as a dictionary of plain values that JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: dict[str, Any], source: str = "configuration") -> T:
    """Return the configuration of type ``cls`` that ``values`` describes.

    Raises:
        AekitError: A key is unknown or a value is refused; ``source`` says where it came from.
    """
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise AekitError(f"{source}: unknown setting {', '.join(unknown)}; it was written by another version of aekit")
    hints = get_type_hints(cls)
    for name, value in values.items():
        if not _is_a(value, hints[name]):
            raise AekitError(f"{source}: its header is damaged ({name} {value!r}); train it again")
    try:
        return cls(**values)
    except AekitError as error:
        raise AekitError(f"{source}: {error}") from error
    except TypeError as error:
        raise AekitError(f"{source}: its header is damaged ({error}); train it again") from error


def _is_a(value: object, hint: Any) -> bool:
    """Return whether a value that was read from JSON is of a field's type; choices are checked by the field's class."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_is_a(value, one) for one in inner)
    if kind is Literal:
        return isinstance(value, str)
    if kind is tuple:
        hints = inner if inner[-1] is not ... else inner[:1] * len(value) if isinstance(value, (list, tuple)) else ()
        is_row = isinstance(value, (list, tuple)) and len(value) == len(hints)
        return is_row and all(map(_is_a, value, hints))  # type: ignore[call-overload]
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if isinstance(value, int):  # JSON has whole numbers of any length, which no tensor has
        return hint in (int, float) and abs(value) < 2**63
    return isinstance(value, hint)


def default_data_root() -> Path:
    """Return where data sets are kept: ``$AEKIT_DATA``, or ``aekit`` in the user's data folder."""
    if root := os.environ.get("AEKIT_DATA"):
        return Path(root)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "aekit"


def cache_folder() -> Path:
    """Return where decoded images are kept: ``$AEKIT_CACHE``, or ``aekit`` in the user's cache folder."""
    if folder := os.environ.get("AEKIT_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aekit"


def count_cores() -> int:
    """Return the cores that this process may use, which a container or a batch scheduler may have made fewer."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


PARENT = "AEKIT_PARENT"  # says to each of several processes on one machine which one launched it


def n_processes() -> int:
    """Return how many processes share this run, as torchrun and ``--gpus`` say in the environment; 1 is alone."""
    return _count_in("WORLD_SIZE", 1) if "MASTER_ADDR" in os.environ and "RANK" in os.environ else 1


def process_rank() -> int:
    """Return the number of this process among those that share its run, from 0."""
    return _count_in("RANK", 0) if n_processes() > 1 else 0


def local_rank() -> int:
    """Return the number of this process among those on this machine that share its run, from 0."""
    return _count_in("LOCAL_RANK", 0) if n_processes() > 1 else 0


def _count_in(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
