import numpy as np
import pandas as pd

from aekit.brains.figures.site_errors import plot_site_errors
from aekit.brains.figures.sites import MAX_SITES

NASTY = "$a_b$ <i>"
MODELS = ("mean", "gp", "chain")


def draw(n_sites):
    rows = [
        {
            "model": model, "site": f"site {number} {NASTY}", "n": 10 + number, "mae": 5.0, "mae_low": 4.0,
            "mae_high": 7.0, "bias": -1.0, "bias_low": np.nan, "bias_high": np.nan,
        }
        for number in range(n_sites)
        for model in ("mean", "chain")
    ]  # fmt: skip
    return plot_site_errors(pd.DataFrame(rows), MODELS, title=NASTY)


def test_no_text_is_cut_off_or_overlaps_another(check_readable):
    for n_sites in (2, 12):
        check_readable(draw(n_sites))


def test_the_largest_sites_are_drawn_and_models_that_are_not_there_have_no_entry(texts):
    figure = draw(45)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == MAX_SITES
    assert not any(label.startswith("site 0 ") for label in labels)  # one of the smallest
    assert {"mean", "chain"} <= set(texts(figure))
    assert "gp" not in texts(figure)
