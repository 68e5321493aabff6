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


@pytest.mark.parametrize("others", [[], ["digits", "nowhere"]])
@pytest.mark.parametrize(("kind", "what"), [("one", "too few images"), ("dark", "would be nearly black")])
def test_what_is_wrong_is_said_of_the_argument_not_of_an_option(tmp_path, kind, what, others):
    n, value, dtype = {"one": (1, 200, np.uint8), "dark": (10, 9, np.uint16)}[kind]
    images = np.full((n, 8, 8), value, dtype)
    images[:, 0] = 0
    np.save(tmp_path / "own.npy", images)
    said = Recorded()
    with pytest.raises(AekitError) as caught:
        list(run_data([str(tmp_path / "own.npy"), *others], data_root=tmp_path, progress=said))
    lines = [*said.notices, str(caught.value)]
    assert sum(line.startswith(str(tmp_path / "own.npy")) and what in line for line in lines) == 1
    assert not any("--data" in line for line in lines)


def test_a_data_set_is_checked_only_when_its_result_is_asked_for(faces, tmp_path):
    results = run_data([str(faces), "nowhere"], data_root=tmp_path)
    assert next(results).path == faces
    with pytest.raises(AekitError, match=r"^nowhere: no such data set"):
        next(results)


@pytest.mark.parametrize(("names", "list_known"), [([], False), (["digits"], True)])
def test_the_table_lists_all_known_data_sets_and_results_are_those_on_disk(tmp_path, names, list_known):
    progress = Recorded()
    results = list(run_data(names, list_known=list_known, data_root=tmp_path, progress=progress))
    ((_, columns, rows),) = progress.tables
    assert [row[0] for row in rows] == list(CATALOG)
    assert {row[0] for row in rows if row[columns.index("on disk")] != "no"} == {"digits"}
    assert [result.values["name"] for result in results] == ["digits", *names]
