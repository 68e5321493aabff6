"""Result files hold what was given, and what prevents writing them is one line."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from aekit.core.artifacts import (
    check_no_line_break,
    check_writable,
    write_atomically,
    write_columns,
    write_csv,
    write_html,
    write_json,
    write_png,
)
from aekit.errors import AekitError


def test_a_png_carries_its_parameters_and_is_the_same_each_time(tmp_path):
    figure = Figure(figsize=(2, 1), dpi=50)
    parameters = {"seed": 1, "name": "Zürich"}
    first, second = (write_png(tmp_path / name, figure, parameters) for name in ("a.png", "b.png"))
    with Image.open(first) as image:
        assert image.size == (100, 50)
        assert json.loads(image.text["aekit"]) == parameters
        assert set(image.text) == {"aekit"}
    assert first.read_bytes() == second.read_bytes()


def test_a_table_is_read_back_to_nine_digits(tmp_path):
    table = pd.DataFrame({"x": [1 / 3, np.nan, 1e-30], "name": ["a,b", 'c"d', "é"], "n": [1, 2, 3]})
    path = write_csv(tmp_path / "x.csv", table)
    assert path.read_bytes().startswith(b'x,name,n\n0.333333333,"a,b",1\n,')
    pd.testing.assert_frame_equal(pd.read_csv(path), table, rtol=1e-8)


_MANY = np.random.default_rng(0)
_COLUMNS = {
    "texts": {"file": ["a,b", 'c"d', "é\n", "", " x ", "#"], "label": ["0", "1", "None", "nan", "-", "\t"]},
    "numbers": {"n": range(6), "i": np.arange(6) * 10**12, "x": [1 / 3, -0.0, 1e-300, 1e300, np.inf, np.nan]},
    "halves": {"x": (np.arange(6) / 7).astype(np.float32), "is_on": np.arange(6) > 2, "y": [True, False] * 3},
    "missing": {"a,": [None] * 6, "x": [0.1, None, 3.0, None, 2e9, 1.0], "text": ["a", None, "b", "", "c", None]},
    "one": {"x": [None, 1.5, None, 2.0, None, None]},
    "empty": {"x": [], "y": np.zeros(0)},
    "many": {"x": _MANY.normal(size=25_001) * 10.0 ** _MANY.integers(-20, 20, 25_001), "n": np.arange(25_001)},
}


@pytest.mark.parametrize("name", _COLUMNS)
def test_columns_are_written_in_the_bytes_of_pandas(tmp_path, name):
    columns = _COLUMNS[name]
    expected = write_csv(tmp_path / "pandas.csv", pd.DataFrame(columns)).read_bytes()
    assert write_columns(tmp_path / "x.csv", columns).read_bytes() == expected


def test_columns_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"columns of \[1, 2\] values"):
        write_columns(tmp_path / "x.csv", {"a": [1], "b": [1, 2]})
    assert not (tmp_path / "x.csv").exists()


def test_json_and_html_are_written_as_utf_8(tmp_path):
    assert json.loads(write_json(tmp_path / "x.json", {"a": [1, "é"]}).read_bytes()) == {"a": [1, "é"]}
    assert write_html(tmp_path / "x.html", "<p>é</p>").read_text("utf-8") == "<p>é</p>"


def test_folders_are_created_and_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_atomically(tmp_path / "new" / "x.bin", lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomically(path, fail)
    assert [each.name for each in path.parent.iterdir()] == ["x.bin"]
    assert path.read_bytes() == b"old"


def test_a_folder_is_not_a_file_to_write(tmp_path):
    for check in (check_writable, lambda path: write_atomically(path, lambda file: None)):
        with pytest.raises(AekitError, match="is a folder; give the name of a file"):
            check(tmp_path)


def test_a_check_for_writing_creates_the_folder_and_no_file(tmp_path):
    check_writable(tmp_path / "new" / "x.csv")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_path_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AekitError, match=r"x\.csv: cannot be written \(.*\); choose another path with --output"):
        check_writable(tmp_path / "file" / "x.csv")


@pytest.mark.skipif(os.name != "posix", reason="line breaks in names")
def test_a_path_of_two_lines_is_refused(tmp_path):
    check_no_line_break(tmp_path / "a b.csv")
    for name in ("a\nb.csv", "a\rb.csv"):
        with pytest.raises(AekitError, match="has a line break in its name"):
            check_writable(tmp_path / name)
