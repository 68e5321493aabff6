"""The tables of a probe, from accuracies that were made for it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from recorded import Recorded

from aekit.images.probe.measure import Measured
from aekit.images.probe.tables import build_difference_table, build_table, show_means, summarise

TASK = SimpleNamespace(sizes=[10, 1000])
SETTINGS = {"checkpoint": "x.safetensors", "seed": 3}


def _measured(n_draws=2):
    accuracies = {"frozen": np.array([[0.5, 0.7], [0.8, 0.9]])[:, :n_draws], "pca": np.full((2, n_draws), 0.25)}
    return [Measured("x.safetensors", "latent 2", SETTINGS, {}, accuracies)]


def test_there_is_a_row_per_draw_and_a_row_per_pair_of_methods():
    table = build_table(_measured(), TASK)
    assert list(table) == ["checkpoint", "seed", "method", "labels", "draw", "accuracy"]
    assert table.iloc[1].tolist() == ["x.safetensors", 3, "frozen", 10, 1, 0.7]
    assert len(table) == 8
    differences = build_difference_table(_measured(), TASK)
    assert differences[["method", "baseline", "labels", "draws"]].to_numpy().tolist() == [
        ["frozen", "pca", 10, 2],
        ["frozen", "pca", 1000, 2],
    ]
    assert differences["difference"].tolist() == pytest.approx([0.35, 0.6])


def test_means_are_shown_in_per_cent_with_a_standard_deviation_if_there_is_one():
    for n_draws, cells in ((2, ["60.0 ± 14.1", "85.0 ± 7.1"]), (1, ["50.0", "80.0"])):
        progress = Recorded()
        means = summarise(build_table(_measured(n_draws), TASK))
        show_means(means, {"x.safetensors": "latent 2"}, ["frozen", "pca"], TASK.sizes, progress)
        ((title, columns, rows),) = progress.tables
        assert title == "latent 2: accuracy in % by number of labels"
        assert columns == ["method", "10", "1,000"]
        assert rows[0] == ["frozen", *cells]
