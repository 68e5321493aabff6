"""Figures beside a study's are the means of the right rows, and are shown with the digits that the study has."""

from __future__ import annotations

import statistics

import pandas as pd
import pytest

from aekit.results.comparison import as_key, compare_tables, differing_columns, repeated_keys, to_number, wide_rows


def _table(text: str) -> pd.DataFrame:
    header, *rows = [line.split(",") for line in text.split()]
    return pd.DataFrame(rows, columns=header, dtype=object)


OURS = _table("beta,seed,total,kl 0.1,0,90.25,20 0.10,1,91.5,21 0.1,2,95.125, 1,0,104,18 1,1,failed,18")
OURS.loc[4, "total"] = ""


def test_rows_of_equal_keys_give_mean_spread_and_number():
    study = _table("beta,total,kl .1,90.1,20.0 1.0,104.0,")
    rows = compare_tables(OURS, study, ["beta"], ["total", "kl"]).table.set_index(["beta", "measure"])
    seeds = [90.25, 91.5, 95.125]
    first = rows.loc[(".1", "total")]
    assert first["ours"] == pytest.approx(statistics.mean(seeds))
    assert first["sd"] == pytest.approx(statistics.stdev(seeds))
    assert first["n"] == 3
    assert first["difference"] == pytest.approx(statistics.mean(seeds) - 90.1)
    assert first["ratio"] == pytest.approx(statistics.mean(seeds) / 90.1)
    assert (rows.loc[(".1", "kl")]["ours"], rows.loc[(".1", "kl")]["n"]) == (20.5, 2)  # an empty cell is no zero
    alone = rows.loc[("1.0", "total")]
    assert (alone["ours"], alone["n"]) == (104, 1)
    assert pd.isna(alone["sd"])
    assert ("1.0", "kl") not in rows.index  # the study does not say


def test_rows_of_the_study_without_ours_stay_and_ours_without_the_study_go():
    found = compare_tables(OURS, _table("beta,total 5,120 0.1,90"), ["beta"], ["total"])
    assert found.table["beta"].tolist() == ["5", "0.1"]
    assert found.table["n"].tolist() == [0, 3]
    assert pd.isna(found.table["ours"][0])
    assert found.unmatched == [0]


def test_a_figure_of_zero_has_a_difference_and_no_ratio():
    found = compare_tables(OURS, _table("beta,kl 1,0"), ["beta"], ["kl"]).table
    assert found["difference"][0] == 18
    assert pd.isna(found["ratio"][0])


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("0.1", "0.10", True),
        ("10", "10.0", True),
        ("1e-3", ".001", True),
        ("0.333333333", "0.3333333333333333", True),  # result tables have nine digits
        ("-1", "\u22121", True),
        ("12345678901", "12345678902", False),
        ("conv", "Conv", False),
        ("", "0", False),
        ("1_0", "10", False),
        ("True", "1", False),
    ],
)
def test_keys_match_as_numbers_and_else_as_text(left, right, equal):
    assert (as_key(left) == as_key(right)) is equal


@pytest.mark.parametrize("text", ["5 %", "1,5", "1_000", "~3", "12 ± 1", "0x10", "conv"])
def test_text_is_no_number(text):
    assert to_number(text) is None


def test_keys_of_several_columns_do_not_run_into_each_other():
    ours = _table("a,b,x 1,12,1 11,2,2")
    found = compare_tables(ours, _table("a,b,x 11,2,5 1,12,5"), ["a", "b"], ["x"]).table
    assert found["ours"].tolist() == [2, 1]


def test_repeated_keys_and_columns_that_differ_are_found():
    assert repeated_keys(_table("beta,arch,x 1,conv,1 2,conv,1 1.0,conv,2"), ["beta", "arch"]) == [2]
    assert differing_columns(OURS, ["beta"], ["seed", "beta"]) == ["seed"]


def _shown(ours: str, study: str) -> list[str]:
    columns = "\n".join(["key,x", *(f"a,{value}" for value in ours.split())])
    found = compare_tables(_table(columns), _table(f"key,x a,{study}"), ["key"], ["x"])
    return list(wide_rows(found, ["key"]).iloc[0])[1:]


@pytest.mark.parametrize(
    ("ours", "study", "shown"),
    [
        ("104.2178", "104.4", ["104.2", "104.4", "\u22120.2"]),
        ("12.04 12.56", "11.9", ["12.3 ± 0.4", "11.9", "+0.4"]),
        ("7", "6.50", ["7.00", "6.50", "+0.50"]),
        ("97.21", "97", ["97", "97", "0"]),
        ("-0.04", "-0.1", ["0.0", "\u22120.1", "+0.1"]),
        ("0.0000121", "1.2e-05", ["0.000012", "0.000012", "0.000000"]),
        ("3.2e-11", "3.1e-11", ["3.20e-11", "3.10e-11", "1.00e-12"]),
        ("94.7123456789", "95.0123456789", ["94.712", "95.012", "\u22120.300"]),
        ("123456.7", "123455.7", ["123457", "123456", "+1"]),
        ("", "2.5", ["", "2.5", ""]),
    ],
)
def test_digits_are_those_of_the_study(ours, study, shown):
    if not ours:
        found = compare_tables(_table("key,x b,1"), _table(f"key,x a,{study}"), ["key"], ["x"])
        assert list(wide_rows(found, ["key"]).iloc[0])[1:] == shown
        return
    got = _shown(ours, study)
    assert [text.removeprefix("+") if "e" in text else text for text in got] == shown


def test_a_measure_has_the_same_decimals_in_every_row_and_the_study_stays_as_it_is_written():
    ours = _table("key,x,y a,8.361,1 b,8.441,2")
    found = compare_tables(ours, _table("key,y,x a,1,8.4 b,2,8.36"), ["key"], ["y", "x"])
    wide = wide_rows(found, ["key"], names=("ours", "paper"))
    assert list(wide.columns) == ["key", "y ours", "y paper", "y difference", "x ours", "x paper", "x difference"]
    assert wide["x ours"].tolist() == ["8.36", "8.44"]
    assert wide["x paper"].tolist() == ["8.4", "8.36"]
