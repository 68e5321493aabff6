"""Tables of paths: a row per step, measures of each path, and their means with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aekit.images.interpolation.latent_paths import CodeCloud, LatentPath
from aekit.images.interpolation.tables import MEASURES, auc_text, join_tables, path_measures, path_table, summarise

CODES = np.array([[0.0, 0.0], [1.0, 9.0], [3.0, -9.0]])
CLOUD = CodeCloud(CODES, np.array([True, False]), 0.5, np.zeros(2))
ALPHAS = np.array([0.0, 1.0])
IMAGES = np.stack([np.zeros((1, 2, 2)), np.ones((1, 2, 2))])


def test_distances_are_measured_in_the_used_dimensions_to_the_codes_of_other_images():
    path = LatentPath("linear", IMAGES, np.array([[0.0, 5.0], [1.0, 5.0]]), np.array([0, 1]), (0.1, 0.2))
    table = path_table(path, CLOUD, ALPHAS)
    assert table["nearest_code"].tolist() == [3.0, 2.0]
    assert table["nearest_code_ratio"].tolist() == [6.0, 4.0]
    assert table["start_error"].tolist() == [0.1, 0.1]
    assert table["step_length"].tolist()[1] == 1
    measures = path_measures(path, table)
    assert list(measures) == list(MEASURES)
    assert measures == {"length_ratio": 1, "unevenness": 0, "farthest": 6, "start_error": 0.1, "end_error": 0.2}


def test_a_walk_has_no_end_and_a_blend_no_code():
    table = path_table(LatentPath("linear", IMAGES, None, None, (0.0,)), CLOUD, ALPHAS)
    assert "end_error" not in table
    assert table["nearest_code"].isna().all()


def test_summaries_are_means_with_intervals_of_students_t():
    values = [1.0, 2.0, 6.0]
    measures = [dict.fromkeys(MEASURES, np.nan) | {"unevenness": value} for value in values]
    summary = summarise(measures)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = [summary[key] for key in ("n_paths", "unevenness", "unevenness_low", "unevenness_high")]
    assert found == pytest.approx([3, 3, low, high])
    assert summary["length_ratio"] is None


def test_whole_numbers_stay_whole_where_other_tables_leave_a_column_empty():
    joined = join_tables([pd.DataFrame({"latent": [2]}), pd.DataFrame({"latent": [None]})])
    assert joined.to_csv(index=False) == 'latent\n2\n""\n'


@pytest.mark.parametrize(
    ("auc", "text"), [(1.0, "1.000"), (0.99951, ">0.999"), (0.996, "0.996"), (0.5, "0.500"), (0.99949, "0.999")]
)
def test_an_auc_is_written_as_1_only_if_it_is(auc, text):
    assert auc_text(auc) == text
