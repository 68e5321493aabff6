"""A module that is loaded later is the module, from its first use on."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

from aekit.core.later import Later


def test_names_are_those_of_the_module():
    special = Later("scipy.special")
    from scipy.special import ndtri

    assert special.ndtri is ndtri
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = special.nothing_of_this_name


def test_a_module_is_loaded_at_its_first_use():
    script = (
        "import sys; from aekit.core.later import Later\n"
        "colors = Later('colorsys'); print('colorsys' in sys.modules)\n"
        "print(colors.rgb_to_hsv(1.0, 0.0, 0.0), 'colorsys' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "(0.0, 1.0, 1.0) True"]


def test_looking_at_it_loads_nothing():
    missing = Later("no_module_has_this_name")
    assert not hasattr(missing, "__wrapped__")
    assert isinstance(copy.copy(missing), Later)
    with pytest.raises(ModuleNotFoundError):
        _ = missing.anything
