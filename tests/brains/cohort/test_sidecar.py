"""participants.json next to a table: what it states wins over what would be guessed, and is said."""

import json

import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.errors import AekitError


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a table and its data dictionary, and reads them."""

    def run(table, entries, *, name="participants.tsv", text=None):
        path = tmp_path / name
        path.write_text("\n".join("\t".join(map(str, row)) for row in table) + "\n")
        path.with_suffix(".json").write_text(json.dumps(entries) if text is None else text)
        return read_cohort(path)

    return run


def told(cohort):
    return {repair.what: repair.n for repair in cohort.repairs}


AGES = [("participant_id", "age"), ("a", 24), ("b", 60)]


@pytest.mark.parametrize(
    ("entry", "years"),
    [
        ({"Units": "months"}, [2, 5]),
        ({"Units": "Month"}, [2, 5]),
        ({"units": "months"}, [2, 5]),
        ({"Units": "weeks"}, [24 * 7 / 365.25, 60 * 7 / 365.25]),
        ({"Description": "age in months at scan"}, [2, 5]),
        ({"Units": "years", "Description": "age in months"}, [24, 60]),
        ({"Description": "age of the participant"}, [24, 60]),
        ({"Units": ""}, [24, 60]),
    ],
)
def test_the_unit_of_an_age_comes_from_the_data_dictionary(read, entry, years):
    cohort = read(AGES, {"age": entry})
    assert cohort.age_years == pytest.approx(years)
    said = [what for what in told(cohort) if "participants.json" in what]
    assert len(said) == (years[0] < 20)


def test_the_data_dictionary_wins_over_the_header_and_that_is_said(read):
    cohort = read([("participant_id", "Age (years)"), ("a", 24)], {"Age (years)": {"Units": "months"}})
    assert list(cohort.age_years) == [2]
    assert told(cohort)["column 'Age (years)' is in months, as participants.json says"] == 1
    assert told(cohort)["age: months converted to years, as participants.json says"] == 1
    cohort = read([("participant_id", "Age (bins)"), ("a", 24)], {"age (bins)": {"Units": "year"}})
    assert list(cohort.age_years) == [24]


@pytest.mark.parametrize(
    ("values", "levels", "expected"),
    [
        ((1, 2), {"1": "male", "2": "female"}, "MF"),
        ((1, 2), {"1": "female", "2": "male"}, "FM"),
        ((0, 1), {"0": "male", "1": "female"}, "MF"),
        ((1, 1), {"1": "Female participants", "2": "Male participants"}, "FF"),
        (("1.0", "2.0"), {"1": "female", "2": "male"}, "FM"),
        (("H", "M"), {"H": "hombre", "M": "mujer"}, "MF"),
        ((1, 2), {"female": 1, "male": 2}, "FM"),
        ((1, 2), {"1": {"Description": "female"}, "2": {"Description": "male"}}, "FM"),
        (("A", "B"), {"a": "female", "b": "male"}, "FM"),
    ],
)
def test_codes_of_sex_mean_what_the_data_dictionary_says(read, values, levels, expected):
    cohort = read([("participant_id", "sex"), ("a", values[0]), ("b", values[1])], {"sex": {"Levels": levels}})
    assert "".join(cohort.sex) == expected
    assert sum("as participants.json says" in what for what in told(cohort)) == len(set(values))


def test_a_description_may_hold_the_codes_of_sex(read):
    table = [("participant_id", "sex"), ("a", 1), ("b", 2)]
    assert "".join(read(table, {"sex": {"Description": "1 = female, 2 = male"}}).sex) == "FM"
    assert "".join(read(table, {"sex": {"Description": "sex at birth"}}).sex) == "MF"


def test_levels_that_are_no_sex_are_missing(read):
    table = [("participant_id", "sex"), ("a", 1), ("b", 2), ("c", 9)]
    sex = read(table, {"sex": {"Levels": {"1": "female", "2": "male", "9": "not reported"}}}).sex
    assert list(sex[:2]) == ["F", "M"]
    assert sex[2] != sex[2]


VOLUMES = [("participant_id", "gmv", "wmv", "csfv"), ("a", 0.45, 0.38, 0.17), ("b", 0.46, 0.34, 0.20)]


def test_the_unit_of_volumes_wins_over_the_values(read):
    cohort = read(VOLUMES, {name: {"Units": "L"} for name in ("gmv", "wmv", "csfv")})
    assert cohort.volumes_ml[0] == pytest.approx([450, 380, 170])
    assert told(cohort)["gmv, wmv, csfv: litres converted to mL, as participants.json says"] == 2
    look = "gmv, wmv, csfv: in litres, as participants.json says, although the values look like proportions"
    assert told(cohort)[look] == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"Units": "%"}, "participants.json: column 'gmv' holds proportions"),
        ({"Description": "grey matter (% of TIV)"}, "participants.json: column 'gmv' holds proportions"),
        ({"Units": "z"}, "Units of 'gmv' is 'z', not litres, mL or mm"),
        ({"Units": "mm^3"}, "gmv has a median of 0.000455 mL if in mm"),
    ],
)
def test_volumes_that_cannot_be_used_are_refused_by_name(read, entry, message):
    with pytest.raises(AekitError, match=message):
        read(VOLUMES, {"gmv": entry})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "is not a JSON object"),
        ('{"age": 3}', "the entry of 'age' is not an object"),
        ('{"age": {"Units": ["months"]}}', "Units of 'age' is not a text"),
        ('{"age": {"Units": "z-score"}}', "Units of 'age' is 'z-score', not years, months, weeks or days"),
        ('{"sex": {"Levels": ["M", "F"]}}', "Levels of 'sex' is not an object"),
        ('{"sex": {"Levels": {"1": "x"}}}', "Levels of 'sex' does not say which code is male or female"),
    ],
)
def test_a_damaged_or_odd_data_dictionary_is_named_in_one_line(read, text, message):
    with pytest.raises(AekitError, match=r"participants\.json: ") as error:
        read([("participant_id", "age", "sex"), ("a", 24, 1)], {}, text=text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_entries_of_columns_without_a_known_meaning_do_no_harm(read):
    cohort = read(AGES, {"iq": 7, "handedness": {"Levels": 3}, "MeasurementToolMetadata": "x"})
    assert list(cohort.age_years) == [24, 60]


def test_the_json_of_another_table_is_not_read(tmp_path):
    (tmp_path / "cohort.csv").write_text("participant_id,age\na,24\n")
    (tmp_path / "cohort.json").write_text("[]")
    (tmp_path / "participants.json").write_text('{"age": {"Units": "months"}}')
    assert list(read_cohort(tmp_path / "cohort.csv").age_years) == [24]
