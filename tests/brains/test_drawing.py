from dataclasses import replace

import numpy as np
import pytest

from aekit.brains.drawing import _counted, _decades, _title
from aekit.brains.hypotheses import HYPOTHESES
from aekit.brains.predictions import Predictions
from aekit.core.settings import to_dict


@pytest.mark.parametrize("histogram", [True, False])
def test_the_title_of_each_hypothesis_distinguishes_it(phantom_people, brain_config, histogram):
    titles = {}
    for name, (arch, target, drop) in HYPOTHESES.items():
        config = brain_config(arch=arch, target=target, histogram=histogram)
        titles[name] = _title(phantom_people, to_dict(replace(config, data=replace(config.data, drop_outliers=drop))))
    without = "" if histogram else ", no histogram"
    assert titles == {
        "base": f"participants.tsv, base{without}",
        "H1": f"participants.tsv, base, proportions{without}",
        "H2": f"participants.tsv, base, proportions{without}, outliers dropped from train",
        "H3": f"participants.tsv, deep, proportions{without}, outliers dropped from train",
    }


@pytest.mark.parametrize(("n", "words"), [(1234, "1,234 participants"), (1, "1 participant")])
def test_a_title_counts_the_participants_that_are_shown(n, words):
    assert _counted("participants.tsv, base", n, "test") == f"participants.tsv, base: {words}, test"


@pytest.mark.parametrize("best", ["mean", "median", "ridge-voxels", "ridge-histogram"])
def test_decades_show_the_networks_next_to_the_best_baseline_that_sees_no_more_than_the_image(best):
    rows, age = np.arange(30), np.linspace(20, 49, 30)
    constant = np.full(30, 35.0)
    errors = {"mean": 4, "median": 5, "linear": 1, "gp": 2, "ridge-voxels": 6, "ridge-histogram": 7, "chain": 8}
    errors[best] = 3
    predictions = [
        Predictions(model, "age_years", "test", rows, rows * 0, age, age + error, constant, constant)
        for model, error in errors.items()
    ]
    figure = _decades(predictions, "test", "x")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    baselines = [f"{best}, the best baseline"] if best == "mean" else ["mean", f"{best}, the best baseline"]
    assert sorted(labels[:-1]) == sorted([*baselines, "gp, from true volumes", "chain"])
    heights = {round(bar.get_height(), 9) for bar in figure.axes[0].patches}
    assert heights == {errors[model] for model in ("mean", best, "gp", "chain")}
