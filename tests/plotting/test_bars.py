"""Bars: the largest first, named after their dimension, coloured by activity."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex

from aekit.plotting.bars import plot_kl_per_dimension
from aekit.plotting.style import BLUE, GREY


def test_dimensions_are_ordered_and_coloured_by_activity():
    axes = plot_kl_per_dimension(np.array([0.0, 3.0, 1.0]), np.array([False, True, True])).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [3.0, 1.0, 0.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "0"]
    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == [BLUE, BLUE, GREY.upper()]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["active (2)", "inactive (1)"]


@pytest.mark.parametrize("latent", [2, 30, 60, 100, 300])
def test_labels_of_dimensions_never_touch(latent):
    figure = plot_kl_per_dimension(np.linspace(0, 1, latent), np.ones(latent, bool))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
