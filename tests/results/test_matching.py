"""Keys, measures and rows that two tables have in common are found, and what would mislead is reported."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aekit.errors import AekitError
from aekit.results.comparison import compare_tables
from aekit.results.matching import Pair, check_overlap, choose_keys, few, find_measures, read_pair, warnings


def _table(text: str) -> pd.DataFrame:
    header, *rows = [line.split(",") for line in text.split()]
    return pd.DataFrame(rows, columns=header, dtype=object)


def _pair(ours: str, study: str) -> Pair:
    return Pair(_table(ours).assign(file="ours"), _table(study), [Path("ours.csv")], Path("study.csv"))


def _measures_of(folder: Path) -> tuple[list[str], list[str]]:
    pair = read_pair([folder / "ours.csv"], folder / "study.csv")
    return find_measures(pair, choose_keys(pair, "beta"))


PAIR = _pair("beta,latent,seed,total,note 0.1,2,0,90,a 0.1,2,1,92,b 1,4,0,100,c", "beta,total,kl,note 0.10,91,3,x")


def test_keys_are_those_of_both_tables():
    assert choose_keys(PAIR, " beta , beta") == ["beta"]
    with pytest.raises(AekitError, match=r"--by latent: study\.csv has no such column"):
        choose_keys(PAIR, "latent")


def test_measures_are_the_numbers_of_both_and_those_that_ours_lacks_are_returned():
    assert find_measures(PAIR, ["beta"]) == (["total"], ["kl"])


def test_conditions_choose_rows_and_several_values_of_a_column_are_alternatives():
    assert PAIR.where(["seed=0.0", "latent=2"]).ours["total"].tolist() == ["90"]
    assert len(PAIR.where(["seed=0", "seed=1"]).ours) == 3
    with pytest.raises(AekitError, match="no row has it; the values are 0, 1"):
        PAIR.where(["seed=7"])


def test_tables_without_a_common_key_are_refused_with_the_values_of_both():
    pair = _pair("beta,total 1,2", "beta,total 5,2")
    with pytest.raises(AekitError, match=r"--by beta: our tables have no value .* there it is 5, here 1"):
        check_overlap(pair, compare_tables(pair.ours, pair.study, ["beta"], ["total"]), ["beta"])


@pytest.mark.parametrize(
    ("ours", "study", "message"),
    [
        ("beta,total\n0.1,92", "beta;total\n0,1;92", "study.csv: beta is '0,1'; write numbers with a decimal point"),
        ("beta,total\n0.1,92", 'beta,total\n"0,1",92', "study.csv: beta is '0,1'; write"),
        ("beta,total\n0.1,92\n1,93", "beta;total\n1;92\n0,1;90", "study.csv: beta is '0,1'; write"),  # not in silence
        ("beta,total\n-0.1,92", "beta;total\n\u22120,1e-3;92", "study.csv: beta is '\u22120,1e-3'; write"),
        ("beta;total\n0,1;92", "beta,total\n0.1,92", "ours: beta is '0,1'; write"),
        ("beta,total\n1,92.5", "beta;total\n1;92,5", "study.csv: total is '92,5' where beta=1; write"),
        ("beta,total\n1,1234.5", "beta;total\n1;1,234.5", "study.csv: total is '1,234.5' where beta=1; write"),
        ("beta;total\n1;92,5", "beta,total\n1,92.5", "ours: total is '92,5', not a number to compare with .*; write"),
        ("beta,total\n0.1,92", "beta,total\n0,1,92", "line 2 has 3 fields, .*and write decimals with a point, as 0.1"),
    ],
)
def test_numbers_with_commas_are_refused_with_what_to_write(tmp_path, ours, study, message):
    for name, text in (("ours.csv", ours), ("study.csv", study)):
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    with pytest.raises(AekitError, match=message):
        _measures_of(tmp_path)


def test_texts_with_commas_are_keys_where_both_tables_have_them(tmp_path):
    for name in ("ours.csv", "study.csv"):
        (tmp_path / name).write_text("layers;total\n64,32;92\n64;90\n")
    pair = read_pair([tmp_path / "ours.csv"], tmp_path / "study.csv")
    assert choose_keys(pair, "layers") == ["layers"]


def test_averages_over_experiments_are_reported_and_those_over_seeds_are_not():
    def reported(pair: Pair) -> list[str]:
        return warnings(pair, compare_tables(pair.ours, pair.study, ["beta"], ["total"]), ["beta"], [])

    assert reported(PAIR) == []
    other = _pair("beta,latent,total 0.1,2,90 0.1,3,92", "beta,total 0.1,91")
    (text,) = reported(other)
    assert "averages over rows that differ in latent" in text


def test_long_lists_are_cut():
    assert few([*"abcdefgh", "", "i"]) == "a, b, c, d, e, f, g, h and 2 more"
