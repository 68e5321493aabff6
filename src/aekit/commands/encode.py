"""``aekit encode``: the codes of a whole split, as a file."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import AsBinarized, Checkpoints, LabelTable, OtherData, Output, WhichSplit


def encode(
    checkpoints: Checkpoints,
    file_format: Annotated[
        Literal["safetensors", "csv"] | None,
        typer.Option(
            "--format",
            rich_help_panel=options.ANALYSIS,
            help="File format.",
            show_default="from the suffix of --output, or safetensors",
        ),
    ] = None,
    split: WhichSplit = "test",
    data: OtherData = None,
    labels: LabelTable = None,
    binarized: AsBinarized = False,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Write the codes of all images of a split.

    Reads checkpoints and the images that they were trained on (others with --data). Writes one file per checkpoint.
    A .safetensors file holds the tensors mean (N, L), for a VAE logvar (N, L), index (N,), and if the images have them,
    label (N,), attributes (N, A) and factors (N, F). A .csv file has the columns index, label, if the images have
    factors the index and value of each, and the codes or posterior means z0, z1, ... Prints its path.

    Example: aekit encode runs/vae.safetensors -o codes.csv
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.evaluation.encode import run_encode
        from aekit.images.session import open_session

        session = open_session(
            found, data=data, table=labels, data_root=data_root, device=device, threads=threads, progress=console
        )
        session.take_binarized(binarized)
        console.result(run_encode(session, output, split=split, file_format=file_format))
