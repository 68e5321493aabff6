import json
import re

import pytest

from aekit.brains.config import TableColumns
from aekit.errors import AekitError


def text(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def repairs(cohort):
    return [repair.what for repair in cohort.repairs]


@pytest.mark.parametrize(
    "header",
    [
        "M/F",
        "F/M",
        "m/f",
        "Male/Female",
        "female / male",
        "M|F",
        "Sex M/F",
        "sex: m or f",
        "Gender (M/F)",
        "(M/F)",
        "Gender_M/F",
        "SEX [F/M]",
        "M-F",
        "Man/Woman",
        "M, F",
    ],
)
def test_a_header_of_both_sexes_means_sex(read, header):
    cohort = read(text(["participant_id", header, "SES"], ["a", "M", "2"], ["b", "f", "3"]))
    assert list(cohort.sex) == ["M", "F"]
    assert f"column '{header}' read as sex" in repairs(cohort)


@pytest.mark.parametrize("header", ["MF", "M", "F", "M_F", "F/T", "M/D", "male", "wm/gm", "FM score", "M/F ratio"])
def test_other_headers_do_not_mean_sex(read, header):
    cohort = read(text(["participant_id", header], ["a", "M"], ["b", "F"]))
    assert "sex" not in cohort.table
    assert header in cohort.table


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [("M/F", "12", "MF"), ("F/M", "01", "FM"), ("M/F", "01", None), ("F/M", "12", None), ("Sex (M/F)", "01", None)],
)
def test_numbers_are_read_where_the_order_of_the_header_agrees_with_the_usual_code_and_else_refused(
    read, header, values, expected
):
    table = text(["participant_id", header], ["a", values[0]], ["b", values[1]])
    if expected:
        assert "".join(read(table).sex) == expected
    else:
        with pytest.raises(AekitError, match=r"sex is coded by .*whose meaning is unclear"):
            read(table)


def test_a_data_dictionary_decodes_numbers_under_both_sexes(read, tmp_path):
    levels = {"M/F": {"Levels": {"0": "male", "1": "female"}}}
    (tmp_path / "participants.json").write_text(json.dumps(levels))
    assert "".join(read(text(["participant_id", "M/F"], ["a", "0"], ["b", "1"])).sex) == "MF"


TABLE = text(
    ["participant_id", "PTID", "age", "AgeMRI_months", "sex", "birth sex", "SITE_NO", "Center"],
    ["1", "x", "30", "480", "F", "male", "7", "A"],
    ["2", "y", "31", "492", "F", "female", "8", "B"],
)


def test_a_named_column_wins_over_one_of_the_exact_name_which_stays_under_another(read):
    chosen = TableColumns(participant_id="PTID", age="agemri_months", sex="birth sex", site="SITE_NO")
    cohort = read(TABLE, chosen=chosen)
    assert list(cohort.table["participant_id"]) == ["x", "y"]
    assert list(cohort.age_years) == [40, 41]  # months
    assert list(cohort.sex) == ["M", "F"]
    assert list(cohort.site) == ["7", "8"]
    assert list(cohort.table["table_age"]) == [30, 31]
    assert list(cohort.table["table_participant_id"]) == [1, 2]
    assert list(cohort.table["table_sex"]) == ["F", "F"]
    assert list(cohort.table["Center"]) == ["A", "B"]
    for what in (
        "column 'AgeMRI_months' read as age, as --age says",
        "column 'PTID' read as participant_id, as --id says",
        "column 'age' kept as table_age",
        "age: months converted to years",
    ):
        assert what in repairs(cohort)


def test_naming_the_column_that_would_be_found_changes_nothing_but_what_is_said(read):
    plain = read(TABLE)
    named = read(TABLE, chosen=TableColumns(age="age", site="Center"))
    assert named.table.equals(plain.table)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (TableColumns(age="Agge"), r"^--age: participants\.tsv has no column 'Agge' .*; did you mean 'age'\?$"),
        (TableColumns(participant_id="zzz"), r"^--id: .* has no column 'zzz' .*; give one of them$"),
        (
            TableColumns(age="PTID", sex="PTID"),
            r"^--age, --sex: both name the column 'PTID'; name one column with each",
        ),
    ],
)
def test_a_named_column_that_cannot_be_is_refused_by_its_option(read, tmp_path, monkeypatch, chosen, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AekitError) as error:
        read(TABLE, chosen=chosen)
    assert re.search(message, str(error.value).replace(f"{tmp_path}/", ""))


def test_errors_about_columns_name_the_options_where_there_are_such(read):
    both = text(["participant_id", "Age", "age_years"], ["a", "3", "4"])
    with pytest.raises(AekitError, match=r"columns 'Age', 'age_years' could all be 'age'; choose one with --age$"):
        read(both, chosen=TableColumns())
    assert list(read(both, chosen=TableColumns(age="Age")).age_years) == [3]
    sexes = text(["participant_id", "Gender", "M/F"], ["a", "F", "F"])
    with pytest.raises(AekitError, match=r"columns 'Gender', 'M/F' could all be 'sex'; choose one with --sex$"):
        read(sexes, chosen=TableColumns())
    with pytest.raises(AekitError, match=r"could all be 'sex'; rename the right one to sex$"):
        read(sexes)
    with pytest.raises(AekitError, match=r"has no column age \(it has PID, years\); name it with --age$"):
        read(text(["PID", "years"], ["a", "3"]), need=("age",), chosen=TableColumns(participant_id="PID"))
    with pytest.raises(AekitError, match=r"has no columns participant_id, age .*; name them with --id and --age$"):
        read(text(["PID", "years"], ["a", "3"]), need=("age",), chosen=TableColumns())


def test_a_column_with_a_meaning_of_its_own_or_another_word_is_not_suggested(read):
    header = ["participant_id", "wmv", "SES", "stage"]
    for missing in ("gmv", "sex", "age"):
        with pytest.raises(AekitError, match=rf"has no column {missing} .*; rename or add it$"):
            read(text(header, ["a", "500", "2", "1"]), need=(missing,))


def test_a_named_age_in_an_unknown_unit_is_refused(read):
    with pytest.raises(AekitError, match=r"'z-score' is not years, months, weeks or days"):
        read(text(["participant_id", "Scan age (z-score)"], ["a", "1"]), chosen=TableColumns(age="Scan age (z-score)"))
