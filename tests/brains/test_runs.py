from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from recorded import Recorded

from aekit.brains import runs
from aekit.brains.config import BrainConfig, BrainModelConfig, BrainTrainConfig, CohortConfig
from aekit.brains.members import read_ensemble
from aekit.brains.predict import run_predict
from aekit.brains.runs import _table_fingerprint, brain_run_name, fill_brain_defaults, run_training, train_brains
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.store import prepare_volumes
from aekit.core.checkpoint import read_header, resume_path
from aekit.core.durable import one_writer
from aekit.errors import AekitError, Stopped


class Stopping(Recorded):
    """Progress that asks to stop after it was asked so many times."""

    def __init__(self, n_steps):
        super().__init__()
        self.left = n_steps

    def should_stop(self):
        self.left -= 1
        return 2 if self.left < 0 else None


@pytest.fixture
def run(phantom_source, brain_config, monkeypatch, tmp_path):
    """Return a function that trains on phantoms into a path, without figures."""
    monkeypatch.setattr(runs, "write_figures", lambda *arguments: None)
    config = brain_config(size=(8, 8, 8), spacing_mm=24.0, cv=2, val=0.0, test=0.0, arch="deep", direct=True)

    def start(name, *, config=config, source=phantom_source, **options):
        path = tmp_path / f"{name}.safetensors"
        return train_brains(config, path, source=source, device="cpu", threads=1, **options)

    start.config, start.source = config, phantom_source
    return start


@pytest.mark.slow
def test_an_interrupted_run_continues_to_the_bytes_of_an_uninterrupted_one(run, tmp_path):
    whole = run("whole")
    with pytest.raises(Stopped):  # two batches a stage, and 200 for ages: in the chain of the first fold
        run("broken", progress=Stopping(2 + 200 + 1))
    unfinished = resume_path(tmp_path / "broken.safetensors")
    assert read_header(unfinished).members == [[0, 0, "volumes", "age"]]
    assert not (tmp_path / "broken.safetensors").exists()
    with pytest.raises(AekitError, match=r"broken\.resume\.safetensors: holds an unfinished run; .*--resume"):
        run("broken")
    progress = Recorded()
    finished = run("broken", resume=True, progress=progress)
    assert "continuing after 2 of 8 stages" in progress.notices
    assert finished.path.read_bytes() == whole.path.read_bytes()
    assert not unfinished.exists()
    for suffix in (".csv", ".metrics.csv", ".predictions.csv", ".differences.csv", ".left-out.csv"):
        assert finished.path.with_suffix(suffix).read_bytes() == whole.path.with_suffix(suffix).read_bytes()


def test_only_the_same_run_can_be_resumed(run, monkeypatch, tmp_path):
    with pytest.raises(Stopped):
        run("x", progress=Stopping(3))
    gather = runs.gather_people
    monkeypatch.setattr(runs, "gather_people", lambda *arguments, **options: pytest.fail("no scan should be read"))
    other = replace(run.config, train=replace(run.config.train, lr=0.1))
    with pytest.raises(AekitError, match=r"x\.resume\.safetensors: was trained with lr 0\.0003, not 0\.1"):
        run("x", config=other, resume=True)
    table = pd.read_csv(run.source.table, sep="\t")
    table.assign(age=table["age"] + 1).to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    older = replace(run.source, table=tmp_path / "participants.tsv")
    said = r"x\.resume\.safetensors: was trained on another version of the table"
    with pytest.raises(AekitError, match=said):
        run("x", source=older, resume=True)
    table.iloc[1:].to_csv(older.table, sep="\t", index=False)
    with pytest.raises(AekitError, match=said):
        run("x", source=older, resume=True)
    monkeypatch.setattr(runs, "gather_people", gather)
    table[table.columns[::-1]].assign(note="a column that no model sees").to_csv(older.table, sep="\t", index=False)
    with pytest.raises(Stopped):
        run("x", source=older, resume=True, progress=Stopping(1))
    cut = resume_path(tmp_path / "x.safetensors")
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(AekitError, match=r"x\.resume\.safetensors: is cut short"):
        run("x", resume=True)


@pytest.mark.slow
def test_a_finished_run_is_kept_with_resume_and_its_metrics_are_those_of_the_table(run):
    first = run("x")
    again = run("x", resume=True, progress=Stopping(0))
    assert again.path == first.path
    assert again.header == first.header
    np.testing.assert_allclose(again.metrics["mae"], first.metrics["mae"])
    assert list(again.metrics["model"]) == list(first.metrics["model"])


