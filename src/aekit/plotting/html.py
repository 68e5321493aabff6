"""A report as one self-contained HTML page: headings, paragraphs, tables, and embedded figures.

Its content security policy forbids all requests, and all scripts except the one that sorts tables.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any

from aekit.plotting.html_style import ROWS_ON_PAPER, SCRIPT, STYLE

_PNG_DPI = 150  # of the figures: each is shown at the width in inches that it was drawn for
_CSS_PIXELS_PER_INCH = 96
_PLAIN_BOX = '<div class="scroll"><table>'
_SIZE_AT = 16  # offset in bytes of the width in a PNG
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|-?inf", re.IGNORECASE)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short texts; warnings are highlighted."""

    items: Sequence[str]
    are_warnings: bool = False


@dataclass(frozen=True)
class Fact:
    """A highlighted number: its label, the number with its unit, and a remark."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Facts:
    """Numbers side by side."""

    facts: Sequence[Fact]


@dataclass(frozen=True)
class Link:
    """A cell with a link to a subsection of the page."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: Headings.
        rows: One cell per column: text, links, integers, floats (shown with four significant digits, large ones
            rounded to integers); None and NaN are empty.
        caption: Caption above the table.
        n_left: Number of text columns on the left, aligned left; the others are numbers, aligned right. None decides
            from the contents of each column.
        wrap: Columns whose long texts may be wrapped.
        sortable: A click on a heading sorts the rows, and the table scrolls in its own box. Floats then have all
            digits in a tooltip.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    n_left: int | None = 1
    wrap: Sequence[str] = ()
    sortable: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, with a short description and a caption on how to read it.

    Attributes:
        png: Content of the file.
        alt: Short description.
        caption: Caption below the figure.
        has_pixels: It shows images whose pixels must stay sharp: it is shown at full resolution, and scrolls.
    """

    png: bytes
    alt: str
    caption: str = ""
    has_pixels: bool = False


@dataclass(frozen=True)
class Code:
    """Text as it is typed, such as a command; long lines may be wrapped."""

    text: str
    wrap: bool = False


@dataclass(frozen=True)
class Details:
    """Blocks that are shown after a click on the summary."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Row:
    """Blocks side by side if there is room: one list of blocks per column."""

    columns: Sequence[Sequence[Block]]


@dataclass(frozen=True)
class Subsection:
    """A smaller heading with its blocks; it is in the table of contents, and links lead to its anchor."""

    heading: str
    anchor: str
    blocks: Sequence[Block]


Block = Paragraph | Bullets | Facts | Table | Picture | Code | Details | Row | Subsection


@dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    heading: str
    blocks: Sequence[Block]


def build_report(
    sections: Sequence[Section],
    *,
    title: str,
    subtitle: str = "",
    footer: str = "",
    parameters: dict[str, Any],
    is_wide: bool = False,
) -> str:
    """Return the report as one self-contained HTML page that works offline and in print.

    All texts are escaped. The same arguments give the same bytes. Blocks without content, such as a table without
    rows, are left out, and so are the sections and subsections that have nothing else.

    Args:
        sections: At least one; the first is the summary, and links to the others are above it.
        title: Heading of the page.
        subtitle: Line below the heading.
        footer: Small text at the end.
        parameters: Parameters that made the report, for a meta tag named aekit.
        is_wide: Use the width of a large screen, for tables with many columns.
    """
    sections = [Section(section.heading, full) for section in sections if (full := _with_content(section.blocks))]
    anchors = _anchors([section.heading for section in sections])
    body = "\n".join(_section(section, anchor) for section, anchor in zip(sections, anchors, strict=True))
    script = SCRIPT if 'class="sortable"' in body else ""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="aekit" content="{escape(json.dumps(parameters, sort_keys=True))}">',
        '<link rel="icon" href="data:,">',  # or a browser requests one
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        '<body class="wide">' if is_wide else "<body>",
        f"<header><h1>{escape(title)}</h1>" + (f"<p>{escape(subtitle)}</p>" if subtitle else "") + "</header>",
        _contents(sections, anchors),
        body,
        f"<footer>{escape(footer)}</footer>" if footer else "",
        f"<script>{script}</script>" if script else "",
        "</body>",
        "</html>",
    ]
    page = "\n".join(part for part in parts if part) + "\n"
    return page.encode(errors="replace").decode()  # a lone surrogate, which JSON may contain, has no UTF-8


def _policy(script: str) -> str:
    """Return the content security policy: nothing is fetched, and only the page's own style and script apply."""
    style, own = (f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (STYLE, script))
    scripts = f" script-src {own};" if script else ""
    return f"default-src 'none'; img-src data:; style-src {style};{scripts} base-uri 'none'; form-action 'none'"


