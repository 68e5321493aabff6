"""The style of a page covers what is on it and can be read; its script sorts tables."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from dataclasses import replace

import pytest

from aekit.plotting.html import (
    Bullets,
    Code,
    Fact,
    Facts,
    Paragraph,
    Picture,
    Row,
    Section,
    Table,
    build_report,
)
from aekit.plotting.html_style import ROWS_ON_PAPER, STYLE


def _theme(text):
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", text))


LIGHT, DARK = map(_theme, STYLE.split("@media screen and (prefers-color-scheme: dark)"))


def _luminance(colour):
    """Return the relative luminance of a colour, #rgb or #rrggbb; source: WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_black_and_white_is_as_defined():
    assert _contrast("#000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_have_the_contrast_that_wcag_asks_for(theme):
    for text in ("ink", "soft", "accent"):
        for ground in ("paper", "tint"):
            assert _contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
    assert _contrast(theme["ink"], theme["warning"]) >= 4.5
    assert _contrast(theme["warn"], theme["paper"]) >= 3  # not a text


def test_both_themes_define_every_colour_that_is_used():
    assert set(LIGHT) == set(DARK) == set(re.findall(r"var\(--([a-z]+)\)", STYLE))


def test_every_class_of_a_page_has_a_style_and_every_style_a_class():
    png = b"\x89PNG" + bytes(12) + struct.pack(">II", 4, 2)
    long = Table(["a", "b"], [[1, "x"]] * (ROWS_ON_PAPER + 1), "caption", n_left=None, wrap=["b"], sortable=True)
    blocks = [
        Bullets(["x"], are_warnings=True),
        Facts([Fact("a", "1", "b")]),
        Row([[long], [Code("x", wrap=True)]]),
        Picture(png, "x", "y", has_pixels=True),
    ]
    page = build_report([Section("s", blocks)] * 3, title="t", footer="f", parameters={}, is_wide=True)
    used = {name for names in re.findall(r'class="([^"]*)"', page) for name in names.split()}
    rules = re.findall(r"^\s*([^@{}\n][^{}]*)\{", STYLE, flags=re.MULTILINE)
    styled = {name for rule in rules for name in re.findall(r"\.([a-z]+)", rule)}
    assert used - styled == {"sortable"}  # which the script looks for
    assert styled - used == set()


@pytest.mark.parametrize("n_rows", [ROWS_ON_PAPER, ROWS_ON_PAPER + 1])
def test_in_print_a_table_has_as_many_rows_as_its_caption_says(n_rows):
    (first_hidden,) = re.findall(r"tr:nth-child\(n \+ (\d+)\) { display: none; }", STYLE)
    table = Table(["a"], [[1]] * n_rows, "caption", sortable=True)
    page = build_report([Section("s", [table])], title="t", parameters={})
    assert (f"(in print, the first {int(first_hidden) - 1})" in page) == (n_rows >= int(first_hidden))
    on_screen, in_print = STYLE.split("@media print")
    assert ".paper { display: none; }" in on_screen
    assert ".paper { display: inline; }" in in_print


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="asks a browser")
def test_a_click_on_a_heading_sorts_numbers_as_numbers_and_puts_what_is_empty_last(tmp_path):
    rows = [["10", "b"], ["9", "a10"], [None, "c"], [100.5, "a9"], [-2e3, None]]
    table = Table(["n", "word"], rows, n_left=None, sortable=True)
    page = build_report([Section("s", [table])], title="t", parameters={})
    # The page's own policy forbids foreign scripts, as it should, so a copy goes without it.
    page = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    click = """<script>
      const table = document.querySelector("table"), log = [];
      for (const column of [0, 0, 1]) {
        table.tHead.rows[0].cells[column].querySelector("button").click();
        const cells = Array.from(table.tBodies[0].rows, row => row.cells[column].textContent);
        log.push(table.querySelector("[aria-sort]").getAttribute("aria-sort") + " " + cells.join(" "));
      }
      document.title = log.join("; ");
    </script>"""
    (tmp_path / "copy.html").write_text(page.replace("</body>", click + "</body>"))
    chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run([*chromium, (tmp_path / "copy.html").as_uri()], capture_output=True, text=True, check=True)
    told = re.search(r"<title>(.*)</title>", done.stdout)[1].split("; ")
    assert told == ["ascending -2000 9 10 100.5 ", "descending 100.5 10 9 -2000 ", "ascending a9 a10 b c "]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="asks a browser")
@pytest.mark.parametrize("width", [1200, 800])
def test_a_page_never_scrolls_sideways_and_long_tables_scroll_in_their_own_box(width, tmp_path, browser):
    wide = Table([f"a heading of column {number}" for number in range(40)], [["x" * 30] * 40] * 300, "caption")
    long = Table(["n"], [[number] for number in range(3000)], "caption", sortable=True)
    png = b"\x89PNG" + bytes(12) + struct.pack(">II", 4000, 200)
    blocks = [wide, replace(wide, sortable=True), Code("x " * 2000), Picture(png, "x", "y"), Paragraph("x" * 900)]
    blocks += [Row([[long], [replace(wide, sortable=True)]]), Picture(png, "x", "y", has_pixels=True)]
    page = tmp_path / "page.html"
    page.write_text(build_report([Section("s" * 300, blocks)] * 3, title="t" * 300, parameters={}, is_wide=True))
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
    browser.call("Page.navigate", url=page.as_uri())
    loaded = "new Promise(done => { const look = () => document.readyState === 'complete' && document.images.length"
    browser.run(f"{loaded} ? done(1) : setTimeout(look, 10); look(); }})")
    assert browser.run("document.documentElement.scrollWidth") <= width
    heights = browser.run("Array.from(document.querySelectorAll('.tall'), box => box.clientHeight)")
    assert len(heights) == 9
    assert max(heights) <= 800
