"""Values are read where the recipe says, and judged by their mean and Student's t interval."""

from __future__ import annotations

import json
import math

import pytest

from aekit.errors import AekitError
from aekit.results.recipe import Value
from aekit.results.recipe_values import fill, judge, read_value

# Seeds 2, 3, 7: mean 4, standard deviation sqrt(7), t quantile of two degrees of freedom 4.302653.
HALF = 4.302653 * math.sqrt(7 / 3)


def _value(direction="lower", *, reference=4.5, tolerance=0.0, **place):
    place = {"file": "{out}/x.json", "key": "a.b", "column": None, "where": {}} | place
    return Value(name="x", factor=1.0, reference=reference, tolerance=tolerance, direction=direction, **place)


def test_the_interval_is_students_around_the_mean_and_around_the_difference():
    judged = judge(_value(), [2, 3, 7])
    assert tuple(judged.mean) == pytest.approx((4, 4 - HALF, 4 + HALF))
    assert tuple(judged.difference) == pytest.approx((-0.5, -0.5 - HALF, -0.5 + HALF))
    assert judged.sd == pytest.approx(math.sqrt(7))
    assert judged.verdict == "reached"


def test_one_seed_has_no_interval():
    judged = judge(_value(), [4])
    assert judged.difference.value == -0.5
    assert all(map(math.isnan, (*judged.mean[1:], *judged.difference[1:], judged.sd)))
    assert judged.verdict == "reached"  # not better: there is no interval that shows it


@pytest.mark.parametrize(
    ("direction", "reference", "tolerance", "verdict"),
    [
        ("lower", 4 + HALF + 0.01, 0, "better"),
        ("lower", 4 + HALF - 0.01, 0, "reached"),
        ("lower", 4, 0, "reached"),
        ("lower", 3.9, 0.1, "reached"),
        ("lower", 3.9, 0.09, "missed"),
        ("higher", 4 - HALF - 0.01, 0, "better"),
        ("higher", 4 - HALF + 0.01, 0, "reached"),
        ("higher", 4.1, 0.1, "reached"),
        ("higher", 4.1, 0.09, "missed"),
        ("within", 3.9, 0.1, "reached"),
        ("within", 4.1, 0.1, "reached"),
        ("within", 4.1, 0.09, "missed"),
        ("within", 4 + HALF + 1, 100, "reached"),  # neither side is better
    ],
)
def test_the_mean_decides_what_is_reached_and_the_interval_what_is_better(direction, reference, tolerance, verdict):
    assert judge(_value(direction, reference=reference, tolerance=tolerance), [2, 3, 7]).verdict == verdict


@pytest.fixture
def names(tmp_path):
    return {"out": str(tmp_path), "seed": "1"}


def test_a_value_of_a_json_file_is_at_its_key_times_its_factor(tmp_path, names):
    (tmp_path / "x.json").write_text('{"a": {"b": -86.5}}')
    value = _value()
    assert read_value(value, names) == -86.5
    assert read_value(Value(**{**value.__dict__, "factor": -1.0}), names) == 86.5


def test_a_value_of_a_table_is_in_the_one_row_with_these_cells(tmp_path, names):
    (tmp_path / "x.csv").write_text("beta,seed,total\n0.10,0,1\n0.10,1,2.5\n1,1,3\n")
    place = {"file": "{out}/x.csv", "key": None, "column": "total"}
    assert read_value(_value(**place, where={"beta": "0.1", "seed": "{seed}"}), names) == 2.5
    with pytest.raises(AekitError, match="needs one row of the table, 2 rows found where seed = 1; correct the recipe"):
        read_value(_value(**place, where={"seed": "{seed}"}), names)
    with pytest.raises(AekitError, match="0 rows found where beta = 7"):
        read_value(_value(**place, where={"beta": "7"}), names)
    with pytest.raises(AekitError, match="has no column totl; did you mean 'total'"):
        read_value(_value(file="{out}/x.csv", key=None, column="totl"), names)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "x.json: the value 'x' is not there, no command wrote this file"),
        ("{", "the file is damaged"),
        ("[" * 100_000, "the file is damaged"),
        ('{"a": {"bb": 1}}', "a.b leads nowhere at b"),
        ('{"a": 1}', "a.b leads nowhere at b"),
        ("[]", "a.b leads nowhere at a"),
        ('{"a": {"b": "1"}}', "is '1', not a number"),
        ('{"a": {"b": true}}', "is True, not a number"),
        ('{"a": {"b": null}}', "is None, not a number"),
        ('{"a": {"b": NaN}}', "is nan, not a finite number"),
        ('{"a": {"b": 1e999}}', "is inf, not a finite number"),
    ],
)
def test_a_value_that_is_not_there_or_not_a_number_is_refused_by_name(tmp_path, names, content, words):
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(AekitError) as told:
        read_value(_value(), names)
    assert words in str(told.value)
    assert "; " in str(told.value)


@pytest.mark.parametrize(
    ("cell", "words"), [("", "is nan, not a finite"), ("x", "is 'x', not a number"), ("inf", "is inf")]
)
def test_an_empty_cell_is_no_value(tmp_path, names, cell, words):
    (tmp_path / "x.csv").write_text(f"k,total\n1,{cell}\n")
    with pytest.raises(AekitError, match=words):
        read_value(_value(file="{out}/x.csv", key=None, column="total"), names)


def test_placeholders_are_replaced_and_other_braces_stay():
    assert fill("{out}/{seed}-{x}.csv", {"out": "a b", "seed": "3"}) == "a b/3-{x}.csv"
    assert json.loads(fill('{"a": 1}', {"a": "b"})) == {"a": 1}
