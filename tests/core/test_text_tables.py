"""Tables for reading, in Markdown."""

from __future__ import annotations

from aekit.core.text_tables import TextTable


def test_markdown_has_groups_in_headings_and_pipes_escaped():
    table = TextTable([("", "a|b"), ("test", "KL")], [["x", "1 ± 2"], ["y", ""]], 1, ["below"], bold=0)
    assert table.to_markdown() == ("| a\\|b | test KL |\n| --- | ---: |\n| **x** | **1 ± 2** |\n| y |  |\n\nbelow\n")


def test_names_of_files_that_are_not_utf_8_can_be_written():
    table = TextTable([("", "a"), ("", "b")], [["x\udcff", "1"]], 1, ["of y\udcff.csv"])
    assert table.to_markdown().encode().decode().count("\\udcff") == 2
