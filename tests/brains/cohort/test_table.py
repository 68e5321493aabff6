import csv
import math
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.table import TISSUES, read_cohort
from aekit.errors import AekitError

HEADER = ["participant_id", "age", "sex", "gmv", "wmv", "csfv"]
ROWS = [["007", "34.5", "F", "612.345", "500.1", "200.25"], ["sub-2", "60", "M", "650", "520", "230"]]
VOLUMES_ML = [[612.345, 500.1, 200.25], [650, 520, 230]]


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a table and reads it as a cohort."""

    def run(content, *, name="participants.tsv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_cohort(path, **options)

    return run


def text(rows=ROWS, *, header=HEADER, separator="\t"):
    return "".join(separator.join(row) + "\n" for row in [header, *rows])


def ages(*values):
    return text([[f"p{number}", value] for number, value in enumerate(values)], header=["participant_id", "age"])


def sexes(*values, header="sex"):
    rows = [[f"p{number}", value] for number, value in enumerate(values)]
    return text(rows, header=["participant_id", header])


def repairs(cohort):
    return {repair.what: repair.n for repair in cohort.repairs}


def check_same(cohort):
    """Ask whether a cohort is the one of ROWS."""
    assert list(cohort.table["participant_id"]) == ["007", "sub-2"]
    assert list(cohort.age_years) == [34.5, 60]
    assert list(cohort.sex) == ["F", "M"]
    np.testing.assert_allclose(cohort.volumes_ml, VOLUMES_ML, rtol=1e-12)


def test_a_bids_table_is_read_without_any_repair(read):
    cohort = read(text())
    check_same(cohort)
    assert cohort.repairs == ()
    assert cohort.name == "participants.tsv"
    assert len(cohort) == 2
    assert cohort.site is None
    np.testing.assert_allclose(cohort.proportions, np.array(VOLUMES_ML) / np.sum(VOLUMES_ML, axis=1, keepdims=True))
    assert len(cohort.left_out) == 0
    assert list(cohort.left_out) == ["participant_id", "column", "value", "reason"]


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".txt"])
def test_the_separator_is_told_from_the_table_whatever_the_suffix(read, separator, suffix):
    cohort = read(text(separator=separator), name=f"t{suffix}")
    check_same(cohort)
    is_usual = (separator, suffix) in [("\t", ".tsv"), (",", ".csv")] or suffix == ".txt"
    assert bool(cohort.repairs) != is_usual


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_marks_of_the_encoding_and_ends_of_lines_do_not_matter(read, encoding, ending):
    cohort = read(text().replace("\n", ending).encode(encoding))
    check_same(cohort)
    told = "UTF-8 byte-order mark dropped" if encoding == "utf-8-sig" else f"read as {encoding.upper()}"
    assert repairs(cohort) == {told: 1}


def test_blanks_around_values_and_names_do_not_count(read):
    check_same(read(text([[f" {value} " for value in row] for row in ROWS], header=[f" {name} " for name in HEADER])))


def test_letters_of_another_encoding_are_read_as_latin_1_and_told(read):
    cohort = read(text([["Jürg", *ROWS[0][1:]]]).encode("latin-1"))
    assert list(cohort.table["participant_id"]) == ["Jürg"]
    assert repairs(cohort) == {"not UTF-8: letters other than ASCII read as Latin-1": 1}


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_decimal_commas_are_read(read, separator):
    cohort = read(text(separator=separator).replace(".", ","), name="t.txt")
    check_same(cohort)
    assert repairs(cohort)["gmv: decimal commas read"] == 1


def test_a_comma_that_may_be_either_is_refused(read):
    table = text([["a", "34", "F", "612,345", "500,100", "200"]])
    with pytest.raises(AekitError, match=r"gmv may have a decimal comma or a separator of thousands: a \(612,345\)"):
        read(table)
    # Another column tells, and so does the separator: spreadsheets take semicolons where commas are decimal.
    other = text([["a", "612,345", "1312,5"]], header=["participant_id", "gmv", "tiv"])
    for telling in (table.replace("\t34\t", "\t34,5\t"), table.replace("\t", ";"), other):
        assert read(telling).table["gmv"][0] == pytest.approx(612.345)
    thousands = other.replace("1312,5", "1,312,500")
    assert read(thousands).table["gmv"][0] == pytest.approx(612.345)
    assert "gmv: mm^3 turned to mL" in repairs(read(thousands))


@pytest.mark.parametrize(
    "row",
    [
        ["612,345.0", "500,100", "200,250"],
        ["612 345", "500 100", "200250"],
        ["612'345", "500'100.0", "200'250"],
        ["612.345,0", "500.100,0", "200250"],
    ],
)
def test_separators_of_thousands_are_removed_where_they_can_be_nothing_else(read, row):
    cohort = read(text([["a", "34", "F", *row]]))
    assert cohort.volumes_ml[0] == pytest.approx([612.345, 500.1, 200.25])


def test_a_point_is_not_taken_for_a_fraction_where_others_separate_thousands(read):
    with pytest.raises(AekitError, match=r"gmv may have a decimal point or a separator of thousands.*: b \(600\.123\)"):
        read(text([["a", "3", "F", "612.345,5", "500000", "200000"], ["b", "3", "F", "600.123", "500000", "200000"]]))


@pytest.mark.parametrize(("factor", "unit"), [(1000, "mm^3"), (0.001, "litres")])
def test_volumes_in_other_units_are_turned_to_ml(read, factor, unit):
    rows = [[*row[:3], *(f"{float(value) * factor:.9g}" for value in row[3:])] for row in ROWS]
    cohort = read(text(rows))
    check_same(cohort)
    assert repairs(cohort) == {f"gmv, wmv, csfv: {unit} turned to mL": 2}


def test_rows_in_another_unit_are_named(read):
    strange = [["mm", "20", "F", "612345", "500100", "200250"], ["litres", "20", "F", "0.6", "0.5", "0.2"]]
    with pytest.raises(AekitError) as error:
        read(text([*ROWS, ["third", *ROWS[0][1:]], *strange]))
    assert "gmv is not in mL as most others seem to be: mm (612345), litres (0.6)" in str(error.value)
    assert "third" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["612345", "500100", "200"], "csfv is 0.00018 of all volume, as if in another unit than the others"),
        (["0.5", "0.3", "0.2"], "gmv, wmv, csfv add up to one, so they are proportions"),
        (["6e9", "5e9", "2e9"], "neither litres nor mL nor mm"),
    ],
)
def test_volumes_without_a_clear_unit_are_refused(read, row, message):
    with pytest.raises(AekitError, match=message):
        read(text([["a", "34", "F", *row], ["b", "35", "F", *row]]))


def test_a_table_with_one_tissue_has_it_in_ml_but_no_proportions(read):
    cohort = read("participant_id\tgmv\na\t612345\nb\t600000\n")
    assert list(cohort.table["gmv"]) == pytest.approx([612.345, 600])
    assert cohort.volumes_ml is None
    assert cohort.proportions is None


def test_ages_are_read_as_people_write_them(read):
    cohort = read(ages("89+", ">89", "≥ 90", "34y", "034Y", "34 years", "34 yrs old", "34,5", "45 y.o.", "0", "120"))
    assert list(cohort.age_years) == [89, 89, 90, 34, 34, 34, 34, 34.5, 45, 0, 120]
    told = repairs(cohort)
    assert told["age: 89+ read as 89"] == 1
    assert told["age: the unit after the number dropped, as in 34y"] == 5
    assert told["age: decimal commas read"] == 1


@pytest.mark.parametrize("value", ["", "n/a", "NA", "NaN", "null", "None", ".", "-", "?", "#N/A"])
def test_a_missing_age_is_missing(read, value):
    cohort = read(ages(value, "30"))
    assert math.isnan(cohort.age_years[0])
    assert cohort.age_years[1] == 30
    assert bool(cohort.repairs) == bool(value)


@pytest.mark.parametrize("value", ["abc", "30-34", "018M", "<18", "inf", "1e999", "1_0", "True", "0x20", "3 4", "٣٤"])
def test_an_age_that_is_no_number_is_refused(read, value):
    with pytest.raises(AekitError, match=r"age is not a number: p1 \("):
        read(ages("30", value))


def test_everything_wrong_is_named_at_once(read):
    rows = [
        ["a", "150", "F", "600", "500", "200"],
        ["b", "-1", "F", "600", "500", "200"],
        ["c", "x", "F", "-600", "500", "0"],
        ["d", "30", "banana", "six", "500", "200"],
        ["e", "30", "F"],
        ["f", "30", "F", "600", "500", "200"],
        ["f", "31", "F", "600", "500", "200"],
    ]
    with pytest.raises(AekitError) as error:
        read(text(rows))
    message = str(error.value)
    for part in (
        "age is outside 0-120 years: a (150), b (-1)",
        "age is not a number: c (x)",
        "gmv is not above zero: c (-600)",
        "csfv is not above zero: c (0)",
        "sex is neither F nor M: d (banana)",
        "gmv is not a number: d (six)",
        "row has 3 fields, not 6: e (line 6)",
        "participant_id is there more than once: f",
    ):
        assert part in message
    assert "\n" not in message


def test_of_many_bad_rows_twenty_are_named(read):
    with pytest.raises(AekitError) as error:
        read(ages(*[str(200 + number) for number in range(1000)]))
    assert "p19 (219) and 980 more" in str(error.value)
    assert "p20" not in str(error.value)


def test_bad_rows_are_left_out_and_listed_on_request(read):
    rows = [*ROWS, ["x", "150", "F", "600", "500", "-200"], ["y", "3"], ["z", "1", "F"] + ["600"] * 3]
    rows += [["z", "2", "F"] + ["600"] * 3, ["w", "30", "M", "600", "500", "200"]]
    cohort = read(text(rows), skip_bad=True)
    assert list(cohort.table["participant_id"]) == ["007", "sub-2", "w"]
    assert list(cohort.table.index) == [0, 1, 2]
    left_out = {tuple(line) for line in cohort.left_out.itertuples(index=False)}
    assert left_out == {
        ("x", "age", "150", "is outside 0-120 years"),
        ("x", "csfv", "-200", "is not above zero"),
        ("y", "", "line 5", "has 2 fields, not 6"),
        ("z", "participant_id", "z", "is there more than once"),
    }
    assert (cohort.left_out["participant_id"] == "z").sum() == 2
    with pytest.raises(AekitError, match="all of its 2 rows were left out"):
        read(ages("x", "y"), skip_bad=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["F", "M"], "FM"),
        (["f", "m"], "FM"),
        (["female", "Male"], "FM"),
        (["Woman", "man"], "FM"),
        (["w", "m"], "FM"),
        (["weiblich", "männlich"], "FM"),
        (["1", "2"], "MF"),
        (["1.0", "2.0"], "MF"),
        (["2", "2"], "FF"),
        (["0", "1"], "FM"),
        (["0", "0"], "FF"),
        (["1=male", "2=female"], "MF"),
        (["1=female", "2=male", "2"], "FMM"),
        (["1 (F)", "2 (M)", "1"], "FMF"),
    ],
)
def test_usual_codings_of_sex_are_read_and_told(read, values, expected):
    cohort = read(sexes(*values))
    assert "".join(cohort.sex) == expected
    assert bool(cohort.repairs) == (values != ["F", "M"])


def test_a_coding_is_said_in_words(read):
    assert "sex: coded 1 = male, 2 = female" in repairs(read(sexes("1", "2")))
    assert "sex: coded 0 = female, 1 = male" in repairs(read(sexes("0", "1")))


@pytest.mark.parametrize(
    ("header", "expected"),
    [("SEX_ID (1=m, 2=f)", "MF"), ("Sex (1: female, 2: male)", "FM"), ("Gender [1=W 2=M]", "FM")],
)
def test_a_coding_in_the_header_counts(read, header, expected):
    assert "".join(read(sexes("1", "2", header=header)).sex) == expected


@pytest.mark.parametrize("values", [["1", "1"], ["0", "1", "2"], ["1", "2", "9"], ["3"]])
def test_numbers_of_unclear_sex_are_refused(read, values):
    with pytest.raises(AekitError, match=r"sex is coded by .*whose meaning is not clear; write F and M"):
        read(sexes(*values))


def test_numbers_among_words_of_sex_are_named(read):
    with pytest.raises(AekitError, match=r"sex is a number among words: p1 \(2\), p2 \(1\)"):
        read(sexes("M", "2", "1"))


def test_other_and_unknown_sexes_are_missing_and_counted(read):
    cohort = read(sexes("F", "other", "O", "unknown", "n/a", ""))
    assert cohort.sex[0] == "F"
    assert all(value != value for value in cohort.sex[1:])
    told = repairs(cohort)
    assert (told["sex: other read as missing"], told["sex: O read as missing"]) == (1, 1)


@pytest.mark.parametrize(
    "header",
    [
        ["IXI_ID", "AGE", "Gender", "GM", "WM", "CSF"],
        ["Subject ID", " Age (years) ", "SEX", "GMV", "WMV", "CSFV"],
        ["id", "age_at_scan", "sex_id", "TotalGrayVol", "CerebralWhiteMatterVol", "csf_volume"],
    ],
)
def test_usual_names_of_columns_are_known_and_told(read, header):
    cohort = read(text(header=header))
    check_same(cohort)
    assert list(cohort.table) == HEADER
    assert len(cohort.repairs) == 6


def test_two_columns_that_may_be_meant_are_refused_unless_one_has_the_exact_name(read):
    with pytest.raises(AekitError, match="columns 'Age', 'age_years' may all be 'age'; rename"):
        read("participant_id\tAge\tage_years\na\t3\t4\n")
    cohort = read("participant_id\tage_years\tage\na\t3\t4\n")
    assert list(cohort.age_years) == [4]
    assert list(cohort.table["age_years"]) == [3]
    with pytest.raises(AekitError, match="has 2 columns 'age'"):
        read("participant_id\tage\tage\na\t3\t4\n")


def test_missing_columns_are_all_named_with_those_that_are_there(read):
    with pytest.raises(AekitError) as error:
        read("participant_id\tagge\na\t3\n", need=("age",))
    assert str(error.value).endswith("has no column age (it has participant_id, agge); did you mean 'agge'?")
    with pytest.raises(AekitError, match=r"has no columns gmv, wmv, csfv \(it has participant_id, age\)"):
        read(ages("3"), need=("age", *TISSUES))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n\t\n", "is empty"),
        (b"\t\t\n\t\t\n", "is empty"),
        (b"# a\n# b\n", "holds no table"),
        (b"participant_id\tage\n", "has no participant"),
        (b"a\t34\tF\nb\t35\tM\n", "its first line is no header (a, 34, F)"),
        (b"participant_id\tage\na\t3\0\n", "is not a text table, it holds NUL bytes"),
        (b"\x89PNG\r\n\x1a\n\x01\x02\x03" * 9, "is not a text table, it holds control characters"),
        (b"PK\x03\x04...", "is a spreadsheet or an archive"),
        (b"\xd0\xcf\x11\xe0...", "is a spreadsheet"),
        (b"\x1f\x8b\x08...", "is compressed"),
        (b'participant_id,note\n1,fine\n"2,open\n3,x\n', "the row of line 3 cannot be taken apart"),
        (b"<html>\n<body>404</body>\n</html>\n", "has no column participant_id"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(read, content, message):
    with pytest.raises(AekitError) as error:
        read(content)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_that_is_not_there_is_said(tmp_path):
    with pytest.raises(AekitError, match=r"none\.tsv: cannot be read \(No such file"):
        read_cohort(tmp_path / "none.tsv")
    with pytest.raises(AekitError, match="is a folder"):
        read_cohort(tmp_path)


def test_duplicate_ids_are_named_and_sessions_explained(read):
    with pytest.raises(AekitError, match="participant_id is there more than once: a, b; "):
        read(text([["a", "3"], ["b", "4"], ["a", "5"], ["b", "6"]], header=["participant_id", "age"]))
    with pytest.raises(AekitError, match="a row a session or run, keep one for each participant"):
        read(text([["a", "1", "5"], ["a", "2", "5"]], header=["participant_id", "session", "age"]))


def test_rows_without_an_id_are_named_by_their_line(read):
    with pytest.raises(AekitError, match="participant_id is missing: line 3, n/a"):
        read("participant_id\tage\na\t3\n\t4\nn/a\t5\n")


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


def test_separators_at_the_ends_of_lines_make_no_column(read):
    cohort = read("participant_id,age,,\na,34,,\nb,35,,\n", name="t.csv")
    assert list(cohort.table) == ["participant_id", "age"]


def test_the_line_of_spreadsheets_that_names_the_separator_is_understood(read):
    for separator in ";,\t":
        cohort = read(f"sep={separator}\n{text(separator=separator)}", name="t.csv")
        check_same(cohort)


def test_other_columns_are_numbers_where_all_of_them_are(read):
    header = ["participant_id", "qc", "scanner", "score", "note"]
    cohort = read(text([["a", "1", "01", "1.5", "n/a"], ["b", "0", "02", "n/a", "none"]], header=header))
    assert cohort.table["qc"].dtype.kind == "i"
    assert list(cohort.table["scanner"]) == ["01", "02"]
    assert cohort.table["score"].dtype == np.float64
    assert cohort.table["note"][0] != cohort.table["note"][0]
    assert cohort.table["note"][1] == "none"


def test_ids_and_sites_stay_text(read):
    cohort = read(text([["001", "1"], ["1e5", "2"]], header=["participant_id", "site"]))
    assert list(cohort.table["participant_id"]) == ["001", "1e5"]
    assert list(cohort.site) == ["1", "2"]


def test_a_table_of_ids_alone_is_a_cohort(read):
    cohort = read("participant_id\na\nb\n")
    assert len(cohort) == 2
    assert np.isnan(cohort.age_years).all()
    assert all(value != value for value in cohort.sex)


def test_a_part_of_a_cohort_is_numbered_from_zero(read):
    cohort = read(ages("10", "20", "30", "40"))
    assert list(cohort.subset([3, 1]).age_years) == [40, 20]
    assert list(cohort.subset(cohort.age_years > 15).table.index) == [0, 1, 2]


def test_what_was_read_can_be_written_and_read_again(read, tmp_path):
    cohort = read(text([*ROWS, ["x", "n/a", "other", "", "n/a", "200"]]).replace("\t34.5", "\t89+"))
    cohort.table.to_csv(tmp_path / "again.tsv", sep="\t", index=False)
    again = read_cohort(tmp_path / "again.tsv")
    pd.testing.assert_frame_equal(again.table, cohort.table)
    assert again.repairs == ()


def test_ten_thousand_columns_are_read(read):
    header = ["participant_id", *(f"c{number}" for number in range(9_999))]
    cohort = read(text([[str(row), *["1.5"] * 9_999] for row in range(3)], header=header))
    assert cohort.table.shape == (3, 10_000)


def test_twenty_thousand_rows_are_read_in_a_second(read):
    rng = np.random.default_rng(0)
    rows = [
        [f"sub-{n:05d}", f"{age:.2f}", "F", "600.1", "500.2", "200.3"]
        for n, age in enumerate(rng.uniform(5, 90, 20_000))
    ]
    content = text(rows)
    start = time.perf_counter()
    cohort = read(content)
    assert time.perf_counter() - start < 3  # 0.25 s on an idle machine
    assert len(cohort) == 20_000
    assert cohort.age_years.mean() == pytest.approx(47.5, abs=0.6)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "n", "n_female"), [("ixi_hh", 181, 94), ("ixi_1mm", 291, 188)])
def test_the_real_tables_are_read_as_they_stand(name, n, n_female):
    path = Path(os.environ["AEKIT_DATA"]) / "brain" / "tables" / f"{name}_participants.tsv"
    cohort = read_cohort(path, need=("age", "sex", *TISSUES))
    assert cohort.repairs == ()
    assert (len(cohort), np.sum(cohort.sex == "F")) == (n, n_female)
    with path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(cohort.age_years) == [float(row["age"]) for row in rows]
    assert cohort.volumes_ml.tolist() == [[float(row[tissue]) for tissue in TISSUES] for row in rows]


@pytest.mark.real_data
def test_the_volumes_of_the_segmentation_are_found_in_mm3():
    source = Path(os.environ["AEKIT_DATA"]) / "brain" / "tables"
    rois = pd.read_csv(source / "source" / "IXI_HH_DLMUSE_2mm_n185.csv")
    truth = read_cohort(source / "ixi_hh_participants.tsv").table.set_index("participant_id")
    made = pd.DataFrame({"MRID": rois["MRID"], "GM": rois["601"], "WM": rois["604"]})
    made["CSF"] = rois["702"] - rois["601"] - rois["604"]
    path = Path(os.environ["AEKIT_CACHE"]) / "rois.csv"
    made.to_csv(path, index=False, sep=";", decimal=",")
    found = read_cohort(path).table.set_index("participant_id").loc[truth.index]
    np.testing.assert_allclose(found[list(TISSUES)], truth[list(TISSUES)], atol=1e-3)
