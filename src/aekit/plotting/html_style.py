"""The style of a report, and the script that sorts its tables; both are embedded in the page."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #5b6470; --line: #dfe3e8; --tint: #f5f7f9; --paper: #fff;
  --accent: #0072b2; --warn: #d55e00; --warning: #fdf4ee; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e3e6ea; --soft: #a0a9b4; --line: #363c44; --tint: #21262c; --paper: #16191d; --accent: #56b4e9;
    --warn: #e69f00; --warning: #2b2416; }
  figure img { background: #fff; padding: 6px; border-radius: 4px; }
}
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: var(--ink); margin: 0 auto;
  padding: 28px 24px 64px; max-width: 1020px; background: var(--paper); overflow-wrap: break-word; }
body.wide { max-width: 1560px; }
header { border-bottom: 2px solid var(--ink); margin-bottom: 18px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 2px; }
header p { color: var(--soft); margin: 0 0 12px; }
h2 { font-size: 19px; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15.5px; margin: 28px 0 4px; overflow-wrap: anywhere; }
p { margin: 8px 0; max-width: 76ch; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
a:focus-visible, button:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 1px; }
nav { font-size: 13.5px; margin: 14px 0 4px; }
nav > a { display: inline-block; max-width: 100%; margin-right: 14px; overflow-wrap: anywhere; }
nav div > a { font-weight: 600; }
nav ul { list-style: none; margin: 2px 0 10px; padding: 0; max-width: none; columns: 26em; column-gap: 24px; }
nav li { margin: 0; overflow-wrap: anywhere; padding-left: 1em; text-indent: -1em; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(215px, 1fr)); gap: 10px; margin: 16px 0; }
.fact { background: var(--tint); border-radius: 6px; padding: 10px 14px; }
.fact b { display: block; font-size: 21px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.fact span { display: block; color: var(--soft); font-size: 12.5px; line-height: 1.4; }
.fact span:first-child { color: var(--ink); font-size: 13px; }
ul { margin: 8px 0; padding-left: 22px; max-width: 80ch; }
li { margin: 3px 0; }
ul.warnings { list-style: none; padding: 10px 14px; border-left: 4px solid var(--warn); background: var(--warning); }
.scroll { overflow-x: auto; margin: 10px 0 14px; }
.scroll.tall, details .scroll { overflow: auto; max-height: 470px; }
section > .scroll.tall { max-height: max(470px, 80vh); }
table { border-collapse: collapse; font-size: 13.5px; line-height: 1.4; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: 13px; padding: 0 0 4px; caption-side: top; }
th { font-weight: 600; text-align: right; vertical-align: bottom; border-bottom: 1.5px solid var(--ink);
  padding: 3px 10px; }
.tall th { position: sticky; top: 0; background: var(--paper); box-shadow: 0 1.5px var(--ink); border-bottom: 0; }
td { text-align: right; border-bottom: 1px solid var(--line); padding: 3px 10px; white-space: nowrap; }
th.left, td.left { text-align: left; }
@media (min-width: 900px) {
  .tall tr > :first-child { position: sticky; left: 0; background: var(--paper); }
  .tall th:first-child { z-index: 1; }
}
td.wrap { white-space: normal; min-width: 26ch; overflow-wrap: anywhere; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: inherit;
  cursor: pointer; }
th button::after { content: "\\a0\\2195"; color: var(--soft); opacity: .55; }
th button:hover::after, th[aria-sort] button::after { color: var(--accent); opacity: 1; }
th[aria-sort=ascending] button::after { content: "\\a0\\2191"; }
th[aria-sort=descending] button::after { content: "\\a0\\2193"; }
input { font: inherit; font-size: 13px; color: inherit; background: var(--tint); border: 1px solid var(--line);
  border-radius: 4px; padding: 2px 8px; width: 22ch; max-width: 100%; }
.row { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 0 32px; }
.row > div { min-width: 0; max-width: 100%; }
.row > div + div { flex: 1 1 430px; }
.row details > :not(summary) { width: 0; min-width: 100%; }
details { margin: 6px 0; }
summary { color: var(--soft); font-size: 13px; cursor: pointer; overflow-wrap: anywhere; }
pre { font: 12.5px/1.45 ui-monospace, Consolas, Menlo, monospace; background: var(--tint); border-radius: 4px;
  padding: 8px 12px; margin: 8px 0; overflow: auto; max-height: 470px; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: 14px 0 18px; }
figure img { display: block; max-width: 100%; height: auto; }
figure div { overflow-x: auto; }
figure img.pixels { image-rendering: pixelated; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 6px; max-width: 84ch; overflow-wrap: anywhere; }
footer { margin-top: 48px; padding-top: 10px; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 12.5px; }
.paper { display: none; }
@media print {
  body, body.wide { padding: 0; max-width: none; font-size: 10.5pt; }
  nav, input, th button::after { display: none; }
  h2, h3 { break-after: avoid; }
  figure, .fact, tr { break-inside: avoid; }
  .row { display: block; }
  .scroll, .scroll.tall, section > .scroll.tall, details .scroll, figure div { overflow: visible; max-height: none; }
  .tall tr > * { position: static; }
  .tall tbody tr:nth-child(n + 31) { display: none; }
  .paper { display: inline; }
  figure img.pixels { max-width: 100%; }
  td { white-space: normal; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
ROWS_ON_PAPER = 30  # of a table in its own box; the style above repeats this number

# Headings become buttons, so that they can be reached by keyboard. The title of a cell, if any, is the full number.
SCRIPT = """
"use strict";
(() => {
  const collator = new Intl.Collator(undefined, {numeric: true});
  const key = cell => {
    const text = cell.title || cell.textContent;
    if (/^-?inf$/.test(text)) return text === "inf" ? Infinity : -Infinity;
    const plain = /^-?\\d{1,3}(,\\d{3})+(\\.\\d+)?$/.test(text) ? text.replaceAll(",", "") : text;
    return plain.trim() === "" || Number.isNaN(Number(plain)) ? text : Number(plain);
  };
  const compare = (a, b) => {
    const isNumber = typeof a === "number";
    if (isNumber !== (typeof b === "number")) return isNumber ? -1 : 1;
    return isNumber ? (a < b ? -1 : Number(a > b)) : collator.compare(a, b);
  };
  const sort = (heading, column, body) => {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const rows = Array.from(body.rows, row => [key(row.cells[column]), row]);
    const isEmpty = row => row[0] === "";
    const full = rows.filter(row => !isEmpty(row)).sort((a, b) => sign * compare(a[0], b[0]));
    for (const row of full.concat(rows.filter(isEmpty))) body.append(row[1]);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    Array.from(table.tHead.rows[0].cells, (heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(heading, column, body));
    });
    if (body.rows.length < 12) continue;
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "filter rows \\u2026";
    input.setAttribute("aria-label", "Show only rows with this text");
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    table.parentNode.before(input);
  }
})();
"""
