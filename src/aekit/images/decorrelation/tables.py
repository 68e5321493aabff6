"""The table of a study of correlations: one row per checkpoint, with PCA of the same images as a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aekit.core.checkpoint import Header
from aekit.core.progress import SILENT, Progress
from aekit.core.settings import differing_keys, in_words
from aekit.errors import count
from aekit.images.data.image_set import ImageSet
from aekit.images.decorrelation.correlation import (
    IMAGES_PER_DIMENSION,
    Decorrelation,
    correlation_matrix,
    measure_codes,
    measure_matrix,
)
from aekit.images.decorrelation.request import LABELS, DecorrelationRequest, column_name
from aekit.images.latent import active_units
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.principal_components import max_components, principal_codes
from aekit.images.record import RunRecord

Floats = npt.NDArray[np.floating]

_SETTINGS = ("kind", "arch", "layers", "width", "latent", "beta", "epochs", "seed")  # columns of the table
# Not part of a group's name: a line of the figure runs over the first, and averages over the second.
# A table of labels changes neither images nor weights.
_NOT_IN_GROUPS = ("latent", "seed", "shape", "splits", "labels", "labels_fingerprint", "class_names")


@dataclass(frozen=True)
class Measured:
    """What was measured for one checkpoint.

    Attributes:
        row: Its row of the table.
        matrix: The correlations of its codes, (L, L).
        origin: Its name, model and training, for the parameters of the figure.
    """

    row: dict[str, Any]
    matrix: Floats
    origin: dict[str, Any]


def group_names(headers: Sequence[Header], records: Sequence[RunRecord]) -> list[str]:
    """Return the group of each checkpoint, named by its settings apart from latent dimensions and seed.

    Model, architecture and a VAE's beta are always named, other settings if they differ within an architecture.

    Args:
        headers: Of each checkpoint.
        records: The same, typed.
    """
    settings = [
        {key: value for part in (header.model, header.train, header.data) for key, value in part.items()}
        for header in headers
    ]
    networks = [f"{record.model.kind} {record.model.arch}" for record in records]
    differing = differing_keys(settings, networks)
    names = []
    for own, record, network in zip(settings, records, networks, strict=True):
        named = {key for key in differing[network] if key not in _NOT_IN_GROUPS and own.get(key) is not None}
        named = named - {"beta"} | ({"beta"} if record.model.has_prior else set())
        names.append(", ".join([network, *(_in_words(key, value) for key, value in own.items() if key in named)]))
    return names


def _in_words(key: str, value: Any) -> str:
    return in_words(key, value) if key != "layers" else count(value, "layer")


def measure_checkpoint(
    checkpoint: LoadedCheckpoint,
    image_set: ImageSet,
    request: DecorrelationRequest,
    group: str,
    *,
    progress: Progress = SILENT,
) -> Measured:
    """Return the correlations of the codes of some images, and the row of the table.

    Args:
        checkpoint: The checkpoint.
        image_set: N images.
        request: What to measure.
        group: The group that the checkpoint belongs to.
        progress: Receives notices of dead dimensions and of an interval that cannot be given.

    Raises:
        AekitError: The codes are not finite.
    """
    codes = checkpoint.encode(image_set).mean
    found = measure_codes(codes, n_resamples=request.bootstrap, seed=request.seed)
    n_live, n_dimensions = int(found.live.sum()), len(found.live)
    _report_dead(str(checkpoint.path), n_live, n_dimensions, progress)
    if n_live >= 2 and len(image_set) < IMAGES_PER_DIMENSION * n_live:
        progress.notice(
            f"{checkpoint.path}: the effective rank has no interval, as {len(image_set):,} images are fewer than "
            f"{IMAGES_PER_DIMENSION} per dimension ({n_live}); use more images"
        )
    row = {
        "checkpoint": checkpoint.name,
        "group": group,
        **checkpoint.settings(_SETTINGS),
        "split": request.split,
        "n_images": len(image_set),
        "n_dead": n_dimensions - n_live,
        "n_live": n_live,
        **_activity(found, codes, has_prior=checkpoint.record.model.has_prior),
        **_values(found),
    }
    header = checkpoint.header
    origin = {"checkpoint": checkpoint.name, "model": header.model, "train": header.train}
    return Measured(row, found.matrix, origin)


def _report_dead(name: str, n_live: int, n_dimensions: int, progress: Progress) -> None:
    if n_live < n_dimensions:
        are = "is" if n_dimensions - n_live == 1 else "are"
        progress.notice(
            f"{name}: {n_dimensions - n_live} of {count(n_dimensions, 'dimension')} {are} dead, the same for all "
            f"images, and {are} left out"
        )
    if n_live < 2:
        progress.notice(f"{name}: no value, as there is no pair of dimensions to correlate (live: {n_live})")


def _activity(found: Decorrelation, codes: Floats, *, has_prior: bool) -> dict[str, Any]:
    """Return the number of active units and the mean |r| among them; None without a prior, which sets the scale."""
    if not has_prior:
        return {"n_active": None, "mean_abs_active": None}
    active = active_units(codes)
    return {"n_active": int(active.sum()), "mean_abs_active": measure_matrix(found.matrix, active)["mean-abs"]}


def _values(found: Decorrelation) -> dict[str, float]:
    columns: dict[str, float] = {}
    for suffix, intervals in (("", found.values), ("_rotated", found.rotated)):
        for name, interval in intervals.items():
            column = f"{column_name(name)}{suffix}"
            columns |= {column: interval.value, f"{column}_low": interval.low, f"{column}_high": interval.high}
    return columns


def build_table(measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row per checkpoint."""
    table = pd.DataFrame([each.row for each in measured])
    # Integers that may be missing stay integers.
    return table.astype({key: "Int64" for key in ("layers", "width", "n_active")})


def add_pca(table: pd.DataFrame, image_set: ImageSet, *, progress: Progress = SILENT) -> pd.DataFrame:
    """Return the table with the measures of PCA codes of the same images, with the dimensions of each code.

    Args:
        table: As returned by :func:`build_table`.
        image_set: The images that its values were measured on.
        progress: Receives a notice if there are fewer components than dimensions.
    """
    most = max_components(image_set)
    wanted = sorted(set(table["latent"]))
    if wanted[-1] > most:
        progress.notice(f"pca: these images have at most {count(most, 'component')}; there is no comparison above that")
    codes = principal_codes(image_set, wanted[-1])
    values = {d: measure_matrix(correlation_matrix(codes[:, :d])) for d in wanted if d <= most}
    columns = {
        f"{column_name(name)}_pca": [values.get(d, {}).get(name, np.nan) for d in table["latent"]] for name in LABELS
    }
    return table.assign(**columns)
