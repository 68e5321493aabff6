"""``aekit sample``: images decoded from the latent space: samples, a grid over a plane, or walks along dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from aekit.core.array_files import write_arrays
from aekit.core.artifacts import write_csv, write_png
from aekit.core.output import Result
from aekit.core.settings import check_at_least
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, UsageError, count
from aekit.images.code_density import FittedDensity, fit_density
from aekit.images.conditioning import class_numbers, one_class
from aekit.images.config import Density
from aekit.images.evaluation.class_samples import sample_classes
from aekit.images.evaluation.sample_files import Samples, check_sample_files, write_samples
from aekit.images.figures.grids import plot_images, plot_manifold, plot_traversal
from aekit.images.inference import FloatArray, decode_codes, mean_divergence
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.prior import describe_prior, lower_noise, name_prior, read_prior, sample_codes
from aekit.images.session import Session

Floats = npt.NDArray[np.floating]
Used = dict[str, Any]  # the options that a figure was made with, defaults filled in

N_SAMPLES, N_STEPS = 256, 11


@dataclass(frozen=True)
class _Request:
    """What to decode.

    Attributes:
        mode: ``sample``, ``manifold`` or ``traverse``.
        n: Images in total, or per row of a traversal; None is the default.
        limits: Ends of the range to cover; None is the default.
        around: Test image at whose code the traversals start; None is the middle of the latent space.
        seed: Seed of the draws.
        label: Names of classes with commas, for a model that is told them; None is all of them.
        density: Where the codes of samples are drawn from; None is the prior, or a Gaussian of an autoencoder's codes.
        components: Gaussians of ``gmm``.
        each: Folder for single images; None writes none.
        codes: Table of the codes; None writes none.
    """

    mode: str
    n: int | None
    limits: tuple[float, float] | None
    around: int | None
    seed: int
    label: str | None = None
    density: Density | None = None
    components: int = 10
    each: Path | None = None
    codes: Path | None = None


@keeps_torch_settings
def run_sample(
    session: Session,
    output: Path | None = None,
    *,
    n: int | None = None,
    manifold: bool = False,
    traverse: bool = False,
    limits: tuple[float, float] | None = None,
    around: int | None = None,
    seed: int = 0,
    label: str | None = None,
    density: Density | None = None,
    components: int = 10,
    each: Path | None = None,
    codes: Path | None = None,
) -> Iterator[Result]:
    """Yield a figure (.png) of decoded points of the latent space per checkpoint.

    Args:
        session: The checkpoints.
        output: A file for one checkpoint, or a folder; None is next to each checkpoint.
        n: Images in total, or per row with ``traverse``; None is 256, or 11 per row, and 1,000 of a model that is told
            the class, whose figure shows the first of each class.
        manifold: Decode a grid over a two-dimensional latent space instead of samples.
        traverse: Walk along each latent dimension instead.
        limits: Ends of the grid or of the walk; None is the default.
        around: Test image at whose code the walks start; None is the mean.
        seed: Seed of the samples.
        label: Names of classes with commas, for a model that is told them; None is all of them.
        density: Where the codes of samples are drawn from: ``prior``, or one of those that are fitted to
            training codes and written next to the figure (.safetensors); None is the prior, or a Gaussian for a plain
            autoencoder.
        components: Gaussians of ``gmm``.
        each: Folder for each sample as a PNG file of its own; None writes none.
        codes: CSV file of the codes of the samples; None writes none.

    Raises:
        UsageError: Options do not go together.
        AekitError: A file cannot be written, or a grid is asked of a model without two latent dimensions.
    """
    check_at_least("images", n, 1)
    check_at_least("around", around, 0)
    check_at_least("gaussians", components, 1)
    mode = _choose_mode(manifold=manifold, traverse=traverse, around=around, limits=limits)
    for option, value in (("density", density), ("each", each), ("codes", codes)):
        if value is not None and mode != "sample":
            raise UsageError(f"--{option}: is for samples; leave out --{mode}")
    for path, record in zip(session.paths, session.records, strict=True):
        if density == "prior" and not record.model.has_prior:
            raise AekitError(f"--density prior: {path} is a plain autoencoder, which has none; use gaussian or gmm")
    targets = session.targets(output, name=mode if density is None else f"{mode}-{density}", suffixes=(".png",))
    check_sample_files(session.paths, targets, each, codes)
    for path, record in zip(session.paths, session.records, strict=True):
        if manifold and record.model.latent != 2:
            raise AekitError(
                f"--manifold: {path} has {count(record.model.latent, 'latent dimension')}, not 2; use --traverse"
            )
    for path, record in zip(session.paths, session.records, strict=True):
        if label is not None and not record.model.is_conditional:
            raise AekitError(f"--label: {path} was not trained with --condition label; leave it out")
    request = _Request(mode, n, limits, around, seed, label, density, components, each, codes)
    return (
        _sample(session, checkpoint, target, request)
        for checkpoint, target in zip(session.checkpoints(), targets, strict=True)
    )


def _choose_mode(*, manifold: bool, traverse: bool, around: int | None, limits: tuple[float, float] | None) -> str:
    if manifold and traverse:
        raise UsageError("--manifold: cannot be combined with --traverse; give one of them")
    if around is not None and not traverse:
        raise UsageError("--around: needs --traverse; add it")
    if limits is not None and not (manifold or traverse):
        raise UsageError("--range: needs --manifold or --traverse; add one of them")
    if limits is not None and not (limits[0] < limits[1] and math.isfinite(limits[1] - limits[0])):
        raise UsageError("--range: the first number must be below the second, both finite; give them as -2 2")
    return "manifold" if manifold else "traverse" if traverse else "sample"


def _sample(session: Session, checkpoint: LoadedCheckpoint, target: Path, request: _Request) -> Result:
    samples = None
    if request.mode == "sample":
        figure, used, samples = _draw_samples(session, checkpoint, target, request)
    else:
        plot = {"manifold": _plot_manifold, "traverse": _plot_traversal}[request.mode]
        figure, used = plot(session, checkpoint, request)
    write_png(target, figure, checkpoint.parameters("sample", mode=request.mode, **used))
    if samples is not None:  # last: once the folder is there, the same line is refused, so all else must be there
        write_samples(samples, request.each, request.codes)
    return Result(target, {"checkpoint": str(checkpoint.path), "mode": request.mode, **used})


def _draw_samples(
    session: Session, checkpoint: LoadedCheckpoint, target: Path, request: _Request
) -> tuple[Figure, Used, Samples]:
    """Return the figure of samples and these, after writing the density and the accuracies of classes."""
    density = None
    if request.density is not None:
        fit = {"n_components": request.components, "seed": request.seed}
        density = fit_density(session, checkpoint, request.density, **fit)
    if checkpoint.model.classes is None:
        figure, used, samples = _plot_samples(session, checkpoint, request, density)
    else:
        options: dict[str, Any] = {"seed": request.seed, "density": density}
        found = sample_classes(session, checkpoint, request.n, request.label, **options)
        figure, used, samples = found.figure, found.used, found.samples
        if found.table is not None:
            write_csv(target.with_suffix(".csv"), found.table)
    if density is not None:
        used |= {"density": request.density, **_report_density(session, checkpoint, density)}
        if density.fitted is not None:
            parameters = checkpoint.parameters("sample", mode=request.mode, **used)
            # A name of its own: with the stem of the figure it might be that of a checkpoint.
            write_arrays(target.with_name(f"{target.stem}-density.safetensors"), density.fitted.arrays(), parameters)
    return figure, used, samples


def _report_density(session: Session, checkpoint: LoadedCheckpoint, density: FittedDensity) -> Used:
    """Say how well a density describes the codes of held-out images, and return it for results."""
    (value, error), prior = density.log_density, density.of_prior
    at_least = "at least " if density.is_bound else ""
    text = f"{at_least}{value:.2f} nats per image (standard error {error:.2g})"
    other = "" if prior is None or density.fitted is None else f", the prior {prior[0]:.2f}"
    n = count(density.n_held_out, "test image")
    session.progress.notice(f"{checkpoint.path}: codes of {n} have log density {text} under {density.name}{other}")
    return {
        "log_density": value,
        "log_density_error": error,
        "log_density_prior": None if prior is None else prior[0],
        "n_held_out": density.n_held_out,
    }


def _plot_samples(
    session: Session, checkpoint: LoadedCheckpoint, request: _Request, density: FittedDensity | None
) -> tuple[Figure, Used, Samples]:
    n_images, seed = request.n or N_SAMPLES, request.seed
    z = sample_codes(session, checkpoint, n_images, seed=seed) if density is None else density.draw(n_images, seed)
    model = checkpoint.record.model
    drawn_from = name_prior(model) if density is None else density.name
    title = f"{checkpoint.title}: {count(n_images, 'sample')} from {drawn_from}"
    images = decode_codes(checkpoint.model, z, lower_noise(model, n_images, seed=request.seed))
    used = {"n": n_images, "seed": request.seed, "drawn_from": drawn_from, **describe_prior(model)}
    return plot_images(images, title=title), used, Samples(np.asarray(z, np.float64), images)


def _plot_manifold(session: Session, checkpoint: LoadedCheckpoint, request: _Request) -> tuple[Figure, Used]:
    side = max(2, isqrt(request.n or N_SAMPLES))
    if request.limits is not None:
        axes, over = [np.linspace(*request.limits, side)] * 2, "the given range"
    elif checkpoint.record.model.has_prior:
        prior = read_prior(checkpoint.model)
        axes = [prior.quantiles(dimension, side) for dimension in (0, 1)]
        over = f"quantiles of {name_prior(checkpoint.record.model)}"
    else:
        codes = checkpoint.encode(session.images(checkpoint, "train", with_labels=False)).mean
        axes = [np.linspace(low, high, side) for low, high in zip(codes.min(0), codes.max(0), strict=True)]
        over = "the range of the training codes"
    z0, z1 = np.meshgrid(*axes)  # z1 changes from row to row
    number = one_class(checkpoint.model, request.label, "--manifold")
    decoded = _decode(checkpoint, np.stack([z0.ravel(), z1.ravel()], axis=1), number)
    title = f"{checkpoint.title}: decoded over {over}{_as_class(checkpoint, number)}"
    figure = plot_manifold(decoded.reshape(side, side, *decoded.shape[1:]), *axes, title=title)
    used = {"n": side * side, "over": over, "range": [[float(a[0]), float(a[-1])] for a in axes]}
    return figure, {**used, **describe_prior(checkpoint.record.model), **_used_class(checkpoint, number)}


def _decode(checkpoint: LoadedCheckpoint, z: Floats, number: int | None) -> FloatArray:
    return decode_codes(checkpoint.model, z, labels=None if number is None else np.full(len(z), number, np.int64))


def _class_name(checkpoint: LoadedCheckpoint, number: int | None) -> str | None:
    classes = checkpoint.model.classes
    return None if classes is None or number is None else classes.names[number]


def _as_class(checkpoint: LoadedCheckpoint, number: int | None) -> str:
    name = _class_name(checkpoint, number)
    return "" if name is None else f", as class {name}"


def _used_class(checkpoint: LoadedCheckpoint, number: int | None) -> Used:
    name = _class_name(checkpoint, number)
    return {} if name is None else {"label": [name]}


def _plot_traversal(session: Session, checkpoint: LoadedCheckpoint, request: _Request) -> tuple[Figure, Used]:
    values = np.linspace(*(request.limits or (-3.0, 3.0)), request.n or N_STEPS)
    model = checkpoint.record.model
    number = _traversed_class(session, checkpoint, request)
    z, kl, start = _traversal_codes(session, checkpoint, request.around, values)  # (L, V, L)
    dimension = "latent dimension"
    if not model.has_prior:
        session.progress.notice(
            f"{checkpoint.path}: a plain autoencoder has no prior; steps are standard deviations of its codes"
        )
        dimension = "latent dimension in standard deviations of the codes"
    elif model.prior != "normal":
        dimension = "latent dimension in standard deviations of the prior"
    latent = len(z)
    decoded = _decode(checkpoint, z.reshape(-1, latent), number)
    decoded = decoded.reshape(latent, len(values), *decoded.shape[1:])
    title = f"{checkpoint.title}: along each {dimension}, around {start}{_as_class(checkpoint, number)}"
    heading = "KL (nats)" if model.n_components == 1 else "KL from marginal"
    figure = plot_traversal(decoded, values, kl, dimensions=np.arange(latent), title=title, heading=heading)
    return figure, {
        "values": [float(value) for value in values],
        "around": start,
        **describe_prior(model),
    } | _used_class(checkpoint, number)


def _traversed_class(session: Session, checkpoint: LoadedCheckpoint, request: _Request) -> int | None:
    """Return the class to decode a walk as: the one that was given, or that of the image where it starts."""
    if request.label is None and request.around is not None:
        numbers = class_numbers(checkpoint.model, session.images(checkpoint, "test", with_labels=False))
        if numbers is not None and request.around < len(numbers):
            return int(numbers[request.around])
        if numbers is not None:
            raise AekitError(
                f"--around {request.around}: there are {len(numbers):,} test images; give 0 to {len(numbers) - 1}"
            )
    return one_class(checkpoint.model, request.label, "--traverse")


def _traversal_codes(
    session: Session, checkpoint: LoadedCheckpoint, around: int | None, values: Floats
) -> tuple[Floats, Floats | None, str]:
    """Return codes (L, V, L) whose row i walks along dimension i, each dimension's KL divergence, and the start.

    A walk is measured in standard deviations: of the prior, from its mean, or of an autoencoder's codes.
    """
    latent = checkpoint.record.model.latent
    test = session.images(checkpoint, "test", with_labels=False)
    codes = checkpoint.encode(test)
    centre: Floats
    middle: Floats
    if codes.logvar is not None:
        prior = read_prior(checkpoint.model)
        kl = mean_divergence(checkpoint.model, codes)
        centre, start, scale = prior.centre, "the prior's mean", prior.spread
        middle = centre
    else:
        kl = None
        centre, start, scale = codes.mean.mean(axis=0), "the mean code", codes.mean.std(axis=0)
        middle = centre
    if around is not None:
        if around >= len(test):
            raise AekitError(f"--around {around}: there are {len(test):,} test images; give 0 to {len(test) - 1}")
        centre, start = codes.mean[around], f"test image {around}"
        middle = centre if kl is None else middle
    z = np.tile(centre, (latent, len(values), 1))
    for i in range(latent):
        z[i, :, i] = middle[i] + values * scale[i]
    return z, kl, start
