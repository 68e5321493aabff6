import numpy as np
import pytest
from matplotlib.colors import to_hex

from aekit.brains.figures.splits import (
    build_panels,
    draw_points,
    point_size,
    split_key,
    split_names,
    split_style,
    to_names,
)
from aekit.plotting.style import CLASS_COLOURS, build_figure

KNOWN = ("train", "val", "cv", "test", "dropped")


def test_known_splits_come_in_their_usual_order_and_others_as_they_appear():
    labels = ["site B", "test", None, "train", "site A", "test", float("nan"), "val"]
    assert split_names(labels) == ["train", "val", "test", "site B", "missing", "site A"]
    assert to_names([None, "a", float("nan"), 3]).tolist() == ["missing", "a", "missing", "3"]


@pytest.mark.parametrize("split", [*KNOWN, "site A", "missing"])
def test_points_look_as_the_legend_says(split):
    axes = build_figure(2, 2).subplots()
    draw_points(axes, np.arange(3.0), np.arange(3.0), split)
    key = split_key(split)
    axes.scatter([0], [0], marker=key.get_marker())
    points, by_key = axes.collections
    assert to_hex(points.get_facecolor()[0]) == to_hex(key.get_color())
    assert np.array_equal(points.get_paths()[0].vertices, by_key.get_paths()[0].vertices)


def test_no_other_split_has_the_colour_of_a_known_one():
    known = {to_hex(split_style(split)[0]) for split in KNOWN}
    others = {to_hex(split_style(f"site {number}")[0]) for number in range(200)}
    assert len(others) == 8
    # Nor one of the two class colours that look much like the blue of train and the vermilion of val.
    assert not (known | set(CLASS_COLOURS[:2])) & others


def test_a_long_name_is_shortened_in_the_legend():
    label = split_key("University hospital of a very long name, site 12").get_label()
    assert len(label) == 40
    assert label.endswith("site 12")


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (5, 2, 3), (7, 2, 4)])
def test_panels_fill_rows_of_at_most_four_and_what_is_left_is_blank(n, rows, columns):
    figure, panels = build_panels(n, width=2.0, height=1.5)
    assert len(panels) == n
    assert [axes for axes in figure.axes if axes.get_visible()] == panels
    assert panels[0].get_subplotspec().get_gridspec().get_geometry() == (rows, columns)
    assert figure.get_size_inches().tolist() == [max(2 * columns, 3.5), 1.5 * rows + 0.3]


def test_the_area_of_a_marker_falls_with_the_square_root_of_their_number_within_limits():
    assert [point_size(n) for n in (0, 1, 100)] == [16, 16, 16]
    assert point_size(400) == pytest.approx(8)
    assert point_size(900) / point_size(3600) == pytest.approx(2)
    assert point_size(10**7) == 1
