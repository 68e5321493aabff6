"""Tables of anybody's making are read as text, and what is not a table is refused by name."""

from __future__ import annotations

import pytest

from aekit.errors import AekitError
from aekit.results.tables import read_table, read_tables


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "paper.csv"
    path.write_bytes(b'\xef\xbb\xbfbeta;latent;total;source\r\n0.1;10; 92.5 ;"a;\nb"\r\n;;;\r\n')
    table = read_table(path)
    assert list(table.columns) == ["beta", "latent", "total", "source"]
    assert table.iloc[0].tolist() == ["0.1", "10", "92.5", "a;\nb"]
    assert len(table) == 1


def test_columns_without_a_name_are_left_out(tmp_path):
    (tmp_path / "x.csv").write_text(",a\n0,1\n1,2\n")
    assert read_table(tmp_path / "x.csv").to_dict("list") == {"a": ["1", "2"]}


def test_several_tables_are_one_with_the_names_of_their_files(tmp_path):
    (tmp_path / "one.csv").write_text("a,b\n1,2\n")
    (tmp_path / "two.csv").write_text("a,c\n3,4\n")
    table = read_tables([tmp_path / "one.csv", tmp_path / "two.csv"])
    assert table.to_dict("list") == {"a": ["1", "3"], "b": ["2", ""], "file": ["one", "two"], "c": ["", "4"]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a,b\n", "holds no table"),
        (bytes(range(256)), "is not a CSV file"),
        (b'{"a": 1}\n', "is not a CSV file"),
        (b"a,b\n1\n", "line 2 has 1 field, the header has 2; fix its commas and quotes"),
        (b'a,b\n"1,2\n', "line 2 is not CSV"),
        (b"a,a\n1,2\n", "has two columns named 'a'"),
    ],
)
def test_what_is_not_a_table_is_refused_by_name(tmp_path, content, words):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(AekitError, match=rf"x\.csv: {words}"):
        read_table(tmp_path / "x.csv")
