import numpy as np
import pytest

from aekit.brains.cohort.table import TISSUES
from aekit.errors import AekitError

MARKS = ["-9999", "-999", "-99", "-9", "-8888", "-777", "999", "9999", "99999", "888", "-9999.0", "999.9", "-999,0"]


def column(name, values, *, more=()):
    rows = [f"p{row}\t{value}" for row, value in enumerate(values)]
    return "\n".join([f"participant_id\t{name}", *rows, *more]) + "\n"


def told(cohort):
    return {repair.what: repair.n for repair in cohort.repairs}


# --- ages ---


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_a_missing_age_counted_and_named(read, mark):
    cohort = read(column("age", ["30", mark, "45.5", mark]))
    np.testing.assert_array_equal(cohort.age_years, [30, np.nan, 45.5, np.nan])
    found = next(repair for repair in cohort.repairs if repair.what == f"age: {mark} read as missing")
    assert (found.n, found.examples) == (2, ("p1", "p3"))


@pytest.mark.parametrize("value", ["99", "77", "88", "9", "7"])
def test_an_age_that_is_possible_stays_and_is_told_only_where_it_is_far_from_the_others(read, value):
    cohort = read(column("age", ["60", "72", "85", "41", value]))
    assert cohort.age_years[-1] == float(value)
    assert cohort.repairs == ()


def test_a_doubtful_age_is_kept_and_told(read):
    cohort = read(column("age", ["20", "25", "31", "99", "99"]))
    assert list(cohort.age_years) == [20, 25, 31, 99, 99]
    assert told(cohort) == {"age: 99 kept, as it is possible, although far from the other values": 2}


@pytest.mark.parametrize("value", ["-1", "150", "121", "-99.5", "1000", "98765"])
def test_an_impossible_age_that_is_no_mark_stays_an_error(read, value):
    with pytest.raises(AekitError, match="age is outside 0-120 years: p1"):
        read(column("age", ["30", value, "40"]))


def test_an_impossible_age_that_repeats_and_is_the_only_one_means_missing(read):
    cohort = read(column("age", ["30", "-1", "-1", "40", "-1", "50", "60"]))
    assert np.isnan(cohort.age_years).sum() == 3
    assert told(cohort) == {"age: -1 read as missing": 3}
    for other in (["-1", "-1"], ["-1", "-1", "-1", "-2"], ["-1"] * 5):  # too few, not the only one, most of them
        with pytest.raises(AekitError, match="age is outside"):
            read(column("age", ["30", *other, "40", "50", "60"]))


def test_ages_in_days_are_an_error_and_none_of_them_a_mark(read):
    days = [str(day) for day in range(900, 1100, 3)]
    assert "999" in days
    with pytest.raises(AekitError) as error:
        read(column("age", days))
    assert f"and {len(days) - 20} more" in str(error.value)


def test_999_months_are_an_age_and_9999_are_none(read):
    cohort = read(column("Age (months)", ["999", "9999", "800", "900", "-9999"]))
    np.testing.assert_allclose(cohort.age_years, [83.25, np.nan, 800 / 12, 75, np.nan])


# --- volumes ---

ML = [[612, 500, 301], [598, 499, 305], [650, 520, 280], [580, 470, 260], [700, 560, 330]]


def volumes(rows, factor=1.0):
    lines = [[f"p{row}", *(str(v) if isinstance(v, str) else f"{v * factor:.9g}" for v in line)]
             for row, line in enumerate(rows)]  # fmt: skip
    return "\n".join("\t".join(line) for line in [["participant_id", *TISSUES], *lines]) + "\n"


@pytest.mark.parametrize("mark", ["-9999", "-99", "-9", "9999", "99999", "999999"])
@pytest.mark.parametrize("factor", [1.0, 1e-3])
def test_a_mark_is_a_missing_volume_and_the_unit_stays(read, mark, factor):
    cohort = read(volumes([*ML, [mark, 500, mark], [600, mark, 300]], factor))
    np.testing.assert_allclose(cohort.volumes_ml[:5], ML, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(cohort.volumes_ml[5:]), [[True, False, True], [False, True, False]])
    assert told(cohort)[f"gmv: {mark} read as missing"] == 1


def test_999_ml_is_a_volume_and_999_litres_or_mm3_are_none(read):
    assert read(volumes([*ML, ["999", 500, 300]])).volumes_ml[5, 0] == 999
    for factor in (1e-3, 1e3):
        assert np.isnan(read(volumes([*ML, ["999", 500, 300]], factor)).volumes_ml[5, 0])
    assert read(volumes([*ML, ["999999", 500, 300]], 1e3)).volumes_ml[5, 0] == pytest.approx(999.999)


