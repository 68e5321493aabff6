"""``aekit probe``: how accurate classifiers with few labels are on codes of an encoder trained without labels."""

from __future__ import annotations

from typing import Annotated

import typer

from aekit.images.probe.request import METHODS, Layer, ProbeRequest, parse_labels, parse_methods
from aekit.images.record import read_checkpoints
from aekit.terminal import completion, options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import AsBinarized, Checkpoints, FigureOutput, NoiseSeed, OtherData


def probe(
    checkpoints: Checkpoints,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            rich_help_panel=options.ANALYSIS,
            metavar="N,...",
            help="Total numbers of labelled images, each a multiple of the number of classes. For a table "
            "of labels see --label-table.",
            show_default="1,2,4,8,10,16,50,100 per class",
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            "--draws", rich_help_panel=options.ANALYSIS, min=1, help="Draws of labelled images for each number."
        ),
    ] = 10,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            autocompletion=completion.several_of(METHODS),
            rich_help_panel=options.ANALYSIS,
            show_default="all",
            metavar="NAME,...",
            help="Any of frozen, finetune, scratch, logistic, spread, pixels, pca; finetune and scratch take minutes.",
        ),
    ] = ",".join(METHODS),
    layer: Annotated[
        Layer,
        typer.Option(
            "--layer",
            rich_help_panel=options.ANALYSIS,
            help="Features: the code (a VAE's posterior means), or the last hidden layer of the encoder.",
        ),
    ] = "code",
    augment: Annotated[
        bool,
        typer.Option(
            "--augment/--no-augment",
            rich_help_panel=options.ANALYSIS,
            help="Also train frozen, finetune and scratch on warped images.",
        ),
    ] = True,
    unlabelled: Annotated[
        int,
        typer.Option(
            "--unlabelled",
            rich_help_panel=options.ANALYSIS,
            min=0,
            metavar="N",
            help="Training images that spread uses: unlabelled ones are added to the labelled up to N in total.",
        ),
    ] = 20_000,
    seed: NoiseSeed = 0,
    data: OtherData = None,
    label_table: Annotated[
        str | None,
        typer.Option(
            "--label-table",
            autocompletion=completion.people,
            rich_help_panel=options.DATA,
            metavar="FILE.csv",
            help="Table of labels of the images, which other commands call --labels.",
            show_default="the checkpoint's",
        ),
    ] = None,
    binarized: AsBinarized = False,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure how accurate classifiers with few labels are on the codes of an encoder trained without labels.

    Reads checkpoints and the images that they were trained on (others with --data). Labelled images are drawn from the
    training images, the same number from each class, and are the same for all methods; accuracy is measured on all test
    images. frozen is a small network on the frozen encoder; finetune is the same with the encoder trained as well;
    scratch is the same from random weights; logistic is logistic regression; spread is label spreading over the graph
    of nearest neighbours, which also uses unlabelled images. Baselines without an encoder are logistic regression on
    pixels (pixels) and on the same number of PCA codes (pca). Writes learning curves (.png), a table with one row per
    draw (.csv) and the paired differences between methods with 95 % intervals (-differences.csv). Prints the path of
    the figure.

    Example: aekit probe runs/ae-mnist-conv-z20.safetensors --labels 20,100 --methods frozen,logistic,spread
    """
    request = ProbeRequest(parse_labels(labels), draws, parse_methods(methods), layer, augment, unlabelled, seed)
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.probe.study import run_probe
        from aekit.images.session import open_session

        session = open_session(
            found, data=data, table=label_table, data_root=data_root, device=device, threads=threads, progress=console
        )
        session.take_binarized(binarized)
        console.result(run_probe(session, output, request))
