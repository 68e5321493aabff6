"""The table of several models says where their rows do not compare."""

from __future__ import annotations

import io
from dataclasses import replace

import pandas as pd
from recorded import Recorded
from rich.console import Console

from aekit.images.evaluation.models_table import EvaluatedModel, show_models, write_models
from aekit.terminal.tables import build_tables

_ELBO = {"objective": "elbo", "beta": 1.0, "condition": "none"}


def _model(label, *, loss="bernoulli", fingerprint="a", **totals):
    settings = {"kind": "vae", "loss": loss, "split": "test"}
    return EvaluatedModel(f"{label}.safetensors", label, settings, ("digits", fingerprint, False), {"n": 300, **totals})


def _show(models, tmp_path):
    progress = Recorded()
    show_models(tmp_path / "evaluate.csv", models, "test", progress)
    return progress


def test_numbers_of_a_column_have_equal_decimals_and_what_is_missing_is_empty(tmp_path):
    models = [_model("a", total=123.456789, kl=17.0875419, mse=0.0745849), _model("b", total=9.5, mse=0.0000123)]
    ((title, columns, rows),) = _show(models, tmp_path).tables
    assert title == "2 models, 300 test images, losses in nats"
    assert list(columns) == ["model", "total", "KL", "MSE"]
    assert [list(row) for row in rows] == [["a", "123.46", "17.088", "0.074585"], ["b", "9.50", "", "0.000012"]]


def test_different_losses_and_different_images_are_said(tmp_path):
    models = [_model("a", total=1.0), _model("b", loss="gaussian", fingerprint="b", total=2.0)]
    progress = _show(models, tmp_path)
    ((title, columns, rows),) = progress.tables
    assert (title, list(columns)) == ("2 models, 300 test images", ["model", "loss", "total"])
    assert [list(row)[1] for row in rows] == ["bernoulli", "gaussian"]
    assert "measured on different images, or on grey pixels" in progress.notices[-1]
    assert len(_show([models[0], models[0]], tmp_path).notices) == 1


def test_the_columns_are_those_of_the_model_that_has_most(tmp_path):
    models = [_model("a", total=1.0, mse=2.0), _model("b", total=1.0, kl=0.5, mse=2.0)]
    table = pd.read_csv(write_models(tmp_path / "evaluate.csv", models))
    assert list(table)[-4:] == ["n", "total", "kl", "mse"]
    assert table["kl"].isna().tolist() == [True, False]


def test_models_with_long_names_have_numbers_which_are_explained_below(tmp_path):
    labels = [f"latent {n}, beta 0.5, lr 0.001, batch size 16, arch conv" for n in (2, 3)]
    totals = {"total": 42.391234, "reconstruction": 41.653, "kl": 1.4759, "mse": 0.14339, "psnr": 8.4893}
    totals |= {"ssim": 0.0258, "active_units": 2}
    progress = _show([_model(label, **totals) for label in labels], tmp_path)
    ((_, columns, rows),) = progress.tables
    rows = [list(row) for row in rows]
    assert [row[0] for row in rows] == ["1", "2"]
    assert progress.notices[:2] == [f"#{n}: {label}" for n, label in zip((1, 2), labels, strict=True)]
    (table,) = build_tables(list(columns), rows, 80)
    assert max(map(len, _lines(table, 80))) <= 80


def _lines(table, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue().splitlines()


def test_what_does_not_compare_is_said_of_objectives_and_conditions(tmp_path):
    plain = _model("a", total=1.0)

    def said(**settings):
        models = [replace(plain, settings=plain.settings | own) for own in (_ELBO, _ELBO | settings)]
        return " ".join(_show(models, tmp_path).notices[1:])

    assert said() == ""
    assert said(beta=None) == ""  # an autoencoder
    assert "totals with different objective do not compare" in said(objective="iwae")
    assert "totals with different beta or capacity" in said(beta=4.0, capacity=3.0)
    assert "totals with different samples" in said(samples=5)
    assert "p(x | y)" in said(condition="label")
    assert "losses and bounds under different --loss do not compare" in said(loss="logistic")


def test_each_kind_of_bound_has_a_column_with_the_rows_that_have_it(tmp_path):
    models = [_model("a", log_p=-1.0, log_p_normalised=True), _model("b", log_p=-2.0, log_p_normalised=False)]
    models.append(replace(models[0], settings=models[0].settings | {"condition": "label"}))
    models.append(_model("c", total=4.0))
    ((_, columns, rows),) = _show(models, tmp_path).tables
    assert list(columns)[2:] == ["log p(x), bound", "weighted bound (unnormalised)", "log p(x | y), bound"]
    assert [list(row)[2:] for row in rows] == [
        ["-1.0000", "", ""], ["", "-2.0000", ""], ["", "", "-1.0000"], ["", "", ""],
    ]  # fmt: skip
    ((_, columns, _),) = _show(models[:1] * 2, tmp_path).tables
    assert list(columns)[1:] == ["log p(x), bound"]
