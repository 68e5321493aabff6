"""Interactive maps: each dot is at the place and in the style of its image, and panels are linked."""

from __future__ import annotations

import numpy as np
import pytest

from aekit.images.tsne import plots
from aekit.images.tsne.figure import EmbeddingPanel, square_range
from aekit.plotting.style import CLASS_COLOURS, GREY, class_style

KINDS = np.sort(np.array([0, 0, 2, 2, 2, 11, 11]))
ORDER = np.array([3, 5, 0, 6, 1, 4, 2])
PANELS = [
    EmbeddingPanel(f"latent {number}", ("first", "second"), points, ("t-SNE 1", "t-SNE 2"))
    for number, points in enumerate(np.random.default_rng(0).standard_normal((2, 7, 2)))
]


@pytest.fixture(scope="module")
def points():
    return plots._build_points(PANELS, KINDS, ORDER)


@pytest.fixture(scope="module")
def drawn(points):
    """Return the figure of each panel and what is drawn in it, a renderer per kind."""
    figures = [plots._build_figure(panel, 2) for panel in PANELS]
    renderers = [
        plots._draw_points(figure, panel, number, points, is_grey=False)
        for number, (figure, panel) in enumerate(zip(figures, PANELS, strict=True))
    ]
    plots._add_legend(figures[0], renderers, ["nought", "$$x$$", "eleven"])
    return figures, renderers


def test_a_dot_is_at_the_place_of_the_image_whose_number_it_shows(points):
    # The script shows image starts[kind] + i for the dot i of a kind; image n of the page is row ORDER[n] of the maps.
    for kind, start, source in zip(points.kinds, points.starts, points.sources, strict=True):
        numbers = start + np.arange(len(source.data["x0"]))
        assert (KINDS[numbers] == kind).all()
        for number, panel in enumerate(PANELS):
            places = np.column_stack([source.data[f"x{number}"], source.data[f"y{number}"]])
            np.testing.assert_allclose(places, panel.points[ORDER[numbers]], rtol=1e-6)
    assert sum(len(source.data["x0"]) for source in points.sources) == len(KINDS)


def test_kinds_have_the_colours_and_shapes_of_the_figure(points, drawn):
    _, (renderers, _) = drawn
    assert points.kinds == [0, 2, 11]
    assert [each.glyph.fill_color for each in renderers] == [class_style(kind)[0] for kind in (0, 2, 11)]
    # The twelfth class has the second colour again, with the second shape.
    assert (renderers[2].glyph.fill_color, renderers[2].glyph.marker) == (CLASS_COLOURS[11], "triangle")
    assert [each.glyph.marker for each in renderers[:2]] == ["circle", "circle"]


def test_images_without_labels_are_grey(drawn):
    alone = plots._build_points(PANELS[:1], np.zeros(7, np.int64), ORDER)
    (renderer,) = plots._draw_points(drawn[0][1], PANELS[0], 0, alone, is_grey=True)
    assert renderer.glyph.fill_color == GREY
    assert alone.ring is None  # with one panel there is no other place to mark


def test_both_axes_of_a_panel_have_the_same_scale_and_its_title_is_above_its_measures(drawn):
    for figure, panel in zip(drawn[0], PANELS, strict=True):
        x, y = square_range(panel.points)
        assert (figure.x_range.start, figure.x_range.end) == x
        assert (figure.y_range.start, figure.y_range.end) == y
        assert figure.frame_width == figure.frame_height
        # Each is put above those before it.
        assert [title.text for title in figure.above] == ["second", "first", panel.title]


def test_a_class_that_is_hidden_in_the_legend_is_hidden_in_every_panel(drawn):
    figures, (own, other) = drawn
    (legend,) = figures[0].legend
    assert [item.renderers for item in legend.items] == [[renderer] for renderer in own]
    assert not figures[1].legend
    for source, target in zip(own, other, strict=True):
        (callback,) = source.js_property_callbacks["change:visible"]
        assert callback.args["other"] is target


@pytest.mark.parametrize("text", ["$$x$$", r"\[y\]", r"\(z\)", "$$$", "a $5 note", "plain"])
def test_a_text_looks_the_same_but_is_no_formula_for_which_bokeh_would_fetch_mathjax(text):
    shown = plots._no_formula(text)
    assert shown.replace("\u200b", "") == text
    assert not any(mark in shown for mark in ("$$", r"\[", r"\("))


def test_a_title_and_a_legend_hold_no_formula(drawn):
    figure = plots._build_figure(EmbeddingPanel("$$x$$", (r"\[y\]",), PANELS[0].points, ("a", "b")), 1)
    texts = [title.text for title in figure.above] + [item.label.value for item in drawn[0][0].legend.items]
    assert len(texts) == 5
    assert not any(mark in text for mark in ("$$", r"\[") for text in texts)


def test_models_are_numbered_from_one_whatever_bokeh_counted_before():
    def item(first, second):
        inner = {"id": second, "attributes": {"text": "p1002"}}
        return {"root_id": first, "doc": [{"id": first, "children": [inner, {"id": second}]}]}

    plain = plots._with_plain_ids(item("p1001", "p1002"))
    assert plain == plots._with_plain_ids(item("p7", "p9"))
    (root,) = plain["doc"]
    assert (plain["root_id"], root["id"], [child["id"] for child in root["children"]]) == ("m1", "m1", ["m2", "m2"])
    assert root["children"][0]["attributes"] == {"text": "p1002"}  # only ids are numbered anew
