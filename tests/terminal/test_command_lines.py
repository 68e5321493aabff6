"""Command lines of recipes are parsed by the program's own parser, and nothing is run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import typer

from aekit.cli import app
from aekit.errors import AekitError
from aekit.results.recipe import read_recipe, shipped_recipes
from aekit.results.steps import Workplace, plan_steps
from aekit.terminal.command_lines import CommandLines


@pytest.fixture(scope="module")
def lines():
    return CommandLines(SimpleNamespace(parent=SimpleNamespace(command=typer.main.get_command(app))))


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_command_line_of_a_recipe_is_one_of_aekit(lines, name, tmp_path):
    recipe = read_recipe(shipped_recipes()[name])
    for protocol in (recipe.full, recipe.quick):
        place = Workplace(tmp_path, tmp_path, {}, lines, None)
        for step in plan_steps(protocol, protocol.seeds, {}):
            lines.check(place.as_written(step), name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian-vae"], "aekit has no command 'trian-vae'; did you mean 'train-vae'? The commands are in aekit --help"),
        (["train-vae", "--betta", "1"], "No such option: --betta"),
        (["train-vae", "--latent", "ten"], "'--latent'"),
        (["train-vae", "--arch", "cnn"], "Invalid value for '--arch': 'cnn' is not one of"),
        (["train-vae", "--latent"], "--latent"),
        (["evaluate"], "Missing argument"),
        (["train-vae", "--help"], "--help runs nothing"),
        (["train-vae", "--samples", "5"], "--samples: --objective elbo takes one sample per image"),
        (["train-vae", "--overwrite", "--resume"], "--overwrite, --resume"),
        (["sweep", "--model", "vae", "--beta", "1,2", "--best", "elbo"], "needs validation images"),
        (["probe", "x.safetensors", "--labels", "none"], "--labels"),
        (["outliers", "x.safetensors", "--fpr", "2"], "--fpr: 2 is not a fraction"),
    ],
)
def test_a_line_that_aekit_does_not_understand_is_refused_with_its_place(lines, words, said, capsys):
    with pytest.raises(AekitError) as told:
        lines.check(words, "x.toml: command 1")
    assert str(told.value).startswith("x.toml: command 1: ")
    assert said in str(told.value)
    assert capsys.readouterr() == ("", "")


def test_what_depends_on_a_checkpoint_of_an_earlier_command_is_left_to_its_time(lines, tmp_path):
    later = str(tmp_path / "later.safetensors")
    lines.check(["train-vae", "--init", later, "--components", "5"], "x.toml: command 2")
    lines.check(["evaluate", later, "--importance", "5"], "x.toml: command 2")
    assert list(tmp_path.iterdir()) == []


def test_options_are_known_by_command(lines):
    assert lines.knows("train-vae", "--resume")
    assert lines.knows("evaluate", "--device")
    assert not lines.knows("evaluate", "--resume")
    assert not lines.knows("no-command", "--resume")
