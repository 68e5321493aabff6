"""Folders of results are read as a reader would sort them, and what is damaged is named."""

from __future__ import annotations

import pytest

from aekit.errors import AekitError
from aekit.results.files import MAX_COLUMNS, group_files, name_key, read_results


def _read(folder, **limits):
    return read_results([folder], output=folder / "report.html", **({"max_rows": 2, "max_bytes": 10**6} | limits))


def test_a_table_is_read_with_numbers_and_counted_as_a_whole(tmp_path):
    (tmp_path / "x.csv").write_text("name,n,value\na,1,0.5\nb,,nan\nc,3,2\n")
    table = _read(tmp_path).tables["x.csv"]
    assert (table.columns, table.n_rows) == (["name", "n", "value"], 3)
    assert table.rows == [["a", "1", 0.5], ["b", None, None]]


def test_a_wide_table_is_cut_and_its_columns_are_counted(tmp_path):
    (tmp_path / "x.tsv").write_text("\t".join(["a"] * 100) + "\n" + "\t".join(["1"] * 100) + "\n")
    table = _read(tmp_path).tables["x.tsv"]
    assert (len(table.columns), len(table.rows[0]), table.n_columns) == (MAX_COLUMNS, MAX_COLUMNS, 100)


def test_what_cannot_be_read_is_named_and_the_rest_is_read(tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.csv").write_bytes(b"a\n\0\n")
    (tmp_path / "c.json").write_text('{"x": 1}')
    found = _read(tmp_path)
    assert found.unreadable == {"a.json": "is not JSON, or is damaged", "b.csv": "is not text"}
    assert found.values == {"c.json": {"x": 1}}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(AekitError, match="does not exist; give a folder of results"):
        _read(tmp_path / "nowhere")


def test_files_of_a_stem_belong_together_and_checkpoints_lead_their_own():
    names = ["vae.csv", "vae-b2.0.csv", "vae-b2.0.tsne.png", "pca-2d.png", "pca.png", "pcaa.png"]
    groups = group_files(names, ["vae.safetensors", "vae-b2.0.safetensors"])
    assert groups == {
        "pca": ["pca.png", "pca-2d.png"],
        "pcaa": ["pcaa.png"],
        "vae": ["vae.csv"],
        "vae-b2.0": ["vae-b2.0.csv", "vae-b2.0.tsne.png"],
    }
    assert list(groups) == ["vae", "vae-b2.0", "pca", "pcaa"]  # runs first


def test_numbers_in_names_are_ordered_as_numbers():
    betas = ["g/beta0.1", "g/beta0.25", "g/beta0.5", "g/beta1", "g/beta1-z2", "g/beta1-z10", "g/beta5", "g/beta10"]
    assert sorted(reversed(betas), key=name_key) == betas
    assert sorted(["b/z10", "b/z2", "a/z3"], key=name_key) == ["a/z3", "b/z2", "b/z10"]
