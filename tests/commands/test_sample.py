"""``aekit sample`` decodes points of the latent space: from the prior, over a plane, along each dimension."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


def _parameters(path):
    with Image.open(path) as image:
        return json.loads(image.text["aekit"])["options"]


def test_a_seed_draws_the_same_samples_and_another_seed_others(aekit, vae_checkpoint, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        result = aekit("sample", vae_checkpoint, "-n", 20, "--seed", seed, "-o", tmp_path / f"{name}.png")
        assert result.exit_code == 0, result.stderr
    pixels = {name: Image.open(tmp_path / f"{name}.png").tobytes() for name in "abc"}
    assert pixels["a"] == pixels["b"] != pixels["c"]


def test_two_hundred_and_fifty_six_samples_are_the_default(aekit, vae_checkpoint):
    result = aekit("sample", vae_checkpoint)
    assert result.paths == [vae_checkpoint.with_name("vae.sample.png")]
    assert _parameters(result.paths[0]) == {"drawn_from": "the prior", "mode": "sample", "n": 256, "seed": 0}


def test_a_vae_needs_no_images_to_draw_samples(aekit, vae_checkpoint, tmp_path):
    options = ["-n", 9, "--data", tmp_path / "nowhere", "-o", tmp_path / "x.png"]
    assert aekit("sample", vae_checkpoint, *options).exit_code == 0
    assert aekit("sample", vae_checkpoint, *options, "--manifold").exit_code == 0
    assert aekit("sample", vae_checkpoint, *options, "--traverse").exit_code == 1


def test_an_autoencoder_reports_that_its_samples_come_from_a_fitted_gaussian(aekit, ae_checkpoint, tmp_path):
    result = aekit("sample", ae_checkpoint, "-n", 4, "-o", tmp_path / "x.png")
    assert "no prior; samples come from a Gaussian fitted to the training codes" in result.stderr
    assert _parameters(tmp_path / "x.png")["drawn_from"] == "a Gaussian fitted to the training codes"


def test_a_plane_covers_quantiles_of_the_prior_or_a_range(aekit, vae_checkpoint, tmp_path):
    (path,) = aekit("sample", vae_checkpoint, "--manifold", "-o", tmp_path).paths
    assert path.name == "vae.manifold.png"
    used = _parameters(path)
    assert used["n"] == 256
    assert used["range"][0] == pytest.approx([-1.8627, 1.8627], abs=1e-3)
    (path,) = aekit("sample", vae_checkpoint, "--manifold", "-n", 30, "--range", -10, 10, "-o", tmp_path).paths
    assert _parameters(path) == {
        "mode": "manifold", "n": 25, "over": "the given range", "range": [[-10, 10], [-10, 10]],
    }  # fmt: skip


def test_the_plane_of_an_autoencoder_is_the_range_of_its_codes(aekit, tmp_path):
    path = tmp_path / "ae2.safetensors"
    aekit("train-ae", "--data", "digits", "--limit", 50, "--epochs", 1, "--latent", 2, "-o", path, "-q")
    result = aekit("sample", path, "--manifold")
    assert result.exit_code == 0, result.stderr
    assert _parameters(result.paths[0])["over"] == "the range of the training codes"


def test_a_plane_needs_two_dimensions(aekit, ae_checkpoint):
    result = aekit("sample", ae_checkpoint, "--manifold")
    assert result.exit_code == 1
    assert "has 3 latent dimensions, not 2; use --traverse" in result.stderr


def test_a_traversal_starts_at_the_mean_of_the_prior_or_at_an_image(aekit, vae_checkpoint, tmp_path):
    (path,) = aekit("sample", vae_checkpoint, "--traverse", "-o", tmp_path / "a.png").paths
    used = _parameters(path)
    assert used["around"] == "the prior's mean"
    assert used["values"][0] == -3
    assert len(used["values"]) == 11
    result = aekit("sample", vae_checkpoint, "--traverse", "--around", 7, "-n", 5, "-o", tmp_path / "b.png")
    assert result.exit_code == 0, result.stderr
    assert _parameters(tmp_path / "b.png")["around"] == "test image 7"
    result = aekit("sample", vae_checkpoint, "--traverse", "--around", 300)
    assert result.exit_code == 1
    assert "there are 300 test images" in result.stderr


def test_the_traversal_of_an_autoencoder_counts_standard_deviations(aekit, ae_checkpoint, tmp_path):
    result = aekit("sample", ae_checkpoint, "--traverse", "-o", tmp_path / "x.png")
    assert result.exit_code == 0
    assert "steps are standard deviations of its codes" in result.stderr


@pytest.mark.parametrize(
    "options",
    [["--manifold", "--traverse"], ["--around", 1], ["--range", 0, 1], ["--traverse", "--range", 2, 1], ["-n", 0]],
)
def test_options_that_do_not_go_together_are_a_usage_error(aekit, vae_checkpoint, options):
    result = aekit("sample", vae_checkpoint, *options)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.fixture(scope="module")
def conditional(aekit, tmp_path_factory):
    path = tmp_path_factory.mktemp("conditional") / "by-class.safetensors"
    options = ["--data", "digits", "--arch", "dense", "--width", 32, "--latent", 2, "--epochs", 10, "-q"]
    assert aekit("train-vae", *options, "--condition", "label", "-o", path).exit_code == 0
    return path


def test_a_conditional_model_has_a_row_per_class_and_an_accuracy(aekit, conditional, tmp_path):
    result = aekit("sample", conditional, "-n", 95, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert "--images 95: is not a multiple of the 10 classes; 100 are as many of each class, 10" in result.stderr
    assert "classifier's accuracy on test images" in " ".join(result.stderr.split())
    table = pd.read_csv(tmp_path / "x.csv", dtype={"class": str})
    assert table["class"].tolist() == list("0123456789")
    assert table["n"].tolist() == [10] * 10  # as many of each, at least 95
    used = _parameters(tmp_path / "x.png")
    assert used["class_accuracy"] == pytest.approx(table["accuracy"].mean())
    assert used["class_accuracy"] > 0.9
    assert used["real_accuracy"] > 0.95
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"] + 1e-9)).all()
    aekit("sample", conditional, "-n", 4, "--label", "8,3", "-o", tmp_path / "y.png")
    assert pd.read_csv(tmp_path / "y.csv", dtype={"class": str})["class"].tolist() == ["3", "8"]


@pytest.mark.parametrize(("n", "shown"), [(100, "100 samples"), (500, "160 of 500 samples")])
def test_the_title_says_how_many_of_the_samples_are_shown(conditional, n, shown):
    from aekit.images.evaluation.class_samples import sample_classes
    from aekit.images.session import open_session

    session = open_session(conditional)
    found = sample_classes(session, next(session.checkpoints()), n, None, seed=0)
    texts = [text.get_text() for text in found.figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any(f": {shown} from the prior" in " ".join(text.split()) for text in texts)
    assert len(found.samples.images) == n


def test_without_its_images_a_conditional_model_draws_and_says_that_nothing_is_measured(aekit, conditional, tmp_path):
    result = aekit("sample", conditional, "-n", 20, "--data", tmp_path / "nowhere", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert "the class accuracy of its samples needs its images" in result.stderr
    assert "class_accuracy" not in _parameters(tmp_path / "x.png")
    assert not (tmp_path / "x.csv").exists()


def test_what_needs_one_class_asks_for_it_by_name(aekit, conditional, vae_checkpoint, tmp_path):
    for words in (["sample", "--traverse"], ["sample", "--manifold"], ["interpolate", "--prior", 2]):
        refused = aekit(words[0], conditional, *words[1:], "-o", tmp_path / "x.png")
        assert (refused.exit_code, "decodes a code as a class; add --label with one" in refused.stderr) == (1, True)
        done = aekit(words[0], conditional, *words[1:], "--label", 7, "-o", tmp_path / "x.png")
        assert done.exit_code == 0, done.stderr
    around = aekit("sample", conditional, "--traverse", "--around", 3, "-o", tmp_path / "x.png")
    assert around.exit_code == 0, around.stderr
    assert len(_parameters(tmp_path / "x.png")["label"]) == 1
    for command in ("sample", "interpolate"):
        refused = aekit(command, vae_checkpoint, "--label", 7, "-o", tmp_path / "x.png")
        assert "was not trained with --condition label; leave it out" in refused.stderr


def test_studies_of_a_conditional_model_refuse_images_without_classes(aekit, conditional, tmp_path):
    np.save(tmp_path / "plain.npy", np.random.default_rng(0).integers(0, 255, (30, 8, 8), dtype=np.uint8))
    for command in ("encode", "evaluate", "reconstruct", "decorrelation"):
        refused = aekit(command, conditional, "--data", tmp_path / "plain.npy", "-o", tmp_path / "out")
        assert refused.exit_code == 1
        assert "is told the class of each image" in refused.stderr
    assert "a probe for it measures nothing" in aekit("probe", conditional).stderr


def test_paths_are_decoded_as_each_class_that_is_named_or_as_that_of_the_first_image(aekit, conditional, tmp_path):
    path = tmp_path / "x.png"
    assert aekit("interpolate", conditional, "--pairs", "4-7", "--draws", 2, "-o", path).exit_code == 0
    assert set(pd.read_csv(path.with_suffix(".csv"))["class"]) == {4}
    options = ["--prior", 2, "--draws", 2, "--label", "1,7", "-o", path]
    result = aekit("interpolate", conditional, *options)
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(path.with_suffix(".csv"))
    assert table["class"].value_counts().to_dict() == {1: 22, 7: 22}
    assert "class 7" in result.stderr
    lengths = table.pivot_table(index=["draw", "step"], columns="class", values="step_length").dropna()
    assert (lengths[1] - lengths[7]).abs().max() > 1e-4  # the same codes, other images
