"""Where images came from stays with them through subsets and joins."""

import numpy as np

from aekit.images.data.origins import Origins, rows_of


def test_a_row_of_a_file_is_written_after_its_name():
    origins = rows_of("faces.npz", np.array([4, 9, 2]))
    assert [origins.text(i) for i in range(3)] == ["faces.npz[4]", "faces.npz[9]", "faces.npz[2]"]
    assert origins.columns() == {"file": ["faces.npz"] * 3, "row": [4, 9, 2]}


def test_files_of_one_image_have_no_row():
    origins = Origins(["a.png", "b/c.png"], np.array([1, 0]))
    assert origins.text(0) == "b/c.png"
    assert origins.columns(np.array([1])) == {"file": ["a.png"]}


def test_a_subset_and_a_join_keep_the_order():
    both = rows_of("x.npz", np.arange(3)) + Origins(["a.png"], np.array([0]))
    assert [both.text(i) for i in range(4)] == ["x.npz[0]", "x.npz[1]", "x.npz[2]", "a.png[0]"]
    assert both.subset(np.array([3, 1])).columns() == {"file": ["a.png", "x.npz"], "row": [0, 1]}
