"""``aekit evaluate``: losses, image quality and the use of the latent dimensions, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.commands.checkpoints import (
    Checkpoints,
    Images,
    OtherData,
    Output,
    Trained,
    WhichSplit,
    choose_targets,
    read_checkpoints,
    read_paths,
)
from aekit.core.checkpoint import read_header
from aekit.core.settings import MAX_SEED
from aekit.errors import AekitError
from aekit.terminal import options
from aekit.terminal.console import Console, TrainingProgress
from aekit.terminal.streams import stderr_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aekit.images.data.image_set import ImageSet
    from aekit.images.inference import Evaluation

Measure = dict[str, Any]


def evaluate(
    checkpoints: Checkpoints,
    importance: Annotated[
        int | None,
        typer.Option(
            "--importance",
            rich_help_panel=options.ANALYSIS,
            min=1,
            metavar="K",
            help="Also bound log p(x) from below with K samples of z an image.",
            show_default="no bound",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            rich_help_panel=options.ANALYSIS,
            min=0,
            max=MAX_SEED,
            help="Seed of the samples of the posterior.",
            show_default="the training's, so figures agree",
        ),
    ] = None,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Measure a model on held-out images.

    Reads checkpoints and the images that they were trained on (others with --data). Writes means with standard errors
    (.json): reconstruction, KL divergence and total (reconstruction + beta x KL) in nats an image with one sample of
    the posterior, as in training; MSE, PSNR (dB) and SSIM of what the posterior mean decodes to; the number of active
    units. Beside it a table (.csv) and bars (.png) of the KL divergence and the variance of each latent dimension.
    Prints the path of the .json file.

    Example: aekit evaluate runs/vae.safetensors --importance 100
    """
    from aekit.core.artifacts import write_json, write_png

    console = Console(quiet=quiet, json=json)
    paths = read_paths(checkpoints, console)
    name = "evaluate" if split == "test" else f"evaluate-{split}"
    targets = choose_targets(paths, output, name=name, suffixes=(".json",))
    if importance is not None:
        for path in paths:
            if read_header(path).model.get("kind") == "ae":
                raise AekitError(f"--importance: {path} is a plain autoencoder, which has no p(x); leave it out")
    images = Images(data, data_root, console)
    for trained in read_checkpoints(paths, targets, device=device, threads=threads):
        image_set = images.read(trained, split)
        used_seed = trained.header.train["seed"] if seed is None else seed
        evaluation, totals = _measure(trained, image_set, used_seed, importance, console)
        parameters = trained.parameters("evaluate", image_set, split=split, seed=used_seed, importance=importance)
        write_png(trained.target.with_suffix(".png"), _figure(trained, evaluation), parameters)
        _write_dimensions(trained, evaluation)
        write_json(trained.target, {**totals, "parameters": parameters})
        if not quiet:
            _print_table(trained, totals, n_images=len(image_set), split=split)
        console.result(trained.target, checkpoint=str(trained.path), split=split, **totals)


def _measure(
    trained: Trained, image_set: ImageSet, seed: int, importance: int | None, console: Console
) -> tuple[Evaluation, dict[str, Any]]:
    from aekit.images.inference import evaluate_images, importance_bound, mean_and_error

    beta = trained.header.train["beta"]
    evaluation = evaluate_images(trained.model, image_set, beta=beta, seed=seed)
    per_image = {key: getattr(evaluation, key) for key in ("total", "reconstruction", "kl", "mse", "psnr", "ssim")}
    if importance is not None:
        with _counting(console, f"{importance:,} samples an image", len(image_set)) as on_batch:
            per_image["log_p"] = importance_bound(
                trained.model, image_set, n_samples=importance, seed=seed, on_batch=on_batch
            )
    totals: dict[str, Any] = {"n": len(image_set)}
    for key, values in per_image.items():
        if values is not None:
            mean, error = mean_and_error(values)
            totals[key], totals[f"{key}_error"] = mean, None if math.isnan(error) else error
    totals |= {"latent": len(evaluation.active), "active_units": int(evaluation.active.sum())}
    return evaluation, totals


@contextmanager
def _counting(console: Console, what: str, n_images: int) -> Iterator[Callable[[int], None]]:
    """Yield what to call with the size of each batch, for a progress bar."""
    done = 0
    with TrainingProgress(console) as progress:

        def on_batch(n: int) -> None:
            nonlocal done
            done += n
            progress.on_data(what, done, n_images)

        yield on_batch


def _write_dimensions(trained: Trained, evaluation: Evaluation) -> None:
    import pandas as pd

    from aekit.core.artifacts import write_csv

    table = pd.DataFrame({"checkpoint": trained.name, "dimension": range(len(evaluation.active))})
    if evaluation.kl_per_dimension is not None:
        table["kl"] = evaluation.kl_per_dimension
    table["variance"], table["active"] = evaluation.variance, evaluation.active
    write_csv(trained.target.with_suffix(".csv"), table)


def _figure(trained: Trained, evaluation: Evaluation) -> Figure:
    from aekit.plotting.bars import plot_kl_per_dimension

    if evaluation.kl_per_dimension is not None:
        return plot_kl_per_dimension(evaluation.kl_per_dimension, evaluation.active, title=trained.label())
    ylabel = "variance of the code"
    return plot_kl_per_dimension(evaluation.variance, evaluation.active, ylabel=ylabel, title=trained.label())


def _print_table(trained: Trained, totals: dict[str, Any], *, n_images: int, split: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    nats = "MSE" if trained.model.config.loss == "mse" else "nats"
    units = {"total": nats, "reconstruction": nats, "kl": "nats", "log_p": "nats", "mse": "", "psnr": "dB", "ssim": ""}
    table = Table(title=escape(f"{trained.path.name}: {n_images:,} {split} images"), title_justify="left", box=None)
    table.add_column("per image")
    table.add_column("mean", justify="right")
    table.add_column("standard error", justify="right")
    table.add_column("unit")
    for key, unit in units.items():
        if key in totals:
            error = totals[f"{key}_error"]
            table.add_row(key, f"{totals[key]:.5g}", "" if error is None else f"{error:.2g}", unit)
    table.add_row("active units", f"{totals['active_units']}", "", f"of {totals['latent']}")
    stderr_console().print(table)
