"""Classes keep apart: by colour, with every common kind of colour blindness, and by marker where colours run out."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from aekit.plotting.scatter import class_keys, draw_classes, draw_density
from aekit.plotting.style import CLASS_COLOURS, build_figure, class_style

# Machado, Oliveira & Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1: linear RGB as it is seen.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def _lab(colour, blindness):
    """Return CIE L*a*b* (D65) of a colour as it is seen."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(BLINDNESS[blindness]) @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = np.array(to_xyz) @ linear / [0.95047, 1, 1.08883]
    f = [v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _distances(pairs, blindness):
    return [np.linalg.norm(_lab(a, blindness) - _lab(b, blindness)) for a, b in pairs]


# A distance of 2.3 is just noticeable; matplotlib's own ten colours come down to 5 with deuteranopia.
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_ten_classes_have_colours_that_everyone_tells_apart(blindness):
    distances = _distances(combinations(CLASS_COLOURS[:10], 2), blindness)
    assert min(distances) > (35 if blindness == "none" else 20)


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_twenty_classes_have_colours_that_everyone_tells_apart_and_neighbours_with_ease(blindness):
    assert len(CLASS_COLOURS) == 20
    assert min(_distances(combinations(CLASS_COLOURS, 2), blindness)) > 10
    assert min(_distances(pairwise([*CLASS_COLOURS, CLASS_COLOURS[0]]), blindness)) > 25


def test_ten_classes_have_no_grey():
    assert min(np.hypot(*_lab(colour, "none")[1:]) for colour in CLASS_COLOURS[:10]) > 35


def test_twenty_classes_differ_by_colour_and_the_second_ten_by_marker():
    styles = [class_style(number) for number in range(20)]
    assert len({colour for colour, _ in styles}) == 20
    assert [marker for _, marker in styles] == ["o"] * 10 + ["^"] * 10


def test_eighty_classes_have_a_style_each():
    assert len({class_style(number) for number in range(80)}) == 80


def test_every_point_is_drawn_in_the_style_of_its_class():
    points = np.random.default_rng(0).normal(size=(300, 2))
    labels = np.arange(300) % 12
    axes = build_figure(3, 3).subplots()
    draw_classes(axes, points, labels)
    drawn = {}
    for collection in axes.collections:
        for place, colour in zip(collection.get_offsets(), collection.get_facecolors(), strict=True):
            drawn[tuple(np.round(place, 9))] = tuple(np.round(colour[:3], 6))
    assert len(drawn) == 300
    for place, label in zip(points, labels, strict=True):
        assert drawn[tuple(np.round(place, 9))] == tuple(np.round(to_rgb(class_style(label)[0]), 6))


def test_density_counts_points_in_cells_and_mixes_the_colours_of_their_classes():
    # Cell (0, 0) holds one point, (1, 0) a hundred of the same class, (1, 1) one of each class, (0, 1) none.
    points = np.array([[0.1, 0.1], *[[0.9, 0.2]] * 100, [0.9, 0.9], [0.8, 0.8]])
    labels = np.array([0] * 101 + [0, 1])
    axes = build_figure(3, 3).subplots()
    draw_density(axes, points, labels, x_range=(0.0, 1.0), y_range=(0.0, 1.0), n_cells=2)
    (image,) = axes.images
    cells = np.asarray(image.get_array())  # (rows from below, columns, RGBA)
    first, second = (np.array(to_rgb(class_style(kind)[0])) for kind in (0, 1))
    np.testing.assert_allclose(cells[0, 0, :3], first)
    np.testing.assert_allclose(cells[0, 1, :3], first)
    np.testing.assert_allclose(cells[1, 1, :3], (first + second) / 2)
    assert cells[1, 0, 3] == 0
    assert 0.2 < cells[0, 0, 3] < cells[1, 1, 3] < cells[0, 1, 3] <= 1
    assert image.get_extent() == [0.0, 1.0, 0.0, 1.0]
    assert image.origin == "lower"


def test_the_legend_names_the_classes_that_occur():
    keys = class_keys(np.array([2, 0, 2]), ["shirt", "bag", "boot"])
    assert [key.get_label() for key in keys] == ["shirt", "boot"]
