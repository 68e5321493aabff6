"""A recipe is a file whose every key is checked: what is wrong is named, with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from recipes import BOTH, COMPARE, RECIPE, write_recipe

from aekit.errors import AekitError
from aekit.results.recipe import RECIPES, read_recipe, shipped_recipes

SECOND = RECIPE[RECIPE.index("[[values]]") :]


def test_a_recipe_is_what_its_file_says(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, BOTH))
    assert (recipe.name, recipe.title, recipe.note) == ("tiny", "a comparison", "")
    assert recipe.full.commands == ((*COMPARE.split()[1:], "-o", "{out}/seed{seed}.csv"),)
    assert (recipe.full.seeds, recipe.full.minutes, recipe.full.reference) == ((0, 1), 0.1, "published")
    (value,) = recipe.full.values
    assert (value.reference, value.tolerance, value.factor, value.per_seed) == (4.5, 0, 1, True)
    assert value.where == {"k": "1", "measure": "x"}
    assert recipe.quick is not None
    assert recipe.quick.reference == "expected"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("minutes =", "minuets =", ["unknown key 'minuets'", "did you mean 'minutes'"]),
        ("minutes = 0.1\n", "", ["has no key 'minutes'"]),
        ("minutes = 0.1", "minutes = 'long'", ["minutes is 'long', not a number"]),
        ("minutes = 0.1", "minutes = true", ["minutes is True, not a number"]),
        ("minutes = 0.1", "minutes = nan", ["minutes is nan, not a finite number"]),
        ("minutes = 0.1", "minutes = -1", ["minutes is -1, not above 0"]),
        ('"a comparison"', "[]", ["title is [], not a text"]),
        ('"a comparison"', '""', ["title is empty"]),
        ("[0, 1]", "[]", ["seeds is empty"]),
        ("[0, 1]", "[0, 0]", ["seeds: 0 is there twice"]),
        ("[0, 1]", "[0.5]", ["seeds: 0.5 is not a whole number"]),
        ("[0, 1]", "[-1]", ["seeds: -1 is not a whole number"]),
        ('["ours.csv"]', "[1]", ["data has 1, not a text"]),
        ("aekit compare", "aekitt compare", ["command 1: is not an aekit command"]),
        ("aekit compare", "rm -r", ["command 1: is not an aekit command"]),
        ("aekit compare", "aekit reproduce", ["a recipe cannot run recipes"]),
        ("--by k", "--by k | cat", ["command 1: no shell runs it, so | has no meaning"]),
        ("--by k", "--by k --resume", ["command 1: has --resume, on which reproduce decides"]),
        ("--by k", "--by 'k", ["command 1: its quotes do not close"]),
        ("seed={seed}", "seed={sead}", ["unknown placeholder {sead}; there are {seed}, {seeds}, {out}, {data_root}"]),
        ("-o {out}/seed{seed}.csv", "-o x{seed}.csv", ["writes outside of the folder of its recipe"]),
        ("-o {out}/seed{seed}.csv", "-o {out}/../{seed}.csv", ["writes {out}/../{seed}.csv, outside of the folder"]),
        ("-o {out}/seed{seed}.csv", "-o x{seed} --x {out}/x", ["writes x{seed}, outside of the folder of its recipe"]),
        ("-o {out}/seed{seed}.csv", "-o{out}/../x{seed}.csv", ["is several words in one; write short options apart"]),
        ("-o {out}/seed{seed}.csv", "-qo x{seed} {out}/x", ["-qo is several words in one"]),
        ("-o {out}/seed{seed}.csv", "-o {out}/{seed} --each x{seed}", ["writes x{seed}, outside of the folder"]),
        ("-o {out}/seed{seed}.csv", "--output=x{seed} {out}/x", ["writes x{seed}, outside of the folder"]),
        ('"{out}/seed{seed}.csv"\ncolumn', '"{out}/../seed{seed}.csv"\ncolumn', ["begin it with {out}/"]),
        ("-o {out}/seed{seed}.csv", "-o {out}/x.csv", ["every seed would write {out}/x.csv"]),
        ("where seed={seed} -o {out}/seed{seed}.csv", "where seed=0 -o {out}/x.csv", ["no command uses {seed}"]),
        ("[[values]]", "[values]", ["values is {", "not a list"]),
        ("column =", "colum =", ["value 1: unknown key 'colum'", "did you mean 'column'"]),
        ("published =", "expected =", ["value 1: unknown key 'expected'"]),
        ("published = 4.5", "published = inf", ["published is inf, not a finite number"]),
        ("published = 4.5", "published = '4.5'", ["published is '4.5', not a number"]),
        ("tolerance = 0", "tolerance = -1", ["value 1 (x): tolerance is -1; give 0 or more"]),
        ('"lower"', '"within"', ["value 1 (x): tolerance is 0", "above 0"]),
        ('"lower"', '"less"', ["direction is 'less'; it is one of lower, higher, within"]),
        ('"lower"', '"lower"\nfactor = 0', ["factor is 0"]),
        ('measure = "x"', "measure = [1]", ["where has [1], neither a text nor a number"]),
        ('measure = "x"', 'measure = "{sed}"', ["unknown placeholder {sed}"]),
        ("{out}/seed{seed}.csv\"\ncolumn", "{out}/seed{seed}.png\"\ncolumn", ["file is", "neither .json nor .csv"]),
        ('"{out}/seed{seed}.csv"\ncolumn', '"seed{seed}.csv"\ncolumn', ["begin it with {out}/"]),
        ('column = "ours"\n', "", ["has no column, which says where it is"]),
        ('column = "ours"', 'column = "ours"\nkey = "x"', ["key does not apply to a .csv file"]),
        ("seed{seed}.csv\"\ncolumn", "seed{seed}.json\"\nkey = 'x'\ncolumn", ["column does not apply to a .json file"]),
        (SECOND, SECOND * 2, ["two values are called 'x'"]),
        ('title = "a comparison"', "title = a comparison", ["is not TOML"]),
        ("minutes = 0.1", "minutes = 0.1\nminutes = 0.2", ["is not TOML"]),
        ("[[values]]", "[quick]\nminutes = 1\n[[values]]", ["[quick]: has no key 'commands'"]),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_recipe_is_named_with_its_place(tmp_path, before, after, words):
    assert before in RECIPE
    path = write_recipe(tmp_path, RECIPE.replace(before, after))
    with pytest.raises(AekitError) as told:
        read_recipe(path)
    assert str(told.value).startswith(f"{path}: ")
    assert all(word in str(told.value) for word in words), str(told.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x = [" + b"[" * 5000, None])
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path, content):
    path = tmp_path / "x.toml"
    path.write_bytes(content) if content is not None else path.mkdir()
    with pytest.raises(AekitError, match=r"x\.toml: (is not TOML|is nested too deeply|cannot be read)"):
        read_recipe(path)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_of_aekit_has_a_quick_protocol_that_differs_and_is_not_called_the_papers(name):
    recipe = read_recipe(shipped_recipes()[name])
    assert recipe.quick is not None
    assert recipe.quick.commands != recipe.full.commands
    assert recipe.quick.minutes < recipe.full.minutes
    assert "measured with aekit" in recipe.quick.source
    assert re.search(r"study|README|Burda", recipe.full.source)


def test_recipes_are_part_of_the_package():
    assert RECIPES.is_relative_to(Path(__import__("aekit").__file__).parent)
    assert "mnist-vae" in shipped_recipes()
