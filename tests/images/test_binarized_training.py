"""Training on pixels that are drawn black or white: what is recorded, repeated, continued and said."""

import json

import numpy as np
import pandas as pd
import pytest

from aekit.core.checkpoint import read_header
from aekit.errors import UsageError
from aekit.images import training
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.images.runs import Machine, train_run

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

QUICK = ("--data", "digits", "--limit", 120, "--epochs", 2, "--latent", 2, "--threads", 1)


@pytest.fixture(scope="module")
def trained(aekit, tmp_path_factory):
    """Return a function that trains once per kind of draw and returns the checkpoint."""
    folder, known = tmp_path_factory.mktemp("binarized"), {}

    def train(kind, command="train-vae"):
        if (kind, command) not in known:
            path = folder / f"{command}-{kind}.safetensors"
            result = aekit(command, *QUICK, "--binarize", kind, "-o", path)
            assert result.exit_code == 0, result.stderr
            known[kind, command] = path
        return known[kind, command]

    return train


def evaluated(aekit, path, tmp_path, *options):
    result = aekit("evaluate", path, *options, "-o", tmp_path / "e.json")
    assert result.exit_code == 0, result.stderr
    return json.loads((tmp_path / "e.json").read_text())


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_an_evaluation_repeats_the_numbers_that_training_ended_with_and_bounds_log_p(aekit, trained, kind, tmp_path):
    path = trained(kind)
    assert read_header(path).data["binarize"] == kind
    found = evaluated(aekit, path, tmp_path, "--importance", 5)
    last = pd.read_csv(path.with_suffix(".csv")).iloc[-1]
    assert found["total"] == pytest.approx(last["total"], rel=1e-5)
    assert found["log_p_normalised"]
    assert found["importance"] == 5
    assert 1 <= found["effective_samples"] <= 5
    assert found["log_p"] > -found["total"] - 0.5


def test_dynamic_pixels_differ_by_seed_and_fixed_ones_do_not(aekit, trained, tmp_path):
    drawn = {}
    for kind in ("dynamic", "fixed"):
        drawn[kind] = []
        for seed in (1, 2):
            folder = tmp_path / f"{kind}{seed}"
            folder.mkdir()
            drawn[kind].append(evaluated(aekit, trained(kind), folder, "--seed", seed)["mse"])
    assert drawn["dynamic"][0] != drawn["dynamic"][1]
    assert drawn["fixed"][0] == drawn["fixed"][1]


def test_grey_training_has_the_header_of_old_files(aekit, tmp_path):
    result = aekit("train-vae", *QUICK, "-o", tmp_path / "x.safetensors")
    assert "binarize" not in read_header(result.paths[0]).data


def test_the_same_seed_draws_the_same_and_a_stopped_run_goes_on_as_if_it_had_not(aekit, trained, tmp_path, monkeypatch):
    config = RunConfig(
        ModelConfig(latent=2), DataConfig("digits", limit=120, binarize="dynamic"), TrainConfig(epochs=2)
    )
    again = tmp_path / "again.safetensors"
    assert aekit("train-vae", *QUICK, "--binarize", "dynamic", "-o", again).exit_code == 0
    assert again.read_bytes() == trained("dynamic").read_bytes()
    end_epoch = training._end_epoch

    def stop_after_the_first(run, state, save, *, sizes):
        rows = end_epoch(run, state, save, sizes=sizes)
        raise KeyboardInterrupt if state.epoch == 1 else AssertionError(rows)

    stopped = tmp_path / "stopped.safetensors"
    with monkeypatch.context() as patched:
        patched.setattr(training, "_end_epoch", stop_after_the_first)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, stopped, Machine(tmp_path, "cpu", 1), overwrite=False, resume=False)
    assert aekit("train-vae", *QUICK, "--binarize", "dynamic", "-o", stopped, "--resume").exit_code == 0
    assert stopped.read_bytes() == trained("dynamic").read_bytes()


def test_codes_are_of_grey_images_unless_asked_and_that_is_said(aekit, trained, tmp_path):
    path = trained("fixed")
    grey = aekit("encode", path, "-o", tmp_path / "grey.csv")
    assert f"{path}: trained with --binarize fixed; the codes here are of grey images" in grey.stderr
    drawn = aekit("encode", path, "--binarize", "-o", tmp_path / "drawn.csv")
    assert "grey" not in drawn.stderr
    one, other = pd.read_csv(tmp_path / "grey.csv"), pd.read_csv(tmp_path / "drawn.csv")
    assert not np.allclose(one["z0"], other["z0"])


def test_what_makes_no_sense_is_refused(aekit, ae_checkpoint, tmp_path):
    for loss in ("gaussian", "continuous-bernoulli", "mse"):
        with pytest.raises(UsageError, match="--binarize: fixed"):
            RunConfig(ModelConfig(kind="ae", loss=loss), DataConfig(binarize="fixed"))
    result = aekit("encode", ae_checkpoint, "--binarize", "-o", tmp_path / "x.csv")
    assert result.exit_code == 1
    assert "was trained on grey images" in result.stderr
    assert aekit("train-vae", *QUICK, "--binarize", "static").exit_code == 2


def test_a_finished_run_is_not_taken_for_one_of_other_pixels(aekit, trained):
    result = aekit("train-vae", *QUICK, "--binarize", "fixed", "-o", trained("dynamic"), "--resume")
    assert result.exit_code == 1
    assert "binarize" in result.stderr


def test_all_models_whose_codes_are_of_other_pixels_are_named(aekit, trained, vae_checkpoint, tmp_path):
    fixed, dynamic = trained("fixed"), trained("dynamic")
    result = aekit("encode", vae_checkpoint, fixed, dynamic, "-o", tmp_path)
    for kind, path in (("fixed", fixed), ("dynamic", dynamic)):
        assert f"{path}: trained with --binarize {kind}; the codes here are of grey images" in result.stderr
    refused = aekit("encode", vae_checkpoint, fixed, "--binarize", "-o", tmp_path)
    assert f"--binarize: {vae_checkpoint} was trained on grey images; leave it out, or study them" in refused.stderr
