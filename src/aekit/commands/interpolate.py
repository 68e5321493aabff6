"""``aekit interpolate``: paths between images, classes or samples, and walks along an attribute."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.interpolation.request import PathKind, PathRequest, Space
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import (
    Checkpoints,
    ClassNames,
    FigureOutput,
    LabelTable,
    NoiseSeed,
    OtherData,
    WhichSplit,
)


def interpolate(
    checkpoints: Checkpoints,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            rich_help_panel=options.ANALYSIS,
            metavar="PAIRS",
            help="Pairs to interpolate between: classes, such as 4-7,8-9, by name or number (a:b where a dash is in "
            "names); images by index, such as '#12-#55'; or both.",
            show_default="random pairs",
        ),
    ] = None,
    prior: Annotated[
        int | None,
        typer.Option(
            "--prior",
            rich_help_panel=options.ANALYSIS,
            min=1,
            metavar="N",
            help="Interpolate between N pairs of samples of the prior instead.",
            show_default="pairs of images",
        ),
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute",
            rich_help_panel=options.ANALYSIS,
            metavar="NAME",
            help="Walk along an attribute or class: the mean code of images with it minus that of the others.",
            show_default="none",
        ),
    ] = None,
    starts: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            rich_help_panel=options.ANALYSIS,
            metavar="IMAGE",
            help="An image file where a path to that of --to starts; repeatable. With --attribute: where walks start, "
            "an image file, '#12,#55', or classes.",
            show_default="random images",
        ),
    ] = None,
    stops: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            rich_help_panel=options.ANALYSIS,
            metavar="IMAGE",
            help="The image file where the path from that of --from ends; one for each.",
            show_default="none",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", rich_help_panel=options.ANALYSIS, min=2, help="Images along each path.")
    ] = 11,
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            rich_help_panel=options.ANALYSIS,
            metavar="LO HI",
            help="First and last alpha: 0 is the first image of a pair, 1 the second; values beyond extrapolate.",
            show_default="0 1, or -2 2 with --attribute",
        ),
    ] = None,
    path: Annotated[
        PathKind,
        typer.Option(
            "--path",
            rich_help_panel=options.ANALYSIS,
            help="A straight line, or an arc around the mean of the prior or of the codes.",
        ),
    ] = "linear",
    space: Annotated[
        Space,
        typer.Option(
            "--space",
            rich_help_panel=options.ANALYSIS,
            help="Interpolate between codes, or as a baseline between the images themselves.",
        ),
    ] = "latent",
    draws: Annotated[
        int,
        typer.Option(
            "--draws",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Paths per pair of classes to measure; the first one is shown.",
        ),
    ] = 10,
    label: ClassNames = None,
    seed: NoiseSeed = 0,
    split: WhichSplit = "test",
    data: OtherData = None,
    labels: LabelTable = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Show and measure paths from one image to another through the latent space.

    Reads checkpoints and the images that they were trained on (others with --data). Codes are posterior means. With
    several checkpoints, each pair has one row per checkpoint. The images at the ends are shown on either side. Writes a
    figure (.png) and a table (.csv) with one row per step: step_length is the root mean square change of the pixels
    since the previous step (1: black to white); nearest_code the distance from the path to the nearest code of another
    image; nearest_code_ratio the same divided by the median of such distances between codes (both are empty for blends
    of pixels); start_error and end_error the MSE of the reconstructions at alpha 0 and 1. Walks along an attribute
    are measured in units of the difference of means of the training codes. Prints the path of the figure.

    Example: aekit interpolate runs/vae.safetensors --pairs 4-7,8-9 --range -0.5 1.5 --steps 9
    """
    request = PathRequest(pairs, prior, attribute, starts, limits, steps, path, space, draws, seed, split, stops, label)
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.interpolation.study import run_interpolate
        from aekit.images.session import open_session

        session = open_session(
            found, data=data, table=labels, data_root=data_root, device=device, threads=threads, progress=console
        )
        console.result(run_interpolate(session, output, request))
