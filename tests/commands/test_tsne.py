"""``aekit tsne`` writes a figure, a table and a page of one or several models, and what it cannot map is one line."""

from __future__ import annotations

import html
import json
import re

import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint

FILES = (".png", ".csv", ".html")


def _parameters(path):
    with Image.open(path) as image:
        return json.loads(image.text["aekit"])


def _damaged(checkpoint, path, change):
    """Return a copy of a checkpoint whose weights were changed."""
    tensors = load_file(checkpoint)
    changed = {name: change(name, tensor) for name, tensor in tensors.items()}
    return write_checkpoint(path, changed, read_header(checkpoint))


@pytest.fixture(scope="module")
def mapped(aekit, ae_checkpoint, tmp_path_factory):
    """Return the result of a run over 300 test digits, and its figure."""
    path = tmp_path_factory.mktemp("tsne") / "map.png"
    result = aekit("tsne", ae_checkpoint, "--perplexity", 20, "-o", path, "--json")
    assert result.exit_code == 0, result.stderr
    return result, path


def test_a_figure_a_table_and_a_page_share_their_stem(mapped):
    result, path = mapped
    assert all(path.with_suffix(suffix).stat().st_size > 1000 for suffix in FILES)
    printed = json.loads(result.stdout)
    assert printed["path"] == str(path)
    assert printed["page"] == str(path.with_suffix(".html"))
    assert printed["n"] == 300
    meta = re.search(r'<meta name="aekit" content="(.*?)">', path.with_suffix(".html").read_text())[1]
    assert json.loads(html.unescape(meta)) == _parameters(path)
    assert _parameters(path)["options"]["perplexity"] == 20


def test_the_worst_outliers_are_named(aekit, ae_checkpoint, tmp_path):
    result = aekit("tsne", ae_checkpoint, "--method", "pca", "-o", tmp_path / "x.png")
    table = pd.read_csv(tmp_path / "x.csv").set_index("index")
    named = re.findall(r"(\d+) \((\d), digits.csv.gz\[\d+\]\)", result.stderr.partition("as index (label, file)")[2])
    assert len(named) == 10
    assert all(str(table.loc[int(index), "label"]) == label for index, label in named)
    worst = table["outlier"].nlargest(10).min()
    assert all(table.loc[int(index), "outlier"] >= worst for index, _ in named)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(aekit, vae_checkpoint, tmp_path):
    for name in "ab":
        assert aekit("tsne", vae_checkpoint, "--limit", 80, "--seed", 3, "-o", tmp_path / f"{name}.png").exit_code == 0
    for suffix in FILES:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes(), suffix


@pytest.mark.slow
def test_several_checkpoints_share_figure_table_and_page(aekit, vae_checkpoint, ae_checkpoint, tmp_path):
    stdin = f"{vae_checkpoint}\n{ae_checkpoint}\n"
    result = aekit("tsne", "-", "--limit", 60, "--split", "test", "-o", tmp_path / "both.png", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "both.png"]
    table = pd.read_csv(tmp_path / "both.csv")
    assert table.groupby("checkpoint", sort=False).size().to_dict() == {vae_checkpoint.name: 60, ae_checkpoint.name: 60}
    assert table["kind"].unique().tolist() == ["vae", "ae"]
    both = [part["index"].tolist() for _, part in table.groupby("checkpoint")]
    assert both[0] == both[1]
    assert set(_parameters(tmp_path / "both.png")["checkpoints"]) == {vae_checkpoint.name, ae_checkpoint.name}
    assert "vae" in (tmp_path / "both.html").read_text().partition('id="plots"')[2]


def test_too_few_images_are_refused(aekit, vae_checkpoint, tmp_path):
    result = aekit("tsne", vae_checkpoint, "--limit", 5, "-o", tmp_path / "y.png")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "aekit: --limit: 5 images are too few for a map; use at least 6"
    assert not (tmp_path / "y.png").exists()


def test_codes_that_are_not_finite_or_all_the_same_are_refused(aekit, ae_checkpoint, tmp_path):
    broken = _damaged(ae_checkpoint, tmp_path / "nan.safetensors", lambda name, tensor: tensor * float("nan"))
    result = aekit("tsne", broken)
    assert result.exit_code == 1
    assert "its weights are not finite (decoder.0.bias); train it again" in result.stderr
    dead = _damaged(ae_checkpoint, tmp_path / "dead.safetensors", lambda name, tensor: tensor * 0)
    result = aekit("tsne", dead)
    assert result.exit_code == 1
    assert "the codes of all images are the same, so there is nothing to map" in result.stderr


@pytest.mark.parametrize(
    "options",
    [["--perplexity", 0.5], ["--perplexity", "nan"], ["--limit", 0], ["-k", 0], ["-k", 501], ["--method", "umap"]],
)
def test_values_out_of_range_are_a_usage_error(aekit, vae_checkpoint, options):
    result = aekit("tsne", vae_checkpoint, *options)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.real_data
def test_a_map_of_real_digits_keeps_neighbours_and_classes(aekit, tmp_path):
    path = tmp_path / "vae.safetensors"
    trained = aekit("train-ae", "--epochs", 1, "--limit", 6000, "--latent", 10, "-o", path, "-q")
    assert trained.exit_code == 0, trained.stderr
    result = aekit("tsne", path, "--limit", 2000, "--json", "-q")
    (measures,) = json.loads(result.stdout)["checkpoints"]
    assert measures["trustworthiness"] > 0.97
    assert measures["knn_accuracy_map"] > measures["knn_accuracy_codes"] - 0.03
    assert measures["knn_accuracy_map"] > 0.6  # after a single epoch; chance is 0.1
