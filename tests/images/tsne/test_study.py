"""``run_tsne`` from Python: the table against the codes, large sets, and sets without labels."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from recorded import Recorded
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from aekit.core.checkpoint import read_header
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError
from aekit.images.session import open_session
from aekit.images.tsne import page as pages
from aekit.images.tsne import request as requests
from aekit.images.tsne.study import run_tsne

FILES = (".png", ".csv", ".html")


def _parameters(path):
    with Image.open(path) as image:
        return json.loads(image.text["aekit"])


def _run(checkpoint, path, *, data=None, **options):
    """Return the result, its table, and what was reported."""
    progress = Recorded()
    session = open_session([checkpoint], data=data, device="cpu", threads=1, progress=progress)
    result = run_tsne(session, path, **options)
    return result, pd.read_csv(path.with_suffix(".csv")), progress


def _codes(checkpoint, split="test"):
    session = open_session([checkpoint], device="cpu", threads=1)
    (loaded,) = session.checkpoints()
    images = session.images(loaded, split)
    return loaded.encode(images).mean.astype(np.float64), images.labels


def _nearest(codes, k=5):
    distance = np.linalg.norm(codes[:, None] - codes[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return distance, np.argsort(distance, axis=1)[:, :k]


def test_a_session_is_all_that_it_needs(vae_checkpoint):
    result = run_tsne(open_session([vae_checkpoint], device="cpu"), method="pca", limit=20)
    assert result.path == vae_checkpoint.with_name("vae.pca.png")
    assert result.values["n"] == 20
    assert all(result.path.with_suffix(suffix).stat().st_size > 1000 for suffix in FILES)


@pytest.mark.slow
def test_the_table_has_for_each_image_its_place_and_the_fraction_of_neighbours_with_another_label(
    ae_checkpoint, tmp_path
):
    result, table, _ = _run(ae_checkpoint, tmp_path / "x.png", perplexity=20)
    assert list(table)[:8] == ["checkpoint", "index", "file", "row", "label", "x", "y", "outlier"]
    assert table["index"].tolist() == list(range(300))
    codes, labels = _codes(ae_checkpoint)
    assert table["label"].tolist() == labels.tolist()
    _, nearest = _nearest(codes)
    assert table["outlier"].to_numpy() == pytest.approx((labels[nearest] != labels[:, None]).mean(axis=1))
    (measures,) = result.values["checkpoints"]
    votes = np.array([np.bincount(labels[row], minlength=10).argmax() for row in nearest])
    assert measures["knn_accuracy_codes"] == pytest.approx((votes == labels).mean())
    assert measures["trustworthiness"] > 0.97


@pytest.mark.slow
def test_a_limit_draws_images_by_the_seed_and_keeps_their_index(vae_checkpoint, tmp_path):
    _, labels = _codes(vae_checkpoint)
    drawn = []
    for seed in (0, 1):
        _, table, progress = _run(vae_checkpoint, tmp_path / "x.png", method="pca", limit=50, seed=seed)
        assert f"--limit: 50 of 300 test images, drawn with seed {seed}" in progress.notices
        assert len(set(table["index"])) == 50
        assert (table["label"].to_numpy() == labels[table["index"]]).all()
        drawn.append(set(table["index"]))
    assert drawn[0] != drawn[1]


def test_principal_components_are_those_of_the_codes(ae_checkpoint, tmp_path):
    _, table, _ = _run(ae_checkpoint, tmp_path / "x.png", method="pca")
    codes, _ = _codes(ae_checkpoint)
    singular = np.linalg.svd(codes - codes.mean(axis=0), compute_uv=False)
    assert np.linalg.norm(table["x"]) == pytest.approx(singular[0], rel=1e-4)
    assert np.linalg.norm(table["y"]) == pytest.approx(singular[1], rel=1e-4)


@pytest.mark.slow
def test_of_too_many_images_some_are_optimised_and_the_others_placed_among_them(ae_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "MAX_OPTIMISED", 200)
    monkeypatch.setattr(requests, "MAX_JUDGED", 150)
    for name in "ab":
        result, table, progress = _run(ae_checkpoint, tmp_path / f"{name}.png", perplexity=15, seed=1)
    assert any("t-SNE: 200 of 300 codes, drawn with seed 1, were optimised" in text for text in progress.notices)
    assert any("the measures are computed for 150 points" in text for text in progress.notices)
    for suffix in FILES:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes(), suffix
    assert {key: result.values[key] for key in ("n", "optimised", "placed", "among", "judged", "on_page")} == {
        "n": 300, "optimised": 200, "placed": 100, "among": 200, "judged": 150, "on_page": 300,
    }  # fmt: skip
    assert _parameters(tmp_path / "a.png")["placed"] == 100
    placed = table["placed"].to_numpy()
    assert placed.sum() == 100
    assert table[["x", "y", "outlier"]].notna().all(axis=None)
    # Placed points get their label from the optimised ones nearly as often in the map as in code space.
    codes, labels = _codes(ae_checkpoint)
    accuracy = []
    for places in (codes, table[["x", "y"]].to_numpy()):
        classifier = KNeighborsClassifier(5).fit(places[~placed], labels[~placed])
        accuracy.append(classifier.score(places[placed], labels[placed]))
    assert accuracy[1] > accuracy[0] - 0.1
    distance, _ = _nearest(codes)
    nearest = np.flatnonzero(~placed)[np.argsort(distance[:, ~placed], axis=1)[:, :5]]
    assert table["outlier"].to_numpy() == pytest.approx((labels[nearest] != labels[:, None]).mean(axis=1))


@pytest.mark.slow
def test_principal_components_place_nothing_but_find_neighbours_among_some(ae_checkpoint, tmp_path, monkeypatch):
    every, whole, _ = _run(ae_checkpoint, tmp_path / "a.png", method="pca")
    monkeypatch.setattr(requests, "MAX_OPTIMISED", 100)
    monkeypatch.setattr(requests, "MAX_JUDGED", 299)
    some, table, _ = _run(ae_checkpoint, tmp_path / "b.png", method="pca")
    assert whole[["x", "y"]].equals(table[["x", "y"]])
    assert not table["placed"].any()
    (one,), (other,) = (result.values["checkpoints"] for result in (every, some))
    assert one["trustworthiness"] == pytest.approx(other["trustworthiness"], abs=0.002)
    assert "placed" not in some.values


@pytest.mark.slow
def test_a_page_that_would_open_slowly_shows_a_draw_and_says_so(ae_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MAX_POINTS", 120)
    result, _, progress = _run(ae_checkpoint, tmp_path / "x.png", method="pca")
    assert result.values["on_page"] == 120
    assert f"{tmp_path / 'x.html'}: shows 120 of 300 points, to open quickly" in progress.notices
    page = (tmp_path / "x.html").read_text()
    assert "<p>120 of 300 points, drawn with seed 0. Hover over a dot" in page
    index = json.loads(re.search(r'id="facts">(.*?)</script>', page)[1])["index"]
    assert len(set(index)) == 120
    # One that is too large for a browser gets as many as fit.
    monkeypatch.setattr(pages, "BLOCK", 10)
    monkeypatch.setattr(pages, "LARGE_PAGE", len(page) - 4000)
    result, _, _ = _run(ae_checkpoint, tmp_path / "x.png", method="pca")
    assert 10 <= result.values["on_page"] < 120


def test_without_labels_there_is_still_a_map(ae_checkpoint, tmp_path):
    np.save(tmp_path / "plain.npy", (load_digits().images[:150] / 16).astype(np.float32))
    data = str(tmp_path / "plain.npy")
    result, table, progress = _run(ae_checkpoint, tmp_path / "x.png", data=data, split="train")
    assert any("has no labels; the points are grey" in text for text in progress.notices)
    assert table["outlier"].isna().all()
    assert table["label"].isna().all()
    (measures,) = result.values["checkpoints"]
    assert measures["knn_accuracy_codes"] is None
    assert measures["trustworthiness"] > 0.9
    assert '"Legend"' not in (tmp_path / "x.html").read_text().partition('id="plots"')[2]
    ((_, columns, _),) = progress.tables
    assert columns == ["checkpoint", "trustworthiness@5"]


def test_without_labels_a_large_map_of_principal_components_has_nothing_to_score(ae_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "MAX_OPTIMISED", 100)
    monkeypatch.setattr(requests, "MAX_JUDGED", 50)
    np.save(tmp_path / "plain.npy", (load_digits().images[:150] / 16).astype(np.float32))
    options = {"data": str(tmp_path / "plain.npy"), "split": "train", "method": "pca"}
    result, table, _ = _run(ae_checkpoint, tmp_path / "x.png", **options)
    assert table[["x", "y"]].notna().all(axis=None)
    assert table["outlier"].isna().all()
    assert result.values["judged"] == 50


def test_few_images_get_the_perplexity_and_neighbours_that_they_allow(vae_checkpoint, tmp_path):
    result, _, progress = _run(vae_checkpoint, tmp_path / "x.png", limit=9)
    assert "--perplexity 30: too large for 9 images; using 2.67" in progress.notices
    assert "--neighbours 5: too many for 9 images; using 4" in progress.notices
    assert result.values["neighbours"] == 4
    with pytest.raises(AekitError, match="--limit: 5 images are too few for a map; use at least 6"):
        run_tsne(open_session([vae_checkpoint], device="cpu"), tmp_path / "y.png", limit=5)
    assert not (tmp_path / "y.png").exists()


def test_a_dimension_that_never_changes_is_counted_and_left_out(ae_checkpoint, tmp_path):
    tensors = load_file(ae_checkpoint)
    for name in tensors:
        if name.startswith("mean_head"):
            tensors[name][0] = 0
    dead = write_checkpoint(tmp_path / "dead.safetensors", tensors, read_header(ae_checkpoint))
    result, _, progress = _run(dead, tmp_path / "x.png", method="pca")
    assert any("1 of 3 dimensions is the same for all images and left out" in text for text in progress.notices)
    # Two dimensions are left, which PCA only rotates.
    assert result.values["checkpoints"][0]["trustworthiness"] == pytest.approx(1.0)
