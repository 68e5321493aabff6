"""Runs that are in a folder under other names are those of a sweep, if their settings are."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from recorded import Recorded
from safetensors.numpy import save_file

from aekit.core.checkpoint import resume_path
from aekit.core.settings import to_dict
from aekit.images.run_defaults import fill_defaults
from aekit.images.run_settings import flat, run_name
from aekit.images.sweep.names import keep_names
from aekit.images.sweep.plan import plan_sweep

GIVEN = {"model": "vae", "data": "digits", "beta": "0.1,1,5", "latent": "2,4"}


def _write(path, config, *, is_finished=True):
    """Write what keeps the settings of a run, and no more."""
    parts = to_dict(fill_defaults(config, n_images=60, image_shape=(1, 8, 8)))
    parts["data"] |= {"shape": [1, 8, 8], "splits": {"train": {"n": 60, "fingerprint": "x"}}}
    parts["result"] = {"parameters": 1, "epoch": 1, "test": {}, "history": []}
    parts |= {} if is_finished else {"state": {"epoch": 1}}
    path.parent.mkdir(exist_ok=True)
    save_file({"x": np.zeros(1)}, path, {"aekit": json.dumps({"format": 1, "aekit": "0", **parts})})


def test_cells_of_an_earlier_version_keep_their_names_finished_or_not(tmp_path):
    plan = plan_sweep(GIVEN, tmp_path / "grid")
    old = [cell.path.with_name(f"{run_name(cell.config)}.safetensors") for cell in plan.cells]
    assert not {cell.path for cell in plan.cells} & set(old)
    for cell, path in zip(plan.cells[:3], old, strict=False):
        _write(path, cell.config)
    _write(resume_path(old[3]), plan.cells[3].config, is_finished=False)
    progress = Recorded()
    kept = keep_names(plan, progress)
    assert [cell.path for cell in kept.cells] == [*old[:4], *(cell.path for cell in plan.cells[4:])]
    assert [(cell.config, cell.label) for cell in kept.cells] == [(cell.config, cell.label) for cell in plan.cells]
    assert progress.notices == [
        f"{tmp_path / 'grid'}: 4 of 6 cells are there under other names, which they keep; the first is "
        "vae-digits-conv-z2-beta0.1.safetensors (beta 0.1, latent 2)"
    ]
    assert keep_names(kept) == kept


@pytest.mark.parametrize("order", list(itertools.permutations(["beta", "latent", "seed"])))
def test_options_in_another_order_and_more_values_find_what_is_there(tmp_path, order):
    values = {"beta": "0.1,1", "latent": "2,4", "seed": "0,1"}
    first = plan_sweep({"model": "vae", "data": "digits", **values}, tmp_path / "grid")
    for cell in first.cells:
        _write(cell.path, cell.config)
    values["beta"] = "5,1,0.1"
    again = keep_names(plan_sweep({"model": "vae", "data": "digits", **{n: values[n] for n in order}}, first.folder))
    by_settings = {str(flat(cell.config)): cell.path for cell in first.cells}
    there = [cell for cell in again.cells if str(flat(cell.config)) in by_settings]
    assert len(again.cells) == 12
    assert len(there) == 8
    assert all(cell.path == by_settings[str(flat(cell.config))] for cell in there)


def test_runs_of_other_settings_and_other_files_are_no_cells(tmp_path):
    plan = plan_sweep(GIVEN, tmp_path / "grid")
    others = plan_sweep({**GIVEN, "lr": "0.5", "weight_decay": "0.3"}, plan.folder)
    for cell in others.cells:
        _write(cell.path, cell.config)
    (plan.folder / "noise.safetensors").write_bytes(b"noise")
    save_file({"z": np.zeros(3)}, plan.folder / "codes.safetensors")
    progress = Recorded()
    assert keep_names(plan, progress) == plan
    assert progress.notices == []


def test_a_run_under_its_own_name_is_taken_before_one_under_another(tmp_path):
    plan = plan_sweep(GIVEN, tmp_path / "grid")
    for cell in plan.cells:
        _write(cell.path, cell.config)
        _write(cell.path.with_name(f"{run_name(cell.config)}-copy.safetensors"), cell.config)
    assert keep_names(plan) == plan
