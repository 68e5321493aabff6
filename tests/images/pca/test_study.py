"""``run_pca_compare`` from Python, the names of its curves and their elbows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aekit.core.checkpoint import Header
from aekit.errors import AekitError
from aekit.images.pca.study import find_elbows, model_names, no_elbow, run_pca_compare
from aekit.images.session import open_session


@pytest.mark.slow
def test_one_checkpoint_is_enough(vae_checkpoint, tmp_path):
    result = run_pca_compare(open_session([vae_checkpoint], device="cpu"), tmp_path, split="val")
    assert result.path == tmp_path / "vae.pca-compare-val.png"
    assert result.values["split"] == "val"
    (row,) = pd.read_csv(result.path.with_suffix(".csv")).itertuples()
    assert result.values["worst_ratio"] == result.values["best_ratio"] == pytest.approx(row.pca_mse / row.mse)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"vae.pca-compare-val{end}" for end in ("-2d.png", "-elbow.csv", ".csv", ".png")
    ]


def test_checkpoints_of_other_training_images_are_refused(vae_checkpoint, ae_checkpoint, tmp_path):
    with pytest.raises(AekitError, match="trained on different images"):
        run_pca_compare(open_session([vae_checkpoint, ae_checkpoint], device="cpu"), tmp_path)


def test_models_are_named_by_the_settings_in_which_they_differ():
    headers = [
        Header({"kind": kind, "arch": "conv", "latent": latent}, {}, {"beta": beta, "seed": latent, "lr": lr})
        for kind, latent, beta, lr in [
            ("vae", 2, 1.0, 0.1),
            ("vae", 3, 4.0, 0.1),
            ("ae", 2, 1.0, 0.1),
            ("ae", 5, 1.0, 0.1),
        ]
    ]
    assert model_names(headers) == ["vae conv, beta 1", "vae conv, beta 4", "ae conv", "ae conv"]


def test_elbows_are_of_the_mean_curve_and_single_seeds_show_their_spread():
    # Over 1 to 16 the elbow of 1 / d is at 4, as above all of their mean, and that of 1 / d^2 at 3; a line has none.
    d = np.array([1, 2, 3, 4, 6, 9, 16])
    runs = [pd.DataFrame({"latent": d, "seed": k, "mse": 1.0 / d**k, "checkpoint": str(k)}) for k in (2, 1)]
    line = 1 - d / 20
    table = pd.concat(runs).assign(model="ae conv", pca_mse=np.tile(1 / d, 2), pca_clipped_mse=np.tile(line, 2))
    part = table[(table["seed"] == 2) & (table["latent"] < 9)].assign(model="vae conv")
    elbows = find_elbows(pd.concat([table, part])).set_index("model")
    assert elbows["elbow"].fillna(0).tolist() == [4, 0, 4, 2]
    found = elbows.loc["ae conv"]
    assert (found["lowest"], found["highest"], found["seeds"]) == (3, 4, 2)
    assert (found["points"], found["latent_min"], found["latent_max"]) == (7, 1, 16)
    assert found["mse"] == (1 / 4 + 1 / 16) / 2
    assert found["method"] == "Kneedle (Satopaa et al. 2011)"
    assert elbows.loc["vae conv", "latent_max"] == 6


@pytest.mark.parametrize(
    ("points", "words"), [([1, 1], "1 point;"), ([3, 3, 3], "3 points;"), ([3, 1, 2], "1 to 3 points;")]
)
def test_the_notice_of_no_elbow_covers_the_shortest_curve_and_the_longest(points, words):
    assert no_elbow(points).startswith(f"no elbow in curves of {words}")
