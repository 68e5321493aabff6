"""The text of a table of labels: its columns, classes in their order, attributes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import Recorded

from aekit.errors import AekitError
from aekit.images.data.label_table import natural_order, read_label_table

TEXT = "file,label,Smiling,age\na.jpg,cat,1,20\nb.jpg,dog,0,21\nc.jpg,cat,1,22\n"


def read(tmp_path, text, progress=None, name="labels.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_label_table(path, progress or Recorded())


def test_columns_are_files_classes_and_attributes(tmp_path):
    said = Recorded()
    table = read(tmp_path, TEXT, said)
    assert table.files == ["a.jpg", "b.jpg", "c.jpg"]
    assert [table.class_names[label] for label in table.labels] == ["cat", "dog", "cat"]
    assert (table.attribute_names, table.attributes.tolist()) == (("Smiling",), [[True], [False], [True]])
    assert any("1 column is not used (age has 3 different values)" in line for line in said.notices)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.replace(",", ";"),
        TEXT.replace(",", "\t"),
        TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.replace("file,label", "File Name,CLASS"),
        TEXT.replace("file,label", " file , label "),
        TEXT.replace(",1,", ",yes,").replace(",0,", ",No,"),
        TEXT.replace(",1,", ",TRUE,").replace(",0,", ",False,"),
        TEXT.replace(",1,", ",Ja,").replace(",0,", ",nein,"),
        TEXT.replace(",1,", ",oui,").replace(",0,", ",Non,"),
        TEXT.replace(",1,", ",SÍ,").replace(",0,", ",no,").encode("cp1252"),
        TEXT.replace(",1,", ",si\u0301,").replace(",0,", ",no,"),
        TEXT.replace(",1,", ",sim,").replace(",0,", ",Não,"),
        TEXT.replace(",1,", ",WAHR,").replace(",0,", ",FALSCH,"),
        TEXT.replace(",1,", ",VERO,").replace(",0,", ",FALSO,"),
        TEXT.replace(",0,", ",-1,"),
        TEXT.replace(",1,", ",1.0,").replace(",0,", ",0.0,"),
        TEXT.replace("age", "years"),
    ],
)
def test_the_same_table_in_another_spelling_says_the_same(tmp_path, content):
    table, other = read(tmp_path, TEXT), read(tmp_path, content)
    assert other.fingerprint == table.fingerprint
    assert other.class_names == table.class_names


@pytest.mark.parametrize("values", [("ja", "no"), ("yes", "nein"), ("oui", "falsch"), ("si", "sí"), ("s", "n")])
def test_words_of_different_languages_are_no_attribute_and_the_column_is_named(tmp_path, values):
    said = Recorded()
    table = read(tmp_path, TEXT.replace(",1,", f",{values[0]},").replace(",0,", f",{values[1]},"), said)
    assert table.attribute_names == ()
    assert any("2 columns are not used (Smiling holds" in line for line in said.notices)


@pytest.mark.parametrize(
    ("before", "after"), [("dog", "Dog"), ("a.jpg", "A.jpg"), ("cat,1", "cat,0"), ("Smiling", "smiling")]
)
def test_a_table_that_says_something_else_has_another_fingerprint(tmp_path, before, after):
    assert read(tmp_path, TEXT.replace(before, after)).fingerprint != read(tmp_path, TEXT).fingerprint


def test_letters_that_windows_wrote_are_read_and_said(tmp_path):
    said = Recorded()
    table = read(tmp_path, "file,label\na.jpg,Äpfel\n".encode("cp1252"), said)
    assert table.class_names == ("Äpfel",)
    assert any("Windows-1252" in line for line in said.notices)


def test_classes_are_in_the_order_that_people_expect():
    assert natural_order({"10", "9", "2"}) == ["2", "9", "10"]
    assert natural_order({"-1", "0.5", "1e3"}) == ["-1", "0.5", "1e3"]
    assert natural_order({"site 10", "Site 9", "Ünal", "a"}) == ["a", "Site 9", "site 10", "Ünal"]
    assert natural_order({"10", "9", "x"}) == ["9", "10", "x"]
    assert natural_order({"nan", "2", "10"}) == ["2", "10", "nan"]


def test_rows_count_from_0_and_may_be_empty(tmp_path):
    table = read(tmp_path, "file,row,label\nx.npz,0,a\nx.npz,2.0,b\ny.jpg,,c\n")
    assert table.rows.tolist() == [0, 2, -1]


def test_rows_that_repeat_are_kept_where_their_order_counts(tmp_path):
    table = read(tmp_path, "label\ncat\ncat\ndog\n")
    assert table.files is None
    assert np.bincount(table.labels).tolist() == [2, 1]


def test_classes_that_differ_only_in_case_are_mentioned(tmp_path):
    said = Recorded()
    read(tmp_path, "file,label\na,Cat\nb,cat\nc,dog\n", said)
    assert any("differ only in upper and lower case: Cat, cat" in line for line in said.notices)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file\na.jpg\n", "has no column label, and no attributes"),
        ("a.jpg,cat\nb.jpg,dog\n", r"has no column label.*its first line names the columns"),
        ("file,path,label\na,b,c\n", None),
        ("image,path,label\na,b,c\n", "columns 'image', 'path' could all be file"),
        ("file,label\na,b\nc\nd,e,f,g\n", "line 3 has 1 field, not 2, and 1 other has the same problem"),
        ("file,row,label\na,first,b\n", "row 'first' in line 2 is not a number"),
        ("file,label,x,x\na,b,1,0\n", "several columns 'x'"),
        ("file,label,x\na,b,1\nc,d,\n", None),
        ('file,label\na,"b\n', "cannot be parsed"),
        (b"PK\x03\x04xxxx", "a spreadsheet or an archive; save it as CSV"),
    ],
)
def test_what_cannot_be_decided_is_refused_by_name(tmp_path, text, message):
    if message is None:
        read(tmp_path, text)
        return
    with pytest.raises(AekitError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith("--labels ")


def test_a_column_that_is_not_an_attribute_is_left_out_by_name(tmp_path):
    said = Recorded()
    table = read(tmp_path, "file,label,gap,word,,one\na,b,1,X,3,1\nc,d,,X,4,1\n", said)
    assert table.attribute_names == ("one",)
    (line,) = [line for line in said.notices if "not used" in line]
    assert "gap has an empty field; word holds X; column 5 has no name" in line


@pytest.mark.parametrize("name", ["page", "Page No.", "frame"])
@pytest.mark.parametrize("numbers", ["012", "123", "010"])  # the last would be a quiet attribute
def test_a_column_of_pages_says_how_pages_are_numbered(tmp_path, name, numbers):
    lines = "".join(f"a.tif,{number},c\n" for number in numbers)
    said, other = Recorded(), Recorded()
    read(tmp_path, f"file,{name},label\n{lines}", said)
    hint = "pages of a file are numbered in a column row, from 0"
    (line,) = [line for line in said.notices if hint in line]
    assert name in line
    assert ("read as an attribute" in line) == (numbers == "010")
    read(tmp_path, f"file,{name},label,row\n{lines}".replace(",c\n", ",c,0\n"), other)
    assert not any(hint in line for line in other.notices)
