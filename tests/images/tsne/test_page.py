"""Maps as a page: its images, labels and legend, and the page in a real browser."""

from __future__ import annotations

import base64
import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from aekit.images.tsne.figure import EmbeddingPanel
from aekit.images.tsne.page import build_page


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


def test_the_page_records_its_parameters_and_loads_nothing():
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


def test_the_same_maps_give_the_same_bytes():
    labels = np.arange(60) % 3
    assert _page(_panels(2), labels=labels) == _page(_panels(2), labels=labels)


@pytest.mark.slow
def test_a_hundred_classes_have_no_legend_but_keep_their_names():
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


# Of each map: width and height of its frame as asked for and as drawn, and units of x and y per pixel.
_FRAMES = """[...Bokeh.documents[0]._all_models.values()].filter((model) => model.type === "Figure").map((figure) => [
  figure.frame_width, figure.frame_height, figure.inner_width, figure.inner_height,
  (figure.x_range.end - figure.x_range.start) / figure.inner_width,
  (figure.y_range.end - figure.y_range.start) / figure.inner_height])"""


def _hover(browser, reach=700, step=60):
    """Return what is shown next to the pointer over a grid on the page, wherever something is shown."""
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
    # The legend is to the right of the panel; wherever its entries are, clicking one hides a class.
    left, top = browser.run(_PLACE)
    x = left + browser.run(_FRAMES)[0][0] + 50
    for y in range(40, 140, 12):
        browser.mouse("click", x, top + y)
        shown = {tip["text"].split()[1] for _, _, tip in _hover(browser, step=120)}
        if len(shown) == 1:
            break
    assert shown == {"odd"}
    assert [address for address in browser.requests if not address.startswith(("file:", "data:"))] == []
    assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("n_panels", [1, 2])
def test_in_a_browser_maps_use_the_width_of_the_window_with_the_same_scale_on_both_axes(browser, tmp_path, n_panels):
    path = tmp_path / "page.html"
    path.write_text(_page(_panels(n_panels), labels=np.arange(60) % 3, names=["a", "b", "c"]))
    browser.open(path)
    width, overflow = browser.run("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    frames = browser.run(_FRAMES)
    assert len(frames) == n_panels
    assert overflow <= width
    assert sum(frame[0] for frame in frames) > 0.75 * width
    for frame in frames:
        assert frame[:2] == frame[2:4]
        assert frame[4] == pytest.approx(frame[5])
    assert browser.complaints == []
