"""Measures go by one name on the command line, in the code that computes them, in figures and in tables."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import get_args

import numpy as np
import pytest

from aekit.commands.decorrelation import decorrelation
from aekit.images.decorrelation.correlation import measure_codes
from aekit.images.decorrelation.request import LABELS, DecorrelationRequest, Measure
from aekit.images.decorrelation.tables import _values


def test_every_measure_is_computed_and_has_a_label():
    found = measure_codes(np.random.default_rng(0).standard_normal((20, 3)), n_resamples=2, n_rotations=1)
    assert set(found.values) == set(LABELS) == set(get_args(Measure))
    assert len(set(LABELS.values())) == len(LABELS)


@pytest.mark.parametrize("measure", get_args(Measure))
def test_the_figure_shows_the_column_of_the_measure_that_was_asked_for(measure):
    found = measure_codes(np.random.default_rng(0).standard_normal((20, 3)), n_resamples=2, n_rotations=1)
    column = DecorrelationRequest(measure=measure).column
    assert column.isidentifier()
    assert _values(found)[column] == found.values[measure].value


def test_the_defaults_are_those_of_the_command():
    parameters = inspect.signature(decorrelation).parameters
    given = {"n" if name == "images" else name: value for name, value in asdict(DecorrelationRequest()).items()}
    assert {name: parameters[name].default for name in given} == given
