"""The catalogue describes the data sets that have readers, as they are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from aekit.images.catalog import CATALOG
from aekit.images.config import DataConfig
from aekit.images.data import DATASETS, read_images


def test_the_catalogue_describes_every_data_set_that_has_a_reader():
    assert CATALOG.keys() == DATASETS.keys()


def test_counts_and_classes_of_the_digits_are_those_of_the_catalogue(tmp_path):
    known = CATALOG["digits"]
    train, test = (read_images(DataConfig("digits"), split, data_root=tmp_path) for split in ("train", "test"))
    assert (len(train), len(test), train.image_shape) == (known.n_train, known.n_test, known.image_shape)
    assert set(np.unique(train.labels)) == set(range(len(known.class_names)))


@pytest.mark.parametrize("name", [name for name, known in CATALOG.items() if known.class_names])
def test_class_names_are_distinct(name):
    assert len(set(CATALOG[name].class_names)) == len(CATALOG[name].class_names)


def test_the_catalogue_is_read_without_numpy():
    script = "import sys, aekit.images.catalog; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