def _with_content(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks that show something."""
    full: list[Block] = []
    for block in blocks:
        match block:
            case Details(summary, inner) if own := _with_content(inner):
                full.append(Details(summary, own))
            case Subsection(heading, anchor, inner) if own := _with_content(inner):
                full.append(Subsection(heading, anchor, own))
            case Row(columns) if parts := [own for column in columns if (own := _with_content(column))]:
                full.append(Row(parts))
            case Paragraph(text) | Code(text) if text.strip():
                full.append(block)
            case Bullets(items) | Facts(items) | Table(rows=items) if items:
                full.append(block)
            case Picture():
                full.append(block)
    return full


def _contents(sections: Sequence[Section], anchors: Sequence[str]) -> str:
    """Return links to the sections after the first; with subsections, one line per section and its links below."""
    if len(sections) < 3:
        return ""
    has_parts = any(isinstance(block, Subsection) for section in sections for block in section.blocks)
    lines = []
    for section, anchor in list(zip(sections, anchors, strict=True))[1:]:
        parts = [f"<li>{_link(block)}</li>" for block in section.blocks if isinstance(block, Subsection)]
        line = f'<a href="#{anchor}">{escape(section.heading)}</a>' + (f"<ul>{''.join(parts)}</ul>" if parts else "")
        lines.append(f"<div>{line}</div>" if has_parts else line)
    return f"<nav>{' '.join(lines)}</nav>"


def _link(target: Subsection) -> str:
    return f'<a href="#{escape(target.anchor)}">{escape(target.heading)}</a>'


def _anchors(headings: Sequence[str]) -> list[str]:
    names = [re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section" for heading in headings]
    return [name if names.count(name) == 1 else f"{name}-{number}" for number, name in enumerate(names, start=1)]


def _section(section: Section, anchor: str) -> str:
    return f'<section id="{anchor}">\n<h2>{escape(section.heading)}</h2>\n{_blocks(section.blocks)}\n</section>'


def _blocks(blocks: Sequence[Block]) -> str:
    return "\n".join(_block(block) for block in blocks)


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
        case Code(text, wrap):
            return f'<pre class="wrap">{escape(text)}</pre>' if wrap else f"<pre>{escape(text)}</pre>"
        case Details(summary, blocks):
            return f"<details><summary>{escape(summary)}</summary>\n{_blocks(blocks)}\n</details>"
        case Row(columns):
            inner = "\n".join(f"<div>\n{_blocks(column)}\n</div>" for column in columns)
            return f'<div class="row">\n{inner}\n</div>'
        case Subsection(heading, anchor, blocks):
            return f'<h3 id="{escape(anchor)}">{escape(heading)}</h3>\n{_blocks(blocks)}'


def _fact(fact: Fact) -> str:
    remark = f"<span>{escape(fact.remark)}</span>" if fact.remark else ""
    return f'<div class="fact"><span>{escape(fact.label)}</span><b>{escape(fact.value)}</b>{remark}</div>'


def _table(table: Table) -> str:
    is_left = [_is_left(table, column) for column in range(len(table.columns))]

    def opening(tag: str, column: int) -> str:
        names = ["left"] * is_left[column] + ["wrap"] * (table.columns[column] in table.wrap and tag == "td")
        return f'<{tag} class="{" ".join(names)}"' if names else f"<{tag}"

    head = "".join(f"{opening('th', i)}>{escape(column)}</th>" for i, column in enumerate(table.columns))
    body = "\n".join(
        "<tr>"
        + "".join(f"{opening('td', i)}{_inner(value, has_title=table.sortable)}</td>" for i, value in enumerate(row))
        + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{escape(table.caption)}{_on_paper(table)}</caption>" if table.caption else ""
    box = '<div class="scroll tall" tabindex="0"><table class="sortable">' if table.sortable else _PLAIN_BOX
    return f"{box}{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def _is_left(table: Table, column: int) -> bool:
    if table.n_left is not None:
        return column < table.n_left
    cells = [row[column] for row in table.rows if _cell(row[column]) != ""]
    numbers = [not isinstance(cell, (bool, Link)) and _NUMBER.fullmatch(str(cell)) is not None for cell in cells]
    return not all(numbers) or not cells


def _on_paper(table: Table) -> str:
    is_long = table.sortable and len(table.rows) > ROWS_ON_PAPER
    return f'<span class="paper"> (in print, the first {ROWS_ON_PAPER})</span>' if is_long else ""


def _inner(value: object, *, has_title: bool) -> str:
    """Return the rest of a cell's opening tag, and its content."""
    if isinstance(value, Link):
        return f'><a href="#{escape(value.anchor)}">{escape(value.text)}</a>'
    text = _cell(value)
    if has_title and isinstance(value, float) and text and float(text.replace(",", "")) != value:
        return f' title="{float(value)!r}">{text}'
    return f">{escape(text)}"


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _picture(picture: Picture) -> str:
    width, height = (int.from_bytes(picture.png[at : at + 4], "big") for at in (_SIZE_AT, _SIZE_AT + 4))
    scale = 1 if picture.has_pixels else _CSS_PIXELS_PER_INCH / _PNG_DPI
    shown = [round(side * scale) for side in (width, height)]
    name = 'class="pixels" ' if picture.has_pixels else ""
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    image = (
        f'<img {name}src="data:image/png;base64,{b64encode(picture.png).decode()}" alt="{escape(picture.alt)}" '
        f'width="{shown[0]}" height="{shown[1]}" loading="lazy">'
    )
    return f"<figure>{f'<div>{image}</div>' if picture.has_pixels else image}{caption}</figure>"
