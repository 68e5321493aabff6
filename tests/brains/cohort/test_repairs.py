import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.table import TISSUES, read_cohort
from aekit.errors import AekitError

HEADER = ["participant_id", "age", "sex", "gmv", "wmv", "csfv"]
ROWS = [["007", "34.5", "F", "612.345", "500.1", "200.25"], ["sub-2", "60", "M", "650", "520", "230"]]
VOLUMES_ML = [[612.345, 500.1, 200.25], [650, 520, 230]]


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


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_decimal_commas_are_read(read, separator):
    cohort = read(text(separator=separator).replace(".", ","), name="t.txt")
    check_same(cohort)
    assert repairs(cohort)["gmv: decimal commas read"] == 1


def test_a_comma_that_may_be_either_is_refused(read):
    table = text([["a", "34", "F", "612,345", "500,100", "200"]])
    with pytest.raises(AekitError, match=r"gmv could have a decimal comma or a thousands separator: a \(612,345\)"):
        read(table)
    # Another column tells, and so does the separator: spreadsheets take semicolons where commas are decimal.
    other = text([["a", "612,345", "1312,5"]], header=["participant_id", "gmv", "tiv"])
    for telling in (table.replace("\t34\t", "\t34,5\t"), table.replace("\t", ";"), other):
        assert read(telling).table["gmv"][0] == pytest.approx(612.345)
    thousands = other.replace("1312,5", "1,312,500")
    assert read(thousands).table["gmv"][0] == pytest.approx(612.345)
    assert "gmv: mm^3 converted to mL" in repairs(read(thousands))


@pytest.mark.parametrize(
    "row",
    [
        ["612,345.0", "500,100", "200,250"],
        ["612 345", "500 100", "200250"],
        ["612'345", "500'100.0", "200'250"],
        ["612.345,0", "500.100,0", "200250"],
    ],
)
def test_unambiguous_thousands_separators_are_removed(read, row):
    cohort = read(text([["a", "34", "F", *row]]))
    assert cohort.volumes_ml[0] == pytest.approx([612.345, 500.1, 200.25])


def test_a_point_is_not_a_decimal_point_where_others_separate_thousands(read):
    with pytest.raises(AekitError, match=r"gmv could have a decimal point or a thousands separator.*: b \(600\.123\)"):
        read(text([["a", "3", "F", "612.345,5", "500000", "200000"], ["b", "3", "F", "600.123", "500000", "200000"]]))


@pytest.mark.parametrize(("factor", "unit"), [(1000, "mm^3"), (0.001, "litres")])
def test_volumes_in_other_units_are_converted_to_ml(read, factor, unit):
    rows = [[*row[:3], *(f"{float(value) * factor:.9g}" for value in row[3:])] for row in ROWS]
    cohort = read(text(rows))
    check_same(cohort)
    assert repairs(cohort) == {f"gmv, wmv, csfv: {unit} converted to mL": 2}


def test_rows_in_another_unit_are_named(read):
    strange = [["mm", "20", "F", "612345", "500100", "200250"], ["litres", "20", "F", "0.6", "0.5", "0.2"]]
    with pytest.raises(AekitError) as error:
        read(text([*ROWS, ["third", *ROWS[0][1:]], *strange]))
    assert "gmv is not in mL, as most others seem to be: mm (612345), litres (0.6)" in str(error.value)
    assert "third" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["612345", "500100", "200"], "csfv is only 0.00018 of the total volume, as if in a different unit"),
        (["0.5", "0.3", "0.2"], "gmv, wmv, csfv add up to one, so they are proportions"),
        (["6e9", "5e9", "2e9"], "not litres, mL or mm"),
    ],
)
def test_volumes_without_a_clear_unit_are_refused(read, row, message):
    with pytest.raises(AekitError, match=message):
        read(text([["a", "34", "F", *row], ["b", "35", "F", *row]]))


