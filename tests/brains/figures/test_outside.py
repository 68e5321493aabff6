"""One absurd scan or age leaves the axes of every figure where they are, and is named at their edge."""

import numpy as np
import pandas as pd
import pytest

from aekit.brains.figures.ages import plot_ages, plot_split
from aekit.brains.figures.errors import plot_decades
from aekit.brains.figures.measures import Estimate, plot_against_age, plot_brain_volume, plot_distributions
from aekit.brains.figures.outliers import plot_outliers
from aekit.brains.figures.predictions import Predicted, plot_bland_altman, plot_predictions
from aekit.brains.figures.residuals import plot_residuals
from aekit.brains.figures.site_errors import plot_site_errors
from aekit.brains.figures.sites import plot_sites
from aekit.brains.measures.regression import by_group, decades

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

N = 80
ABSURD = 7  # the row of the participant that the figures get as it is, or absurd
IDS = [f"sub-{row:03d}" for row in range(N)]
SEX = np.array(["F", "M"] * (N // 2), object)


def sample(seed=0):
    generator = np.random.default_rng(seed)
    age = generator.uniform(20, 70, N)
    return age, age + generator.normal(0, 5, N), 1400 + generator.normal(0, 90, N), generator.normal(size=(N, 3))


def distributions(absurd):
    values = sample()[2]
    values[ABSURD] = 7005 if absurd else values[ABSURD]
    return plot_distributions(values[:, None], SEX, names=["total"], ids=IDS)


def against_age(absurd):
    age, _, values, _ = sample()
    values[ABSURD] = 7005 if absurd else values[ABSURD]
    return plot_against_age(age, values[:, None], SEX, names=["total"], trends=[{}], ids=IDS)


def brain_volume(absurd):
    table = sample()[2]
    scan = 1.1 * table
    scan[ABSURD] = 7005 if absurd else scan[ABSURD]
    return plot_brain_volume(table, scan, SEX, slope=1.1, caption="r", ids=IDS)


def ages(absurd):
    age = sample()[0]
    age[ABSURD] = 300 if absurd else age[ABSURD]
    return plot_ages(age, SEX, mean_years=45, median_years=45, ids=IDS)


def split(absurd):
    age = sample()[0]
    age[ABSURD] = 300 if absurd else age[ABSURD]
    return plot_split(age, SEX, np.array(["train", "test"] * (N // 2), object), ids=IDS)


def predicted(absurd):
    age, prediction, _, _ = sample()
    prediction[ABSURD] = 300 if absurd else prediction[ABSURD]
    return Predicted("chain", age, prediction, ["test"] * N, ids=IDS)


def residuals(absurd):
    panel = predicted(absurd)
    return plot_residuals(panel.prediction - panel.truth, age_years=panel.truth, sex=SEX, site=SEX, ids=IDS)


def outliers(absurd):
    z = sample()[3]
    z[ABSURD, 1] = 500 if absurd else z[ABSURD, 1]
    flagged = np.abs(z).max(axis=1) > 4.5
    squared = np.square(z).sum(axis=1)
    return plot_outliers(z, squared, flagged, names=["a", "b", "c"], ids=IDS, z_limit=4.5, squared_limit=18.0)


def bars(absurd):
    panel = predicted(False)
    groups = decades(panel.truth)
    errors = {str(shift): by_group(panel.truth, panel.prediction + shift, groups) for shift in range(4)}
    if absurd:
        prediction = panel.prediction.copy()
        prediction[ABSURD] += 9000
        errors["0"] = by_group(panel.truth, prediction, groups)
    return plot_decades(errors)


def errors_of_sites(absurd):
    rows = [
        {"model": "chain", "site": f"s{n}", "n": 9, "mae": 5.0 + 0.3 * n, "mae_low": 4.0, "mae_high": 9.0,
         "bias": 0.2 * n, "bias_low": -1.0, "bias_high": 3.0}
        for n in range(8)
    ]  # fmt: skip
    if absurd:
        rows[3] |= {
            "mae": 250.0,
            "mae_low": 100.0,
            "mae_high": 900.0,
            "bias": -250.0,
            "bias_low": -900.0,
            "bias_high": -90.0,
        }
    return plot_site_errors(pd.DataFrame(rows), ["chain"])


def sites(absurd):
    own = [Estimate(f"s{n}", 0.05 * n, 0.05 * n - 0.3, 0.05 * n + 0.3) for n in range(8)]
    if absurd:
        own[3] = Estimate("s3", 40.0, 20.0, 60.0)
    return plot_sites({f"s{n}": sample(n)[0] for n in range(8)}, {"grey matter": own})


FIGURES = {
    "distributions": (distributions, "sub-007: 7,005"),
    "against age": (against_age, "sub-007: 7,005"),
    "brain volume": (brain_volume, "sub-007: 7,005"),
    "ages": (ages, "sub-007: 300"),
    "split": (split, "sub-007: 300"),
    "predictions": (lambda absurd: plot_predictions([predicted(absurd)]), "sub-007: 300"),
    "agreement": (lambda absurd: plot_bland_altman([predicted(absurd)]), "sub-007: 2"),
    "residuals": (residuals, "sub-007: 2"),
    "outliers": (outliers, "sub-007: 500"),
    "bars": (bars, "↑"),
    "errors of sites": (errors_of_sites, "s3, chain: 250"),
    "sites": (sites, "s3: 40"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_one_absurd_value_leaves_the_axes_where_they_are_and_is_named(name, texts):
    draw, label = FIGURES[name]
    usual, figure = draw(False), draw(True)
    for before, after in zip(usual.axes, figure.axes, strict=True):
        for old, new in ((before.get_xlim(), after.get_xlim()), (before.get_ylim(), after.get_ylim())):
            assert np.abs(np.subtract(old, new)).max() <= 0.06 * abs(old[1] - old[0])
    assert any(text.startswith(label) for text in texts(figure))
    assert not any(text.startswith(label) for text in texts(usual))


@pytest.mark.parametrize("name", FIGURES)
def test_with_an_absurd_value_no_text_is_cut_off_or_overlaps_another(name, check_readable):
    check_readable(FIGURES[name][0](True))
