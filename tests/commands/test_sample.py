"""``aekit sample`` decodes points of the latent space: from the prior, over a plane, along each dimension."""

from __future__ import annotations

import json

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
