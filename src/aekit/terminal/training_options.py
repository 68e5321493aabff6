"""The options of training, each written once: ``train-ae``, ``train-vae`` and ``sweep`` derive their signatures.

An option is a field of a configuration (:mod:`aekit.images.config`), which has its type, default and check, and an
entry of :data:`OPTIONS`, which has its help. A new one needs these two.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from aekit.core.settings import as_text, choices_of, flag
from aekit.errors import AekitError
from aekit.images.catalog import CATALOG
from aekit.images.config import parse_image_size
from aekit.images.parent import INHERITED, inherit_model
from aekit.images.run_settings import PARTS, SETTINGS, VAE_ONLY, build_config
from aekit.terminal import completion
from aekit.terminal.options import DATA, MODEL, OBJECTIVE, TRAINING, with_choices

VaeLoss = Literal["bernoulli", "gaussian", "continuous-bernoulli", "logistic"]
Command = Callable[..., None]
Build = Callable[
    [dict[str, Any], Path | None, typer.Context | None], Any
]  # of the options, --output, and who gave what
INTEGERS, NUMBERS, NAMES = "N,N-N,...", "X,X,...", "NAME,..."  # values that take several


@dataclass(frozen=True)
class TrainingOption:
    """How a setting is explained on the command line.

    Attributes:
        name: The setting, as in :data:`aekit.images.run_settings.SETTINGS`; the flag is the same with dashes.
        panel: Heading of the help page that it stands under.
        help: What it does, for all commands, or by command: ``ae``, ``vae`` and ``sweep``.
        metavar: What stands for its value; None derives it from the type.
        shows: What stands for a default of None, or None if the default shows itself.
        completes: What Tab offers for the value.
    """

    name: str
    panel: str
    help: str | dict[str, str]
    metavar: str | None = None
    shows: str | None = None
    completes: completion.Complete | None = None

    def help_of(self, command: str) -> str:
        """Return the help for ``ae``, ``vae`` or ``sweep``."""
        return self.help if isinstance(self.help, str) else self.help[command]


OPTIONS = (
    TrainingOption(
        "data",
        DATA,
        f"{', '.join(CATALOG)}; or a folder of images (class folders inside give labels), an .npy, .npz or "
        ".safetensors file.",
        metavar="NAME|PATH",
        completes=completion.images,
    ),
    TrainingOption(
        "labels",
        DATA,
        "Table of labels of the images: columns file and label, others are attributes of 0 and 1.",
        metavar="FILE.csv",
        shows="of the data",
        completes=completion.people,
    ),
    TrainingOption("image_size", DATA, "Resize and centre-crop images to this size in pixels.", "N|HxW", "unchanged"),
    TrainingOption("grayscale", DATA, "Convert colour images to a single luminance channel."),
    TrainingOption("limit", DATA, "Use at most N images of each split.", shows="all"),
    TrainingOption("val", DATA, "Fraction of the training images to set aside for validation.", "FRACTION"),
    TrainingOption("split_seed", DATA, "Seed of random splits, independent of --seed."),
    TrainingOption("skip_bad", DATA, "Leave out images that cannot be decoded or are not finite; count and name them."),
    TrainingOption(
        "value_range",
        DATA,
        "Values that become black and white: auto, dtype (range of the type), data (range of the training images), or "
        "LOW,HIGH; auto refuses images that would be nearly black.",
        "RANGE",
    ),
    TrainingOption(
        "binarize",
        DATA,
        "Draw pixels black or white, with the grey value as probability: dynamic (anew whenever an image is used) or "
        "fixed (once).",
    ),
    TrainingOption("latent", MODEL, "Number of latent dimensions."),
    TrainingOption(
        "arch", MODEL, "conv, dense, mlp, blocks: images of 8x8 pixels or more; resize-conv, strided: of 28x28."
    ),
    TrainingOption("layers", MODEL, "Depth of conv, dense, mlp, blocks or strided.", shows="by --arch"),
    TrainingOption(
        "width", MODEL, "Channels of the first layer of conv or blocks, units of dense or mlp.", shows="by --arch"
    ),
    TrainingOption(
        "loss",
        MODEL,
        {
            "ae": "Negative log-likelihood of a pixel in nats, or mse: mean squared error.",
            "vae": "Likelihood of a pixel; losses are in nats.",
            "sweep": "Likelihood of a pixel, as in train-ae and train-vae.",
        },
    ),
    TrainingOption(
        "objective",
        OBJECTIVE,
        "elbo (beta-VAE), iwae (bound from several samples), or a penalty on the codes of a batch: beta-tc, factor "
        "(total correlation), dip-i, dip-ii (covariance), mmd (InfoVAE).",
    ),
    TrainingOption("samples", OBJECTIVE, "Samples per image of --objective iwae.", shows="5"),
    TrainingOption("dreg", OBJECTIVE, "Doubly reparameterised gradients for --objective iwae."),
    TrainingOption("beta", OBJECTIVE, "Weight of the KL divergence, or of the penalty of --objective."),
    TrainingOption("beta_warmup", OBJECTIVE, "Epochs over which the weight of the KL rises from 0 to beta.", "EPOCHS"),
    TrainingOption("capacity", OBJECTIVE, "Hold the KL divergence at this many nats, rising from 0.", "NATS", "none"),
    TrainingOption("capacity_warmup", OBJECTIVE, "Epochs until --capacity is reached.", "EPOCHS", "all"),
    TrainingOption(
        "free_bits", OBJECTIVE, "KL divergence in nats of each latent dimension that costs nothing.", "NATS", "none"
    ),
    TrainingOption(
        "prior",
        OBJECTIVE,
        "Distribution of the code: standard normal, a learned mixture of Gaussians, or the posteriors of learned "
        "pseudo-inputs (vamp).",
    ),
    TrainingOption("components", OBJECTIVE, "Gaussians of --prior mixture, or pseudo-inputs of vamp.", shows="100"),
    TrainingOption(
        "stochastic_layers",
        OBJECTIVE,
        "Layers of latent variables: 2 puts a second one between the image and the code.",
    ),
    TrainingOption("lower_latent", OBJECTIVE, "Variables of the second layer.", shows="twice --latent"),
    TrainingOption(
        "condition",
        OBJECTIVE,
        "What encoder and decoder are told besides: label, the class of the image; or none.",
        "NAME",
    ),
    TrainingOption("epochs", TRAINING, "Passes over the training images."),
    TrainingOption("batch_size", TRAINING, "Images per step.", shows="100, or fewer for small sets"),
    TrainingOption(
        "optimizer",
        TRAINING,
        "adamw, or muon: orthogonal steps of the weight matrices inside encoder and decoder, which need fewer epochs.",
        metavar="NAME",
        shows="by --arch, image size and --batch-size",
    ),
    TrainingOption(
        "lr",
        TRAINING,
        "Learning rate (its peak, unless --schedule constant).",
        shows="by --arch, --optimizer, image size and --batch-size",
    ),
    TrainingOption("weight_decay", TRAINING, "Decoupled weight decay, as in AdamW."),
    TrainingOption(
        "schedule",
        TRAINING,
        "one-cycle: linear warm-up, then cosine decay to zero; linear: the same with linear decay; or constant.",
        shows="by --optimizer",
    ),
    TrainingOption(
        "samples_per_epoch",
        TRAINING,
        "Images per epoch, drawn without replacement until all have been used.",
        shows="all",
    ),
    TrainingOption(
        "mirror",
        TRAINING,
        "Flip a random half of the training images horizontally, anew each epoch; for faces and objects, not digits.",
    ),
    TrainingOption(
        "precision", TRAINING, "auto: bf16 where the hardware supports bf16 multiplication, otherwise fp32."
    ),
    TrainingOption("compile", TRAINING, "Compile the network first; pays off for long runs on a GPU."),
    TrainingOption("keep", TRAINING, "Write the weights of the last epoch, or of the best on --val."),
    TrainingOption("seed", TRAINING, "Seed of initial weights, order of images and noise."),
    TrainingOption(
        "init",
        TRAINING,
        "Begin with the weights of a finished run, of these or other images; the network is taken from it.",
        "FILE",
        "random weights",
        completes=completion.checkpoints,
    ),
    TrainingOption(
        "patience",
        TRAINING,
        "Stop when the validation loss has not improved for N epochs (--val); for --schedule constant.",
        shows="all epochs",
    ),
)


def training_options(kind: Literal["ae", "vae"]) -> Callable[[Command], Command]:
    """Return a decorator for a command that takes a ``config``: its command line has the training options instead."""
    own = [option for option in OPTIONS if kind == "vae" or option.name not in VAE_ONLY]

    def build(values: dict[str, Any], output: Path | None, context: typer.Context | None) -> Any:
        checkpoint = output if output is not None and output.suffix else None
        values = inherit_model({"model": kind, **values}, _given(values, context), checkpoint)
        return build_config({**values, "image_size": parse_image_size(values["image_size"])})

    return _deriving("config", [_single(option, kind) for option in own], build)


def grid_options(command: Command) -> Command:
    """Return a command that takes ``given`` with the training options, each of which takes several values, instead.

    ``given`` has what each option says, ``model`` too, as text, by name; None leaves it at its default. The order is
    that of the command line, and what it leaves out comes last.
    """
    help_text = "What to train."
    model = typer.Option("--model", rich_help_panel=MODEL, metavar="ae|vae,...", help=help_text)
    derived = [_parameter("model", str, model, "vae"), *(_several(option) for option in OPTIONS)]

    def build(values: dict[str, Any], output: Path | None, context: typer.Context | None) -> Any:
        # With --init, what was not given is the network's there and not the default.
        left_open = set() if values["init"] is None else {*INHERITED} - _given(values, context)
        order = values if context is None else context.params
        return {name: None if name in left_open else values[name] for name in order if name in values}

    return _deriving("given", derived, build)(command)


def _given(values: dict[str, Any], context: typer.Context | None) -> set[str]:
    """Return the options that the command line names; without one, all."""
    if context is None:
        return set(values)
    sources = {name: context.get_parameter_source(name) for name in values}
    return {name for name, source in sources.items() if source is None or source.name != "DEFAULT"}


def _deriving(name: str, derived: list[inspect.Parameter], build: Build) -> Callable[[Command], Command]:
    """Return a decorator that replaces the parameter ``name`` by others, from whose values it is built."""

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            own = parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            parameters += derived if parameter.name == name else [own]
        parameters.append(
            inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context, default=None)
        )

        @functools.wraps(command)
        def run(**values: Any) -> None:
            if values.get("overwrite") and values.get("resume"):
                raise AekitError("--overwrite, --resume: one starts over, the other continues; give one of them")
            own = {parameter.name: values.pop(parameter.name) for parameter in derived}
            built = build(own, values.get("output"), values.pop("context", None))
            command(**{name: built}, **values)

        del run.__wrapped__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        setattr(run, "__signature__", inspect.Signature(parameters))  # noqa: B010
        return run

    return decorate


def _single(option: TrainingOption, command: str) -> inspect.Parameter:
    """Return the parameter of an option that takes one value."""
    kind, default = _field(option.name)
    if option.name == "loss" and command == "vae":
        kind = VaeLoss
    if option.name == "image_size":
        kind = str | None
    info = _info(option, option.help_of(command), option.metavar, option.completes, option.shows)
    return _parameter(option.name, kind, info, default)


def _several(option: TrainingOption) -> inspect.Parameter:
    """Return the parameter of an option that takes several values, as text; one that is on or off stays as it is."""
    kind, default = _field(option.name)
    if kind is bool:
        return _single(option, "sweep")
    choices = choices_of(kind)
    text = with_choices(option.help_of("sweep"), choices) if choices else option.help_of("sweep")
    completes = (
        completion.several_of(list(CATALOG) if option.name == "data" else choices)
        if (choices or option.name == "data")
        else None
    )
    types = get_args(kind) or (kind,)
    metavar = NAMES if choices else INTEGERS if int in types else NUMBERS
    if option.metavar is not None and option.name not in VAE_ONLY:
        metavar = f"{option.metavar},..."
    if default is None or option.name in VAE_ONLY:  # an autoencoder refuses a beta, so it must be known who gave one
        shows = option.shows or as_text(default)
        return _parameter(option.name, str | None, _info(option, text, metavar, completes, shows), None)
    return _parameter(option.name, str, _info(option, text, metavar, completes, None), as_text(default))


def _field(name: str) -> tuple[Any, Any]:
    """Return type and default of the field behind a setting."""
    part, field_name = SETTINGS[name]
    return _hints(part)[field_name], getattr(PARTS[part](), field_name)


@functools.cache
def _hints(part: str) -> dict[str, Any]:
    return get_type_hints(PARTS[part])  # evaluates text, which takes long for what is asked 77 times at each start


def _info(
    option: TrainingOption, text: str, metavar: str | None, completes: completion.Complete | None, shows: str | None
) -> Any:
    return typer.Option(
        flag(option.name),
        rich_help_panel=option.panel,
        help=text,
        metavar=metavar,
        autocompletion=completes,
        show_default=shows or True,
    )


def _parameter(name: str, kind: Any, info: Any, default: Any) -> inspect.Parameter:
    annotation = Annotated[kind, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
