"""Maps as a figure and as a page: panels, legends, the images of the page, and the page in a real browser."""

from __future__ import annotations

import base64
import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from aekit.images.tsne.figure import MAX_DOTS, EmbeddingPanel, plot_embeddings, point_size, square_range
from aekit.images.tsne.page import MAX_SIDE, build_page, reduce_images
from aekit.plotting.style import DPI, SMALL_FONT_SIZE, text_size


def _panels(n_panels=1, n_points=60, seed=0):
    rng = np.random.default_rng(seed)
    axis_names = ("t-SNE 1", "t-SNE 2")
    return [
        EmbeddingPanel(f"latent {number}", ("trustworthiness@5 0.99",), rng.standard_normal((n_points, 2)), axis_names)
        for number in range(n_panels)
    ]


def _images(n=60, shape=(1, 8, 8), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def _page(panels=None, images=None, labels=None, names=(), **other):
    images = _images() if images is None else images
    panels = _panels(n_points=len(images)) if panels is None else panels
    other = {"title": "Codes", "parameters": {"seed": 0}, **other}
    return build_page(panels, images, np.arange(len(images)) * 10, labels, names, **other)


def _facts(page):
    return json.loads(re.search(r'id="facts">(.*?)</script>', page)[1])


def _tiles(page):
    """Return the images of a page in their order, as a browser would cut them out of the sheets."""
    facts = _facts(page)
    sheets = [Image.open(io.BytesIO(base64.b64decode(sheet.partition(",")[2]))) for sheet in facts["sheets"]]
    width, height, tiles = facts["width"], facts["height"], []
    for number in range(len(facts["index"])):
        sheet, place = divmod(number, facts["per_sheet"])
        row, column = divmod(place, facts["columns"])
        box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
        tiles.append(np.asarray(sheets[sheet].crop(box)))
    return np.stack(tiles)


# --- the figure ---


@pytest.mark.parametrize("n_panels", [1, 3, 4, 20])
def test_a_panel_a_model_and_one_legend_that_covers_none(n_panels):
    labels = np.arange(60) % 12
    names = [f"a rather long class name {kind}" for kind in range(12)]
    figure = plot_embeddings(_panels(n_panels), labels, names, title="Codes")
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left").splitlines()[0] for axes in drawn] == [f"latent {n}" for n in range(n_panels)]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    box = legend.get_window_extent()
    for axes in drawn:
        assert not axes.get_window_extent().overlaps(box)
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


def test_no_title_is_wider_than_its_panel():
    panels = _panels(20)
    panels = [EmbeddingPanel("a-checkpoint-of-a-very-long-name-" * 3, *_rest(panel)) for panel in panels]
    figure = plot_embeddings(panels, None)
    for axes in figure.axes[:20]:
        widest = max(text_size(line, SMALL_FONT_SIZE)[0] for line in axes.get_title(loc="left").splitlines())
        assert widest <= axes.get_window_extent().width + 0.25 * DPI


def _rest(panel):
    return panel.measures, panel.points, panel.axis_names


def test_forty_seven_classes_share_the_height_of_the_figure_in_columns():
    labels = np.arange(470) % 47
    figure = plot_embeddings(_panels(n_points=470), labels, [f"class {kind}" for kind in range(47)])
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert box.x1 <= figure.bbox.x1
    styles = {(key.get_color(), key.get_marker()) for key in legend.legend_handles}
    assert len(styles) == 47


def test_without_labels_points_are_grey_and_there_is_no_legend():
    figure = plot_embeddings(_panels(), None)
    assert not figure.legends
    (points,) = figure.axes[0].collections
    assert len(np.unique(points.get_facecolors(), axis=0)) == 1


def test_distances_mean_the_same_along_both_axes():
    (x_low, x_high), (y_low, y_high) = square_range(np.array([[0.0, 5.0], [10.0, 6.0], [2.0, 4.0]]))
    assert x_high - x_low == pytest.approx(y_high - y_low)
    assert x_low < 0
    assert x_high > 10
    assert (y_low + y_high) / 2 == 5
    (low, high), _ = square_range(np.ones((3, 2)))
    assert low < 1 < high


def test_points_are_smaller_the_more_there_are():
    assert point_size(100, 6.0) > point_size(10_000, 6.0) > point_size(60_000, 6.0) >= 1.0


def test_more_points_than_a_panel_holds_are_drawn_as_density_in_a_small_file(tmp_path):
    places = np.random.default_rng(0).normal(size=(MAX_DOTS + 1, 2))
    labels = (places[:, 0] > 0).astype(np.int64)
    panel = EmbeddingPanel("", ("trustworthiness@5 0.99",), places, ("t-SNE 1", "t-SNE 2"))
    figure = plot_embeddings([panel], labels, ["left", "right"])
    figure.savefig(tmp_path / "x.png")
    assert not figure.axes[0].collections
    assert (tmp_path / "x.png").stat().st_size < 1e6
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB")).astype(int)
    row = pixels[len(pixels) // 2]
    assert (row[:100].sum(axis=1) > 600).mean() > 0.5  # light at the edge, where points are few
    assert row[350:450].sum(axis=1).min() < 500


# --- the page ---


def test_each_point_has_its_own_image_label_and_index():
    images = _images(1500)  # more than one sheet
    labels = np.random.default_rng(1).integers(0, 3, 1500)
    page = _page(images=images, labels=labels, names=["a", "b", "c"])
    facts, tiles = _facts(page), _tiles(page)
    rows = np.array(facts["index"]) // 10
    assert sorted(rows) == list(range(1500))
    assert (tiles == images[rows, 0]).all()
    assert facts["labels"] == labels[rows].tolist()
    assert len(facts["sheets"]) == 2


def test_images_in_colour_keep_their_colours():
    shades = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]], np.uint8)
    images = np.repeat(np.repeat(shades[np.arange(60) % 3][:, :, None, None], 16, 2), 16, 3)
    page = _page(images=images)
    rows = np.array(_facts(page)["index"]) // 10
    middle = np.s_[:, 4:12, 4:12]  # a lossy format may let neighbours shine through at the edges
    assert np.abs(_tiles(page).astype(int) - images[rows].transpose(0, 2, 3, 1))[middle].max() < 20


