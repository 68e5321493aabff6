import numpy as np
import pytest
from matplotlib.colors import to_hex

from aekit.brains.figures.sexes import (
    MAX_POINTS,
    choose_points,
    describe_choice,
    draw_sex_legend,
    scatter_by_sex,
    split_by_sex,
)
from aekit.plotting.style import BLUE, GREY, VERMILION, build_figure

SEX = np.array(["M", "F", np.nan, "M", "F", "F", None, "M"], dtype=object)


@pytest.fixture
def drawn():
    """Return what is drawn of the participants 0, 1, 2, 5 and 6: x, y and the points of each group."""
    x, y = np.arange(8.0), 10 * np.arange(8.0)
    axes = build_figure(3, 3).subplots()
    scatter_by_sex(axes, x, y, split_by_sex(SEX), np.array([0, 1, 2, 5, 6]))
    return x, y, axes.collections


def test_every_participant_is_in_exactly_one_group_and_no_group_is_empty():
    groups = split_by_sex(SEX)
    assert {key: np.flatnonzero(rows).tolist() for key, rows in groups.items()} == {
        "F": [1, 4, 5], "M": [0, 3, 7], "": [2, 6],
    }  # fmt: skip
    assert list(groups) == ["F", "M", ""]
    assert list(split_by_sex(SEX[[0, 3]])) == ["M"]


def test_the_sexes_have_a_colour_and_a_marker_of_their_own(drawn):
    _, _, collections = drawn
    colours = [to_hex(points.get_facecolor()[0], keep_alpha=False).upper() for points in collections]
    assert colours == [VERMILION, BLUE, GREY]
    shapes = {len(points.get_paths()[0]) for points in collections}
    assert len(shapes) == 3


def test_the_chosen_points_are_drawn_at_their_places_and_no_others(drawn):
    x, y, collections = drawn
    for points, rows in zip(collections, ([1, 5], [0], [2, 6]), strict=True):
        assert points.get_offsets().tolist() == np.column_stack([x, y])[rows].tolist()


def test_of_too_many_points_the_same_random_ones_are_chosen_without_repetition():
    shown = choose_points(200_000)
    assert len(np.unique(shown)) == len(shown) == MAX_POINTS
    assert (np.diff(shown) > 0).all()
    assert 0 <= shown[0] < shown[-1] < 200_000
    # Five standard errors of the mean of numbers that are uniform.
    assert abs(shown.mean() - 100_000) < 5 * 200_000 / np.sqrt(12 * MAX_POINTS)
    assert (shown == choose_points(200_000)).all()
    assert choose_points(MAX_POINTS).tolist() == list(range(MAX_POINTS))


def test_the_legend_counts_everyone_and_says_if_only_some_are_drawn():
    figure = build_figure(3, 3)
    note = describe_choice(np.arange(5), 8000)
    draw_sex_legend(figure, split_by_sex(SEX), lines=False, note=note)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["female (3)", "male (3)", "sex unknown (2)", "5 of 8,000 participants drawn; lines from all"]
    assert describe_choice(np.arange(8), 8) == ""
