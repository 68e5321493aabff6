"""Settings of a training of brain networks: the participants, the networks, and how they are trained.

Standard library only, so that the command line need not load torch.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from aekit.core.settings import (
    Precision,
    check_at_least,
    check_choice,
    check_not_empty,
    check_seed,
    is_whole_number,
    to_dict,
)
from aekit.errors import UsageError, nearest

BrainArch = Literal["strided", "base", "deep", "sfcn"]
Target = Literal["absolute", "proportion"]
Augmentation = Literal["flip", "shift", "gain", "noise", "scanner"]
Sessions = Literal["first", "last", "all"]
Intensity = Literal["percentiles", "peaks"]
Register = Literal["none", "rigid", "affine"]

_YOUNGER = {
    "data": ("id", "age", "sex", "site", "session", "keep_outlying", "controls", "register", "template", "intensity"),
    "model": ("features", "combat"),
    "train": ("init",),
}


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table are which, where their names do not say so; None is found by its name.

    Attributes:
        participant_id: Column of ids.
        age: Column of ages.
        sex: Column of sexes.
        site: Column of sites.
    """

    participant_id: str | None = None
    age: str | None = None
    sex: str | None = None
    site: str | None = None

    def by_name(self) -> dict[str, str]:
        """Return the columns that are named, by the names of :class:`aekit.brains.cohort.table.Cohort`."""
        return {name: column for name, column in vars(self).items() if column is not None}

    def option(self, name: str) -> str:
        """Return the option that names a column, or an empty text if there is none."""
        return {"participant_id": "--id", "age": "--age", "sex": "--sex", "site": "--site"}.get(name, "")


@dataclass(frozen=True)
class CohortConfig:
    """Which participants, on which grid of voxels, and how they are split.

    Attributes:
        name: Name of the table of participants.
        size: Voxels of the grid along right, anterior and superior.
        spacing_mm: Voxel size of the grid.
        correct_bias: Correct each volume for the bias field.
        cv: Folds of the cross-validation, or the column whose values are held out in turn, such as ``site``; 0 for a
            single split into train, val and test.
        val: Fraction of the participants for validation, in [0, 1); not needed with ``cv``.
        test: Fraction of the participants for testing, in [0, 1), or the column of the table with the splits.
        group: Column whose values are not divided between splits, such as ``site`` or ``subject``; None for none.
        split_seed: Seed of the split; separate from the seed of training, so that trainings share their participants.
        drop_outliers: Remove outliers from train, by limits from train only.
        id: Column of ids; None, here and below, finds a column by its name.
        age: Column of ages.
        sex: Column of sexes.
        site: Column of sites.
        session: Which scans of a person with several sessions take part.
        keep_outlying: Train on scans that are unlike the others, instead of leaving them out; never on impossible ones.
        controls: Who takes part in training, cross-validation and the correction of delta, as ``diagnosis=control``;
            all others are predicted only. None for everyone.
        register: Align each volume to a template: not at all, by rotation and shift, or also in size and shear.
        template: Name of the template's file; None is made from the cohort.
        intensity: Scale each volume by two percentiles of its intensities, or align the peaks of three tissues.
    """

    name: str = "participants.tsv"
    size: tuple[int, int, int] = (48, 48, 48)
    spacing_mm: float = 4.0
    correct_bias: bool = True
    cv: int | str = 0
    val: float = 0.15
    test: float | str = 0.2
    group: str | None = None
    split_seed: int = 0
    drop_outliers: bool = False
    id: str | None = None
    age: str | None = None
    sex: str | None = None
    site: str | None = None
    session: Sessions = "all"
    keep_outlying: bool = False
    controls: str | None = None
    register: Register = "none"
    template: str | None = None
    intensity: Intensity = "percentiles"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        check_seed("split-seed", self.split_seed)
        check_choice("session", self.session, Sessions)
        check_choice("intensity", self.intensity, Intensity)
        check_choice("register", self.register, Register)
        if self.template is not None and self.register == "none":
            raise UsageError("--template: no scan is aligned to it; add --register affine or rigid")
        if isinstance(self.cv, str):
            if self.group is not None:
                raise UsageError("--group: not with --cv COLUMN, which holds out whole groups; give one of them")
        elif self.cv != 0:
            check_at_least("cv", self.cv, 2)
        for option, fraction in (("val", self.val), ("test-split", self.test)):
            if not isinstance(fraction, str) and not 0 <= fraction < 1:
                raise UsageError(f"--{option}: {fraction} is outside [0, 1); give a fraction, such as 0.2")

    @property
    def columns(self) -> TableColumns:
        """Return the columns of the table that are named."""
        return TableColumns(self.id, self.age, self.sex, self.site)


@dataclass(frozen=True)
class BrainModelConfig:
    """Which networks are trained.

    Attributes:
        kind: ``brain``, which distinguishes it from an autoencoder.
        arch: ``strided`` (stride-2 convolutions), ``base`` (one 5x5x5 convolution and a linear layer), ``deep`` (five
            convolutions with pooling and a small MLP) or ``sfcn`` (five wider ones with pooling; direct age in bins).
        target: Tissue volumes in mL, or as proportions of their sum; None is mL if the table has volumes, otherwise
            only ages are learned.
        histogram: Use the intensity histogram of the brain as a second input, and start as the ridge regression on it.
        direct: Also learn age directly from the image.
        log_age: Learn the logarithm of age.
        features: Columns of the table to learn age from instead of images, as names or patterns such as ``roi_*``.
        combat: Remove the effects of sites from these columns.
    """

    kind: Literal["brain"] = "brain"
    arch: BrainArch = "strided"
    target: Target | None = None
    histogram: bool = True
    direct: bool = False
    log_age: bool = False
    features: tuple[str, ...] = ()
    combat: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        check_choice("kind", self.kind, Literal["brain"])
        check_choice("arch", self.arch, BrainArch)
        if self.target is not None:
            check_choice("target", self.target, Target)


