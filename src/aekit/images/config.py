"""The configuration of a run: which images, which network, how it is trained.

Standard library only, so that the command line and ``aekit info`` need not load torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from aekit.core.settings import (
    Precision,
    Schedule,
    check_at_least,
    check_choice,
    check_not_empty,
    check_seed,
    check_types,
    flag,
    is_whole_number,
)
from aekit.errors import UsageError

Kind = Literal["ae", "vae"]
OWN = "own-"  # begins the arch of a network that a function in Python builds; its name follows
Arch = Literal["conv", "dense", "mlp", "resize-conv", "strided", "blocks"]
Loss = Literal["bernoulli", "gaussian", "continuous-bernoulli", "logistic", "mse"]
Binarize = Literal["none", "dynamic", "fixed"]
Prior = Literal["normal", "mixture", "vamp"]
Condition = Literal["none", "label"]
Objective = Literal["elbo", "iwae", "beta-tc", "factor", "dip-i", "dip-ii", "mmd"]
Optimizer = Literal["adamw", "muon"]
Keep = Literal["last", "best"]
Split = Literal["train", "val", "test", "all"]
ExportFormat = Literal["onnx", "torchscript", "pt2", "hub"]
ExportPart = Literal["all", "encoder", "decoder", "both"]
Density = Literal["prior", "gaussian", "gmm", "two-stage"]  # that codes are drawn from
DEFAULT_SAMPLES = 5  # of an importance-weighted objective
# Images of a batch that an objective of whole batches needs: one has no covariance, no pair, and no others to compare
# with, and the discriminator of factor takes two halves of two.
LEAST_BATCH: dict[str, int] = {"beta-tc": 2, "factor": 4, "dip-i": 2, "dip-ii": 2, "mmd": 2}
DEFAULT_COMPONENTS = 100  # of a learned prior


def image_of(split: Split) -> str:
    """Return what an image of a split is called: ``test image``, or ``image`` if the split is all of them."""
    return "image" if split == "all" else f"{split} image"


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are cut into splits.

    Attributes:
        name: A known data set, or the path of a folder or file of images.
        image_size: (height, width) in pixels that images are resized and centre-cropped to; None keeps theirs.
        grayscale: Convert colour images to one channel of luma.
        limit: Largest number of images per split, drawn with ``split_seed``; None takes all.
        val: Fraction of the training images that is set aside for validation, in [0, 1).
        split_seed: Seed of every random split. Apart from the run's seed, so that seeds compare on the same images.
        skip_bad: Leave out images that cannot be decoded, or have values that are not finite, instead of stopping.
        value_range: Which values become black and white: ``dtype`` is the range of the type, ``data`` that of the
            training images, ``LOW,HIGH`` is given; ``auto`` is that of the type where something can be seen then.
        labels: A table of labels for a path: columns ``file`` and ``label``, others are attributes; None takes what
            the images bring along.
        binarize: Draw each pixel black or white with its grey value as probability: anew whenever an image is used
            (``dynamic``), or once for good (``fixed``).
    """

    name: str = "mnist"
    image_size: tuple[int, int] | None = None
    grayscale: bool = False
    limit: int | None = None
    val: float = 0.0
    split_seed: int = 0
    skip_bad: bool = False
    value_range: str = "auto"
    labels: str | None = None
    binarize: Binarize = "none"

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("binarize", self.binarize, Binarize)
        parse_value_range(self.value_range)
        if self.image_size is not None:
            object.__setattr__(self, "image_size", tuple(self.image_size))
            if min(self.image_size) < 8 or max(self.image_size) > 4096:
                size = "x".join(map(str, self.image_size))
                raise UsageError(f"--image-size: {size} is outside 8 to 4096 pixels; choose a size in between")
        check_at_least("limit", self.limit, 1)
        check_not_empty("labels", self.labels)
        check_seed("split-seed", self.split_seed)
        if not 0 <= self.val < 1:
            raise UsageError(
                f"--val: {self.val} is outside [0, 1); give the fraction of training images to set aside, such as 0.2"
            )

    def pixel_seed(self, seed: int) -> int | None:
        """Return the seed by which pixels are drawn black or white, or None if they stay grey.

        Args:
            seed: That of a dynamic draw; a fixed one has that of the splits, so that runs compare on the same pixels.
        """
        return {"none": None, "dynamic": seed, "fixed": self.split_seed}[self.binarize]


