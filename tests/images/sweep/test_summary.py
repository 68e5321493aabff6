"""What is shown of a grid: the results of the cells that were trained, under a title that says what is missing."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from PIL import Image
from recorded import Recorded

from aekit.images.sweep import summary
from aekit.images.sweep.outcomes import Failed, ResultsTable
from aekit.images.sweep.plan import Plan
from aekit.plotting.style import build_figure


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a summary with empty figures, and returns what is shown and what they get."""
    drawn = {}

    def draw(name):
        def plot(*arguments, **options):
            drawn[name] = arguments, options
            return build_figure(1, 1)

        return plot

    monkeypatch.setattr(summary, "plot_sweep", draw("results"))
    monkeypatch.setattr(summary, "plot_cells", draw("curves"))

    def run(outcomes, swept, best=None):
        cells = [outcome.cell for outcome in outcomes]
        table = ResultsTable(tmp_path / "results.csv", cells)
        for outcome in outcomes:
            table.add(outcome)
        progress = Recorded()
        summary.write_summary(Plan(tuple(cells), tuple(swept), tmp_path, best), outcomes, table.to_frame(), progress)
        return progress, drawn

    return run


def _without_validation(done):
    del done.header.result["history"][1]
    return done


def test_the_table_has_the_swept_settings_and_the_results_on_validation_images(write, make_done):
    outcomes = [make_done(90.0, latent=2), make_done(80.0, latent=4), Failed(make_done(0.0, latent=6).cell, "no luck")]
    ((title, columns, rows),) = write(outcomes, ["latent"])[0].tables
    assert title == "2 cells, validation images"
    assert list(columns) == [
        "latent", "val total", "val reconstruction", "val KL", "val MSE", "active", "seconds",
    ]  # fmt: skip
    assert [row[:6] for row in rows] == [["2", 90.0, 88.0, 2.0, 0.9, 1.0], ["4", 80.0, 78.0, 2.0, 0.8, 1.0]]


def test_without_validation_images_the_results_are_those_on_test_images(write, make_done):
    outcomes = [make_done(90.0), _without_validation(make_done(80.0, seed=1))]
    progress, drawn = write(outcomes, ["seed"])
    assert progress.tables[0][0] == "2 cells, test images"
    assert drawn["results"][1]["split"] == "test"


def test_the_cell_that_was_chosen_is_the_one_that_is_marked(write, make_done):
    outcomes = [Failed(make_done(0.0, latent=6).cell, "x"), make_done(90.0), make_done(80.0, latent=4)]
    (results, _), options = write(outcomes, ["latent"], "elbo")[1]["results"]
    place, why = options["chosen"]
    assert (results["latent"][place], why) == (4, "--best elbo")
    assert write(outcomes, ["latent"])[1]["results"][1]["chosen"] is None


def test_an_autoencoder_shows_no_total_and_no_divergence(write, make_done):
    ((_, columns, _),) = write([make_done(90.0, kind="ae")], [])[0].tables
    assert list(columns) == ["latent", "val reconstruction", "val MSE", "active", "seconds"]


def test_the_title_says_what_was_trained_what_failed_and_that_seeds_are_averaged(write, make_done):
    outcomes = [make_done(9.0, kind=kind, seed=seed) for kind in ("ae", "vae") for seed in (0, 1)]
    (results, over), options = write([*outcomes[:3], Failed(outcomes[3].cell, "x")], ["model", "seed"])[1]["results"]
    assert options["title"] == (
        "ae, vae on digits: validation images, 3 cells (1 more failed), mean ± standard deviation over seeds"
    )
    assert list(over) == ["model"]  # seeds are repetitions
    assert results["val_total"].tolist() == [9.0] * 3
    (_, over), options = write(outcomes[2:], ["seed"])[1]["results"]
    assert options["title"] == "vae on digits: validation images, 2 cells"
    assert list(over) == []


def test_curves_are_those_of_the_first_cells_and_the_others_are_counted(write, make_done, monkeypatch, tmp_path):
    monkeypatch.setattr(summary, "MAX_CURVES", 2)
    outcomes = [make_done(total, latent=latent) for total, latent in ((9.0, 2), (8.0, 3), (7.0, 4))]
    progress, drawn = write([Failed(outcomes[0].cell, "x"), *outcomes], ["latent"])
    (histories, labels), options = drawn["curves"]
    assert [history.iloc[0]["total"] for history in histories] == [9.0, 8.0]
    assert labels == [outcome.cell.label for outcome in outcomes[:2]]
    assert options["title"] == "vae on digits: the first 2 of 3 cells"
    assert progress.notices == [f"{tmp_path / 'curves.png'}: shows the first 2 of 3 cells"]


def test_the_figures_record_which_cells_they_show(write, make_done, tmp_path):
    outcomes = [make_done(9.0), Failed(make_done(8.0, seed=1).cell, "x")]
    write(outcomes, ["seed"])
    for name in ("results.png", "curves.png"):
        with Image.open(tmp_path / name) as image:
            parameters = json.loads(image.text["aekit"])
        assert parameters["cells"] == ["vae-2-0.safetensors"]
        assert (parameters["command"], parameters["swept"]) == ("sweep", ["seed"])


def test_axes_have_numbers_as_numbers_and_anything_else_as_on_the_command_line():
    values = pd.Series([None, 2, 0.5, (16, 12), "conv"], dtype=object)
    assert values.map(summary._as_axis_value).tolist() == ["default", 2, 0.5, "16x12", "conv"]
