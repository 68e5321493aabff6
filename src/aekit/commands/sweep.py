"""``aekit sweep``: train a grid of models, several at a time, and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aekit.core.text_tables import TableFormat
from aekit.images.sweep.plan import MANY_CELLS, Metric, plan_sweep, training_commands
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.training_options import grid_options

Folder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        rich_help_panel=options.OUTPUT,
        metavar="FOLDER",
        help="Where checkpoints, results.csv, results.png and curves.png go.",
        show_default="runs/<name from the options>",
    ),
]


@grid_options
def sweep(
    *,
    given: dict[str, str | bool | None],
    data_root: options.DataRoot = None,
    best: Annotated[
        Metric | None,
        typer.Option(
            "--best",
            rich_help_panel=options.GRID,
            help="Print only the cell with the lowest value of this measure on validation images (mean over seeds "
            "and split seeds); elbo is reconstruction + KL, the negative ELBO.",
            show_default="all cells",
        ),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            rich_help_panel=options.GRID,
            help="Retrain the best cell on all training images, validation images included, and print its path "
            "instead.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            rich_help_panel=options.OUTPUT,
            help="Number of runs at the same time.",
            show_default="one per core, or per GPU; with --ray as many as fit",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            rich_help_panel=options.OUTPUT,
            metavar="ADDRESS",
            help="Train on a Ray cluster: auto for the one that this machine is part of, or HOST:PORT of its head.",
            show_default="processes on this machine",
        ),
    ] = None,
    gpus_per_cell: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-cell",
            rich_help_panel=options.OUTPUT,
            metavar="X",
            help="With --ray: GPUs per run; 0.25 lets four runs share one.",
            show_default="1 with --device cuda, or with auto if a node has one; otherwise 0",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=options.GRID,
            help="Print the training command of each cell instead of running it.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", rich_help_panel=options.GRID, help=f"Allow more than {MANY_CELLS:,} cells.")
    ] = False,
    output: Folder = None,
    form: Annotated[
        TableFormat,
        typer.Option(
            "--format",
            rich_help_panel=options.OUTPUT,
            help="Also write the results for reading: results.md, or results.tex, a LaTeX tabular (booktabs).",
        ),
    ] = "csv",
    device: options.Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            rich_help_panel=options.OUTPUT,
            help="CPU threads per run.",
            show_default="cores / jobs; with --ray 1",
        ),
    ] = None,
    tensorboard: options.Tensorboard = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train every combination of training options, several runs at a time, and compare them.

    Training options take several values: 0.1,0.5 or, for whole numbers, ranges such as 2-20 or 2-30:4. Names, tables
    and figures have them in the order in which the options are given, numbers from the least to the largest. Cells that
    are done are left as they are, so the same command continues where it stopped; a cell that fails is recorded, and
    the rest are trained. Reads images (--data). Writes the checkpoints, results.csv (one row per cell), results.png
    (rate against distortion for VAEs; heat maps over two options, curves over one option, or three and more, with bands
    over seeds) and curves.png (learning curves of up to 120 cells). Prints the paths of the checkpoints.

    Example: aekit sweep --model vae --beta 0.1,0.5,1,5 --latent 10,20,30 --epochs 8 --val 0.2 -o runs/grid
    """
    options.check_cluster(ray, gpus_per_cell, tensorboard)
    plan = plan_sweep(given, output, best=best, retrain=retrain, form=form, may_be_large=yes or dry_run)
    if dry_run:
        from aekit.images.sweep.names import keep_names

        typer.echo("\n".join(training_commands(keep_names(plan), data_root, device, threads or (1 if ray else None))))
        return
    from aekit.images.runs import Machine
    from aekit.images.sweep.study import run_sweep

    train = None
    if ray is not None:
        from aekit.images.sweep.ray_grid import train_on_ray

        train = train_on_ray(ray, gpus_per_cell)
    machine = Machine(options.resolve_data_root(data_root), device, threads, tensorboard)
    with Console(quiet=quiet, json=json) as console:
        console.result(run_sweep(plan, machine, train, jobs=jobs, overwrite=overwrite, progress=console))
