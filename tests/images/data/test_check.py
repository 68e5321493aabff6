"""Data sets are checked and listed from Python as on the command line."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import Recorded

from aekit.errors import AekitError
from aekit.images.catalog import CATALOG
from aekit.images.data.check import run_data


@pytest.fixture
def faces(tmp_path):
    np.save(tmp_path / "faces.npy", np.full((10, 3, 8, 8), 200, np.uint8))
    return tmp_path / "faces.npy"


def test_each_data_set_is_a_result_with_its_counts_and_a_summary(faces, tmp_path):
    progress = Recorded()
    digits, own = run_data(["digits", str(faces)], data_root=tmp_path, image_size=(12, 12), progress=progress)
    assert digits.values["n"] == {"train": 1438, "test": 359}
    assert digits.values["classes"] == list("0123456789")
    assert own.path == faces
    assert own.values["shape"] == [3, 12, 12]
    assert progress.notices[0].startswith(
        "digits: 1,438 training and 359 test images, height 12, width 12, 1 channel, 10 classes (0, 1, 2,"
    )
    assert progress.notices[-1] == "faces: 8 training and 2 test images, height 12, width 12, 3 channels"
    assert progress.tables == []


def test_a_data_set_is_checked_only_when_its_result_is_asked_for(faces, tmp_path):
    results = run_data([str(faces), "nowhere"], data_root=tmp_path)
    assert next(results).path == faces
    with pytest.raises(AekitError, match="--data nowhere: no such data set"):
        next(results)


@pytest.mark.parametrize(("names", "list_known"), [([], False), (["digits"], True)])
def test_the_table_lists_all_known_data_sets_and_results_are_those_on_disk(tmp_path, names, list_known):
    progress = Recorded()
    results = list(run_data(names, list_known=list_known, data_root=tmp_path, progress=progress))
    ((_, columns, rows),) = progress.tables
    assert [row[0] for row in rows] == list(CATALOG)
    assert {row[0] for row in rows if row[columns.index("on disk")] != "no"} == {"digits"}
    assert [result.values["name"] for result in results] == ["digits", *names]
