"""Options that mean the same in every command, as annotated types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from aekit.core.environment import default_data_root
from aekit.core.settings import Precision, Schedule
from aekit.errors import AekitError
from aekit.images.config import Arch, Keep
from aekit.terminal import completion

DATA, MODEL, TRAINING, OUTPUT = "Data", "Model", "Training", "Output and machine"
ANALYSIS, GRID, COHORT = "Analysis", "Grid", "Cohort"

# --- data ---

DataName = Annotated[
    str,
    typer.Option(
        "--data",
        autocompletion=completion.images,
        rich_help_panel=DATA,
        metavar="NAME|PATH",
        help="mnist, fashion-mnist, kmnist, emnist, cifar10, celeba, digits; or a folder of images (class folders "
        "inside give labels), an .npy, .npz or .safetensors file.",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        rich_help_panel=DATA,
        help="Folder of the known data sets.",
        show_default="$AEKIT_DATA, or aekit in the user's data folder",
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        rich_help_panel=DATA,
        metavar="N|HxW",
        help="Resize and centre-crop images to so many pixels.",
        show_default="as they are",
    ),
]
Grayscale = Annotated[
    bool, typer.Option("--grayscale", rich_help_panel=DATA, help="Turn colour into one channel of luma.")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", rich_help_panel=DATA, help="Use at most so many images of each split.", show_default="all"),
]
Val = Annotated[
    float,
    typer.Option("--val", rich_help_panel=DATA, metavar="FRACTION", help="Set aside a share of train for validation."),
]
SplitSeed = Annotated[
    int,
    typer.Option("--split-seed", rich_help_panel=DATA, help="Seed of random splits; apart from --seed on purpose."),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        rich_help_panel=DATA,
        help="Leave out images that cannot be decoded or are not finite; count and name them.",
    ),
]

# --- model ---

Latent = Annotated[int, typer.Option("--latent", rich_help_panel=MODEL, help="Dimensions of the code.")]
ArchName = Annotated[
    Arch,
    typer.Option(
        "--arch",
        rich_help_panel=MODEL,
        help="conv, dense and blocks take any image from 8x8 up; resize-conv and strided are for 28x28.",
    ),
]
Layers = Annotated[
    int | None,
    typer.Option(
        "--layers", rich_help_panel=MODEL, help="Depth of conv, dense, blocks or strided.", show_default="by --arch"
    ),
]
Width = Annotated[
    int | None,
    typer.Option(
        "--width",
        rich_help_panel=MODEL,
        help="First channels of conv or blocks, first units of dense.",
        show_default="by --arch",
    ),
]

# --- training ---

Epochs = Annotated[int, typer.Option("--epochs", rich_help_panel=TRAINING, help="Passes over the training images.")]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", rich_help_panel=TRAINING, help="Images a step.", show_default="100, or all if fewer"),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr", rich_help_panel=TRAINING, help="Learning rate, or its peak.", show_default="by --arch and image"
    ),
]
WeightDecay = Annotated[
    float,
    typer.Option("--weight-decay", rich_help_panel=TRAINING, help="Decoupled decay of the weights, as in AdamW."),
]
ScheduleName = Annotated[
    Schedule,
    typer.Option("--schedule", rich_help_panel=TRAINING, help="one-cycle: warm-up, then a cosine down to zero."),
]
SamplesPerEpoch = Annotated[
    int | None,
    typer.Option(
        "--samples-per-epoch",
        rich_help_panel=TRAINING,
        help="Images drawn for an epoch, none twice before all have come.",
        show_default="all",
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror",
        rich_help_panel=TRAINING,
        help="Turn a random half of the training images left to right: for faces and things, not for digits.",
    ),
]
PrecisionName = Annotated[
    Precision,
    typer.Option("--precision", rich_help_panel=TRAINING, help="auto: bf16 where the hardware multiplies in it."),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", rich_help_panel=TRAINING, help="Compile the network first; pays for long runs on a GPU."),
]
KeepWhich = Annotated[
    Keep,
    typer.Option("--keep", rich_help_panel=TRAINING, help="Weights of the last epoch, or of the best on --val."),
]
Seed = Annotated[
    int, typer.Option("--seed", rich_help_panel=TRAINING, help="Seed of weights, order and noise.", show_default=True)
]

# --- output and machine ---

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        rich_help_panel=OUTPUT,
        metavar="PATH",
        help="The checkpoint to write, .safetensors, with .csv and .png beside it; or a folder for it.",
        show_default="runs/<made of the options>.safetensors",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        autocompletion=completion.one_of(completion.DEVICES),
        rich_help_panel=OUTPUT,
        metavar="NAME",
        help="Where to compute: auto, cpu, cuda, cuda:N or mps; auto takes the fastest there is.",
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        rich_help_panel=OUTPUT,
        help="Share each batch out among so many GPUs of this machine (processes on a CPU); more machines: torchrun.",
        show_default="1",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", rich_help_panel=OUTPUT, help="CPU threads.", show_default="every core"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace a finished result.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", rich_help_panel=OUTPUT, help="Go on with an interrupted run; a finished one is left as it is."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=OUTPUT, help="Say nothing on stderr but errors.")]
Json = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON object a line on stdout: path, metrics.")
]

VaeLoss = Literal["bernoulli", "gaussian", "continuous-bernoulli"]


def with_choices(text: str, choices: Sequence[str]) -> str:
    """Return the help of an option with its choices at the end, unless it names them all."""
    words = set(re.findall(r"[\w-]+", text))
    return text if words >= set(choices) else f"{text} One of {', '.join(choices)}."


def parse_image_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of ``64`` or ``218x178``, or None for None.

    Raises:
        AekitError: Anything else.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise AekitError(f"--image-size: {text!r} is no size; give one number or HEIGHTxWIDTH, as 64 or 218x178")
    return int(sides[0]), int(sides[-1])


def checkpoint_path(output: Path, name: str) -> Path:
    """Return the checkpoint to write: ``output`` itself, or ``name`` in it if it is a folder or has no suffix.

    Raises:
        AekitError: It ends like another kind of file.
    """
    if output.is_dir() or not output.suffix:
        return output / name
    if output.suffix != ".safetensors":
        raise AekitError(f"--output {output}: a checkpoint cannot be a {output.suffix} file; end it in .safetensors")
    return output


def resolve_data_root(data_root: Path | None) -> Path:
    """Return the folder of the known data sets: the one given, ``$AEKIT_DATA``, or the user's data folder."""
    return data_root or default_data_root()