def test_a_doubtful_volume_is_kept_and_told(read):
    cohort = read(volumes([*ML, [600, 500, "999"]]))
    assert cohort.volumes_ml[5, 2] == 999
    assert told(cohort) == {"csfv: 999 kept, as it is possible, although far from the other values": 1}


def test_zeros_of_failed_segmentations_are_missing_if_they_repeat_and_else_an_error(read):
    failed = [["0", "0", "0"]] * 3
    assert np.isnan(read(volumes([*ML, *failed])).volumes_ml[5:]).all()
    for few in (["0", 500, 300], ["-5", 500, 300]):
        with pytest.raises(AekitError, match="gmv is not above zero: p5"):
            read(volumes([*ML, few]))


@pytest.mark.parametrize("n_marks", [1, 3])
def test_proportions_with_marks_are_still_refused(read, n_marks):
    rows = [[0.45, 0.38, 0.17], [0.44, 0.38, 0.18], [0.46, 0.37, 0.17], [0.45, 0.37, 0.18]]
    with pytest.raises(AekitError, match="proportions"):
        read(volumes([*rows, *[["999", "999", "999"]] * n_marks]))


# --- sexes ---


@pytest.mark.parametrize(("codes", "expected"), [(("M", "F"), "MF"), (("1", "2"), "MF"), (("0", "1"), "FM")])
@pytest.mark.parametrize("mark", ["-9", "-999", "99", "999", "-9.0"])
def test_a_mark_is_a_missing_sex(read, codes, expected, mark):
    cohort = read(column("sex", [*codes, mark]))
    assert "".join(cohort.sex[:2]) == expected
    assert cohort.sex[2] != cohort.sex[2]
    assert told(cohort)[f"sex: {mark} read as missing"] == 1


# --- other columns ---

MMSE = [str(value) for value in (30, 29, 27, 24, 30, 18, 26)]


@pytest.mark.parametrize("mark", ["-9999", "-999", "-99", "-9", "99", "999", "9999"])
def test_a_mark_far_outside_a_score_is_missing(read, mark):
    cohort = read(column("mmse", [*MMSE, mark]))
    np.testing.assert_array_equal(cohort.table["mmse"], [*map(float, MMSE), np.nan])
    assert told(cohort) == {f"mmse: {mark} read as missing": 1}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("iq", ["88", "99", "104", "121", "77"]),  # within the others
        ("seconds", ["20", "45", "300", "800", "999"]),  # near them
        ("change", ["-12", "3", "-9", "5", "0"]),
        ("grade", ["1", "2", "3", "9"]),  # a single digit
        ("scanner", ["1", "2", "3", "999"]),  # a name
        ("rater_id", ["1", "2", "3", "999"]),
        ("all the same", ["99", "99", "99", "99"]),
        ("nobody to compare with", ["1", "2", "-999"]),
        ("words", ["good", "bad", "-999", "good"]),
    ],
)
def test_a_number_that_may_be_true_stays(read, name, values):
    cohort = read(column(name, values))
    numbers = [value if name == "words" else float(value) for value in values]
    assert list(cohort.table[name]) == numbers
    assert cohort.repairs == ()


def test_a_doubtful_score_is_kept_and_told(read):
    cohort = read(column("score", ["10", "12", "15", "20", "40", "77"]))
    assert list(cohort.table["score"]) == [10, 12, 15, 20, 40, 77]
    assert cohort.table["score"].dtype.kind == "i"
    assert told(cohort) == {"score: 77 kept, as it is possible, although far from the other values": 1}


def test_a_repeated_negative_mark_of_a_score_without_negative_values_is_missing(read):
    wide = ["0", "12", "30", "5", "22"]
    assert np.isnan(read(column("adas", [*wide, "-9", "-9"])).table["adas"]).sum() == 2
    once = read(column("adas", [*wide, "-9"]))
    assert list(once.table["adas"]) == [0, 12, 30, 5, 22, -9]
    assert told(once) == {"adas: -9 kept, as it is possible, although no other value is negative": 1}


def test_what_was_read_stays_when_it_is_read_again(read, tmp_path):
    cohort = read(column("age\tmmse", [f"{30 + row}\t{score}" for row, score in enumerate([*MMSE, "-999"])]))
    again = cohort.table.to_csv(sep="\t", index=False, na_rep="n/a")
    np.testing.assert_array_equal(read(again).table["mmse"], cohort.table["mmse"])