RNG = np.random.default_rng(0)
FRACTIONS = RNG.dirichlet([90, 70, 30], 60)
PEOPLE_ML = FRACTIONS * RNG.normal(1400, 130, (60, 1))


def table_of(read, values, names=TISSUES, decimals=4):
    rows = [[f"p{row}", "30", *(f"{value:.{decimals}f}" for value in line)] for row, line in enumerate(values)]
    return read(text(rows, header=["participant_id", "age", *names]))


@pytest.mark.parametrize("of", [1.0, 1 / 1.06, 1.03, 100.0, 100 / 1.06])
@pytest.mark.parametrize("decimals", [2, 3, 4])
@pytest.mark.parametrize(
    "tissues", [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,)], ids=lambda places: f"{len(places)}"
)
def test_proportions_and_percentages_are_refused_as_proportions(read, of, decimals, tissues):
    noise = RNG.normal(1, 0.02, (60, 1)) if of not in (1, 100) else 1
    names = [TISSUES[place] for place in tissues]
    with pytest.raises(AekitError, match=r"proportions|percentages") as error:
        table_of(read, FRACTIONS[:, tissues] * of * noise, names, decimals)
    assert "mL" in str(error.value)


@pytest.mark.parametrize("tissues", [(0, 1, 2), (0, 1), (0,), (1,)], ids=lambda places: f"{len(places)}")
@pytest.mark.parametrize(("factor", "decimals"), [(1e-3, 2), (1e-3, 4), (1, 0), (1, 2), (1e3, 0)])
def test_litres_ml_and_mm3_stay_accepted(read, tissues, factor, decimals):
    names = [TISSUES[place] for place in tissues]
    found = table_of(read, PEOPLE_ML[:, tissues] * factor, names, decimals).table[names].to_numpy(float)
    np.testing.assert_allclose(found, PEOPLE_ML[:, tissues], atol=0.51 * 10**-decimals / factor)


def test_small_volumes_are_accepted_where_the_header_states_their_unit(read):
    newborns_ml = FRACTIONS * 420.0
    with pytest.raises(AekitError, match=r"state the unit in the header, as in 'gmv \(mL\)' or 'gmv \(L\)'"):
        table_of(read, newborns_ml / 1000)
    found = table_of(read, newborns_ml / 1000, [f"{name} (L)" for name in TISSUES])
    np.testing.assert_allclose(found.volumes_ml, newborns_ml, atol=0.051)


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
def test_an_age_that_is_not_a_number_is_refused(read, value):
    with pytest.raises(AekitError, match=r"age is not a number: p1 \("):
        read(ages("30", value))


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
def test_usual_codings_of_sex_are_read_and_reported(read, values, expected):
    cohort = read(sexes(*values))
    assert "".join(cohort.sex) == expected
    assert bool(cohort.repairs) == (values != ["F", "M"])


def test_a_coding_is_reported_in_words(read):
    assert "sex: coded 1 = male, 2 = female" in repairs(read(sexes("1", "2")))
    assert "sex: coded 0 = female, 1 = male" in repairs(read(sexes("0", "1")))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Sex (F=1, M=2)", "FM"),
        ("sex [male: 1; female: 2]", "MF"),
        ("Sex (M/F)", "MF"),
        ("SEX_ID (1=m, 2=f)", "MF"),
        ("Sex (1: female, 2: male)", "FM"),
        ("Gender [1=W 2=M]", "FM"),
    ],
)
def test_a_coding_in_the_header_counts(read, header, expected):
    assert "".join(read(sexes("1", "2", header=header)).sex) == expected


@pytest.mark.parametrize("values", [["1", "1"], ["0", "1", "2"], ["1", "2", "9"], ["3"]])
def test_numbers_of_unclear_sex_are_refused(read, values):
    with pytest.raises(AekitError, match=r"sex is coded by .*whose meaning is unclear; write F and M"):
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
