"""What the scans of a cohort have in common, and how far a scan is from it.

A reference is fitted on some scans and describes others: the mean image and mask, the distribution of intensities, and
a few principal components, on coarse images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.brains.quality.features import Singles, intensity_distance

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

COMPARED = ("intensities", "contrast", "overlap", "outside", "upside_down", "front_back", "unexplained")
N_FOLDS = 5
_SCANS_PER_COMPONENT, _MAX_COMPONENTS = 6, 10
_FILLED = 0.5  # of the scans have brain in a voxel of the mean mask
_CORE = 0.95  # of the scans have brain in a voxel in which contrast is compared: at edges, all brains are alike
_EMPTY = 0.01  # of the scans have brain in a voxel outside


@dataclass(frozen=True, eq=False)
class Reference:
    """What scans have in common.

    Attributes:
        mean: Mean coarse image, float32 (x, y, z).
        mask: Fraction of scans with brain in each voxel, float32 (x, y, z).
        fractions: Mean of the intensity distributions, (N_BINS,).
        components: Orthonormal principal components, float32 (k, x * y * z).
    """

    mean: Singles
    mask: Singles
    fractions: Floats
    components: Singles

    def compare(self, coarse: Singles, fractions: Floats) -> Floats:
        """Return how far scans are from what is common, (N, len(COMPARED)).

        The distance of the intensities; 1 - correlation of intensities within the brain; 1 - overlap (Dice) of the
        brain masks; the fraction of intensity outside all brains; and, as a square root, the part of the image that
        mean and components do not explain. ``upside_down`` and ``front_back`` are how much better the flipped scan
        correlates with the mean than the scan itself.

        Args:
            coarse: From :func:`aekit.brains.quality.features.coarsen`, (N, x, y, z).
            fractions: Distributions of intensity, (N, N_BINS).
        """
        n = len(coarse)
        flat, mean = coarse.reshape(n, -1), self.mean.ravel()
        within, inside = self.mask.ravel() > _FILLED, flat > 0
        core = self.mask.ravel() > _CORE
        core = core if core.any() else within
        both, either = inside[:, within].sum(axis=1), inside.sum(axis=1) + int(within.sum())
        straight = _correlate(flat, mean)
        rest = flat - mean
        rest = rest - (rest @ self.components.T) @ self.components
        norm = max(float(np.square(mean).sum()), 1e-12)
        total = np.maximum(flat.sum(axis=1), 1e-12)
        found: Floats = np.column_stack(
            [
                intensity_distance(fractions, self.fractions),
                1 - _correlate(flat[:, core], mean[core]),
                1 - 2 * both / np.maximum(either, 1),
                flat[:, self.mask.ravel() < _EMPTY].sum(axis=1) / total,
                _correlate(coarse[:, :, :, ::-1].reshape(n, -1), mean) - straight,
                _correlate(coarse[:, :, ::-1].reshape(n, -1), mean) - straight,
                np.sqrt(np.square(rest).sum(axis=1) / norm),
            ]
        ).astype(np.float64)
        return found


def _correlate(images: Singles, with_image: Singles) -> Floats:
    """Return Pearson's r of each row of (N, V) with (V,); 0 where one of them is constant."""
    x = images - images.mean(axis=1, keepdims=True)
    y = with_image - with_image.mean()
    norm = np.sqrt(np.square(x).sum(axis=1) * float(y @ y))
    r: Floats = np.where(norm > 1e-9, (x @ y) / np.maximum(norm, 1e-9), 0.0).astype(np.float64)
    return r


def fit_reference(coarse: Singles, fractions: Floats, rows: Rows) -> Reference:
    """Return what the scans in ``rows`` have in common.

    Args:
        coarse: Coarse images of all scans, (N, x, y, z).
        fractions: Their distributions of intensity, (N, N_BINS).
        rows: Which of them, at least one.
    """
    own = coarse[rows]
    mean = own.mean(axis=0)
    centred = (own - mean).reshape(len(rows), -1)
    k = min(_MAX_COMPONENTS, len(rows) // _SCANS_PER_COMPONENT)
    # By the matrix of scans: it is small, where that of voxels is not.
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    kept = [number for number in range(len(values) - k, len(values)) if values[number] > 1e-9 * max(values[-1], 1e-12)]
    components = (vectors[:, kept] / np.sqrt(values[kept])).T.astype(np.float32) @ centred
    return Reference(mean, (own > 0).mean(axis=0, dtype=np.float32), fractions[rows].mean(axis=0), components)


def compare_with_others(coarse: Singles, fractions: Floats, usual: Rows) -> Floats:
    """Return how far each scan is from what the others have in common, (N, len(COMPARED)).

    As in a cross-validation: a scan is compared with a reference to which it did not contribute, as a new scan is.

    Args:
        coarse: Coarse images, (N, x, y, z).
        fractions: Their distributions of intensity, (N, N_BINS).
        usual: The scans that references are fitted on, at least two of them.
    """
    found = np.empty((len(coarse), len(COMPARED)))
    fold_of = np.cumsum(np.isin(np.arange(len(coarse)), usual)) % N_FOLDS
    for fold in range(N_FOLDS):
        own = fold_of == fold
        reference = fit_reference(coarse, fractions, usual[fold_of[usual] != fold])
        found[own] = reference.compare(coarse[own], fractions[own])
    return found
