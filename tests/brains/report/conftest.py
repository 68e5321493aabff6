"""A table of participants and a folder of their scans, as files, and a progress that remembers what it was given."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.scans import MatchedFiles
from aekit.brains.cohort.table import read_cohort
from aekit.brains.measures.space import SpaceCheck
from aekit.brains.report.analysis import analyse_cohort
from aekit.brains.report.reading import CohortInput
from aekit.brains.report.scans import Scans
from aekit.brains.volumes.checks import VolumeCheck


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


@pytest.fixture(scope="session")
def analyse_table(write_table, tmp_path_factory):
    """Return a function that analyses a table, with everyone in train unless told otherwise, and its input."""

    def run(table, split="train"):
        cohort = read_cohort(write_table(table, tmp_path_factory.mktemp("study") / "t.tsv"))
        analysis = analyse_cohort(cohort, np.array(np.broadcast_to(split, len(cohort)), dtype=object))
        return analysis, CohortInput(cohort, cohort, (), cohort.left_out)

    return run


@pytest.fixture(scope="session")
def cohort_table(participants):
    """Return the table of 44 participants: one with absurd volumes, one without an age, and a column of their own."""
    table = participants(44)
    table["iq"] = 100.0 + np.arange(44) % 7
    table.loc[5, ["gmv", "csfv"]] = [250.0, 700.0]
    table.loc[6, "age"] = np.nan
    return table


@pytest.fixture(scope="session")
def cohort_study(analyse_table, cohort_table):
    """Return the analysis of these participants, split into train, val and test, and how they were read."""
    return analyse_table(cohort_table, ["train"] * 28 + ["val"] * 6 + ["test"] * 10)


@pytest.fixture(scope="session")
def ages_study(analyse_table, participants):
    """Return the same for a table of ages and nothing else."""
    return analyse_table(participants(20)[["participant_id", "age"]])


@pytest.fixture(scope="session")
def make_scans():
    """Return a function that makes checked scans, one for each shape."""

    def make(*, n_nan=0, shapes=((2, 2, 2),), space="native", r=0.99, slope=1.0, unit_factor=1.0):
        checks = tuple(
            VolumeCheck(Path(f"{i}.nii"), "", (), shape, (1.0, 1, 1), "RAS", n_nan, 1400.0, str(i))
            for i, shape in enumerate(shapes)
        )
        matched = MatchedFiles(tuple(check.path for check in checks), (), ())
        found = SpaceCheck(space, 60, r, slope, unit_factor)
        return Scans(Path(), matched, checks, ((),) * len(checks), np.full(len(checks), 1400.0), found)

    return make
