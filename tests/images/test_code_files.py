"""Files of codes: every spelling that a spreadsheet leaves is read as the numbers it stands for, or refused by name."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from aekit.core.progress import Silent
from aekit.errors import AekitError
from aekit.images.code_files import read_codes


class Notices(Silent):
    def __init__(self):
        self.said = []

    def notice(self, text):
        self.said.append(text)


def _read(tmp_path, content, latent=2):
    path = tmp_path / "codes.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    notices = Notices()
    return read_codes(path, latent, "vae.safetensors", notices), "\n".join(notices.said)


@pytest.mark.parametrize(
    ("content", "z", "said"),
    [
        ("z0,z1\n1,2\n3,4\n", [[1, 2], [3, 4]], ""),
        ("\ufeffz0,z1\n1,2\n", [[1, 2]], "byte-order mark"),
        ("z0;z1\n1,5;-2\n3e-1;4,25\n", [[1.5, -2], [0.3, 4.25]], "decimal commas read as points (2)"),
        ("sep=;\nz0;z1\n1;2\n", [[1, 2]], "semicolons"),
        ("z0\tz1\r\n1\t2\r\n", [[1, 2]], "tabs"),
        ("z0,z1\n\n1,2\n,\n3,4\n", [[1, 2], [3, 4]], "blank rows dropped (2)"),
        ("z1,z0\n2,1\n", [[1, 2]], "in the order z1, z0"),
        ("z0,z1\n1,2\n1,2\n", [[1, 2], [1, 2]], ""),
        ("z0,z1\n1,2\nz0,z1\n3,4\n", [[1, 2], [3, 4]], "repeats of the header dropped"),
        ("z0,z1,,\n1,2,,\n", [[1, 2]], "empty fields beyond the last column dropped"),
        ("z0,z1\r1,2\r", [[1, 2]], ""),
        ("z0,z1\n1,2\n".encode("utf-16"), [[1, 2]], "UTF-16"),
    ],
)
def test_a_table_is_read_as_the_numbers_it_stands_for_and_what_was_corrected_is_said(tmp_path, content, z, said):
    codes, notices = _read(tmp_path, content)
    np.testing.assert_array_equal(codes.mean, np.array(z, np.float32))
    assert said in notices
    assert bool(said) == bool(notices)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("z0,z1\n1,2\n1,\n", r"line 3 has no value in z1; fill it in"),
        ("z0,z1\n\n1,NA\n", r"line 3 has no value in z1 \(NA\)"),
        ("z0,z1\nnan,1\n", r"line 2 has no value in z0 \(nan\)"),
        ("z0,z1\n1,abc\n", r"line 2 has 'abc' in z1, which is not a number"),
        ("z0,z1\n1,1_000\n", r"line 2 has '1_000' in z1, which is not a number"),
        ('z0,z1\n"1,000",2\n', r"line 2 has '1,000' in z0, which is not a number"),
        ("z0,z1\n-inf,1\n", r"line 2 has -inf in z0, which is not a finite"),
        ("z0,z1\n1,1e39\n", r"line 2 has 1e39 in z1, which is not a finite 32-bit number"),
        ("z0;z1\n1,5;2.5\n", r"decimal comma and others with a decimal point"),
        ("z1,a\n1,2\n", r"has no column z0; vae.safetensors takes z0 to z1"),
        ("a,b\n1,2\n", r"has no columns z0, z1 ... \(it has a, b\)"),
        ("z0,z1,z2\n1,2,3\n", r"has column z2, and vae.safetensors takes z0 to z1"),
        ("z0,z1,z1\n1,2,3\n", r"has several columns 'z1'"),
        ("z0,z1,a,a\n1,2,3,4\n", r"has several columns 'a'"),
        ("z0,z1\n1,2\n3\n", r"line 3 has 1 field, the header has 2"),
        ("z0,z1\n", r"has a header and no rows"),
        ("", r"is empty; give a table"),
        ('z0,z1\n1,"2\n', r"line 2 cannot be parsed"),
    ],
)
def test_what_stands_for_no_number_is_refused_with_its_line_and_column(tmp_path, content, error):
    with pytest.raises(AekitError, match=rf"codes\.csv: .*{error}"):
        _read(tmp_path, content)


def test_other_columns_are_kept_and_pandas_index_gets_a_name(tmp_path):
    table = pd.DataFrame({"z0": [0.5, 1.5], "name": ["a;b", "c"], "z1": [2, 3]})
    codes, said = _read(tmp_path, table.to_csv())
    assert codes.columns == {"column 1": ["0", "1"], "name": ["a;b", "c"]}
    assert "the column without a name is called column 1" in said
    assert list(codes.lines) == [2, 3]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1),
    st.permutations(["z0", "z1", "z2"]),
    st.sampled_from([",", ";", "\t"]),
)
def test_nine_digits_bring_every_32_bit_number_back(tmp_path, rows, order, separator):
    z = np.array(rows, np.float32)
    text = io.StringIO()
    pd.DataFrame(z, columns=["z0", "z1", "z2"])[order].to_csv(text, index=False, float_format="%.9g", sep=separator)
    codes, _ = _read(tmp_path, text.getvalue(), latent=3)
    np.testing.assert_array_equal(codes.mean, z)


def _tensors(tmp_path, latent=2, parameters=None, **tensors):
    path = tmp_path / "codes.safetensors"
    save_file(tensors, path, None if parameters is None else {"aekit": json.dumps(parameters)})
    return read_codes(path, latent, "vae.safetensors")


def test_tensors_have_the_names_of_their_metadata(tmp_path):
    z = np.arange(4, dtype=np.float32).reshape(2, 2)
    parameters = {"class_names": ["cat", "dog"], "files": ["x.npz"], "attribute_names": ["male", "old"]}
    more = {
        "label": np.array([1, -1]),
        "file": np.array([0, 0]),
        "attributes": np.array([[True, False], [False, True]]),
    }
    codes = _tensors(tmp_path, parameters=parameters, mean=z, index=np.array([3, 5]), **more)
    np.testing.assert_array_equal(codes.mean, z)
    assert codes.columns == {
        "index": [3, 5], "file": ["x.npz"] * 2, "label": ["dog", -1], "male": [1, 0], "old": [0, 1],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tensors", "error"),
    [
        ({"z": np.zeros((2, 2), np.float32)}, r"has no tensor mean \(it has z\)"),
        ({"mean": np.zeros((2, 3), np.float32)}, "of shape 2x3, and vae.safetensors takes rows of 2 numbers"),
        ({"mean": np.zeros(2, np.float32)}, "of shape 2, and"),
        ({"mean": np.zeros((0, 2), np.float32)}, "has no rows"),
        ({"mean": np.zeros((2, 2), np.int64)}, "mean is of type I64; store float32"),
        ({"mean": np.array([[0, 0], [0, np.nan]], np.float32)}, "row 1, from 0, has codes that are not finite"),
        ({"mean": np.array([[1e39, 0]])}, "row 0, from 0, has codes that are not finite"),
        ({"mean": np.zeros((2, 2), np.float32), "label": np.zeros(3, np.int64)}, "tensor label does not fit its codes"),
        ({"mean": np.zeros((2, 2), np.float32), "file": np.zeros(2, np.int64)}, "file does not fit the names of files"),
        ({"mean": np.zeros((2, 2), np.float32), "attributes": np.zeros((2, 1), bool)}, "attributes does not fit the"),
        (
            {"mean": np.zeros((2, 2), np.float32), "logvar": np.zeros((2, 3), np.float32)},
            "logvar does not fit its codes",
        ),
        (
            {"mean": np.zeros((1, 2), np.float32), "logvar": np.full((1, 2), np.inf, np.float32)},
            "has log-variances that",
        ),
    ],
)
def test_tensors_that_are_no_codes_of_the_model_are_refused(tmp_path, tensors, error):
    with pytest.raises(AekitError, match=error):
        _tensors(tmp_path, **tensors)


def test_attributes_are_labels_and_origins_are_files_and_rows(tmp_path):
    parameters = {"files": ["x.npz", "y.npz"], "attribute_names": ["index", "old"]}
    more = {
        "logvar": np.ones((3, 2), np.float16),
        "index": np.array([4, 2, 7]),
        "file": np.array([1, 0, 1]),
        "row": np.array([5, 6, 9]),
        "attributes": np.array([[True, True], [False, False], [False, True]]),
    }
    codes = _tensors(tmp_path, parameters=parameters, mean=np.zeros((3, 2)), **more)
    assert codes.labels == ["index;old", "", "old"]
    assert codes.index.tolist() == [4, 2, 7]
    assert [codes.origins.text(row) for row in range(3)] == ["y.npz[5]", "x.npz[6]", "y.npz[9]"]
    assert (codes.columns["index"], codes.columns["attributes index"]) == ([4, 2, 7], [1, 0, 0])
    assert (codes.logvar == 1).all()
    assert codes.parameters == parameters
    assert {codes.mean.dtype, codes.logvar.dtype} == {np.dtype(np.float32)}


def test_as_many_dimensions_are_taken_as_there_are_if_no_model_is_named(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("z2,z0,z1,file\n3,1,2,x\n")
    codes = read_codes(str(path))
    assert codes.mean.tolist() == [[1, 2, 3]]
    assert (codes.index.tolist(), codes.labels, codes.origins.text(0)) == ([0], [""], "x")
    path.write_text("z0,z2\n1,2\n")
    with pytest.raises(AekitError, match="has no column z1; codes of 2 columns have z0 to z1"):
        read_codes(path)


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("7.0", 7), ("7.5", None), ("-1", None), ("", None), ("x", None)]
)
def test_positions_are_whole_numbers_where_they_are_asked_for(tmp_path, text, number):
    codes, _ = _read(tmp_path, f"index,file,row,z0,z1\n3,x,{text},0,0\n{text},x,5,0,0\n")
    if number is not None:
        assert codes.index.tolist() == [3, number]
        assert codes.origins.text(0) == f"x[{number}]"
        return
    with pytest.raises(AekitError, match=rf"line 3 has '{text}' in index, which is not a whole number"):
        _ = codes.index
    with pytest.raises(AekitError, match=rf"line 2 has '{text}' in row, which is not a whole number"):
        _ = codes.origins


def test_what_another_command_wrote_is_not_taken_for_codes(tmp_path):
    parameters = {"command": "sample"}  # a mixture of Gaussians has means, too
    with pytest.raises(AekitError, match="was written by aekit sample, not by aekit encode"):
        _tensors(tmp_path, parameters=parameters, mean=np.zeros((2, 2)), weight=np.ones(2))


def test_a_model_is_not_taken_for_codes(checkpoint):
    with pytest.raises(AekitError, match="is a model, not codes"):
        read_codes(checkpoint, 2, "vae.safetensors")


@pytest.mark.parametrize("name", ["codes.xlsx", "codes"])
def test_other_kinds_of_files_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text("z0,z1\n1,2\n")
    with pytest.raises(AekitError, match=rf"{name}: is neither a .csv nor a .safetensors file"):
        read_codes(tmp_path / name, 2, "vae.safetensors")
