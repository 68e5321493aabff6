"""Keys, measures and rows that two tables have in common are found, and what would mislead is reported."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aekit.errors import AekitError
from aekit.results.comparison import compare_tables
from aekit.results.matching import Pair, check_overlap, choose_keys, few, find_measures, warnings


def _table(text: str) -> pd.DataFrame:
    header, *rows = [line.split(",") for line in text.split()]
    return pd.DataFrame(rows, columns=header, dtype=object)


def _pair(ours: str, study: str) -> Pair:
    return Pair(_table(ours).assign(file="ours"), _table(study), [Path("ours.csv")], Path("study.csv"))


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


def test_averages_over_experiments_are_reported_and_those_over_seeds_are_not():
    def reported(pair: Pair) -> list[str]:
        return warnings(pair, compare_tables(pair.ours, pair.study, ["beta"], ["total"]), ["beta"], [])

    assert reported(PAIR) == []
    other = _pair("beta,latent,total 0.1,2,90 0.1,3,92", "beta,total 0.1,91")
    (text,) = reported(other)
    assert "averages over rows that differ in latent" in text


def test_long_lists_are_cut():
    assert few([*"abcdefgh", "", "i"]) == "a, b, c, d, e, f, g, h and 2 more"
