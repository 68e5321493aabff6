import numpy as np
import pandas as pd

from aekit.brains.cohort.further import describe_left, further_columns
from aekit.brains.cohort.table import Cohort

N = 60


def cohort_with(**columns):
    known = {"participant_id": [f"p{row}" for row in range(N)], "age": 30.0, "gmv": 600.0, "file": "x.nii"}
    return Cohort("table.tsv", pd.DataFrame({**known, **columns}), (), pd.DataFrame())


def test_all_further_columns_are_kept_as_they_are_in_their_order():
    scores = np.where(np.arange(N) % 7 == 0, np.nan, np.arange(N) / 3)
    cohort = cohort_with(mmse=scores, sex="F", diagnosis=["AD", "control"] * 30, site="x")
    found = further_columns(cohort)
    assert list(found) == ["mmse", "sex", "diagnosis", "site"]
    pd.testing.assert_frame_equal(found, cohort.table[list(found)])
    assert describe_left(cohort) == ""


def test_a_name_that_is_taken_gets_a_prefix_and_no_name_is_there_twice():
    cohort = cohort_with(split="a", table_split="b", model="c", other="d")
    found = further_columns(cohort, taken=("split", "model"))
    assert list(found) == ["table_table_split", "table_split", "table_model", "other"]
    assert list(found.iloc[0]) == ["a", "b", "c", "d"]


def test_of_regional_volumes_only_scores_codes_and_texts_are_kept_and_the_others_named():
    random = np.random.default_rng(0)
    regions = {f"roi_{number}": random.normal(5, 1, N) for number in range(100)}
    voxels = {f"voxels_{number}": random.integers(2000, 9000, N) for number in range(50)}
    labels = {"diagnosis": ["AD", "control"] * 30, "mmse": random.integers(15, 31, N), "qc": [0.0, 1.0] * 30}
    cohort = cohort_with(**regions, **labels, **voxels)
    assert list(further_columns(cohort)) == list(labels)
    assert describe_left(cohort).startswith(
        "150 columns of measurements not repeated in the predictions: roi_0, roi_1, "
    )
