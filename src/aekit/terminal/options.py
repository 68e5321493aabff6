"""Options that mean the same in every command, as annotated types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from aekit.core.environment import default_data_root
from aekit.core.settings import Precision
from aekit.errors import UsageError
from aekit.terminal import completion

DATA, MODEL, OBJECTIVE, TRAINING, OUTPUT = "Data", "Model", "Objective", "Training", "Output and machine"
ANALYSIS, GRID, COHORT = "Analysis", "Grid", "Cohort"

# --- data ---


def images(option: str, help_text: str, *, default: str) -> Any:
    """Return the declaration of an option that names images: a known data set or a path.

    Args:
        option: Its name.
        help_text: What the images are.
        default: What is taken without it.
    """
    return typer.Option(
        option,
        autocompletion=completion.images,
        rich_help_panel=DATA,
        metavar="NAME|PATH",
        help=help_text,
        show_default=default,
    )


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
        help="Resize and centre-crop images to this size in pixels.",
        show_default="unchanged",
    ),
]
Grayscale = Annotated[
    bool, typer.Option("--grayscale", rich_help_panel=DATA, help="Convert colour images to a single luminance channel.")
]
SplitSeed = Annotated[
    int, typer.Option("--split-seed", rich_help_panel=DATA, help="Seed of random splits, independent of --seed.")
]
ValueRange = Annotated[
    str,
    typer.Option(
        "--value-range",
        rich_help_panel=DATA,
        metavar="RANGE",
        help="Values that become black and white: auto, dtype, data, or LOW,HIGH; auto refuses nearly black images.",
    ),
]
LabelTable = Annotated[
    str | None,
    typer.Option(
        "--labels",
        autocompletion=completion.people,
        rich_help_panel=DATA,
        metavar="FILE.csv",
        help="Table of labels of the images: columns file and label, others are attributes of 0 and 1.",
        show_default="of the data",
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        rich_help_panel=DATA,
        help="Leave out images that cannot be decoded or are not finite; count and name them.",
    ),
]

# --- training ---

LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        rich_help_panel=TRAINING,
        help="Peak learning rate, of a one-cycle schedule.",
        show_default="by --arch and image",
    ),
]
WeightDecay = Annotated[
    float,
    typer.Option("--weight-decay", rich_help_panel=TRAINING, help="Decoupled weight decay, as in AdamW."),
]
PrecisionName = Annotated[
    Precision,
    typer.Option(
        "--precision",
        rich_help_panel=TRAINING,
        help="auto: bf16 where the hardware supports bf16 multiplication, otherwise fp32.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", rich_help_panel=TRAINING, help="Seed of initial weights, order and noise.", show_default=True
    ),
]

# --- output and machine ---

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        rich_help_panel=OUTPUT,
        metavar="PATH",
        help="The checkpoint to write (.safetensors), with .csv and .png of the same stem; or a folder.",
        show_default="runs/<name from the options>.safetensors",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        autocompletion=completion.one_of(completion.DEVICES),
        rich_help_panel=OUTPUT,
        metavar="NAME",
        help="Device: auto, cpu, cuda, cuda:N or mps; auto takes the fastest available.",
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        rich_help_panel=OUTPUT,
        help="Split each batch over N GPUs of this machine (processes on a CPU); for several machines: torchrun.",
        show_default="1",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", rich_help_panel=OUTPUT, help="CPU threads.", show_default="all cores"),
]
Tensorboard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        rich_help_panel=OUTPUT,
        metavar="FOLDER",
        help="Also write losses, learning rate and reconstructions for TensorBoard here, in a folder per run.",
        show_default="none",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace a finished result.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", rich_help_panel=OUTPUT, help="Resume an interrupted run; a finished one is left as it is."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=OUTPUT, help="Print only errors to stderr.")]
Json = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=OUTPUT, help="Print one JSON object per line on stdout: path, metrics."),
]


def with_choices(text: str, choices: Sequence[str]) -> str:
    """Return the help of an option with its choices at the end, unless it names them all."""
    words = set(re.findall(r"[\w-]+", text))
    return text if words >= set(choices) else f"{text} One of {', '.join(choices)}."


def check_cluster(ray: str | None, gpus_per_cell: float | None, tensorboard: Path | None) -> None:
    """Raise a UsageError if an option needs a Ray cluster, or cannot be had on one.

    Args:
        ray: Address of the cluster; None is this machine.
        gpus_per_cell: GPUs of each run.
        tensorboard: Folder of events.
    """
    if gpus_per_cell is not None and ray is None:
        raise UsageError("--gpus-per-cell: needs --ray, as Ray assigns the GPUs; add --ray auto")
    if tensorboard is not None and ray is not None:
        raise UsageError("--tensorboard: the nodes of a Ray cluster share no folder with this machine; leave it out")


def resolve_data_root(data_root: Path | None) -> Path:
    """Return the folder of the known data sets: the one given, ``$AEKIT_DATA``, or the user's data folder."""
    return data_root or default_data_root()
