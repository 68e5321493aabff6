"""A table of participants and a folder of their scans, as files, and a progress that remembers what it was given."""

import nibabel
import numpy as np
import pandas as pd
import pytest


def _participants(n, *, seed=0):
    """Return a table whose volumes vary with age and sex as brains do, of two sites."""
    generator = np.random.default_rng(seed)
    age, female = generator.uniform(10, 80, n), np.arange(n) % 2 == 0
    size = np.where(female, 1350, 1530) * np.exp(generator.normal(0, 0.05, n))
    csf = 0.10 + 0.002 * age + generator.normal(0, 0.01, n)
    grey = (1 - csf) * (0.60 - 0.0012 * age + generator.normal(0, 0.01, n))
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{number:03d}" for number in range(n)],
            "age": age.round(2),
            "sex": np.where(female, "F", "M"),
            "site": np.where(np.arange(n) < n // 2, "<b>A", "B"),
            "gmv": size * grey,
            "wmv": size * (1 - csf - grey),
            "csfv": size * csf,
        }
    )


def _write_table(table, path):
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def _write_scan(path, volume_ml, *, seed):
    """Write a ball of this volume in voxels of 8 mm, with noise so that no two are the same."""
    generator = np.random.default_rng(seed)
    grid = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0) + generator.normal(0, 0.01, (24, 24, 24))
    inside = grid <= np.sort(grid, axis=None)[round(volume_ml / 0.512)]
    data = np.where(inside, generator.normal(100, 10, grid.shape), 0).astype(np.float32)
    nibabel.Nifti1Image(data, np.diag([8.0, 8, 8, 1])).to_filename(path)


class Recorder:
    """Progress that keeps its notices and tables."""

    def __init__(self):
        self.notices, self.tables, self.updates = [], [], []

    def update(self, what, done, total, *, lane="", detail=None):
        self.updates.append((what, done, total))

    def notice(self, text):
        self.notices.append(text)

    def table(self, title, columns, rows):
        self.tables.append((title, list(columns), [list(row) for row in rows]))

    def should_stop(self):
        return None


@pytest.fixture(scope="session")
def participants():
    """Return a function that draws a table of ``n`` participants."""
    return _participants


@pytest.fixture(scope="session")
def write_table():
    """Return a function that writes a table as TSV and returns its path."""
    return _write_table


@pytest.fixture(scope="session")
def write_scan():
    """Return a function that writes a scan of a brain of some volume."""
    return _write_scan


@pytest.fixture(scope="session")
def recorder():
    """Return the class of a progress that remembers what it was given."""
    return Recorder