@dataclass(frozen=True)
class BrainTrainConfig:
    """How brain networks are trained.

    Attributes:
        epochs: Epochs from image to volumes or to age, the chain takes half as many more; None is the default of the
            architecture.
        batch_size: Brains per step.
        lr: Peak of the one-cycle learning rate; None is the default of the architecture.
        weight_decay: Decoupled decay of all weights.
        augment: Random augmentations of the training images, drawn in each epoch. There is no zoom, as it would change
            the volumes.
        seeds: Number of networks trained from different initial weights; predictions are their mean.
        seed: First of these seeds.
        precision: As for autoencoders.
        init: Checkpoint with whose networks the training begins; None draws weights.
    """

    epochs: int | None = None
    batch_size: int = 8
    lr: float | None = None
    weight_decay: float = 0.05
    augment: tuple[Augmentation, ...] = ("flip", "shift", "gain")
    seeds: int = 2
    seed: int = 0
    precision: Precision = "auto"
    init: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", tuple(self.augment))
        check_not_empty("init", self.init)
        for kind in self.augment:
            check_choice("augment", kind, Augmentation)
        check_choice("precision", self.precision, Precision)
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch-size", self.batch_size, 2)
        check_at_least("weight-decay", self.weight_decay, 0)
        check_at_least("seeds", self.seeds, 1)
        check_seed("seed", self.seed)
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError(f"--lr: {self.lr} is not a positive number; the default trains well")


@dataclass(frozen=True)
class BrainConfig:
    """One training of brain networks."""

    model: BrainModelConfig = field(default_factory=BrainModelConfig)
    data: CohortConfig = field(default_factory=CohortConfig)
    train: BrainTrainConfig = field(default_factory=BrainTrainConfig)


@dataclass(frozen=True)
class Source:
    """Where participants and scans come from.

    Attributes:
        table: Table of participants.
        folder: Folder of volumes; None to learn from columns of the table alone.
        pattern: Name of a file, with ``{id}``; None searches each name for an id.
        spacing_mm: Voxel size of .npy files; None assumes 1 mm.
        skip_bad: Leave out what cannot be used instead of raising an error.
        template: What scans are aligned to; None is made from them.
    """

    table: Path
    folder: Path | None
    pattern: str | None = None
    spacing_mm: float | None = None
    skip_bad: bool = False
    template: Path | None = None

    @property
    def scans(self) -> Path:
        """Return the folder of volumes, which there must be."""
        if self.folder is None:
            raise ValueError("there is no folder of volumes")
        return self.folder


def to_header(config: BrainConfig) -> dict[str, Any]:
    """Return a configuration as a checkpoint states it.

    Settings that are younger than the first checkpoints are left out at their default, so that the same training has
    the same bytes as before.
    """
    values, defaults = to_dict(config), to_dict(BrainConfig())
    for part, names in _YOUNGER.items():
        for name in names:
            if values[part][name] == defaults[part][name]:
                del values[part][name]
    return values


def parse_grid(text: str) -> tuple[int, int, int]:
    """Return the voxels of a grid along its axes from ``48`` or ``40x48x40``.

    Raises:
        AekitError: Anything else.
    """
    sides = text.lower().split("x")
    if len(sides) not in (1, 3) or not all(map(is_whole_number, sides)):
        raise UsageError(f"--size: {text!r} is not a size; give one number or XxYxZ, such as 48 or 40x48x40")
    return int(sides[0]), int(sides[len(sides) // 2]), int(sides[-1])


def parse_splits(cv: str, val: float | None, test_split: str | None) -> tuple[int | str, float, float | str]:
    """Return the folds or their column, the fraction for validation, and that for testing or the column of splits.

    Without a cross-validation the defaults are those of CohortConfig, with one they are 0.

    Raises:
        UsageError: There is a fraction for validation together with ``cv``.
    """
    folds: int | str = int(cv) if re.fullmatch(r"[+-]?\d+", cv) else cv
    if not cv.strip():
        raise UsageError("--cv: is empty; give a number of folds, or a column whose values are held out in turn")
    if folds and val:
        raise UsageError("--val: not with --cv, where each fold is held out once")
    default_val, default_test = (0.0, 0.0) if folds else (CohortConfig.val, CohortConfig.test)
    test: float | str = default_test
    if test_split is not None:
        try:
            test = float(test_split)
        except ValueError:
            test = test_split
    return folds, default_val if val is None else val, test


def parse_features(text: str | None) -> tuple[str, ...]:
    """Return the names and patterns of columns in a list with commas; none without a text.

    Raises:
        UsageError: The text has none.
    """
    if text is None:
        return ()
    found = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not found:
        raise UsageError("--features: is empty; give names of columns or patterns, such as 'roi_*' or tiv,'thick_*'")
    return found


def parse_augment(text: str) -> tuple[Augmentation, ...]:
    """Return the augmentations in a list with commas, in their own order; none for ``none``.

    Raises:
        AekitError: One is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return ()
    known = get_args(Augmentation)
    for name in names:
        if name not in known:
            hint = nearest(name, known) or "; choose from these"
            raise UsageError(f"--augment: {name!r} is not one of {', '.join(known)}, none{hint}")
    return tuple(name for name in known if name in names)