@dataclass(frozen=True)
class ModelConfig:
    """Which network.

    Attributes:
        kind: ``ae`` for a plain autoencoder, ``vae`` for one with a Gaussian posterior.
        arch: One of the architectures in :mod:`aekit.images.models`; or ``own-NAME`` for a network whose parts the
            function NAME builds, which is given in Python.
        latent: Dimensions of the code.
        layers: Depth, where the architecture has a choice; None is its default.
        width: Channels (or hidden units) of the first layer, where there is a choice; None is its default.
        loss: How the decoder's logits are read: the likelihood of a pixel, or for an ``ae`` plain squared error.
        prior: Distribution of a VAE's code: a standard ``normal``, a ``mixture`` of Gaussians that is learned, or the
            posteriors of learned pseudo-inputs (``vamp``).
        components: Gaussians of a mixture, or pseudo-inputs; None is the default.
        stochastic_layers: Layers of latent variables of a VAE: 1, or 2 with a second one between image and code.
        lower_latent: Variables of the second one; None is twice ``latent``.
        condition: What encoder and decoder of a VAE are told besides: ``label``, the class of the image.
    """

    kind: Kind = "vae"
    arch: Arch = "conv"
    latent: int = 10
    layers: int | None = None
    width: int | None = None
    loss: Loss = "bernoulli"
    prior: Prior = "normal"
    components: int | None = None
    stochastic_layers: int = 1
    lower_latent: int | None = None
    condition: Condition = "none"

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("kind", self.kind, Kind)
        if self.own_builder is None:
            check_choice("arch", self.arch, Arch)
        check_choice("loss", self.loss, Loss)
        check_at_least("latent", self.latent, 1)
        check_at_least("layers", self.layers, 1)
        check_at_least("width", self.width, 1)
        if self.kind == "vae" and self.loss == "mse":
            raise UsageError("--loss: mse is not a log-likelihood, so beta would have no scale; use gaussian for a VAE")
        check_choice("prior", self.prior, Prior)
        check_at_least("components", self.components, 1)
        check_at_least("lower-latent", self.lower_latent, 1)
        if self.kind == "ae" and (self.prior != "normal" or self.stochastic_layers != 1):
            raise UsageError("--prior, --stochastic-layers: a plain autoencoder has no prior; leave them out")
        check_choice("condition", self.condition, Condition)
        if self.is_conditional and self.kind == "ae":
            raise UsageError("--condition: is for a VAE; leave it out")
        if self.is_conditional and self.prior == "vamp":
            raise UsageError("--condition: the pseudo-inputs of --prior vamp have no class; use --prior mixture")
        if self.components is not None and self.prior == "normal":
            raise UsageError("--components: the standard normal has none; add --prior mixture or --prior vamp")
        if self.stochastic_layers not in (1, 2):
            raise UsageError(f"--stochastic-layers: {self.stochastic_layers} is not possible; give 1 or 2")
        if self.lower_latent is not None and self.stochastic_layers == 1:
            raise UsageError("--lower-latent: there is one layer of latent variables; add --stochastic-layers 2")

    @property
    def own_builder(self) -> str | None:
        """Return the name of the function in Python that builds the network; None for a network of aekit."""
        name = self.arch.removeprefix(OWN)
        return name if name != self.arch and name.isidentifier() else None

    @property
    def n_lower(self) -> int:
        """How many latent variables there are between image and code; 0 if the code is the only layer."""
        return 0 if self.stochastic_layers == 1 else self.lower_latent or 2 * self.latent

    @property
    def is_conditional(self) -> bool:
        """Whether encoder and decoder are told the class of the image."""
        return self.condition == "label"

    @property
    def n_components(self) -> int:
        """How many Gaussians the prior is a mixture of."""
        return 1 if self.prior == "normal" else self.components or DEFAULT_COMPONENTS

    @property
    def has_prior(self) -> bool:
        """Whether the code has a prior distribution, and so a posterior and a KL divergence from it."""
        return self.kind == "vae"


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained.

    Attributes:
        epochs: Passes over the training images (or over ``samples_per_epoch`` of them).
        batch_size: Images per step; None is the default, or all images if there are fewer.
        optimizer: ``adamw``, or ``muon``: orthogonal steps of the weight matrices inside encoder and decoder, and AdamW
            for the rest; None is the architecture's default.
        lr: Learning rate, at its peak unless it is ``constant``; None is the default of architecture and optimizer.
        weight_decay: Decoupled decay of all weights but the pixel noise: each step takes lr * weight_decay of them off,
            and 2.5 times as much of the matrices of ``muon``.
        schedule: ``one-cycle`` (linear warm-up, cosine decay to zero), ``linear`` (linear decay) or ``constant``; None
            is the default of the optimizer.
        objective: What is minimised: see :mod:`aekit.images.objectives`.
        samples: Samples of the posterior per image, for ``iwae``; None is the default, and 1 for all others.
        dreg: Whether ``iwae`` takes doubly reparameterised gradients.
        beta: Weight of what the objective penalises, for ``elbo`` the KL divergence; 1 is the evidence lower bound.
        beta_warmup: Epochs over which the weight rises linearly from 0 to ``beta``; may be a fraction.
        capacity: KL divergence in nats that ``elbo`` holds the code at; it rises linearly from 0 over
            ``capacity_warmup`` epochs. None penalises all of it.
        capacity_warmup: Epochs until the capacity is reached; None is all of them.
        free_bits: KL divergence in nats of each latent dimension that ``elbo`` does not penalise.
        samples_per_epoch: Images drawn for an epoch, without repetition until all were seen; None takes all.
        mirror: Flip a random half of the training images horizontally, anew each epoch.
        precision: ``bf16`` runs the network under autocast; ``auto`` takes it where the hardware has it.
        compile: Run the network through ``torch.compile``.
        keep: Write the weights of the ``last`` epoch, or of the one with the ``best`` validation total.
        seed: Seed of initial weights, order of images and sampling noise.
        init: Checkpoint whose weights the run begins with; None draws them.
        patience: Stop when the validation total has not improved for this many epochs; None trains all epochs.
    """

    epochs: int = 10
    batch_size: int | None = None
    optimizer: Optimizer | None = None
    lr: float | None = None
    weight_decay: float = 0.1
    schedule: Schedule | None = None
    objective: Objective = "elbo"
    samples: int | None = None
    dreg: bool = False
    beta: float = 1.0
    beta_warmup: float = 0.0
    capacity: float | None = None
    capacity_warmup: float | None = None
    free_bits: float | None = None
    samples_per_epoch: int | None = None
    mirror: bool = False
    precision: Precision = "auto"
    compile: bool = False
    keep: Keep = "last"
    seed: int = 0
    init: str | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("precision", self.precision, Precision)
        check_choice("keep", self.keep, Keep)
        if self.optimizer is not None:
            check_choice("optimizer", self.optimizer, Optimizer)
        if self.schedule is not None:
            check_choice("schedule", self.schedule, Schedule)
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch-size", self.batch_size, 1)
        check_at_least("beta", self.beta, 0)
        check_at_least("beta-warmup", self.beta_warmup, 0)
        check_at_least("samples-per-epoch", self.samples_per_epoch, 1)
        check_at_least("patience", self.patience, 1)
        check_at_least("weight-decay", self.weight_decay, 0)
        if self.beta_warmup > self.epochs:
            raise UsageError(
                f"--beta-warmup: {self.beta_warmup:g} epochs are more than the {self.epochs} of the run, which would "
                "never reach beta; make it shorter"
            )
        check_seed("seed", self.seed)
        check_not_empty("init", self.init)
        self._check_objective()
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError(f"--lr: {self.lr} is not a positive number; the default trains well")

    @property
    def n_samples(self) -> int:
        """How many samples of the posterior are drawn per image and step."""
        return (self.samples or DEFAULT_SAMPLES) if self.objective == "iwae" else 1

    def _check_objective(self) -> None:
        """Refuse options that the objective does not have."""
        check_choice("objective", self.objective, Objective)
        check_at_least("samples", self.samples, 1)
        check_at_least("capacity", self.capacity, 0)
        check_at_least("capacity-warmup", self.capacity_warmup, 0)
        check_at_least("free-bits", self.free_bits, 0)
        own = self.objective
        if self.samples is not None and own != "iwae":
            raise UsageError(f"--samples: --objective {own} takes one sample per image; add --objective iwae")
        if self.dreg and own != "iwae":
            raise UsageError(f"--dreg: --objective {own} has no such gradients; add --objective iwae")
        if own == "iwae" and (self.beta != 1 or self.beta_warmup):
            raise UsageError("--beta, --beta-warmup: the bound of --objective iwae has no weight; leave them out")
        if own in LEAST_BATCH and self.batch_size is not None and self.batch_size < LEAST_BATCH[own]:
            raise UsageError(
                f"--batch-size: --objective {own} compares the codes of a batch; give {LEAST_BATCH[own]} or more images"
            )
        for name in ("capacity", "free_bits"):
            if getattr(self, name) is not None and own != "elbo":
                raise UsageError(f"{flag(name)}: is for --objective elbo, not {own}; leave it out")
        if self.capacity is not None and (self.free_bits is not None or self.beta_warmup):
            raise UsageError("--capacity: cannot be combined with --free-bits or --beta-warmup; give one of them")
        for name in ("capacity", "free_bits"):
            if getattr(self, name) is not None and self.beta == 0:
                raise UsageError(
                    f"{flag(name)}: --beta 0 does not weigh the KL divergence at all; leave out one of them"
                )
        if self.capacity_warmup is not None and self.capacity is None:
            raise UsageError("--capacity-warmup: there is no capacity to reach; add --capacity")
        if self.capacity_warmup is not None and self.capacity_warmup > self.epochs:
            raise UsageError(
                f"--capacity-warmup: {self.capacity_warmup:g} epochs are more than the {self.epochs} of the run, which "
                "would never reach the capacity; make it shorter"
            )


@dataclass(frozen=True)
class RunConfig:
    """One training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.data.binarize != "none" and self.model.loss != "bernoulli":
            raise UsageError(
                f"--binarize: {self.data.binarize} makes pixels black or white, which --loss {self.model.loss} is not "
                "made for; use bernoulli, or leave --binarize out"
            )
        if self.model.kind == "ae" and self.train.objective != "elbo":
            raise UsageError(
                f"--objective: {self.train.objective} is for a VAE; an autoencoder has the reconstruction loss alone"
            )
        self._check_layers()

    def _check_layers(self) -> None:
        """Refuse what is not defined for a learned prior, or for two layers of latent variables."""
        model, train = self.model, self.train
        needs_plain = next(
            (
                text
                for text, is_given in (
                    (f"--objective {train.objective}", train.objective not in ("elbo", "iwae")),
                    ("--capacity", train.capacity is not None),
                    ("--free-bits", train.free_bits is not None),
                )
                if is_given
            ),
            None,
        )
        if needs_plain and model.prior != "normal":
            raise UsageError(f"{needs_plain}: is defined for a standard normal prior; leave out --prior {model.prior}")
        if needs_plain and model.stochastic_layers == 2:
            raise UsageError(f"{needs_plain}: is for one layer of latent variables; leave out --stochastic-layers")
        if train.objective in ("beta-tc", "factor") and model.latent == 1:
            raise UsageError(
                f"--objective: {train.objective} weighs the total correlation, which one dimension does not have; give "
                "--latent 2 or more"
            )
        if train.dreg and train.compile:
            raise UsageError(
                "--dreg: changes gradients inside the network, which --compile hides; leave out one of them"
            )


def parse_value_range(text: str) -> tuple[float, float] | None:
    """Return (low, high) of ``0,4095``, or None for ``auto``, ``dtype`` and ``data``.

    Raises:
        UsageError: Anything else.
    """
    if text in ("auto", "dtype", "data"):
        return None
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise UsageError(
            f"--value-range: {text!r} is not a range; give auto, dtype, data, or two numbers such as 0,4095 or -1,1"
        )
    return low, high


def parse_image_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of ``64`` or ``218x178``, or None for None.

    Raises:
        UsageError: Anything else.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(map(is_whole_number, sides)):
        raise UsageError(
            f"--image-size: {text!r} is not a size; give one number or HEIGHTxWIDTH, such as 64 or 218x178"
        )
    return int(sides[0]), int(sides[-1])
