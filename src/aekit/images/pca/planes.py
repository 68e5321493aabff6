"""Two-dimensional codes and the images decoded over them, of PCA and of models."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aekit.core.progress import Progress
from aekit.images.data.image_set import ImageSet
from aekit.images.inference import decode_codes
from aekit.images.latent import live_dimensions
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.pca.figure import Plane
from aekit.images.principal_components import Pca
from aekit.images.prior import name_prior, read_prior

Floats = npt.NDArray[np.floating]

GRID = 12  # decoded images along each side of a plane
OUTSIDE = 0.01  # fraction of the codes at each end of each dimension that a decoded plane leaves out
OVER_CODES = f"the middle {100 * (1 - 2 * OUTSIDE):.0f} % of each dimension"


def pca_plane(pca: Pca, image_set: ImageSet) -> list[Plane]:
    """Return the plane of the first two components, or none if there are not two."""
    if len(pca.components) < 2:
        return []
    codes = pca.encode_all(image_set, 2)
    z0, z1 = _code_range(codes)
    decoded = np.clip(pca.decode(_grid_codes(z0, z1)), 0, 1).reshape(GRID, GRID, *image_set.image_shape)
    return [Plane("PCA", codes, z0, z1, decoded, OVER_CODES)]


def model_plane(checkpoint: LoadedCheckpoint, name: str, codes: Floats, progress: Progress) -> Plane:
    """Return the plane of a model of two latent dimensions, over quantiles of its prior or the range of its codes.

    Args:
        checkpoint: The model.
        name: Its name in the figure.
        codes: Its codes, (N, 2).
        progress: Receives a notice of dead dimensions.
    """
    dead = np.flatnonzero(~live_dimensions(codes))
    if len(dead):
        which = f"dimension {dead[0]} of its code is" if len(dead) == 1 else "both dimensions of its code are"
        progress.notice(f"{checkpoint.path}: {which} dead, the same for all images")
    z0: Floats
    z1: Floats
    if checkpoint.record.model.has_prior:
        prior = read_prior(checkpoint.model)
        z0, z1 = (prior.quantiles(dimension, GRID) for dimension in (0, 1))
        over = f"quantiles of {name_prior(checkpoint.record.model)}"
    else:
        (z0, z1), over = _code_range(codes), OVER_CODES
    labels = None
    if checkpoint.model.classes is not None:  # a plane is of one class, so of the first
        labels = np.zeros(GRID * GRID, np.int64)
        over += f", as class {checkpoint.model.classes.names[0]}"
    decoded = decode_codes(checkpoint.model, _grid_codes(z0, z1), labels=labels)
    decoded = decoded.reshape(GRID, GRID, *checkpoint.model.image_shape)
    return Plane(f"{name}, seed {checkpoint.record.train.seed}", codes, z0, z1, decoded, over)


def _code_range(codes: Floats) -> tuple[Floats, Floats]:
    """Return evenly spaced values over the middle 98 % of each of two dimensions; around a dead one, 1 to each side."""
    axes = []
    for values in codes.T:
        low, high = np.quantile(values, [OUTSIDE, 1 - OUTSIDE])
        if high - low <= 1e-6 * max(abs(low), abs(high)):
            low, high = low - 1, high + 1
        axes.append(np.linspace(low, high, GRID))
    return axes[0], axes[1]


def _grid_codes(z0: Floats, z1: Floats) -> Floats:
    columns, rows = np.meshgrid(z0, z1)  # z1 changes from row to row
    return np.stack([columns.ravel(), rows.ravel()], axis=1)
