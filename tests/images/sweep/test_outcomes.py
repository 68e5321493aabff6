"""The table of a grid is whole at any time, in the order of the cells, and as pandas would write it."""

from __future__ import annotations

import pandas as pd
import pytest

from aekit.core.artifacts import write_csv
from aekit.images.sweep.outcomes import Done, Failed, ResultsTable, result_row, training_seconds


@pytest.fixture
def outcomes(make_done):
    """Return a trained VAE, an autoencoder that failed with a comma and quotes, and another VAE."""
    failed = make_done(0.0, kind="ae", latent=3)
    return [make_done(104.123456789123), Failed(failed.cell, 'cannot, "so"'), make_done(1e9, latent=4)]


def test_a_row_has_settings_status_and_results(outcomes):
    done, failed = result_row(outcomes[0]), result_row(outcomes[1])
    assert list(done) == list(failed)
    assert (done["status"], done["error"], done["latent"], done["beta"]) == ("done", None, 2, 1.0)
    assert (done["val_total"], done["val_kl"], done["test_mse"]) == (104.123456789123, 2.0, 1.04123456789123)
    assert (done["val_elbo"], done["test_elbo"], failed["val_elbo"]) == (104.123456789123, 104.123456789123, None)
    assert (failed["status"], failed["beta"], failed["val_total"], failed["path"]) == ("failed", None, None, None)


def test_the_negative_bound_does_not_depend_on_beta_and_an_autoencoder_has_none(make_done):
    done, plain = make_done(12.0), make_done(12.0, kind="ae")
    for row in done.header.result["history"]:
        row["total"] = row["reconstruction"] + 5 * row["kl"]
    row = result_row(done)
    assert (row["val_total"], row["val_elbo"], row["test_elbo"]) == (20.0, 12.0, 12.0)
    assert (result_row(plain)["val_total"], result_row(plain)["val_elbo"]) == (12.0, None)


def test_a_run_without_validation_images_has_no_results_on_them(make_done):
    done = make_done(1.0)
    del done.header.result["history"][1]
    row = result_row(done)
    assert (row["val_total"], row["test_total"], row["active_units"]) == (None, 1.0, 1)


def test_rows_are_written_in_the_order_of_the_cells_whatever_ends_first(outcomes, tmp_path):
    table = ResultsTable(tmp_path / "x.csv", [outcome.cell for outcome in outcomes])
    for outcome in (outcomes[2], outcomes[0]):
        table.add(outcome)
        table.write()
    assert pd.read_csv(tmp_path / "x.csv")["latent"].tolist() == [2, 4]
    table.add(outcomes[1])
    table.write()
    written = pd.read_csv(tmp_path / "x.csv")
    assert written["latent"].tolist() == [2, 3, 4]
    assert written["error"].tolist()[1] == 'cannot, "so"'


def test_the_table_is_the_one_that_pandas_writes(outcomes, tmp_path):
    table = ResultsTable(tmp_path / "x.csv", [outcome.cell for outcome in outcomes])
    for outcome in outcomes:
        table.add(outcome)
    table.write()
    assert (tmp_path / "x.csv").read_bytes() == write_csv(tmp_path / "y.csv", table.to_frame()).read_bytes()


def test_an_outcome_is_described_in_a_few_words(outcomes, make_done):
    assert str(outcomes[0]) == "val 104.12 (reconstruction 102.12, KL 2), MSE 1.041"
    assert str(outcomes[1]) == 'failed: cannot, "so"'
    assert str(make_done(5.0, kind="ae")) == "val 5, MSE 0.05"
    assert not isinstance(outcomes[1], Done)


def test_the_seconds_of_a_run_are_those_of_its_epochs(tmp_path):
    (tmp_path / "x.csv").write_text("epoch,seconds\n1,0.25\n2,0.5\n")
    assert training_seconds(tmp_path / "x.csv") == 0.75
    assert training_seconds(tmp_path / "nowhere.csv") is None
