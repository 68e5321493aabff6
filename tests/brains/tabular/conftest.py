"""Tables of participants with columns that go with age, and configurations that learn from them."""

import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.config import BrainConfig, BrainModelConfig, BrainTrainConfig, CohortConfig


@pytest.fixture
def table_of():
    """Return a function that makes n participants whose eight regions shrink with age, at one site or several.

    With ``shift``, a site adds so many SDs to all regions.
    """

    def make(n=90, *, seed=0, n_features=8, sites=("A",), shift=None, slope=0.1, noise=1.0):
        random = np.random.default_rng(seed)
        ages = random.uniform(20, 80, n).round(2)
        site = np.array(sites)[np.arange(n) % len(sites)]
        slopes = -slope * random.uniform(0.5, 1.5, n_features)
        values = 50 + np.outer(ages, slopes) + noise * random.normal(size=(n, n_features))
        values += np.array([(shift or {}).get(one, 0.0) for one in site])[:, None]
        regions = {f"roi_{number}": values[:, number].round(6) for number in range(n_features)}
        own = {"participant_id": [f"p{row:03}" for row in range(n)], "age": ages}
        sex = np.where(random.random(n) < 0.5, "F", "M")
        return pd.DataFrame({**own, "sex": sex, "site": site, **regions})

    return make


@pytest.fixture
def cohort_from(tmp_path):
    """Return a function that writes a table and reads it as a cohort."""

    def make(table):
        path = tmp_path / "people.csv"
        table.to_csv(path, index=False)
        return read_cohort(path)

    return make


@pytest.fixture
def config_of():
    """Return a function that makes a configuration of a training on columns."""

    def make(*features, combat=False, seed=0, **data):
        splits = {"val": 0.0, "test": 0.0} if "cv" in data else {}
        model = BrainModelConfig(features=features or ("roi_*",), combat=combat)
        return BrainConfig(model, CohortConfig(name="people.csv", **{**splits, **data}), BrainTrainConfig(seed=seed))

    return make
