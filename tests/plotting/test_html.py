import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from aekit.core.artifacts import write_png
from aekit.plotting.html import (
    Bullets,
    Code,
    Details,
    Fact,
    Facts,
    Link,
    Paragraph,
    Picture,
    Row,
    Section,
    Subsection,
    Table,
    build_report,
)
from aekit.plotting.style import build_figure, figure_style

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
    assert "://" not in page
    assert "@import" not in page


def test_links_lead_to_sections_even_of_one_name():
    names = ("Summary", "A b", "a B")
    page = build_report([Section(name, [Paragraph("x")]) for name in names], title="t", parameters={})
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


def test_blocks_within_blocks_are_shown_and_never_run():
    inner = [Code(NASTY), Table([NASTY], [[NASTY]]), Paragraph("half a pair: \ud800")]
    part = Subsection(NASTY, "_1", [Details(NASTY, inner), Row([inner, [Paragraph(NASTY)]])])
    link = Table(["to"], [[Link(NASTY, "_1")]])
    page = build_report(
        [Section("a", [link]), Section("b", [part]), Section("c", [Paragraph("x")])], title="t", parameters={}
    )
    read = Reader(page)
    assert "script" not in {tag for tag, _ in read.tags}
    assert read.text.count(NASTY) == 11
    assert [attrs["href"] for tag, attrs in read.tags if tag == "a"] == ["#b", "#_1", "#c", "#_1"]
    assert page.encode().decode() == page


def test_a_table_to_sort_is_aligned_by_what_is_in_its_columns_and_keeps_all_digits():
    rows = [["a", 0.123456789, "7", True, 12345.678], ["", float("nan"), "", False, 2.5]]
    page = build_report(
        [Section("s", [Table(["w", "x", "n", "y", "big"], rows, n_left=None, sortable=True)])], title="t", parameters={}
    )
    assert '<td class="left">a</td><td title="0.123456789">0.1235</td><td>7</td><td class="left">yes</td>' in page
    assert '<td title="12345.678">12,346</td>' in page
    assert '<td class="left"></td><td></td><td></td><td class="left">no</td><td>2.5</td>' in page


def test_only_the_style_and_script_of_the_page_are_allowed():
    for sortable in (False, True):
        table = Table(["x"], [[1]], sortable=sortable)
        page = build_report([Section("s", [table])], title="t", parameters={})
        allowed = set(re.findall(r"'sha256-([^']*)'", page))
        own = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", page, flags=re.DOTALL)
        assert allowed == {b64encode(sha256(text.encode()).digest()).decode() for text in own}
        assert len(own) == 1 + sortable


def test_what_holds_nothing_has_no_heading_and_is_not_in_the_contents():
    nothing = [Paragraph(" "), Bullets([]), Facts([]), Code(""), Table(["a"], []), Row([[], [Paragraph("")]])]
    empty = [*nothing, Details("empty details", nothing), Subsection("empty part", "_1", nothing)]
    full = [*empty, Subsection("part", "_2", [*nothing, Details("details", [Code("x")])])]
    sections = [Section("Summary", [Paragraph("x")]), Section("empty section", empty), Section("section", full)]
    read = Reader(build_report([*sections, Section("last", [Paragraph("x")])], title="t", parameters={}))
    assert "empty" not in read.text
    links = {attrs["href"][1:] for tag, attrs in read.tags if tag == "a"}
    assert links == {"section", "last", "_2"}
    assert {"table", "ul", "p"} & {tag for tag, _ in read.tags} == {"p", "ul"}  # of the contents, and three texts
    assert [tag for tag, _ in read.tags].count("p") == 2
