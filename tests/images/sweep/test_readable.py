"""The table for reading has a row per combination of settings: means over seeds, on test images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aekit.images.sweep.outcomes import result_row
from aekit.images.sweep.plan import Plan
from aekit.images.sweep.readable import readable_table


def _rows(make_done, **options):
    return pd.DataFrame(
        [
            result_row(make_done(90.0 + latent * (1 + seed), latent=latent, seed=seed, **options))
            for latent in (2, 10)
            for seed in (0, 1)
        ]
    )


def _plan(swept, best=None):
    return Plan((), swept, None, best)


def test_means_and_deviations_are_those_of_the_seeds(make_done, tmp_path):
    rows = _rows(make_done)
    table = readable_table(_plan(("latent", "seed")), rows, None)
    assert list(table.columns) == [
        ("", "latent"), ("test", "total"), ("test", "reconstruction"), ("test", "KL"), ("test", "MSE"), ("", "active"),
    ]  # fmt: skip
    for row, values in zip(table.rows, ([92, 94], [100, 110]), strict=True):
        assert row[1] == f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    assert [row[0] for row in table.rows] == ["2", "10"]
    assert [row[5] for row in table.rows] == ["1", "1"]
    assert table.notes[0].startswith("vae on digits, 4 runs; mean ± standard deviation over seeds; losses in nats")


def test_the_chosen_settings_are_bold_and_what_they_were_chosen_by_is_there(make_done):
    rows = _rows(make_done)
    table = readable_table(_plan(("latent", "seed"), "elbo"), rows, (3, "--best elbo"))
    assert table.columns[1] == ("validation", "negative ELBO")
    assert table.bold == 1
    assert "bold: chosen by --best elbo" in table.notes[0]


def test_an_autoencoder_has_no_bound_and_single_runs_no_deviation(make_done):
    rows = _rows(make_done, kind="ae").iloc[[0, 2]]
    table = readable_table(_plan(("latent",)), rows, None)
    assert [name for _, name in table.columns] == ["latent", "reconstruction", "MSE", "active"]
    assert [row[1] for row in table.rows] == ["92.0", "100.0"]
