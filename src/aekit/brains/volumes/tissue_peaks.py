"""Intensities of a brain aligned by its tissues: fluid, grey and white matter get the same values in every scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.brains.volumes.bias_field import fit_tissues

Voxels = npt.NDArray[np.float32]

# Where fluid, grey and white matter lie in the median of 181 IXI brains when they are scaled by percentiles, so that
# scans like those change least.
REFERENCE = (0.35, 0.63, 0.77)
_N_FITTED = 20_000
_MIN_VOXELS = 1000
_MIN_RATIO = 1.08  # of the intensities of two tissues that are told apart
_MIN_FRACTION = 0.02  # of the brain, for each tissue


@dataclass(frozen=True)
class TissueScale:
    """A piecewise linear map of intensities.

    Attributes:
        peaks: Intensities of fluid, grey and white matter in the file, ascending, > 0.
    """

    peaks: tuple[float, float, float]

    @property
    def slope(self) -> float:
        """Return by how much a value above white matter grows per unit of intensity."""
        return (REFERENCE[2] - REFERENCE[1]) / (self.peaks[2] - self.peaks[1])

    @property
    def unit(self) -> float:
        """Return the intensity of the file that becomes 1."""
        return self.peaks[2] + (1.0 - REFERENCE[2]) / self.slope

    def apply(self, values: Voxels) -> Voxels:
        """Return values with the tissues at ``REFERENCE``; 0 stays 0, and beyond white matter the line goes on."""
        ends = (0.0, *self.peaks, self.peaks[2] + 100.0 / self.slope)
        return np.interp(values, ends, (0.0, *REFERENCE, REFERENCE[2] + 100.0)).astype(np.float32)


def fit_tissue_scale(inside: Voxels) -> TissueScale | None:
    """Return the map that aligns the tissues of a brain, or None if three of them cannot be told apart.

    Args:
        inside: Intensities of the brain, without bias field, (n,), all >= 0.

    Source:
        Landmarks on the scale of intensities: Nyul, Udupa & Zhang 2000, doi:10.1109/42.836373; here the means of three
        Gaussians of log intensity, which a gain or a power of all intensities moves exactly.
    """
    top = float(inside.max())
    if len(inside) < _MIN_VOXELS or top <= 0:
        return None
    values = np.sort(inside)[:: max(1, len(inside) // _N_FITTED)].astype(np.float64)
    tissues = fit_tissues(np.log(np.maximum(values, 1e-3 * top)))
    first, second, third = (float(np.exp(mean)) for mean in tissues.means)
    told_apart = second > _MIN_RATIO * first and third > _MIN_RATIO * second
    if not told_apart or tissues.fractions.min() < _MIN_FRACTION:
        return None
    return TissueScale((first, second, third))
