import numpy as np
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.errors import AekitError

HEADER = ["participant_id", "age", "sex", "gmv", "wmv", "csfv"]
ROWS = [["007", "34.5", "F", "612.345", "500.1", "200.25"], ["sub-2", "60", "M", "650", "520", "230"]]
VOLUMES_ML = [[612.345, 500.1, 200.25], [650, 520, 230]]


def text(rows=ROWS, *, header=HEADER, separator="\t"):
    return "".join(separator.join(row) + "\n" for row in [header, *rows])


def repairs(cohort):
    return {repair.what: repair.n for repair in cohort.repairs}


def check_same(cohort):
    """Ask whether a cohort is the one of ROWS."""
    assert list(cohort.table["participant_id"]) == ["007", "sub-2"]
    assert list(cohort.age_years) == [34.5, 60]
    assert list(cohort.sex) == ["F", "M"]
    np.testing.assert_allclose(cohort.volumes_ml, VOLUMES_ML, rtol=1e-12)


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".txt"])
def test_the_separator_is_found_from_the_table_whatever_the_suffix(read, separator, suffix):
    cohort = read(text(separator=separator), name=f"t{suffix}")
    check_same(cohort)
    is_usual = (separator, suffix) in [("\t", ".tsv"), (",", ".csv")] or suffix == ".txt"
    assert bool(cohort.repairs) != is_usual


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encoding_marks_and_line_endings_do_not_matter(read, encoding, ending):
    cohort = read(text().replace("\n", ending).encode(encoding))
    check_same(cohort)
    told = "UTF-8 byte-order mark dropped" if encoding == "utf-8-sig" else f"read as {encoding.upper()}"
    assert repairs(cohort) == {told: 1}


def test_blanks_around_values_and_names_do_not_count(read):
    check_same(read(text([[f" {value} " for value in row] for row in ROWS], header=[f" {name} " for name in HEADER])))


@pytest.mark.parametrize(
    "name", ["L\u2019Hôpital \u2013 Est", "\u201eKöln\u201c", "Ünal\u2026", "\u20ac", "\u0160koda\u2122"]
)
def test_what_windows_wrote_is_read_as_windows_1252_and_said_once(read, name):
    content = text([["a", "34", "F", name], ["b", "35", "M", name]], header=["participant_id", "age", "sex", "site"])
    cohort = read(content.encode("cp1252"))
    assert list(cohort.site) == [name, name]
    assert list(repairs(cohort)) == ["not UTF-8: non-ASCII characters read as Windows-1252"]


def test_a_table_in_no_known_encoding_is_refused_with_the_byte(read):
    with pytest.raises(AekitError, match=r"neither UTF-8 nor Windows-1252 .it has the byte 0x81.; save it as UTF-8"):
        read(text([["a", "34", "F", "東京、"]], header=["participant_id", "age", "sex", "site"]).encode("shift-jis"))


def test_letters_of_another_encoding_are_read_as_windows_1252_and_reported(read):
    cohort = read(text([["Jürg", *ROWS[0][1:]]]).encode("latin-1"))
    assert list(cohort.table["participant_id"]) == ["Jürg"]
    assert repairs(cohort) == {"not UTF-8: non-ASCII characters read as Windows-1252": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n\t\n", "is empty"),
        (b"\t\t\n\t\t\n", "is empty"),
        (b"# a\n# b\n", "has only blank or comment lines"),
        (b"participant_id\tage\n", "has no participants"),
        (b"a\t34\tF\nb\t35\tM\n", "its first line is not a header (a, 34, F)"),
        (b"participant_id\tage\na\t3\0\n", "is not a text table, it has NUL bytes"),
        (b"\x89PNG\r\n\x1a\n\x01\x02\x03" * 9, "is not a text table, it has control characters"),
        (b"PK\x03\x04...", "is a spreadsheet or an archive"),
        (b"\xd0\xcf\x11\xe0...", "is a spreadsheet"),
        (b"\x1f\x8b\x08...", "is compressed"),
        (b'participant_id,note\n1,fine\n"2,open\n3,x\n', "the row in line 3 cannot be parsed"),
        (b"<html>\n<body>404</body>\n</html>\n", "has no column participant_id"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused_in_one_line(read, content, message):
    with pytest.raises(AekitError) as error:
        read(content)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(AekitError, match=r"none\.tsv: cannot be read \(No such file"):
        read_cohort(tmp_path / "none.tsv")
    with pytest.raises(AekitError, match="is a folder"):
        read_cohort(tmp_path)


def test_blank_comment_header_and_repeated_rows_are_dropped_and_counted(read):
    content = f"# made by hand\n{text()}\n\t\t\t\t\t\n# end of part one\n{text()}"
    cohort = read(content)
    check_same(cohort)
    assert repairs(cohort) == {
        "blank rows dropped": 2,
        "comment rows (#) dropped": 2,
        "repeats of the header dropped": 1,
        "rows that repeat another in every column dropped": 2,
    }


def test_quotes_hold_separators_and_ends_of_lines(read):
    cohort = read('participant_id,age,note\n"a",34,"x, ""y"""\nb,33,"two\nlines"\n', name="t.csv")
    assert list(cohort.table["note"]) == ['x, "y"', "two\nlines"]


def test_separators_at_line_ends_make_no_column(read):
    cohort = read("participant_id,age,,\na,34,,\nb,35,,\n", name="t.csv")
    assert list(cohort.table) == ["participant_id", "age"]


def test_the_separator_line_of_spreadsheets_is_understood(read):
    for separator in ";,\t":
        cohort = read(f"sep={separator}\n{text(separator=separator)}", name="t.csv")
        check_same(cohort)
