from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from aekit.brains.figures.residuals import plot_residuals
from aekit.brains.figures.sexes import GROUPS

LONG = "Gaussian process on the true tissue volumes $of$ this cohort, and a few words more"


def _residuals(n: int = 90, *, sites: int = 3, site_name: str = "S", title: str = "") -> Figure:
    generator = np.random.default_rng(1)
    site = np.array([f"{site_name}{i % max(sites, 1)}" for i in range(n)], dtype=object)
    sex = np.array(["F", "M", None] * n, dtype=object)[:n]
    ages = generator.uniform(20, 80, n)
    return plot_residuals(generator.normal(0, 6, n), age_years=ages, sex=sex, site=site if sites else None, title=title)


FIGURES = {
    "residuals": lambda: _residuals(title=LONG),
    "residuals-no-site": lambda: _residuals(sites=0),
    "residuals-40-long-sites": lambda: _residuals(400, sites=40, site_name="University hospital number ", title="t"),
    "residuals-one-person": lambda: _residuals(1, sites=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_overlaps_another(name, check_readable):
    check_readable(FIGURES[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residuals"])
def test_the_same_call_makes_the_same_bytes_whatever_the_users_settings(name, png):
    expected = png(FIGURES[name]())
    with mpl.rc_context({"font.size": 20, "figure.dpi": 60, "axes.grid": False, "boxplot.notch": True}):
        assert png(FIGURES[name]()) == expected


def test_residuals_by_age_are_joined_by_means_of_equal_sized_bins():
    ages = np.linspace(20, 80, 120)
    residuals = 10 - 0.2 * ages
    figure = plot_residuals(residuals, age_years=ages, sex=["F", "M"] * 60)
    line = figure.axes[0].lines[0]
    assert len(line.get_xdata()) == 10
    assert line.get_ydata() == pytest.approx(10 - 0.2 * np.asarray(line.get_xdata()))
    assert len(figure.axes) == 2


def test_every_participant_is_a_point_at_their_sex_and_site():
    figure = _residuals(90, sites=3)
    for axes, groups in zip(figure.axes[1:], (3, 3), strict=True):
        assert [len(points.get_offsets()) for points in axes.collections] == [30] * groups
        for place, points in enumerate(axes.collections):
            assert (np.abs(points.get_offsets()[:, 0] - place) < 0.5).all()
    labels = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert labels == ["F\n(30)", "M\n(30)", "missing\n(30)"]


def test_the_sexes_have_the_colours_of_the_cohort_report():
    axes = _residuals(90, sites=0).axes[1]
    drawn = [to_hex(points.get_facecolor()[0]).upper() for points in axes.collections]
    assert drawn == [GROUPS[name].colour for name in ("F", "M", "")]


@pytest.mark.slow
def test_of_many_sites_the_largest_are_shown_and_the_title_says_so():
    sizes = 1 + np.random.default_rng(0).permutation(40)
    site = np.repeat([f"S{i}" for i in range(40)], sizes)
    ages = np.random.default_rng(1).uniform(20, 80, len(site))
    axes = plot_residuals(ages - 50, age_years=ages, sex=["F"] * len(site), site=site).axes[2]
    counts = [len(points.get_offsets()) for points in axes.collections]
    assert sorted(counts) == list(range(29, 41))
    names = [label.get_text().splitlines()[0] for label in axes.get_xticklabels()]
    assert [int(name[1:]) for name in names] == sorted(int(name[1:]) for name in names)
    assert counts == [sizes[int(name[1:])] for name in names]
    assert axes.get_title(loc="left") == "the 12 largest of 40 sites"
    long = _residuals(40, sites=4, site_name="University hospital number ").axes[2]
    names = [label.get_text() for label in long.get_xticklabels()]
    assert len(set(names)) == 4
    assert names[1] == "University hos…umber 1\n(10)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "mean"), [(16, "mean of all with 95 % interval"), (90, "means by age, of equal numbers")]
)
def test_the_legend_explains_points_means_and_boxes(n, mean):
    words = [text.get_text() for text in _residuals(n).legends[0].get_texts()]
    assert [text[:30] for text in words] == ["a participant", mean, "median, quartiles, and whisker"]


@pytest.mark.slow
def test_a_hundred_thousand_participants_are_drawn_as_pixels(png):
    figure = _residuals(100_000, sites=3)
    assert all(points.get_rasterized() for axes in figure.axes for points in axes.collections[:1])
    assert len(png(figure)) < 600_000
