"""``aekit sample``: images out of the latent space: drawn from the prior, over a plane, or along each dimension."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.commands.checkpoints import (
    Checkpoints,
    Images,
    NoiseSeed,
    OtherData,
    Output,
    Trained,
    choose_targets,
    read_checkpoints,
    read_paths,
)
from aekit.core.checkpoint import read_header
from aekit.errors import AekitError
from aekit.terminal import options
from aekit.terminal.console import Console

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

    Floats = npt.NDArray[np.floating]

N_SAMPLES, N_STEPS = 256, 11


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        n: Images in all, or in a row of a traversal; None is the default.
        limits: Ends of the range to walk; None is the default.
        around: Test image at whose code the traversals start; None is the middle of the latent space.
        seed: Seed of the draws.
    """

    n: int | None
    limits: tuple[float, float] | None
    around: int | None
    seed: int


def sample(
    checkpoints: Checkpoints,
    n: Annotated[
        int | None,
        typer.Option(
            "--images",
            "-n",
            rich_help_panel=options.ANALYSIS,
            min=1,
            help="Images in all, or a row with --traverse.",
            show_default="256, a row 11",
        ),
    ] = None,
    manifold: Annotated[
        bool,
        typer.Option(
            "--manifold",
            rich_help_panel=options.ANALYSIS,
            help="Decode a grid over a 2-D latent space, at quantiles of the prior.",
        ),
    ] = False,
    traverse: Annotated[
        bool,
        typer.Option(
            "--traverse",
            rich_help_panel=options.ANALYSIS,
            help="Walk along each latent dimension, those with most KL first.",
        ),
    ] = False,
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            rich_help_panel=options.ANALYSIS,
            metavar="LO HI",
            help="Ends of the grid, or of the walk.",
            show_default="-3 3, or see above",
        ),
    ] = None,
    around: Annotated[
        int | None,
        typer.Option(
            "--around",
            rich_help_panel=options.ANALYSIS,
            min=0,
            metavar="INDEX",
            help="Walk around the code of this test image, not of the mean.",
            show_default="the mean",
        ),
    ] = None,
    seed: NoiseSeed = 0,
    data: OtherData = None,
    data_root: options.DataRoot = None,
    output: Output = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Show what a model makes of points in its latent space.

    Reads checkpoints and the images that they were trained on (others with --data). A VAE's points are drawn from the
    prior. A plain autoencoder has none: there they come from a Gaussian fitted to the codes of its training images, a
    grid covers the range of these codes, and a walk counts their standard deviations. Writes a figure (.png).
    Prints its path.

    Example: aekit sample runs/vae.safetensors -n 64
    """
    from aekit.core.artifacts import write_png

    mode = _choose_mode(manifold=manifold, traverse=traverse, around=around, limits=limits)
    console = Console(quiet=quiet, json=json)
    paths = read_paths(checkpoints, console)
    targets = choose_targets(paths, output, name=mode, suffixes=(".png",))
    for path in paths:
        latent = read_header(path).model.get("latent")
        if manifold and latent != 2:
            raise AekitError(f"--manifold: {path} has {latent} latent dimensions, not 2; use --traverse")
    images = Images(data, data_root, console)
    request = Request(n=n, limits=limits, around=around, seed=seed)
    plot = {"sample": _plot_samples, "manifold": _plot_manifold, "traverse": _plot_traversal}[mode]
    for trained in read_checkpoints(paths, targets, device=device, threads=threads):
        figure, used = plot(trained, images, request, console)
        write_png(trained.target, figure, trained.parameters("sample", mode=mode, **used))
        console.result(trained.target, checkpoint=str(trained.path), mode=mode, **used)


def _choose_mode(*, manifold: bool, traverse: bool, around: int | None, limits: tuple[float, float] | None) -> str:
    if manifold and traverse:
        raise typer.BadParameter("cannot be combined with --traverse", param_hint="--manifold")
    if around is not None and not traverse:
        raise typer.BadParameter("needs --traverse", param_hint="--around")
    if limits is not None and not (manifold or traverse):
        raise typer.BadParameter("needs --manifold or --traverse", param_hint="--range")
    if limits is not None and not limits[0] < limits[1]:
        raise typer.BadParameter("the first number must be below the second", param_hint="--range")
    return "manifold" if manifold else "traverse" if traverse else "sample"


def _plot_samples(
    trained: Trained, images: Images, request: Request, console: Console
) -> tuple[Figure, dict[str, Any]]:
    import numpy as np

    from aekit.images.figures.grids import plot_images
    from aekit.images.inference import decode_codes

    n_images = request.n or N_SAMPLES
    # NumPy's generator, so that the same seed draws the same codes on every device.
    generator = np.random.default_rng(request.seed)
    if trained.model.config.kind == "vae":
        drawn_from = "the prior"
        z = generator.standard_normal((n_images, trained.model.config.latent))
    else:
        drawn_from = "a Gaussian fitted to the training codes"
        console.message(f"{trained.path}: a plain autoencoder has no prior; samples come from {drawn_from}")
        codes = _train_codes(trained, images)
        covariance = np.atleast_2d(np.cov(codes, rowvar=False))
        z = generator.multivariate_normal(codes.mean(axis=0), covariance, n_images, method="eigh", check_valid="ignore")
    title = f"{trained.label()}: {n_images:,} samples from {drawn_from}"
    figure = plot_images(decode_codes(trained.model, z), title=title)
    return figure, {"n": n_images, "seed": request.seed, "drawn_from": drawn_from}


def _plot_manifold(
    trained: Trained, images: Images, request: Request, console: Console
) -> tuple[Figure, dict[str, Any]]:
    import numpy as np

    from aekit.images.figures.grids import plot_manifold
    from aekit.images.inference import decode_codes

    side = max(2, isqrt(request.n or N_SAMPLES))
    if request.limits is not None:
        axes, over = [np.linspace(*request.limits, side)] * 2, "the range asked for"
    elif trained.model.config.kind == "vae":
        quantiles = [NormalDist().inv_cdf((i + 0.5) / side) for i in range(side)]
        axes, over = [np.array(quantiles)] * 2, "quantiles of the prior"
    else:
        codes = _train_codes(trained, images)
        axes = [np.linspace(low, high, side) for low, high in zip(codes.min(0), codes.max(0), strict=True)]
        over = "the range of the training codes"
    z0, z1 = np.meshgrid(*axes)  # z1 changes from row to row
    decoded = decode_codes(trained.model, np.stack([z0.ravel(), z1.ravel()], axis=1))
    title = f"{trained.label()}: decoded over {over}"
    figure = plot_manifold(decoded.reshape(side, side, *decoded.shape[1:]), *axes, title=title)
    return figure, {"n": side * side, "over": over, "range": [[float(a[0]), float(a[-1])] for a in axes]}


def _plot_traversal(
    trained: Trained, images: Images, request: Request, console: Console
) -> tuple[Figure, dict[str, Any]]:
    import numpy as np

    from aekit.images.figures.grids import plot_traversal
    from aekit.images.inference import decode_codes

    values = np.linspace(*(request.limits or (-3.0, 3.0)), request.n or N_STEPS)
    z, kl, start = _traversal_codes(trained, images, request.around, values)  # (L, V, L)
    if kl is None:
        console.message(f"{trained.path}: a plain autoencoder has no prior; steps are standard deviations of its codes")
    latent = len(z)
    decoded = decode_codes(trained.model, z.reshape(-1, latent))
    decoded = decoded.reshape(latent, len(values), *decoded.shape[1:])
    step = "latent dimension" if kl is not None else "latent dimension in standard deviations of the codes"
    title = f"{trained.label()}: along each {step}, around {start}"
    figure = plot_traversal(decoded, values, kl, dimensions=np.arange(latent), title=title)
    return figure, {"values": [float(value) for value in values], "around": start}


def _traversal_codes(
    trained: Trained, images: Images, around: int | None, values: Floats
) -> tuple[Floats, Floats | None, str]:
    """Return codes (L, V, L) whose row i walks along dimension i, each dimension's KL divergence, and the start."""
    import numpy as np
    import torch

    from aekit.images.inference import encode_images
    from aekit.images.objectives import kl_per_dimension

    model = trained.model
    latent = model.config.latent
    test = images.read(trained, "test")
    codes = encode_images(model, test)
    if codes.logvar is not None:
        kl = kl_per_dimension(torch.from_numpy(codes.mean), torch.from_numpy(codes.logvar)).mean(0).numpy()
        centre, start, scale = np.zeros(latent), "the prior's mean", np.ones(latent)
    else:
        kl = None
        centre, start, scale = codes.mean.mean(axis=0), "the mean code", codes.mean.std(axis=0)
    if around is not None:
        if around >= len(test):
            raise AekitError(f"--around {around}: there are {len(test):,} test images; give 0 to {len(test) - 1}")
        centre, start = codes.mean[around], f"test image {around}"
    z = np.tile(centre, (latent, len(values), 1))
    for i in range(latent):
        z[i, :, i] = values if kl is not None else centre[i] + values * scale[i]
    return z, kl, start


def _train_codes(trained: Trained, images: Images) -> Floats:
    from aekit.images.inference import encode_images

    return encode_images(trained.model, images.read(trained, "train")).mean
