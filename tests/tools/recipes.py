"""Recipes for tests: of commands that take no second, and that read what lies in the data folder."""

from __future__ import annotations

from pathlib import Path

COMPARE = "aekit compare {data_root}/ours.csv --with {data_root}/study.csv --by k --where seed={seed}"
RECIPE = f"""
title = "a comparison"
source = "a table"
data = ["ours.csv"]
minutes = 0.1
seeds = [0, 1]
commands = ["{COMPARE} -o {{out}}/seed{{seed}}.csv"]

[[values]]
name = "x"
file = "{{out}}/seed{{seed}}.csv"
column = "ours"
where = {{ k = 1, measure = "x" }}
published = 4.5
tolerance = 0
direction = "lower"
"""
_PROTOCOL = RECIPE[RECIPE.index("source") :].replace("published", "expected").replace("[[values]]", "[[quick.values]]")
BOTH = f"{RECIPE}\n[quick]\n{_PROTOCOL}"


def write_recipe(folder: Path, text: str = RECIPE, name: str = "tiny.toml") -> Path:
    """Return the path of a recipe in a folder, and put there the tables that its commands read."""
    (folder / "ours.csv").write_text("k,seed,x\n1,0,2\n1,1,3\n1,2,7\n")
    (folder / "study.csv").write_text("k,x\n1,3\n")
    (folder / name).write_text(text)
    return folder / name
