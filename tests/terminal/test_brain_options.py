"""What the help of the options of cohorts promises is what the readers of tables and scans do."""

from __future__ import annotations

import re
from typing import get_args

import numpy as np
import pandas as pd

from aekit.brains.cohort.scans import match_files
from aekit.brains.cohort.table import read_cohort
from aekit.brains.volumes.nifti import read_volume
from aekit.terminal import brain_options


def _info(option):
    return get_args(option)[1]


def test_a_table_with_the_columns_that_the_help_names_has_everything(tmp_path):
    columns = re.search(r"CSV with (.*)\.", _info(brain_options.Table).help)[1].split(", ")
    values = {"participant_id": "sub-01", "sex": "F"}
    table = pd.DataFrame([{name: values.get(name, "500") for name in columns} | {"age": "50"}])
    table.to_csv(tmp_path / "t.csv", index=False)
    cohort = read_cohort(tmp_path / "t.csv")
    assert cohort.age_years.tolist() == [50]
    assert cohort.sex.tolist() == ["F"]
    np.testing.assert_allclose(cohort.proportions, [[1 / 3] * 3])
    assert sorted(cohort.table.columns) == sorted(columns)


def test_the_pattern_of_the_help_finds_the_file_of_a_participant(tmp_path):
    pattern = re.search(r"(\{id\}\S+)\.$", _info(brain_options.Pattern).help)[1]
    for name in ("01_T1w.nii.gz", "01_T2w.nii.gz", "101_T1w.nii.gz"):
        (tmp_path / name).touch()
    pd.DataFrame({"participant_id": ["01"], "age": [50]}).to_csv(tmp_path / "t.csv", index=False)
    found = match_files(read_cohort(tmp_path / "t.csv"), tmp_path, table_path=tmp_path / "t.csv", pattern=pattern)
    assert [path.name for path in found.paths] == ["01_T1w.nii.gz"]


def test_the_voxel_size_that_the_help_shows_as_default_is_the_one_that_is_assumed(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(1, 2, (8, 8, 8)).astype(np.float32))
    size = float(_info(brain_options.VoxelSize).show_default)
    assert tuple(read_volume(tmp_path / "x.npy").spacing_mm) == (size,) * 3
