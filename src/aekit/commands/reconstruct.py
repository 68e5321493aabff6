"""``aekit reconstruct``: originals over reconstructions, and the error of every image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from aekit.terminal import options
from aekit.terminal.console import Console

if TYPE_CHECKING:
    import pandas as pd

    from aekit.images.data.image_set import ImageSet


def reconstruct(
    checkpoints: Checkpoints,
    n: Annotated[
        int, typer.Option("--images", "-n", rich_help_panel=options.ANALYSIS, min=1, help="Images in the figure.")
    ] = 32,
    worst: Annotated[
        bool, typer.Option("--worst", rich_help_panel=options.ANALYSIS, help="The worst first, in figure and table.")
    ] = False,
    split: WhichSplit = "test",
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Show originals over their reconstructions, and measure the error of every image.

    Reads checkpoints and the images that they were trained on (others with --data). A VAE's images are reconstructed
    from the posterior mean. Writes a figure (.png) and beside it a table (.csv) of all images of the split: index,
    label, reconstruction (the training loss, in nats but for mse), mse, psnr (dB) and ssim. Prints the figure's path.

    Example: aekit reconstruct runs/vae.safetensors --worst
    """
    from aekit.core.artifacts import write_csv, write_png
    from aekit.images.figures.grids import plot_reconstructions
    from aekit.images.inference import reconstruct_images

    console = Console(quiet=quiet, json=json)
    paths = read_paths(checkpoints, console)
    name = "-".join(["reconstruct", *(["worst"] if worst else []), *([split] if split != "test" else [])])
    targets = choose_targets(paths, output, name=name, suffixes=(".png",))
    images = Images(data, data_root, console)
    for trained in read_checkpoints(paths, targets, device=device, threads=threads):
        image_set = images.read(trained, split)
        table = _error_table(trained, image_set, worst=worst)
        shown = image_set.subset(table["index"].to_numpy()[:n])
        x_hat = reconstruct_images(trained.model, shown)
        which = f"the worst {len(shown)} of" if worst else f"{len(shown)} of"
        title = f"{trained.label()}: {which} {len(image_set):,} {split} images of {image_set.name}"
        figure = plot_reconstructions(shown.images, x_hat, title=title)
        write_csv(trained.target.with_suffix(".csv"), table)
        write_png(trained.target, figure, trained.parameters("reconstruct", image_set, split=split, n=n, worst=worst))
        means = {key: float(table[key].mean()) for key in ("reconstruction", "mse", "psnr", "ssim")}
        console.result(trained.target, checkpoint=str(trained.path), n=len(image_set), split=split, **means)


def _error_table(trained: Trained, image_set: ImageSet, *, worst: bool) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from aekit.images.inference import evaluate_images

    errors = evaluate_images(trained.model, image_set, seed=None)
    table = pd.DataFrame(
        {
            "index": np.arange(len(image_set)),
            "label": [image_set.label_text(index) for index in range(len(image_set))],
            "reconstruction": errors.reconstruction,
            "mse": errors.mse,
            "psnr": errors.psnr,
            "ssim": errors.ssim,
        }
    )
    return table.sort_values("reconstruction", ascending=False, kind="stable") if worst else table
