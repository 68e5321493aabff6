"""Learning curves show the history, with units."""

from __future__ import annotations

import pandas as pd
import pytest

from aekit.images.figures.curves import plot_history


def _history(*, held_out: str = "test", kl: float | None = 20.0) -> pd.DataFrame:
    rows = [(e, s, 110.0 / e, 90.0 / e, kl, 0.05 / e) for e in (1, 2, 3) for s in ("train", held_out)]
    if held_out == "val":
        rows.append((2, "test", 56.0, 46.0, kl, 0.03))
    return pd.DataFrame(rows, columns=["epoch", "split", "total", "reconstruction", "kl", "mse"])


def _panels(figure):
    return [(axes.get_title(loc="left"), axes.get_ylabel()) for axes in figure.axes]


def test_a_vae_has_panels_for_total_reconstruction_and_divergence_in_nats():
    figure = plot_history(_history())
    unit = "nats per image"
    assert _panels(figure) == [("Total loss", unit), ("Reconstruction", unit), ("KL divergence", unit)]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 3


def test_an_autoencoder_has_no_two_panels_with_the_same_curves():
    error = ("Mean squared error", "MSE per pixel")
    assert _panels(plot_history(_history(kl=None))) == [("Reconstruction", "nats per image"), error]
    assert _panels(plot_history(_history(kl=None), loss="mse")) == [error]


def test_the_legend_says_that_train_is_a_mean_over_the_epoch():
    figure = plot_history(_history(held_out="val"))
    assert [text.get_text() for text in figure.legends[0].texts] == ["train (epoch mean)", "val", "test"]


def test_a_single_epoch_is_the_only_tick():
    assert list(plot_history(_history().query("epoch == 1")).axes[0].get_xticks()) == [1]


def test_train_and_held_out_have_a_line_each_and_the_final_test_a_marker():
    figure = plot_history(_history(held_out="val"))
    train, val, test = figure.axes[0].lines
    assert [line.get_label() for line in (train, val, test)] == ["train", "val", "test"]
    assert list(val.get_xdata()) == [1, 2, 3]
    assert list(val.get_ydata()) == [110.0, 55.0, pytest.approx(110 / 3)]
    assert (list(test.get_xdata()), list(test.get_ydata())) == ([2], [56.0])


def test_without_validation_images_the_test_images_have_a_line_and_no_marker():
    assert [line.get_label() for line in plot_history(_history()).axes[0].lines] == ["train", "test"]


@pytest.mark.slow
def test_epochs_are_whole_numbers_even_if_there_is_only_one():
    for n in (1, 2, 3):
        axes = plot_history(_history().query(f"epoch <= {n}")).axes[0]
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
