"""The verdicts of a recipe as tables: what was published is never what aekit gave before, and digits make sense."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from recipes import BOTH, write_recipe
from recorded import Recorded

from aekit.results.recipe import read_recipe
from aekit.results.recipe_table import rows_for_json, show_verdicts, write_verdicts
from aekit.results.recipe_values import failed, judge


@pytest.fixture
def recipe(tmp_path):
    return read_recipe(write_recipe(tmp_path, BOTH.replace('"a comparison"', '"a comparison"\nnote = "Mind | this."')))


def test_the_table_for_machines_has_a_row_per_value(tmp_path, recipe):
    (value,) = recipe.full.values
    write_verdicts(tmp_path / "x.csv", recipe, recipe.full, (0, 1), [judge(value, [2, 3])], 1.5)
    (row,) = pd.read_csv(tmp_path / "x.csv", dtype={"seeds": str}).to_dict("records")
    assert (row["recipe"], row["value"], row["ours"], row["n"], row["published"]) == ("tiny", "x", 2.5, 2, 4.5)
    assert (row["difference"], row["verdict"], row["seeds"], row["by_seed"]) == (-2, "reached", "0 1", "2 3")
    assert row["difference_high"] - row["difference_low"] == pytest.approx(row["ours_high"] - row["ours_low"])
    assert (row["source"], row["seconds"]) == ("a table", 1.5)


def test_the_table_for_reading_has_intervals_signs_and_what_made_it(tmp_path, recipe):
    (value,) = recipe.full.values
    write_verdicts(tmp_path / "x.csv", recipe, recipe.full, (0, 1, 2), [judge(value, [2, 3, 7])], 1.5)
    lines = (tmp_path / "x.md").read_text().splitlines()
    assert lines[0] == "# a comparison"
    cells = ["x, lower is better", "4.000 [\u22122.572, 10.572]", "4.500", "\u22120.500 [\u22127.072, +6.072]", "0.000"]
    assert lines[4] == f"| {' | '.join([*cells, 'reached'])} |"
    text = "\n".join(lines)
    assert "published: a table" in text
    assert "Mind | this." in text
    assert "seeds 0, 1, 2" in text
    assert "1.5" not in text  # seconds differ from run to run


def test_a_quick_protocol_is_not_called_published(tmp_path, recipe):
    (value,) = recipe.quick.values
    write_verdicts(tmp_path / "x.csv", recipe, recipe.quick, (0,), [judge(value, [2])], 1.5)
    assert "published" not in (tmp_path / "x.csv").read_text() + (tmp_path / "x.md").read_text()
    assert "expected" in pd.read_csv(tmp_path / "x.csv").columns
    assert "one seed, so no interval" in (tmp_path / "x.md").read_text()
    assert "quick protocol" in (tmp_path / "x.md").read_text()


def test_what_failed_has_empty_cells_and_says_why(tmp_path, recipe):
    (value,) = recipe.full.values
    judged = [failed(value, "command 1 failed")]
    write_verdicts(tmp_path / "x.csv", recipe, recipe.full, (0,), judged, None)
    (row,) = pd.read_csv(tmp_path / "x.csv", keep_default_na=False).to_dict("records")
    assert (row["ours"], row["n"], row["verdict"], row["problem"]) == ("", 0, "failed", "command 1 failed")
    assert "command 1 failed" in (tmp_path / "x.md").read_text()
    assert json.loads(json.dumps(rows_for_json(recipe.full, judged), allow_nan=False))[0]["ours"] is None


@pytest.mark.parametrize(
    ("direction", "tolerance", "cell"),
    [
        ("within", 0.3, "4.500 \u00b1 0.300"),
        ("lower", 0.0, "\u2264 4.500"),
        ("lower", 0.3, "\u2264 4.500 + 0.300"),
        ("higher", 0.3, "\u2265 4.500 \u2212 0.300"),
    ],
)
def test_the_terminal_shows_what_a_value_should_be(recipe, direction, tolerance, cell):
    value = replace(recipe.full.values[0], direction=direction, tolerance=tolerance)
    progress = Recorded()
    show_verdicts("tiny", recipe.full, [judge(value, [2, 3])], progress)
    ((_, columns, (row,)),) = progress.tables
    assert row[columns.index("published")] == cell
