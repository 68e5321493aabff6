"""A table that is read row by row is the one that is read as a whole."""

from __future__ import annotations

import pytest

from aekit.core.text_rows import stream_text_table
from aekit.core.text_table import read_text_table

TABLES = {
    "plain": "a,b\n1,2\n3,4\n",
    "quotes": 'a,b\n"1\n2","x, ""y"""\n3,4\n',
    "spreadsheet": "\ufeffsep=;\r\na;b;;\r\n1;2;;\r\n;;;\r\n# c\r\n3;4;;\r\n",
    "old-mac": "a\tb\r1\t2\r3\t4",
    "header-again": "a|b\n1|2\na|b\n3|4\n1|2\n",
    "line-separators": "a,b\n1\u2028x,2\x0b\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_both_readers_agree(tmp_path, name):
    path = tmp_path / "x.csv"
    path.write_bytes(TABLES[name].encode())
    whole = read_text_table(path, keep_repeats=True)
    rows = stream_text_table(path, table="a table", row="row")
    found = list(rows)
    assert rows.header == whole.header
    assert [line for line, _ in found] == whole.lines
    assert [list(column) for column in zip(*[row for _, row in found], strict=True)] == whole.columns
    told = {repair.what for repair in rows.repairs} ^ {repair.what for repair in whole.repairs}
    assert told <= {"empty last columns dropped", "empty fields beyond the last column dropped"}  # the same, seen later
