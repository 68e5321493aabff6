"""Samples of a model that is told the class: as many of each, from the same codes, and whether they look like it."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from aekit.errors import AekitError, count
from aekit.images.code_density import FittedDensity
from aekit.images.conditioning import choose_classes, class_numbers
from aekit.images.evaluation.class_accuracy import fit_judge, judge_samples, mean_accuracies
from aekit.images.evaluation.sample_files import Samples
from aekit.images.figures.grids import plot_rows
from aekit.images.inference import decode_codes
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.prior import describe_prior, lower_noise, name_prior, sample_codes
from aekit.images.session import Session

if TYPE_CHECKING:
    import pandas as pd

N_SAMPLES = 1000  # in total
N_COLUMNS, N_ROWS = 16, 16  # of the figure, at most


class ClassSamples(NamedTuple):
    """Samples of several classes.

    Attributes:
        figure: A row or a block of rows per class.
        used: The options that it was made with, defaults filled in, and the accuracies.
        table: A row per class; None if its accuracy was not measured.
        samples: All samples, class by class.
    """

    figure: Figure
    used: dict[str, Any]
    table: pd.DataFrame | None
    samples: Samples


def sample_classes(
    session: Session,
    checkpoint: LoadedCheckpoint,
    n: int | None,
    label: str | None,
    *,
    seed: int,
    density: FittedDensity | None = None,
) -> ClassSamples:
    """Return samples of the classes that ``label`` names, all for None: the same codes decoded as each of them.

    Args:
        session: Reads the images that the accuracy needs.
        checkpoint: A model that is told the class.
        n: Samples in total, rounded up to as many of each class; None is 1,000.
        label: Names of classes with commas.
        seed: Seed of the codes.
        density: Where codes are drawn from; None is the prior.
    """
    model, config = checkpoint.model, checkpoint.record.model
    assert model.classes is not None
    chosen = choose_classes(model, label)
    n_each = ceil((n or N_SAMPLES) / len(chosen))
    z = sample_codes(session, checkpoint, n_each, seed=seed) if density is None else density.draw(n_each, seed)
    noise = lower_noise(config, n_each, seed=seed)
    images = np.stack([decode_codes(model, z, noise, np.full(n_each, number, np.int64)) for number in chosen])
    names = [model.classes.names[number] for number in chosen]
    n_all, drawn_from = n_each * len(chosen), name_prior(config) if density is None else density.name
    used = {"n": n_all, "seed": seed, "drawn_from": drawn_from, **describe_prior(config), "label": names}
    table = _judge(session, checkpoint, images, np.repeat(np.array(chosen, np.int64), n_each), seed=seed)
    n_columns = min(n_each, max(1, N_ROWS // len(chosen)) * N_COLUMNS)  # of each class in the figure
    title = f"{checkpoint.title}: {_shown(n_columns * len(chosen), n_all)} from {drawn_from}"
    if table is not None:
        accuracy, real = mean_accuracies(table)
        used |= {"class_accuracy": accuracy, "real_accuracy": real}
        title += f", {accuracy:.1%} taken for their class"
    if n is not None and n != n_all:
        each = f"{n_all:,} are as many of each class, {n_each:,}"
        session.progress.notice(f"--images {n}: is not a multiple of the {len(chosen)} classes; {each}")
    figure = plot_rows(images[:, :n_columns], names, columns=N_COLUMNS, title=title)
    flat = images.reshape(-1, *images.shape[2:])
    samples = Samples(np.tile(z, (len(chosen), 1)), flat, [name for name in names for _ in range(n_each)])
    return ClassSamples(figure, used, table, samples)


def _shown(n_shown: int, n_all: int) -> str:
    """Return in words how many samples a figure has, of how many."""
    return count(n_all, "sample") if n_shown == n_all else f"{n_shown:,} of {n_all:,} samples"


def _judge(
    session: Session,
    checkpoint: LoadedCheckpoint,
    images: npt.NDArray[np.floating],
    asked: npt.NDArray[np.int64],
    *,
    seed: int,
) -> pd.DataFrame | None:
    """Return the accuracy of each class, or None with a notice if it cannot be measured."""
    model, progress = checkpoint.model, session.progress
    assert model.classes is not None
    names = model.classes.names
    if len(names) < 2:
        progress.notice(f"{checkpoint.path}: knows a single class, so there is no accuracy")
        return None
    try:
        train, test = (session.images(checkpoint, split) for split in ("train", "test"))
        labels, held = class_numbers(model, train), class_numbers(model, test)
    except AekitError as error:
        progress.notice(f"{checkpoint.path}: the class accuracy of its samples needs its images ({error})")
        return None
    assert labels is not None
    assert held is not None
    if len(np.unique(labels)) < 2:
        progress.notice(f"{checkpoint.path}: there are training images of a single class, so there is no accuracy")
        return None
    judge = fit_judge(train, labels, seed=seed)
    flat = images.reshape(-1, *images.shape[2:])
    table = judge_samples(judge, names, flat, asked, (test, held), seed=seed)
    rows = [
        (row["class"], row["n"], f"{row['accuracy']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}", _text(row))
        for row in table.to_dict("records")
    ]
    accuracy, real = mean_accuracies(table)
    rows.append(("all", len(asked), f"{accuracy:.1%}", "", "" if real is None else f"{real:.1%}"))
    heading = f"{checkpoint.path.name}: samples taken for their class by a classifier of the training images"
    columns = ["class", "samples", "taken for it", "95 % interval", "classifier's accuracy on test images"]
    progress.table(heading, columns, rows)
    return table


def _text(row: dict[str, Any]) -> str:
    return f"{row['real_accuracy']:.1%}" if row["n_real"] else ""
