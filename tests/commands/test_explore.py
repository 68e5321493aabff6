"""``aekit explore`` writes one page of one or several models, and what it cannot show is one line."""

from __future__ import annotations

import html
import json
import re

import pytest


def _facts(path):
    return json.loads(re.search(r'id="facts">(.*?)</script>', path.read_text(), re.DOTALL)[1])


def test_the_page_is_next_to_the_checkpoint_and_its_path_is_printed(aekit, vae_checkpoint):
    result = aekit("explore", vae_checkpoint, "--points", 40, "--json")
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    path = vae_checkpoint.with_name("vae.explore.html")
    assert printed["path"] == str(path)
    assert printed["bytes"] == path.stat().st_size
    assert printed["n"] == 40
    assert printed["checkpoints"][0]["map"] == "plane"
    assert "shows 40 of 300 images, drawn (--points, --seed)" in result.stderr
    meta = json.loads(html.unescape(re.search(r'<meta name="aekit" content="(.*?)">', path.read_text())[1]))
    assert meta["command"] == "explore"
    assert meta["options"]["n_points"] == 40


def test_several_models_are_on_one_page(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    path = tmp_path / "both.html"
    result = aekit("explore", "-", "-n", 30, "-o", path, stdin=f"{vae_checkpoint}\n{ae_checkpoint}\n")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [path]
    models = _facts(path)["models"]
    assert [model["name"] for model in models] == ["vae.safetensors", "ae.safetensors"]
    assert [model["map_kind"] for model in models] == ["plane", "tsne"]
    assert "factor" in models[1]["numbers"]
    assert "prior_mean" in models[0]["numbers"]


def test_images_without_labels_and_larger_ones_have_a_page(aekit, tmp_path):
    options = ("--limit", 60, "--image-size", 56, "--epochs", 1, "--threads", 1)
    assert aekit("train-ae", "--data", "shapes-colour", *options, "-o", tmp_path / "x.safetensors").exit_code == 0
    result = aekit("explore", tmp_path / "x.safetensors")
    assert result.exit_code == 0, result.stderr
    assert "are reduced to 48 pixels; the models decode full ones" in result.stderr
    facts = _facts(tmp_path / "x.explore.html")
    assert facts["image"] == {"channels": 3, "height": 56, "width": 56}
    assert facts["thumb"] == {"height": 48, "width": 48}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "x.png"), "cannot be written as .png; use .html"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(aekit, vae_checkpoint, options, message):
    result = aekit("explore", vae_checkpoint, *options)
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]
    assert result.stdout == ""