@pytest.mark.parametrize("option", [{"cv": "ward"}, {"test": "ward"}, {"group": "ward"}, {"controls": "ward=1"}])
def test_columns_of_splits_and_controls_are_part_of_the_table(cohort_of, brain_config, option):
    ids, ages = [f"p{number}" for number in range(6)], [30.0, 40, 50, 60, 70, 80]
    tables = [{"participant_id": ids, "age": ages, "ward": ward} for ward in ([1, 2] * 3, [1, 1, 1, 2, 2, 2])]
    prints = [_table_fingerprint(cohort_of(**table), brain_config(**option)) for table in tables]
    assert prints[0] != prints[1]
    unused = {_table_fingerprint(cohort_of(**table), brain_config()) for table in tables}
    assert len(unused) == 1


# --- names and defaults ---


def test_a_run_is_named_after_the_options_that_differ_from_the_defaults():
    assert brain_run_name(BrainConfig()) == "brain-participants-strided"
    config = BrainConfig(
        BrainModelConfig(arch="deep", target="proportion", direct=True),
        CohortConfig(name="ixi.csv", size=(40, 48, 44), cv=5, val=0.0, test=0.0),
        BrainTrainConfig(lr=0.01, augment=("flip", "noise")),
    )
    assert brain_run_name(config) == "brain-ixi-deep-targetproportion-direct-size40x48x44-cv5-lr0.01-augmentflipxnoise"


def test_defaults_follow_from_the_architecture_and_the_table(cohort_of):
    known = {"participant_id": ["a", "b"], "age": [30, 40]}
    with_volumes = cohort_of(**known, gmv=[700, 600], wmv=[500, 450], csfv=[200, 300])
    config = fill_brain_defaults(BrainConfig(BrainModelConfig(arch="deep")), with_volumes)
    assert (config.model.target, config.train.lr, config.train.epochs) == ("absolute", 3e-4, 10)
    given = BrainConfig(BrainModelConfig(target="proportion"), train=BrainTrainConfig(lr=0.1, epochs=3))
    assert fill_brain_defaults(given, with_volumes) == given
    without = cohort_of(**known)
    assert fill_brain_defaults(BrainConfig(BrainModelConfig(direct=True)), without).model.target is None
    with pytest.raises(AekitError, match=r"has no columns gmv, wmv and csfv, .*--direct"):
        fill_brain_defaults(BrainConfig(), without)


# --- results ---


def test_the_result_has_the_metrics_of_the_judged_split_and_a_table_shows_them(run, phantom_source, tmp_path):
    progress = Recorded()
    config = replace(run.config, data=replace(run.config.data, cv=0, val=0.15, test=0.2))
    result = run_training(config, phantom_source, tmp_path / "x.safetensors", "cpu", 1, progress=progress)
    assert result.path == tmp_path / "x.safetensors"
    assert result.values["split"] == "test"
    assert {row["split"] for row in result.values["metrics"]} == {"test"}
    titles = [title for title, _, _ in progress.tables]
    assert titles[0] == "x.safetensors: age_years, test, 8 participants"
    assert progress.tables[0][1] == ["model", "MAE years [95 %]", "R2", "skill"]
    assert progress.notices[0] == f"{tmp_path / 'x'}: 40 participants, train 26, val 6, test 8"


def test_a_second_process_may_not_write_the_same_output(run, tmp_path, monkeypatch):
    monkeypatch.setattr("aekit.core.durable.PATIENCE_SECONDS", 0.1)
    with one_writer(tmp_path / "x.safetensors"), pytest.raises(AekitError, match="is being written by"):
        run("x")


def test_overwrite_and_resume_exclude_each_other(run):
    with pytest.raises(AekitError, match="--overwrite, --resume"):
        run("x", overwrite=True, resume=True)


# --- aligned to a template ---


@pytest.mark.slow
def test_a_checkpoint_aligns_new_scans_to_the_template_of_its_training(run, phantom_source, tmp_path):
    aligned = replace(run.config, data=replace(run.config.data, register="rigid"))
    finished = run("x", config=aligned)
    ensemble, config, header = read_ensemble(finished.path, torch.device("cpu"))
    assert config.data.register == "rigid"
    assert header.result["poses"].keys() == {"correlation", "scale", "rotation_deg"}
    scans = sorted(phantom_source.folder.glob("*.nii.gz"))
    grid = Grid(config.data.size, config.data.spacing_mm)
    of_training = prepare_volumes(scans, grid, register="rigid", correct_bias=True, jobs=1)
    alone = prepare_volumes(scans[5:6], grid, register="rigid", template=ensemble.template, correct_bias=True)
    np.testing.assert_array_equal(alone.images[0], of_training.images[5])
    table = tmp_path / "new.csv"
    result = run_predict(finished.path, scans[:3], table, "cpu", 1)
    assert result.values["n"] == 3
    with pytest.raises(AekitError, match=r"x\.safetensors: was trained with register rigid, not none"):
        run("x", resume=True)


def test_a_run_is_named_after_how_its_scans_are_aligned():
    aligned = BrainConfig(data=CohortConfig(register="affine", template="mni_2mm.nii.gz"))
    assert brain_run_name(aligned) == "brain-participants-strided-registeraffine-templatemni_2mm"
