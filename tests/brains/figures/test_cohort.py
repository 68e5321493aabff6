import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from aekit.brains.figures import cohort
from aekit.brains.figures.cohort import Estimate, Trend
from aekit.plotting.style import BLUE, GREY, VERMILION

N = 60
GENERATOR = np.random.default_rng(0)
AGE = GENERATOR.uniform(10, 80, N)
SEX = np.array(["F", "M"] * 29 + [np.nan, "F"], dtype=object)
VALUES = np.column_stack([700 - AGE, 500 + GENERATOR.normal(0, 20, N), 200 + AGE])
VALUES[3, 1] = np.nan
NASTY = "$a_b$ <i>"


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text")) if text.get_visible()]


def inside(figure):
    """Return whether all that is drawn lies on the figure, to 0.02 inches."""
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02


def draw_ages():
    return cohort.plot_ages(AGE, SEX, mean_years=44.0, median_years=46.0, title=NASTY)


def draw_distributions():
    return cohort.plot_distributions(VALUES, SEX, names=["a", "b", NASTY], unit="mL", title=NASTY)


def draw_correlations():
    matrix = np.array([[1.0, -0.5], [-0.5, np.nan]])
    return cohort.plot_correlations(
        [matrix, matrix], [["age", NASTY], ["age", "b"]], captions=["volumes", "proportions"], title=NASTY
    )


def draw_against_age():
    line = Trend(np.array([10.0, 80]), np.array([690.0, 620]), np.array([680.0, 610]), np.array([700.0, 630]))
    return cohort.plot_against_age(
        AGE, VALUES, SEX, names=["a", "b", "c"], trends=[{"F": line, "M": line}, {}, {"": line}], unit="mL", title=NASTY
    )


def draw_sex_differences():
    rows = [Estimate("grey matter", 1.2, 0.9, 1.5, "volumes"), Estimate(NASTY, 0.1, -0.2, 0.3, "proportions")]
    return cohort.plot_sex_differences(rows, rows, title=NASTY)


def draw_sites():
    ages = {f"site {number} {NASTY}": AGE[number:] for number in range(45)}
    rows = [Estimate(name, 0.1, -0.2, 0.4) for name in ages]
    return cohort.plot_sites(ages, {"grey matter": rows, "CSF": rows}, title=NASTY)


def draw_outliers():
    z = GENERATOR.normal(size=(N, 3))
    flagged = np.zeros(N, dtype=bool)
    flagged[:12] = True
    squared = np.square(z).sum(axis=1)
    squared[0] = np.nan
    return cohort.plot_outliers(
        z,
        squared,
        flagged,
        names=["a", "b", "c"],
        ids=[f"participant-with-a-long-name-{NASTY}-{i}" for i in range(N)],
        z_limit=3.5,
        squared_limit=16.3,
        title=NASTY,
    )


def draw_split():
    return cohort.plot_split(AGE, SEX, np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10, dtype=object))


def draw_brain_volume():
    total = VALUES.sum(axis=1)
    return cohort.plot_brain_volume(total, 1.1 * total, SEX, slope=1.1, caption="r = 1.000", title=NASTY)


@pytest.mark.parametrize(
    "draw",
    [
        draw_ages,
        draw_distributions,
        draw_correlations,
        draw_against_age,
        draw_sex_differences,
        draw_sites,
        draw_outliers,
        draw_split,
        draw_brain_volume,
    ],
)
def test_no_text_leaves_the_figure_or_is_read_as_mathematics(draw):
    figure = draw()
    assert inside(figure)
    figure.savefig(io.BytesIO(), format="png", dpi=50)


def test_the_bars_of_the_age_histogram_hold_everybody_once():
    figure = draw_ages()
    axes = figure.axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == N
    assert "women (30)" in texts(figure)
    assert "men (29)" in texts(figure)
    assert "sex not known (1)" in texts(figure)


def test_the_sexes_have_a_colour_and_a_marker_of_their_own():
    figure = draw_against_age()
    colours = [to_hex(points.get_facecolor()[0], keep_alpha=False).upper() for points in figure.axes[0].collections[:3]]
    assert colours == [VERMILION, BLUE, GREY]
    shapes = {len(points.get_paths()[0]) for points in figure.axes[0].collections[:3]}
    assert len(shapes) == 3


def test_a_large_cohort_is_thinned_and_says_so():
    n = 20_000
    age = np.random.default_rng(1).uniform(10, 80, n)
    sex = np.array(["F", "M"] * (n // 2), dtype=object)
    figure = cohort.plot_against_age(age, age[:, None], sex, names=["a"], trends=[{}])
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == cohort.MAX_POINTS
    assert "5,000 of 20,000 people drawn; lines from all" in texts(figure)


def test_absurd_values_do_not_press_the_others_into_a_line():
    values = np.r_[GENERATOR.normal(700, 50, N - 1), 7e5][:, None]
    against = cohort.plot_against_age(AGE, values, SEX, names=["a"], trends=[{}]).axes[0]
    assert against.get_ylim()[1] < 2000
    distribution = cohort.plot_distributions(values, SEX, names=["a"]).axes[0]
    assert distribution.get_xlim()[1] < 2000


def test_a_cohort_of_equal_values_is_drawn():
    same = np.full((5, 1), 3.0)
    sex = np.array(["F"] * 5, dtype=object)
    cohort.plot_distributions(same, sex, names=["a"])
    cohort.plot_ages(np.full(5, 21.0), sex, mean_years=21, median_years=21)
    nobody = np.full((5, 1), np.nan)
    cohort.plot_distributions(nobody, sex, names=["a"])


def test_only_the_largest_sites_are_drawn():
    labels = [text.get_text() for text in draw_sites().axes[0].get_yticklabels()]
    assert len(labels) == cohort.MAX_SITES
