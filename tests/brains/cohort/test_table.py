import csv
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


def text(rows=ROWS, *, header=HEADER, separator="\t"):
    return "".join(separator.join(row) + "\n" for row in [header, *rows])


def ages(*values):
    return text([[f"p{number}", value] for number, value in enumerate(values)], header=["participant_id", "age"])


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


def test_a_table_with_one_tissue_has_it_in_ml_but_no_proportions(read):
    cohort = read("participant_id\tgmv\na\t612345\nb\t600000\n")
    assert list(cohort.table["gmv"]) == pytest.approx([612.345, 600])
    assert cohort.volumes_ml is None
    assert cohort.proportions is None


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
        "participant_id occurs more than once: f",
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
    assert list(cohort.table["participant_id"]) == ["007", "sub-2", "z", "w"]
    assert list(cohort.age_years) == [34.5, 60, 1, 30]
    assert list(cohort.table.index) == [0, 1, 2, 3]
    left_out = {tuple(line) for line in cohort.left_out.itertuples(index=False)}
    assert left_out == {
        ("x", "age", "150", "is outside 0-120 years"),
        ("x", "csfv", "-200", "is not above zero"),
        ("y", "", "line 5", "has 2 fields, not 6"),
        ("z", "participant_id", "z", "occurs more than once"),
    }
    assert (cohort.left_out["participant_id"] == "z").sum() == 1
    what = "participant_id: of several rows with the same id, the first that can be used is kept"
    assert [(repair.n, repair.examples) for repair in cohort.repairs if repair.what == what] == [(1, ("z",))]
    with pytest.raises(AekitError, match="none of its 2 rows can be used"):
        read(ages("x", "y"), skip_bad=True)


@pytest.mark.parametrize(
    "header",
    [
        ["IXI_ID", "AGE", "Gender", "GM", "WM", "CSF"],
        ["Subject ID", " Age (years) ", "SEX", "GMV", "WMV", "CSFV"],
        ["id", "age_at_scan", "sex_id", "TotalGrayVol", "CerebralWhiteMatterVol", "csf_volume"],
    ],
)
def test_usual_names_of_columns_are_known_and_reported(read, header):
    cohort = read(text(header=header))
    check_same(cohort)
    assert list(cohort.table) == HEADER
    assert len(cohort.repairs) == 6


def test_of_rows_with_the_same_id_the_first_that_can_be_used_is_kept_on_request(read):
    rows = [["a", "150"], ["a", "40"], ["a", "50"], ["b", "x"], ["b", "-5"]]
    cohort = read(text(rows, header=["participant_id", "age"]), skip_bad=True)
    assert list(cohort.table["participant_id"]) == ["a"]
    assert list(cohort.age_years) == [40]
    assert set(cohort.left_out["participant_id"]) == {"a", "b"}


def test_two_candidate_columns_are_refused_unless_one_has_the_exact_name(read):
    with pytest.raises(AekitError, match="columns 'Age', 'age_years' could all be 'age'; rename"):
        read("participant_id\tAge\tage_years\na\t3\t4\n")
    cohort = read("participant_id\tage_years\tage\na\t3\t4\n")
    assert list(cohort.age_years) == [4]
    assert list(cohort.table["age_years"]) == [3]
    with pytest.raises(AekitError, match="has 2 columns 'age'"):
        read("participant_id\tage\tage\na\t3\t4\n")


def test_missing_columns_are_all_named_with_those_that_exist(read):
    with pytest.raises(AekitError) as error:
        read("participant_id\tagge\na\t3\n", need=("age",))
    assert str(error.value).endswith("has no column age (it has participant_id, agge); did you mean 'agge'?")
    with pytest.raises(AekitError, match=r"has no columns gmv, wmv, csfv \(it has participant_id, age\)"):
        read(ages("3"), need=("age", *TISSUES))


def test_duplicate_ids_are_named_and_sessions_explained(read):
    with pytest.raises(AekitError, match="participant_id occurs more than once: a, b; "):
        read(text([["a", "3"], ["b", "4"], ["a", "5"], ["b", "6"]], header=["participant_id", "age"]))
    with pytest.raises(AekitError, match="one row per session or run, keep one per participant"):
        read(text([["a", "1", "5"], ["a", "2", "5"]], header=["participant_id", "run", "age"]))


@pytest.mark.parametrize("header", ["session_id", "session", "Session ID"])
def test_a_row_per_session_has_an_id_of_both(read, header):
    rows = [["sub-1", "ses-1", "5"], ["sub-1", "2", "6"], ["sub-2", "ses-1", "7"], ["sub-3", "n/a", "8"]]
    cohort = read(text(rows, header=["participant_id", header, "age"]))
    assert list(cohort.table["participant_id"]) == ["sub-1_ses-1", "sub-1_ses-2", "sub-2_ses-1", "sub-3"]
    assert [(repair.what, repair.n) for repair in cohort.repairs if "joined" in repair.what] == [
        ("participant_id and session joined, as several rows have the same id", 3)
    ]
    with pytest.raises(AekitError, match="participant_id occurs more than once: sub-1_ses-1"):
        read(text([*rows, ["sub-1", "1", "9"]], header=["participant_id", header, "age"]))


