"""Options of the commands that study checkpoints: which ones, on which images, and where the results go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aekit.core.settings import MAX_SEED
from aekit.images.config import Split
from aekit.terminal import completion, options

Checkpoints = Annotated[
    list[str],
    typer.Argument(
        autocompletion=completion.checkpoints,
        metavar="CHECKPOINT...",
        help="Checkpoints trained by aekit; - reads their paths from stdin, one per line.",
    ),
]
OneCheckpoint = Annotated[
    str,
    typer.Argument(
        autocompletion=completion.checkpoints,
        metavar="CHECKPOINT",
        help="Checkpoint trained by aekit; - reads its path from stdin.",
    ),
]
OtherData = Annotated[
    str | None,
    options.images(
        "--data", "Images other than those of the checkpoint, or their new location.", default="the checkpoint's"
    ),
]
LabelTable = Annotated[
    str | None,
    typer.Option(
        "--labels",
        autocompletion=completion.people,
        rich_help_panel=options.DATA,
        metavar="FILE.csv",
        help="Table of labels of the images: columns file and label, others are attributes of 0 and 1.",
        show_default="the checkpoint's",
    ),
]
AsBinarized = Annotated[
    bool,
    typer.Option(
        "--binarize",
        rich_help_panel=options.DATA,
        help="Draw pixels black or white, as in a training with --binarize, instead of grey images.",
    ),
]
WhichSplit = Annotated[
    Split,
    typer.Option(
        "--split",
        rich_help_panel=options.DATA,
        help="Images to use: the test, training or validation set, or all.",
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        "--label",
        rich_help_panel=options.ANALYSIS,
        metavar="NAME,...",
        help="Classes to decode as, for models trained with --condition label.",
        show_default="all classes, or the one of the image",
    ),
]
EachPicture = Annotated[
    Path | None,
    typer.Option(
        "--each",
        rich_help_panel=options.OUTPUT,
        metavar="DIR",
        help="Also write each image as a .png file into this folder.",
        show_default="no files",
    ),
]
Resamples = Annotated[
    int,
    typer.Option(
        "--bootstrap",
        rich_help_panel=options.ANALYSIS,
        min=2,
        help="Number of resamples of the images, for intervals.",
    ),
]
Gaussians = Annotated[
    int, typer.Option("--gaussians", rich_help_panel=options.ANALYSIS, min=1, help="Gaussians of --density gmm.")
]
NoiseSeed = Annotated[
    int,
    typer.Option("--seed", rich_help_panel=options.ANALYSIS, min=0, max=MAX_SEED, help="Random seed."),
]
Perplexity = Annotated[
    float,
    typer.Option(
        "--perplexity", rich_help_panel=options.ANALYSIS, min=1.0, help="Effective number of neighbours for t-SNE."
    ),
]


def _output(help_text: str) -> Any:
    """Return the option that says where the result of a study goes."""
    return typer.Option(
        "--output",
        "-o",
        rich_help_panel=options.OUTPUT,
        metavar="PATH",
        help=help_text,
        show_default="next to the checkpoint",
    )


FigureOutput = Annotated[
    Path | None,
    _output("The figure, .png; its companion files share the stem. A path without a suffix is a folder."),
]
PageOutput = Annotated[Path | None, _output("The page, .html. A path without a suffix is a folder.")]
Output = Annotated[
    Path | None,
    _output(
        "The main file; its companion files share the stem. A path without a suffix is a folder; several checkpoints "
        "require a folder."
    ),
]
