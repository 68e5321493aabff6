import numpy as np

from aekit.brains.figures.measures import Estimate
from aekit.brains.figures.sites import MAX_SITES, plot_sites

AGE = np.random.default_rng(0).uniform(10, 80, 60)
NASTY = "$a_b$ <i>"


def draw_sites():
    ages = {f"site {number} {NASTY}": AGE[number:] for number in range(45)}
    rows = [Estimate(name, 0.1, -0.2, 0.4) for name in ages]
    return plot_sites(ages, {"grey matter": rows, "CSF": rows}, title=NASTY)


def test_no_text_is_cut_off_or_overlaps_another(check_readable):
    check_readable(draw_sites())


def test_only_the_largest_sites_are_drawn():
    labels = [text.get_text() for text in draw_sites().axes[0].get_yticklabels()]
    assert len(labels) == MAX_SITES
