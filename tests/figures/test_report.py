import json
import re
from html.parser import HTMLParser

import pytest

from aekit.artifacts import write_png
from aekit.figures.report import Bullets, Fact, Facts, Paragraph, Picture, Section, Table, build_report
from aekit.figures.style import build_figure, figure_style

NASTY = '<script>alert("x")</script> & $a_1$'


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    with figure_style():
        figure = build_figure(4, 2)
    return write_png(tmp_path_factory.mktemp("png") / "x.png", figure, {}).read_bytes()


class Reader(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def every_block(png, text):
    return [
        Paragraph(text),
        Bullets([text, text], are_warnings=True),
        Facts([Fact(text, text, text)]),
        Table([text, text], [[text, text]], caption=text, n_left=2, wrap=[text]),
        Picture(png, text, text),
    ]


def test_whatever_the_text_it_is_shown_and_never_run(png):
    sections = [Section(NASTY, every_block(png, NASTY)), Section(NASTY, []), Section("plain", [])]
    page = build_report(sections, title=NASTY, subtitle=NASTY, footer=NASTY, parameters={"table": NASTY})
    read = Reader(page)
    assert "script" not in {tag for tag, _ in read.tags}
    assert read.text.count(NASTY) >= 16
    meta = next(attrs for tag, attrs in read.tags if attrs.get("name") == "aekit")
    assert json.loads(meta["content"]) == {"table": NASTY}
    image = next(attrs for tag, attrs in read.tags if tag == "img")
    assert image["alt"] == NASTY


def test_the_page_needs_nothing_from_outside(png):
    page = build_report([Section("a", [Picture(png, "x")])], title="t", parameters={})
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "http" not in page
    assert "@import" not in page


def test_links_lead_to_sections_even_of_one_name():
    page = build_report([Section("Summary", []), Section("A b", []), Section("a B", [])], title="t", parameters={})
    read = Reader(page)
    links = [attrs["href"][1:] for tag, attrs in read.tags if tag == "a"]
    anchors = [attrs["id"] for tag, attrs in read.tags if tag == "section"]
    assert links == anchors[1:]
    assert len(set(anchors)) == 3


def test_numbers_are_aligned_right_and_what_is_missing_is_empty():
    table = Table(["name", "n", "x"], [["a", 12345, 0.123456], ["b", None, float("nan")], [True, 2, 3.0]], n_left=1)
    page = build_report([Section("s", [table])], title="t", parameters={})
    assert '<td class="left">a</td><td>12,345</td><td>0.1235</td>' in page
    assert '<td class="left">b</td><td></td><td></td>' in page
    assert '<td class="left">yes</td>' in page
    assert '<th class="left">name</th><th>n</th>' in page


def test_a_figure_is_shown_as_wide_as_it_was_drawn(png):
    page = build_report([Section("s", [Picture(png, "x")])], title="t", parameters={})
    image = next(attrs for tag, attrs in Reader(page).tags if tag == "img")
    assert (image["width"], image["height"]) == ("384", "192")  # 4 x 2 inches at 96 pixels


def test_the_same_report_has_the_same_bytes(png):
    made = [
        build_report([Section("s", every_block(png, "x"))], title="t", parameters={"b": 1, "a": 2}) for _ in range(2)
    ]
    assert made[0] == made[1]
