"""``aekit tsne`` maps codes: picture, table and page, for labelled and unlabelled images, one model or several."""

from __future__ import annotations

import html
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from aekit.commands import tsne as command
from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint
from aekit.images.tsne import embedding

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


def test_a_picture_a_table_and_a_page_share_their_stem(mapped):
    result, path = mapped
    assert all(path.with_suffix(suffix).stat().st_size > 1000 for suffix in FILES)
    said = json.loads(result.stdout)
    assert said["path"] == str(path)
    assert said["page"] == str(path.with_suffix(".html"))
    assert said["n"] == 300
    meta = re.search(r'<meta name="aekit" content="(.*?)">', path.with_suffix(".html").read_text())[1]
    assert json.loads(html.unescape(meta)) == _parameters(path)
    assert _parameters(path)["options"]["perplexity"] == 20


def test_the_table_says_for_each_image_where_it_lies_and_how_many_neighbours_have_another_label(
    aekit, ae_checkpoint, mapped, tmp_path
):
    result, path = mapped
    table = pd.read_csv(path.with_suffix(".csv"))
    assert list(table)[:6] == ["checkpoint", "index", "label", "x", "y", "outlier"]
    assert table["index"].tolist() == list(range(300))
    aekit("encode", ae_checkpoint, "-o", tmp_path / "codes.csv")
    codes = pd.read_csv(tmp_path / "codes.csv")
    assert table["label"].tolist() == codes["label"].tolist()
    z, labels = codes[["z0", "z1", "z2"]].to_numpy(), codes["label"].to_numpy()
    distance = np.linalg.norm(z[:, None] - z[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :5]
    expected = (labels[nearest] != labels[:, None]).mean(axis=1)
    assert (np.abs(table["outlier"] - expected) < 1e-9).mean() > 0.99  # codes are rounded in the file
    (measures,) = json.loads(result.stdout)["checkpoints"]
    votes = np.array([np.bincount(labels[row], minlength=10).argmax() for row in nearest])
    assert measures["knn_accuracy_codes"] == pytest.approx((votes == labels).mean(), abs=0.01)
    assert measures["trustworthiness"] > 0.97


def test_the_worst_outliers_are_named(aekit, ae_checkpoint, tmp_path):
    result = aekit("tsne", ae_checkpoint, "--method", "pca", "-o", tmp_path / "x.png")
    table = pd.read_csv(tmp_path / "x.csv").set_index("index")
    named = re.findall(r"(\d+) \((\d)\)", result.stderr.partition("surrounded by other classes")[2])
    assert len(named) == 10
    assert all(str(table.loc[int(index), "label"]) == label for index, label in named)
    worst = table["outlier"].nlargest(10).min()
    assert all(table.loc[int(index), "outlier"] >= worst for index, _ in named)


def test_the_same_seed_gives_the_same_files(aekit, vae_checkpoint, tmp_path):
    for name in "ab":
        assert aekit("tsne", vae_checkpoint, "--limit", 80, "--seed", 3, "-o", tmp_path / f"{name}.png").exit_code == 0
    for suffix in FILES:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes(), suffix


def test_a_limit_draws_images_by_the_seed_and_keeps_their_index(aekit, vae_checkpoint, tmp_path):
    drawn = []
    for seed in (0, 1):
        options = ["--method", "pca", "--limit", 50, "--seed", seed, "-o", tmp_path / "x.png"]
        result = aekit("tsne", vae_checkpoint, *options)
        assert f"--limit: 50 of 300 test images, drawn with seed {seed}" in result.stderr
        drawn.append(pd.read_csv(tmp_path / "x.csv"))
        assert len(set(drawn[-1]["index"])) == 50
    assert set(drawn[0]["index"]) != set(drawn[1]["index"])
    # Labels belong to the index in the whole split.
    every = aekit("encode", vae_checkpoint, "-o", tmp_path / "codes.csv")
    assert every.exit_code == 0
    labels = pd.read_csv(tmp_path / "codes.csv")["label"]
    assert (drawn[0]["label"].to_numpy() == labels[drawn[0]["index"]].to_numpy()).all()


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


def test_principal_components_do_without_t_sne(aekit, ae_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)  # so that importing it fails; it would cost seconds
    result = aekit("tsne", ae_checkpoint, "--method", "pca", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    aekit("encode", ae_checkpoint, "-o", tmp_path / "codes.csv")
    z = pd.read_csv(tmp_path / "codes.csv")[["z0", "z1", "z2"]].to_numpy()
    singular = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)
    table = pd.read_csv(tmp_path / "x.csv")
    assert np.linalg.norm(table["x"]) == pytest.approx(singular[0], rel=1e-4)
    assert np.linalg.norm(table["y"]) == pytest.approx(singular[1], rel=1e-4)


def test_of_too_many_images_some_are_optimised_and_the_others_placed_among_them(
    aekit, ae_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(embedding, "MAX_OPTIMISED", 200)
    monkeypatch.setattr(embedding, "MAX_JUDGED", 150)
    options = ["--split", "test", "--perplexity", 15, "--json", "--seed", 1]
    for name in "ab":
        result = aekit("tsne", ae_checkpoint, *options, "-o", tmp_path / f"{name}.png")
        assert result.exit_code == 0, result.stderr
    assert "t-SNE: 200 of 300 codes, drawn with seed 1, were optimised" in result.stderr
    assert "measures rest on 150 points" in result.stderr
    for suffix in FILES:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes(), suffix
    said = json.loads(result.stdout)
    assert {key: said[key] for key in ("n", "optimised", "placed", "among", "judged", "on_page")} == {
        "n": 300, "optimised": 200, "placed": 100, "among": 200, "judged": 150, "on_page": 300,
    }  # fmt: skip
    assert _parameters(tmp_path / "a.png")["placed"] == 100
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["placed"].sum() == 100
    assert table[["x", "y", "outlier"]].notna().all(axis=None)
    # Whoever is placed gets its label from those optimised nearly as often in the map as by the codes.
    aekit("encode", ae_checkpoint, "-o", tmp_path / "codes.csv")
    codes, placed = pd.read_csv(tmp_path / "codes.csv"), table["placed"].to_numpy()
    accuracy = []
    for places in (codes[["z0", "z1", "z2"]].to_numpy(), table[["x", "y"]].to_numpy()):
        classifier = KNeighborsClassifier(5).fit(places[~placed], table["label"][~placed])
        accuracy.append(classifier.score(places[placed], table["label"][placed]))
    assert accuracy[1] > accuracy[0] - 0.1
    distance = np.linalg.norm(
        codes[["z0", "z1", "z2"]].to_numpy()[:, None] - codes[["z0", "z1", "z2"]].to_numpy(), axis=2
    )
    np.fill_diagonal(distance, np.inf)
    nearest = np.flatnonzero(~placed)[np.argsort(distance[:, ~placed], axis=1)[:, :5]]
    labels = table["label"].to_numpy()
    expected = (labels[nearest] != labels[:, None]).mean(axis=1)
    assert (np.abs(table["outlier"] - expected) < 1e-9).mean() > 0.99  # codes are rounded in the file


def test_principal_components_place_nothing_but_look_for_neighbours_among_some(
    aekit, ae_checkpoint, tmp_path, monkeypatch
):
    every = aekit("tsne", ae_checkpoint, "--method", "pca", "-o", tmp_path / "a.png", "--json")
    monkeypatch.setattr(embedding, "MAX_OPTIMISED", 100)
    monkeypatch.setattr(embedding, "MAX_JUDGED", 299)
    some = aekit("tsne", ae_checkpoint, "--method", "pca", "-o", tmp_path / "b.png", "--json")
    tables = [pd.read_csv(tmp_path / f"{name}.csv") for name in "ab"]
    assert tables[0][["x", "y"]].equals(tables[1][["x", "y"]])
    assert not tables[1]["placed"].any()
    (one,), (other,) = (json.loads(result.stdout)["checkpoints"] for result in (every, some))
    assert one["trustworthiness"] == pytest.approx(other["trustworthiness"], abs=0.002)
    assert "placed" not in json.loads(some.stdout)


@pytest.mark.slow
def test_a_page_that_would_be_slow_to_open_shows_a_draw_and_says_so(aekit, ae_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "MAX_PAGE_POINTS", 120)
    result = aekit("tsne", ae_checkpoint, "--method", "pca", "-o", tmp_path / "x.png", "--json")
    assert json.loads(result.stdout)["on_page"] == 120
    assert "x.html: shows 120 of 300 points, to open quickly" in result.stderr
    page = (tmp_path / "x.html").read_text()
    assert "<p>120 of 300 points, drawn with seed 0. Point at a dot" in page
    index = json.loads(re.search(r'id="facts">(.*?)</script>', page)[1])["index"]
    assert len(set(index)) == 120
    # One that is too large for a browser gets as many as it may have.
    monkeypatch.setattr(command, "BLOCK", 10)
    monkeypatch.setattr(command, "LARGE_PAGE", len(page) - 4000)
    result = aekit("tsne", ae_checkpoint, "--method", "pca", "-o", tmp_path / "x.png", "--json")
    assert 10 <= json.loads(result.stdout)["on_page"] < 120


def test_without_labels_there_is_still_a_map(aekit, ae_checkpoint, tmp_path):
    np.save(tmp_path / "plain.npy", (load_digits().images[:150] / 16).astype(np.float32))
    options = ["--data", tmp_path / "plain.npy", "--split", "train", "-o", tmp_path / "x.png", "--json"]
    result = aekit("tsne", ae_checkpoint, *options)
    assert result.exit_code == 0, result.stderr
    assert "has no labels; the points are grey, without outlier scores and kNN accuracy" in result.stderr
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["outlier"].isna().all()
    assert table["label"].isna().all()
    (measures,) = json.loads(result.stdout)["checkpoints"]
    assert measures["knn_accuracy_codes"] is None
    assert measures["trustworthiness"] > 0.9
    assert '"Legend"' not in (tmp_path / "x.html").read_text().partition('id="plots"')[2]


def test_few_images_get_the_perplexity_and_neighbours_that_they_allow(aekit, vae_checkpoint, tmp_path):
    result = aekit("tsne", vae_checkpoint, "--limit", 9, "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert "--perplexity 30: 9 images allow 2.67, which is used" in result.stderr
    assert "--neighbours 5: 9 images allow 4, which is used" in result.stderr
    result = aekit("tsne", vae_checkpoint, "--limit", 5, "-o", tmp_path / "y.png")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "aekit: --limit: 5 images are too few for a map; take at least 6"
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


def test_a_dimension_that_never_changes_is_counted_and_left_out(aekit, ae_checkpoint, tmp_path):
    def kill_first(name, tensor):
        if name.startswith("mean_head"):
            tensor = tensor.clone()
            tensor[0] = 0
        return tensor

    one = _damaged(ae_checkpoint, tmp_path / "one.safetensors", kill_first)
    result = aekit("tsne", one, "--method", "pca", "-o", tmp_path / "x.png")
    assert result.exit_code == 0, result.stderr
    assert "1 of 3 dimensions are the same for all images" in result.stderr
    assert json.loads(aekit("tsne", one, "--method", "pca", "-q", "--json").stdout)["checkpoints"][0][
        "trustworthiness"
    ] == pytest.approx(1.0)  # what is left has two dimensions, and PCA only turns them


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
