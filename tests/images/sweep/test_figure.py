"""The figures of a grid show the means over seeds, in the right places."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from aekit.images.sweep.figure import plot_cells, plot_sweep

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


def _results(**swept):
    generator = np.random.default_rng(0)
    table = pd.DataFrame(itertools.product(*swept.values()), columns=list(swept))
    for measure in ("total", "reconstruction", "kl", "mse"):
        table[f"val_{measure}"] = generator.uniform(1, 100, len(table))
    return table.assign(val_elbo=table["val_reconstruction"] + table["val_kl"])


def test_over_two_options_the_heat_maps_show_mean_and_spread_of_the_seeds():
    results = _results(beta=[0.1, 1.0, 4.0], latent=[2, 10], seed=[0, 1, 2])
    figure = plot_sweep(results, ["beta", "latent"], split="val")
    assert len(figure.axes) == 6
    axes = figure.axes[2]
    assert axes.get_title(loc="left").startswith("Reconstruction")
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    cell = results.query("beta == 4 and latent == 10")["val_reconstruction"]
    assert texts[(1, 2)] == f"{cell.mean():.2f}\n± {cell.std():.2f}"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.1", "1", "4"]


def test_a_cell_that_failed_stays_empty():
    results = _results(beta=[0.1, 1.0], latent=[2, 10]).drop(index=3)
    axes = plot_sweep(results, ["beta", "latent"], split="val").axes[1]
    assert {text.get_position(): text.get_text() for text in axes.texts}[(1, 1)] == "-"


def test_over_one_option_a_curve_of_means_lies_in_its_band():
    results = _results(latent=[2, 5, 10, 100], seed=[0, 1, 2])
    axes = plot_sweep(results, ["latent"], split="val").axes[1]
    means = results.groupby("latent")["val_total"].mean()
    np.testing.assert_allclose(axes.lines[0].get_xydata(), np.column_stack([means.index, means]))
    assert axes.get_xscale() == "log"
    band = axes.collections[0].get_paths()[0].get_extents()
    assert band.y0 < means.min() < means.max() < band.y1


@pytest.mark.parametrize(
    "swept", [{"seed": [0]}, {"arch": ["conv", "dense"]}, {"arch": ["a", "b"], "beta": [1.0, 2.0], "latent": [2, 3, 4]}]
)
def test_one_cell_texts_and_three_options_are_drawn_too(swept):
    over = [name for name in swept if name != "seed"]
    figure = plot_sweep(_results(**swept), over, split="val")
    assert len([axes for axes in figure.axes if axes.lines]) == 5


def test_an_autoencoder_has_no_panels_of_total_and_kl():
    results = _results(latent=[2, 3]).assign(val_kl=np.nan)
    titles = [axes.get_title(loc="left") for axes in plot_sweep(results, ["latent"], split="val").axes]
    assert [title for title in titles if title] == ["Reconstruction (nats per image)", "Mean squared error (per pixel)"]
    (alone,) = plot_sweep(results, ["latent"], split="val", loss="mse").axes
    assert alone.get_title(loc="left") == "Mean squared error (per pixel)"


def test_all_cells_of_a_map_have_the_decimals_that_the_largest_needs_for_four_digits():
    results = _results(beta=[0.1, 1.0], latent=[2, 10])
    results["val_kl"], results["val_mse"] = [0.0, 0.04069, 14.34, 16.654], [0.0651, 0.03, 0.08, 0.0123]
    kl, mse = plot_sweep(results, ["beta", "latent"], split="val").axes[3:5]
    assert [text.get_text() for text in kl.texts] == ["0.00", "0.04", "14.34", "16.65"]
    assert [text.get_text() for text in mse.texts] == ["0.06510", "0.03000", "0.08000", "0.01230"]


def test_a_map_of_too_many_cells_for_numbers_has_a_colour_bar():
    results = _results(beta=[0.1, 1.0], latent=list(range(2, 102)))
    figure = plot_sweep(results, ["beta", "latent"], split="val")
    assert not any(axes.texts for axes in figure.axes)
    assert len([axes for axes in figure.axes if axes.get_label() == "<colorbar>"]) == 4


def test_losses_that_differ_have_no_common_unit():
    titles = [
        axes.get_title(loc="left")
        for axes in plot_sweep(_results(latent=[2, 3]), ["latent"], split="val", loss=None).axes
    ]
    assert "Reconstruction (unit of each loss)" in titles


def test_the_first_panel_has_a_point_per_cell_of_its_rate_and_distortion():
    results = _results(beta=[0.1, 1.0, 5.0], latent=[2, 10], seed=[0, 1])
    figure = plot_sweep(results, ["beta", "latent"], split="val", chosen=(4, "--best elbo"))
    axes, legend = figure.axes[0], figure.axes[-1]
    *points, ring, line = axes.lines
    drawn = [tuple(float(values[0]) for values in point.get_data()) for point in points]
    assert drawn == list(zip(results["val_kl"], results["val_reconstruction"], strict=True))
    assert ring.get_data() == (results["val_kl"][4], results["val_reconstruction"][4])
    lowest = (results["val_kl"] + results["val_reconstruction"]).min()
    assert {round(x + y, 9) for x, y in line.get_xydata()} == {round(lowest, 9)}
    colours = [point.get_color().tobytes() for point in points]
    by_beta = pd.Series(colours).groupby(results["beta"]).agg(set)
    assert all(len(colours) == 1 for colours in by_beta)
    assert len(set.union(*by_beta)) == 3
    assert [text.get_text() for text in legend.get_legend().get_texts()] == [
        "beta 0.1", "beta 1", "beta 5", "latent 2", "latent 10", "chosen: --best elbo",
        f"reconstruction + KL = {lowest:.5g}, the lowest",
    ]  # fmt: skip


@pytest.mark.parametrize(("betas", "title"), [([0.5, 2.0], "Negative ELBO"), ([2.0], "Total loss")])
def test_totals_are_shown_where_they_compare_and_the_bound_across_beta(betas, title):
    axes = plot_sweep(_results(beta=betas, latent=[2, 3, 4]), ["latent"], split="val").axes[1]
    assert axes.get_title(loc="left").startswith(title)


def test_what_the_points_of_many_cells_do_not_show_is_said():
    results = _results(arch=["a", "b"], beta=[0.1, 1.0], latent=list(range(2, 12)))
    plain = results[results["beta"] == 1.0].assign(beta=np.nan, val_kl=np.nan, val_elbo=np.nan, arch="c")
    both = pd.concat([results, plain], ignore_index=True)
    texts = [
        text.get_text()
        for text in plot_sweep(both, ["arch", "beta", "latent"], split="val").axes[-1].get_legend().get_texts()
    ]
    assert "latent: not distinguished" in texts
    assert "20 autoencoders have no rate" in texts


def test_an_autoencoder_is_a_level_line_over_beta_and_a_row_of_its_own():
    results = _results(model=["ae", "vae"], beta=[0.1, 1.0], latent=[2, 4]).drop(index=[2, 3])
    results.loc[results["model"] == "ae", ["beta", "val_kl", "val_elbo"]] = np.nan
    axes = plot_sweep(results, ["model", "beta", "latent"], split="val").axes[2]
    level = {float(line.get_ydata()[0]) for line in axes.lines if line.get_linestyle() == "--"}
    assert level == set(results.loc[results["model"] == "ae", "val_reconstruction"])
    results = results[results["latent"] == 2]
    axes = plot_sweep(results, ["model", "beta"], split="val").axes[2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "1", "none"]


def test_sizes_ascend_as_the_cells_do_and_not_as_texts():
    results = _results(image_size=["8x8", "16x16", "100x100"], latent=[2, 10])
    axes = plot_sweep(results, ["image_size", "latent"], split="val").axes[2]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8x8", "16x16", "100x100"]
    axes = plot_sweep(results, ["image_size"], split="val").axes[2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8x8", "16x16", "100x100"]


@pytest.mark.parametrize("n_cells", [1, 3, pytest.param(20, marks=pytest.mark.slow)])
def test_every_cell_has_its_row_of_three_panels(n_cells):
    history = pd.DataFrame(
        [
            {"epoch": e, "split": s, "total": 9.0 / e, "reconstruction": 5.0 / e, "kl": 4.0 / e, "mse": 0.1 / e}
            for e in (1, 2)
            for s in ("train", "val")
        ]
    )
    figure = plot_cells([history] * n_cells, [f"cell {i}" for i in range(n_cells)])
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert len(drawn) == 3 * n_cells
    assert all(axes.lines for axes in drawn)
    headings = [axes.get_title(loc="left").split("\n")[0] for axes in drawn]
    assert {heading for heading in headings if heading.startswith("cell")} == {f"cell {i}" for i in range(n_cells)}


def test_what_an_objective_penalises_has_a_panel_of_its_own():
    results = _results(beta=[1.0, 2.0, 4.0]).assign(
        val_tc=[5.0, 4.0, np.nan], val_total_correlation=[3.0, 1.0, -0.2], val_mmd=np.nan
    )
    panels = {axes.get_title(loc="left"): axes for axes in plot_sweep(results, ["beta"], split="val").axes}
    assert not any(title.startswith("MMD") for title in panels)
    drawn = panels["Total correlation, all test images (nats per image)"].lines[0].get_xydata()
    np.testing.assert_allclose(drawn, [[1, 3], [2, 1], [4, -0.2]])


@pytest.mark.parametrize("objectives", [["iwae"], ["elbo", "iwae"]])
def test_a_bound_has_a_panel_where_the_total_has_none(objectives):
    results = _results(objective=objectives)
    results["val_bound"] = results["val_total"].where(results["objective"] == "iwae")
    titles = [axes.get_title(loc="left") for axes in plot_sweep(results, ["objective"], split="val").axes]
    assert any("Total loss" in title for title in titles) != any("bound" in title for title in titles)
