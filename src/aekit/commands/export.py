"""``aekit export``: a model as files that need no aekit, or as a folder for a model hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.images.config import ExportFormat, ExportPart
from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import one_from_stdin
from aekit.terminal.study_options import OneCheckpoint


def export(
    checkpoint: OneCheckpoint,
    file_format: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format",
            rich_help_panel=options.OUTPUT,
            help="onnx; torchscript or pt2, which torch loads without aekit; hub, a folder with a model card.",
            show_default="from the suffix of --output, or onnx",
        ),
    ] = None,
    part: Annotated[
        ExportPart,
        typer.Option(
            "--part",
            rich_help_panel=options.OUTPUT,
            help="encoder, decoder, both in one file, or all three as a file each.",
        ),
    ] = "all",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="PATH",
            help="The file: .onnx, .pt (torchscript) or .pt2; for hub a new folder. Otherwise a path without a suffix "
            "is a folder for the files.",
            show_default="next to the checkpoint",
        ),
    ] = None,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Write a model for programs without aekit: ONNX Runtime, browsers, C++, a model hub.

    Reads a checkpoint. Writes x.onnx, which reconstructs images, x.encoder.onnx, which gives their codes, and
    x.decoder.onnx, which decodes codes; images are floats in [0, 1], (N, C, H, W), N as you like. Each is compared with
    the model, on the CPU, before it is written. hub writes the checkpoint and README.md, its model card, with results
    and limits, and uploads nothing. Prints the path of the main file, or of the folder.

    Example: aekit export runs/vae.safetensors -o web/vae.onnx
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(one_from_stdin(CHECKPOINT=checkpoint), console)
        from aekit.images.export.study import run_export
        from aekit.images.session import open_session

        session = open_session(found, device="cpu", threads=threads, progress=console)
        console.result(run_export(session, output, file_format=file_format, part=part))
