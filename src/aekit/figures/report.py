"""A report as one HTML page that needs nothing else: headings, paragraphs, tables, and figures within the page."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_PNG_DPI = 150  # as figures are drawn: a figure is shown as wide as it was meant in inches
_CSS_PIXELS_PER_INCH = 96
_SIZE_AT = 16  # bytes before the width in a PNG

_STYLE = """
:root { --ink: #1f2328; --soft: #5b6470; --line: #dfe3e8; --tint: #f5f7f9; --accent: #0072b2; --warn: #d55e00; }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: var(--ink); margin: 0 auto;
  padding: 28px 24px 64px; max-width: 1020px; background: #fff; overflow-wrap: break-word; }
header { border-bottom: 2px solid var(--ink); margin-bottom: 18px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 2px; }
header p { color: var(--soft); margin: 0 0 12px; }
h2 { font-size: 19px; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
p { margin: 8px 0; max-width: 76ch; }
nav { font-size: 13.5px; margin: 14px 0 4px; }
nav a { color: var(--accent); text-decoration: none; margin-right: 14px; white-space: nowrap; }
nav a:hover { text-decoration: underline; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(215px, 1fr)); gap: 10px; margin: 16px 0; }
.fact { background: var(--tint); border-radius: 6px; padding: 10px 14px; }
.fact b { display: block; font-size: 21px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.fact span { display: block; color: var(--soft); font-size: 12.5px; line-height: 1.4; }
.fact span:first-child { color: var(--ink); font-size: 13px; }
ul { margin: 8px 0; padding-left: 22px; max-width: 80ch; }
li { margin: 3px 0; }
ul.warnings { list-style: none; padding: 10px 14px; border-left: 4px solid var(--warn); background: #fdf4ee; }
.scroll { overflow-x: auto; margin: 10px 0 14px; }
table { border-collapse: collapse; font-size: 13.5px; line-height: 1.4; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: 13px; padding: 0 0 4px; caption-side: top; }
th { font-weight: 600; text-align: right; vertical-align: bottom; border-bottom: 1.5px solid var(--ink);
  padding: 3px 10px; }
td { text-align: right; border-bottom: 1px solid var(--line); padding: 3px 10px; white-space: nowrap; }
th.left, td.left { text-align: left; }
td.wrap { white-space: normal; min-width: 26ch; overflow-wrap: anywhere; }
figure { margin: 14px 0 18px; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 6px; max-width: 84ch; }
footer { margin-top: 48px; padding-top: 10px; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 12.5px; }
@media print {
  body { padding: 0; max-width: none; font-size: 10.5pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, .fact, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  td { white-space: normal; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short texts; warnings are set off."""

    items: Sequence[str]
    are_warnings: bool = False


@dataclass(frozen=True)
class Fact:
    """A number that stands out: what it is, the number with its unit, and a remark."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Facts:
    """Numbers side by side."""

    facts: Sequence[Fact]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Headings.
        rows: A cell a column: text, whole numbers, floats (shown with four significant digits), None or NaN as nothing.
        caption: Written above it.
        n_left: Columns at the left that are text and aligned left; the others are numbers, aligned right.
        wrap: Columns whose long texts may be broken into lines.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    n_left: int = 1
    wrap: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, what it shows in a few words, and how to read it."""

    png: bytes
    alt: str
    caption: str = ""


Block = Paragraph | Bullets | Facts | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    heading: str
    blocks: Sequence[Block]


def build_report(
    sections: Sequence[Section], *, title: str, subtitle: str = "", footer: str = "", parameters: dict[str, Any]
) -> str:
    """Return the report as one page of HTML with everything inside: it opens without a network, and prints.

    Every text is escaped. The same arguments give the same bytes.

    Args:
        sections: At least one; the first is the summary, and the others are linked to above it.
        title: Heading of the page.
        subtitle: Below it.
        footer: Small, at the end.
        parameters: What made it, for a meta tag named aekit.
    """
    anchors = _anchors([section.heading for section in sections])
    links = [
        f'<a href="#{anchor}">{escape(section.heading)}</a>' for anchor, section in zip(anchors, sections, strict=True)
    ]
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="aekit" content="{escape(json.dumps(parameters, sort_keys=True))}">',
        '<link rel="icon" href="data:,">',  # or a browser asks its server for one
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{escape(title)}</h1>" + (f"<p>{escape(subtitle)}</p>" if subtitle else "") + "</header>",
        f"<nav>{' '.join(links[1:])}</nav>" if len(sections) > 2 else "",
        *(_section(section, anchor) for section, anchor in zip(sections, anchors, strict=True)),
        f"<footer>{escape(footer)}</footer>" if footer else "",
        "</body>",
        "</html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _anchors(headings: Sequence[str]) -> list[str]:
    names = [re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section" for heading in headings]
    return [name if names.count(name) == 1 else f"{name}-{number}" for number, name in enumerate(names, start=1)]


def _section(section: Section, anchor: str) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="{anchor}">\n<h2>{escape(section.heading)}</h2>\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Bullets(items, are_warnings):
            opening = '<ul class="warnings">' if are_warnings else "<ul>"
            return opening + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Facts(facts):
            return f'<div class="facts">{"".join(_fact(fact) for fact in facts)}</div>'
        case Table():
            return _table(block)
        case Picture():
            return _picture(block)


def _fact(fact: Fact) -> str:
    remark = f"<span>{escape(fact.remark)}</span>" if fact.remark else ""
    return f'<div class="fact"><span>{escape(fact.label)}</span><b>{escape(fact.value)}</b>{remark}</div>'


def _table(table: Table) -> str:
    def opening(tag: str, column: int) -> str:
        names = ["left"] * (column < table.n_left) + ["wrap"] * (table.columns[column] in table.wrap and tag == "td")
        return f'<{tag} class="{" ".join(names)}">' if names else f"<{tag}>"

    head = "".join(f"{opening('th', i)}{escape(column)}</th>" for i, column in enumerate(table.columns))
    body = "\n".join(
        "<tr>" + "".join(f"{opening('td', i)}{escape(_cell(value))}</td>" for i, value in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _picture(picture: Picture) -> str:
    width, height = (int.from_bytes(picture.png[at : at + 4], "big") for at in (_SIZE_AT, _SIZE_AT + 4))
    shown = [round(side * _CSS_PIXELS_PER_INCH / _PNG_DPI) for side in (width, height)]
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f'<figure><img src="data:image/png;base64,{b64encode(picture.png).decode()}" alt="{escape(picture.alt)}" '
        f'width="{shown[0]}" height="{shown[1]}">{caption}</figure>'
    )
