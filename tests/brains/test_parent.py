from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded import Recorded

from aekit.brains import runs
from aekit.brains.config import Source
from aekit.brains.hypotheses import run_hypotheses
from aekit.brains.members import Ensemble, read_ensemble
from aekit.brains.parent import Parent, check_ages
from aekit.brains.runs import brain_run_name, train_brains
from aekit.brains.training import build_network, fit_normalisation, train_stage
from aekit.core.checkpoint import Header, resume_path
from aekit.errors import AekitError, UsageError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def others(aekit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("others") / "cohort"
    result = aekit("mri-phantom", "-n", 30, "--size", 16, "--seed", 7, "--jobs", 1, "-o", folder)
    assert result.exit_code == 0, result.stderr
    return Source(folder / "participants.tsv", folder / "volumes")


@pytest.fixture
def config(brain_config):
    return brain_config(size=(8, 8, 8), spacing_mm=24.0, correct_bias=False, direct=True)


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Return a function that trains into a path without figures."""
    monkeypatch.setattr(runs, "write_figures", lambda *arguments: None)

    def start(name, config, source, **options):
        path = tmp_path / f"{name}.safetensors"
        return train_brains(config, path, source=source, device="cpu", threads=1, **options)

    return start


def beginning_with(config, init, **model):
    return replace(config, train=replace(config.train, init=str(init)), model=replace(config.model, **model))


@pytest.mark.slow
def test_a_run_begins_with_the_networks_and_the_normalisation_of_another(
    train, config, phantom_source, others, monkeypatch
):
    parent = train("parent", config, phantom_source)
    started = {}

    def remember(network, stage, member, setup):
        started[stage] = {name: value.clone() for name, value in network.state_dict().items()}
        return train_stage(network, stage, member, setup)

    monkeypatch.setattr("aekit.brains.members.train_stage", remember)
    own, progress = beginning_with(config, parent.path), Recorded()
    child = train("child", own, others, progress=progress)
    before, after = (read_ensemble(run.path, CPU)[0].networks[0, 0] for run in (parent, child))
    for stage in ("volumes", "age", "direct"):
        for name, value in before[stage].state_dict().items():
            assert torch.equal(started[stage][name], value)
    assert torch.equal(after["direct"].age.mean, before["direct"].age.mean)
    assert not torch.equal(after["direct"].net.head.weight, before["direct"].net.head.weight)
    assert any(text.startswith(f"beginning with the networks of {parent.path}") for text in progress.notices)
    own_name = {"name": "parent.safetensors", "sha256": parent.header.sha256, "epoch": 1}
    assert child.header.lineage == [{**own_name, "data": "participants.tsv"}]
    assert child.header.train["lr"] == pytest.approx(parent.header.train["lr"] / 3)
    assert "init" not in parent.header.train
    assert train("child", own, others, resume=True).header == child.header
    with pytest.raises(AekitError, match="was trained on these scans, so that no participant would be new to it"):
        train("same", own, phantom_source)
    with pytest.raises(AekitError, match=r"was trained with arch strided, not base; add --arch strided$"):
        train("arch", beginning_with(config, parent.path, arch="base"), others)
    with pytest.raises(AekitError, match=r"histogram True, not False; add --histogram$"):
        train("histogram", beginning_with(config, parent.path, histogram=False), others)
    spacing = replace(own, data=replace(own.data, spacing_mm=12.0, correct_bias=True))
    with pytest.raises(AekitError, match=r"spacing_mm 24, not 12, .*; add --spacing 24 --no-correct-bias$"):
        train("spacing", spacing, others)
    train("parent", replace(config, train=replace(config.train, seed=1)), phantom_source, overwrite=True)
    with pytest.raises(AekitError, match=r"child\.safetensors: began with another parent\.safetensors"):
        train("child", own, others, resume=True)


def test_what_cannot_be_a_parent_is_refused_by_name(train, config, others, vae_checkpoint, tmp_path):
    with pytest.raises(AekitError, match=r"--init .*gone\.safetensors: cannot be read"):
        train("x", beginning_with(config, tmp_path / "gone.safetensors"), others)
    with pytest.raises(AekitError, match=r"--init .*vae\.safetensors: holds an autoencoder"):
        train("x", beginning_with(config, vae_checkpoint), others)
    assert not resume_path(tmp_path / "x.safetensors").exists()
    with pytest.raises(UsageError, match="--init: not with --hypotheses"):
        next(run_hypotheses(beginning_with(config, vae_checkpoint), others))


def test_ages_beyond_the_bins_of_a_parent_are_refused_by_name(toy, brain_config):
    config = brain_config(arch="sfcn", target=None, direct=True)
    data = toy()
    network = build_network("direct", config, fit_normalisation(data, np.arange(24), log_age=False), 12)
    parent = Parent(Path("old.safetensors"), Ensemble({(0, 0): {"direct": network}}), Header({}, {}, {}))
    ages, ids = data.age_years.numpy().astype(float), [f"sub-{n}" for n in range(24)]
    check_ages(parent, ids, ages)
    highest = network.labelled_years()[1]
    assert ages.max() < highest < 120
    ages[3] = highest - 0.01
    check_ages(parent, ids, ages)
    ages[3] = ages[7] = highest + 0.01
    with pytest.raises(
        AekitError, match=r"^--init old\.safetensors: its bins hold ages from .* but sub-3 is .*, and 1 more .*; leave"
    ):
        check_ages(parent, ids, ages)
    strided = build_network(
        "direct", brain_config(direct=True), fit_normalisation(data, np.arange(24), log_age=False), 12
    )
    check_ages(replace(parent, ensemble=Ensemble({(0, 0): {"direct": strided}})), ids, ages)


def test_the_name_of_a_run_has_that_of_its_parent_and_others_are_as_before(config):
    plain = brain_run_name(config)
    assert "init" not in plain
    assert brain_run_name(beginning_with(config, "runs/ixi.safetensors")) == f"{plain}-initixi"


@pytest.mark.slow
def test_scans_are_aligned_to_the_template_of_the_parent(train, config, phantom_source, others, tmp_path):
    aligned = replace(config, data=replace(config.data, register="rigid"))
    train("parent", aligned, phantom_source)
    init = tmp_path / "parent.safetensors"
    train("child", beginning_with(aligned, init), others)
    parent, child = (read_ensemble(tmp_path / f"{name}.safetensors", CPU)[0] for name in ("parent", "child"))
    assert child.template.digest == parent.template.digest
    train("alone", aligned, others)
    assert read_ensemble(tmp_path / "alone.safetensors", CPU)[0].template.digest != parent.template.digest
    with pytest.raises(
        AekitError, match=r"^--init .*: was trained with register rigid, not none; add --register rigid"
    ):
        train("other", beginning_with(config, init), others)
