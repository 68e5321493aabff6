"""A cohort of phantoms on the grid, and toy arrays for tests that need no files."""

import numpy as np
import pandas as pd
import pytest
import torch

from aekit.brains.cohort.table import read_cohort
from aekit.brains.config import BrainConfig, BrainModelConfig, BrainTrainConfig, CohortConfig, Source
from aekit.brains.data import BrainData
from aekit.brains.people import gather_people

GRID = CohortConfig(size=(16, 16, 16), spacing_mm=12.0, correct_bias=False)


@pytest.fixture(scope="session")
def phantom_source(phantom_cohort):
    return Source(phantom_cohort / "participants.tsv", phantom_cohort / "volumes")


@pytest.fixture(scope="session")
def phantom_people(phantom_source):
    return gather_people(read_cohort(phantom_source.table), phantom_source, GRID, target="absolute", jobs=1)


@pytest.fixture
def brain_config():
    """Return a function that makes a configuration of small and short networks, by names of any of its parts."""

    def make(**values):
        model = {"target": "absolute", **values}
        train = {"epochs": 1, "precision": "fp32", "seeds": 1, **values}
        data = {"size": (8, 8, 8), "spacing_mm": 12.0, **values}
        parts = ((BrainModelConfig, model), (CohortConfig, data), (BrainTrainConfig, train))
        made = [cls(**{k: v for k, v in part.items() if k in cls.__dataclass_fields__}) for cls, part in parts]
        return BrainConfig(*made)

    return make


@pytest.fixture
def toy():
    """Return a function that makes people of 8 x 8 x 8 voxels, whose volumes follow from how bright they are."""

    def make(n=24, *, size=8, seed=0):
        random = np.random.default_rng(seed)
        tissues = random.normal([700, 500, 250], [60, 50, 40], (n, 3))
        images = random.uniform(0.1, 1.0, (n, size, size, size))
        images[:, :2] = images[:, -2:] = 0
        images *= (tissues[:, 0] / 700)[:, None, None, None]
        histograms = np.abs(random.normal(10, 1, (n, 12)))
        histograms[:, :3] += (tissues - tissues.mean(0)) / 20
        ages = np.clip(90 - 0.08 * (tissues[:, 0] - 300) + random.normal(0, 2, n), 5, 95)
        return BrainData(
            images.astype(np.float16),
            torch.from_numpy(np.cumsum(histograms, 1).astype(np.float32)),
            torch.from_numpy(tissues.astype(np.float32)),
            torch.from_numpy(ages.astype(np.float32)),
        )

    return make


@pytest.fixture
def cohort_of(tmp_path):
    """Return a function that writes columns as a table and reads it as a cohort."""

    def make(**columns):
        path = tmp_path / "people.csv"
        pd.DataFrame(columns).to_csv(path, index=False)
        return read_cohort(path)

    return make