def test_ids_that_are_unique_stay_without_their_session(read):
    cohort = read(text([["a", "1", "5"], ["b", "2", "5"]], header=["participant_id", "session_id", "age"]))
    assert list(cohort.table["participant_id"]) == ["a", "b"]
    assert not cohort.repairs


@pytest.mark.parametrize(
    ("header", "value", "years"),
    [
        ("Age (months)", "18", 1.5),
        ("age_months", "18", 1.5),
        ("Age at scan [months]", "18", 1.5),
        ("Age [weeks]", "39", 39 * 7 / 365.25),
        ("age (days)", "3", 3 / 365.25),
        ("age_days", "1461", 4),
        ("Age (yrs)", "34.5", 34.5),
        ("Age (months)", "18 months", 1.5),
        ("Age (months)", "2 years", 2),
    ],
)
def test_ages_are_converted_by_the_unit_in_the_header_and_counted(read, header, value, years):
    cohort = read(text([["a", value], ["b", value]], header=["participant_id", header]))
    assert cohort.age_years == pytest.approx([years, years])
    unit = next((unit for unit in ("months", "weeks", "days") if unit in header and "years" not in value), None)
    told = {repair.what: repair.n for repair in cohort.repairs}
    assert told.get(f"age: {unit} converted to years", 0) == (2 if unit else 0)


@pytest.mark.parametrize("note", ["z-score", "bins", "decades", "%", "months/years"])
def test_ages_in_an_unknown_unit_are_refused_by_name(read, note):
    with pytest.raises(AekitError) as error:
        read(text([["a", "3"]], header=["participant_id", f"Age ({note})"]))
    assert f"column 'Age ({note})' could be age, but '{note}' is not years, months, weeks or days" in str(error.value)


@pytest.mark.parametrize("header", ["GMV (%)", "GMV (proportion)", "gmv [fraction of TIV]", "GMV %", "GM (percent)"])
def test_a_header_of_proportions_is_refused_by_name(read, header):
    with pytest.raises(AekitError) as error:
        read(text([["a", "612"]], header=["participant_id", header]))
    assert f"column '{header}' holds proportions, not gmv as a volume; give volumes in mL" in str(error.value)


@pytest.mark.parametrize(
    ("note", "factor"), [("mL", 1), ("cm3", 1), ("cm³", 1), ("L", 1e-3), ("mm^3", 1e3), ("mm3", 1e3), ("µl", 1e3)]
)
def test_volumes_are_converted_by_the_unit_in_the_header(read, note, factor):
    volumes = [["a", *(f"{value * factor:.9g}" for value in VOLUMES_ML[0])]]
    header = ["participant_id", *(f"{name.upper()} ({note})" for name in TISSUES)]
    np.testing.assert_allclose(read(text(volumes, header=header)).volumes_ml, VOLUMES_ML[:1], rtol=1e-8)


def test_each_tissue_may_have_its_own_unit(read):
    rows = [["a", "0.6", "500000", "200"]]
    cohort = read(text(rows, header=["participant_id", "gmv (L)", "wmv_mm3", "csfv (mL)"]))
    np.testing.assert_allclose(cohort.volumes_ml, [[600, 500, 200]])


def test_a_unit_that_cannot_be_right_is_refused(read):
    with pytest.raises(AekitError, match=r"gmv has a median of 0\.6 mL if in mm\^3, as stated; correct the unit"):
        read(text([["a", "600"]], header=["participant_id", "gmv_mm3"]))


def test_of_two_columns_the_one_in_years_is_the_age_and_the_other_stays(read):
    cohort = read(text([["a", "24", "2"]], header=["participant_id", "age_months", "Age (years)"]))
    assert list(cohort.age_years) == [2]
    assert list(cohort.table["age_months"]) == [24]
    cohort = read(text([["a", "612", "45"]], header=["participant_id", "GMV (mL)", "GMV (%)"]))
    assert list(cohort.table["gmv"]) == [612]


def test_rows_without_an_id_are_named_by_their_line(read):
    with pytest.raises(AekitError, match="participant_id is missing: line 3, n/a"):
        read("participant_id\tage\na\t3\n\t4\nn/a\t5\n")


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


def test_a_subset_is_numbered_from_zero(read):
    cohort = read(ages("10", "20", "30", "40"))
    assert list(cohort.subset([3, 1]).age_years) == [40, 20]
    assert list(cohort.subset(cohort.age_years > 15).table.index) == [0, 1, 2]


def test_what_was_read_can_be_written_and_read_again(read, tmp_path):
    cohort = read(text([*ROWS, ["x", "n/a", "other", "", "n/a", "200"]]).replace("\t34.5", "\t89+"))
    cohort.table.to_csv(tmp_path / "again.tsv", sep="\t", index=False)
    again = read_cohort(tmp_path / "again.tsv")
    pd.testing.assert_frame_equal(again.table, cohort.table)
    assert again.repairs == ()


@pytest.mark.slow
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
