"""A cohort of small phantoms on the grid, and what is done to single scans of it."""

from dataclasses import replace

import numpy as np
import pytest
from quality_cohort import SPACING, N, gridded, phantom


@pytest.fixture(scope="session")
def phantoms():
    """Return the intensities of forty phantoms."""
    return [phantom(number) for number in range(N)]


@pytest.fixture(scope="session")
def clean(phantoms):
    """Return forty phantoms on the grid."""
    return gridded(phantoms)


@pytest.fixture
def with_scans(clean):
    """Return a function that replaces some scans of the cohort, given by row."""

    def make(changed, spacings=None):
        rows = list(changed)
        new = gridded([changed[row] for row in rows], [(spacings or {}).get(row, (SPACING,) * 3) for row in rows])
        fields = {}
        for name in ("images", "histograms_ml", "brain_ml", "scale", "spacing_mm", "blur", "field_size"):
            fields[name] = np.array(getattr(clean, name))
            fields[name][rows] = getattr(new, name)
        return replace(clean, **fields)

    return make