def test_large_images_are_reduced_by_averaging_and_small_ones_left_alone():
    small = _images(3, (3, MAX_SIDE, 10))
    assert reduce_images(small) is small
    large = np.zeros((2, 3, 96, 64), np.uint8)
    large[:, :, ::2] = 200
    reduced = reduce_images(large)
    assert reduced.shape == (2, 3, 48, 32)
    assert (reduced == 100).all()


def test_the_page_says_what_made_it_and_asks_for_nothing():
    page = _page(parameters={"name": '"quoted" & <b>'})
    meta = html.unescape(re.search(r'<meta name="aekit" content="(.*?)">', page)[1])
    assert json.loads(meta) == {"name": '"quoted" & <b>'}
    tags = re.findall(
        r"<(?:script|link|img|iframe)\b[^>]*>", re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.S)
    )
    assert [tag for tag in tags if "//" in tag or "src" in tag] == []
    assert len(tags) >= 4


def test_the_name_of_a_class_cannot_break_the_page():
    names = ["</script><script>alert(1)</script>", "$x^2$ & <i>"]
    page = _page(labels=np.arange(60) % 2, names=names, title="<u>")
    assert "<script>alert" not in page
    assert "<h1>&lt;u&gt;</h1>" in page
    assert _facts(page)["names"] == names
    # Text between two dollars twice is a formula to bokeh, for which it would fetch MathJax.
    page = _page(_panels(2), labels=np.arange(60) % 2, names=["$$x$$", r"\[y\]"])
    assert not re.search(r"\$\$|\\\[", page.partition('id="plots">')[2])


def test_the_same_maps_give_the_same_bytes():
    labels = np.arange(60) % 3
    assert _page(_panels(2), labels=labels) == _page(_panels(2), labels=labels)


def test_a_hundred_classes_go_without_a_legend_but_keep_their_names():
    page = _page(images=_images(300), labels=np.arange(300) % 100)
    assert '"Legend"' not in page.partition('id="plots">')[2]
    assert "Click a class" not in page
    assert len(_facts(page)["names"]) == 100


# --- the page in a browser ---

_LOOK = """(() => {
  const tip = document.getElementById("tip"), image = document.getElementById("tip-image");
  if (tip.style.display !== "block") return null;
  return {text: document.getElementById("tip-text").textContent, source: image.style.backgroundImage.slice(5, -2),
          place: image.style.backgroundPosition, size: image.getBoundingClientRect().width};
})()"""
_PLACE = "(() => { const r = document.getElementById('plots-here').getBoundingClientRect(); return [r.x, r.y]; })()"


def _hover(browser, reach=700, step=60):
    """Return what is shown beside the pointer, wherever it shows something, over a grid on the page."""
    left, top = browser.run(_PLACE)
    found = []
    for x in range(60, reach, step):
        for y in range(60, reach, step):
            browser.mouse("mouseMoved", left + x, top + y)
            if (seen := browser.run(_LOOK)) is not None:
                found.append((x, y, seen))
    return found


@pytest.mark.slow
def test_in_a_browser_hovering_shows_the_image_and_a_legend_click_hides_its_class(browser, tmp_path):
    images = _images(600)
    labels = np.arange(600) % 2
    path = tmp_path / "page.html"
    path.write_text(_page(images=images, labels=labels, names=["even", "odd"]))
    browser.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    browser.open(path)
    seen = _hover(browser)
    assert len(seen) > 10
    for _, _, tip in seen:
        name, index = re.fullmatch(r"label (\w+)\nindex (\d+)", tip["text"]).groups()
        row = int(index) // 10
        assert name == ("odd" if row % 2 else "even")
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(tip["source"].partition(",")[2]))))
        scale = round(tip["size"] / 8)
        x, y = (-int(part.removesuffix("px")) // scale for part in tip["place"].split())
        assert (sheet[y : y + 8, x : x + 8] == images[row, 0]).all()
    # The legend stands to the right of the panel; wherever its entries are, a click on one hides a class.
    left, top = browser.run(_PLACE)
    for y in range(40, 140, 12):
        browser.mouse("click", left + 670, top + y)
        shown = {tip["text"].split()[1] for _, _, tip in _hover(browser, step=120)}
        if len(shown) == 1:
            break
    assert shown == {"odd"}
    assert [address for address in browser.requests if not address.startswith(("file:", "data:"))] == []
    assert browser.complaints == []
