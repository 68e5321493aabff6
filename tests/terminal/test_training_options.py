"""The options of training: defined once, the same in train-ae, train-vae and sweep."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from aekit.commands.sweep import sweep
from aekit.commands.train_ae import train_ae
from aekit.commands.train_vae import train_vae
from aekit.core.settings import as_text
from aekit.errors import AekitError
from aekit.images.config import RunConfig
from aekit.images.run_settings import PARTS, SETTINGS, VAE_ONLY, flat
from aekit.images.sweep.cells import expand
from aekit.terminal.training_options import OPTIONS, training_options

NAMES = [option.name for option in OPTIONS]


def _parameters(command):
    return inspect.signature(command).parameters


def _flag(parameter):
    info = parameter.annotation.__metadata__[0]
    return (info.param_decls or [info.default])[0]


def test_every_setting_of_a_run_has_one_option_and_every_option_a_setting():
    assert sorted(NAMES) == sorted(name for name in SETTINGS if name != "model")
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("command", [train_ae, train_vae])
def test_the_defaults_are_those_of_the_configuration(command):
    parameters = _parameters(command)
    default = flat(RunConfig())
    for name in NAMES:
        if name in VAE_ONLY and command is train_ae:
            assert name not in parameters
            continue
        assert parameters[name].default == default[name]
        assert _flag(parameters[name]) == f"--{name.replace('_', '-')}"


def test_a_sweep_of_defaults_is_the_default_run():
    parameters = _parameters(sweep)
    given = {"model": "vae", **{name: parameters[name].default for name in NAMES}}
    assert expand(given) == ([RunConfig()], [])
    default = flat(RunConfig())
    for name in NAMES:
        if isinstance(parameters[name].default, str):
            assert parameters[name].default == as_text(default[name])


def test_a_command_gets_the_configuration_that_its_options_describe():
    found = []

    @training_options("vae")
    def command(config: RunConfig, *, overwrite: bool = False, resume: bool = False) -> None:
        found.append(config)

    values = {name: parameter.default for name, parameter in _parameters(command).items()}
    command(**{**values, "beta": 4.0, "image_size": "16x12", "val": 0.2})
    (config,) = found
    assert (config.model.kind, config.train.beta, config.data.image_size, config.data.val) == (
        "vae",
        4.0,
        (16, 12),
        0.2,
    )
    with pytest.raises(AekitError, match="one starts over, the other continues"):
        command(**{**values, "overwrite": True, "resume": True})


def test_no_default_of_a_setting_is_written_twice():
    own = {field.name for cls in PARTS.values() for field in fields(cls)}
    assert not {name for command in (train_ae, train_vae, sweep) for name in _written(command)} & own


def _written(command):
    """Return the parameters that a command's source spells out."""
    module = inspect.getmodule(command)
    source = inspect.getsource(module)
    signature = source[source.index(f"def {command.__name__}(") : source.index(") -> None:")]
    return [
        line.strip().partition(":")[0] for line in signature.splitlines() if line.startswith("    ") and ":" in line
    ]
