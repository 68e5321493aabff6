"""What a training of brain networks is made of: which participants, which networks, how they are trained.

Standard library only, so that the command line need not load torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from aekit.core.settings import Precision, check_at_least, check_choice, check_seed
from aekit.errors import AekitError

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
        check_seed("split-seed", self.split_seed)
        if self.cv != 0:
            check_at_least("cv", self.cv, 2)
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
        check_choice("kind", self.kind, Literal["brain"])
        check_choice("arch", self.arch, BrainArch)
        if self.target is not None:
            check_choice("target", self.target, Target)


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
            check_choice("augment", kind, Augmentation)
        check_choice("precision", self.precision, Precision)
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch-size", self.batch_size, 2)
        check_at_least("weight-decay", self.weight_decay, 0)
        check_at_least("seeds", self.seeds, 1)
        check_seed("seed", self.seed)
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise AekitError(f"--lr: {self.lr} is not a positive number; the default trains well")


@dataclass(frozen=True)
class BrainConfig:
    """One training of brain networks."""

    model: BrainModelConfig = field(default_factory=BrainModelConfig)
    data: CohortConfig = field(default_factory=CohortConfig)
    train: BrainTrainConfig = field(default_factory=BrainTrainConfig)
