"""Maps of codes as one HTML page without external files, which shows the image of the point under the pointer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.resources import Resources

from aekit.errors import shown
from aekit.images.data.image_set import ImageSet
from aekit.images.embedding import draw_rows
from aekit.images.figures.sheets import N_COLUMNS, PER_SHEET, build_sheets, reduce_images
from aekit.images.tsne.figure import MAX_STYLES, EmbeddingPanel, count_columns
from aekit.images.tsne.plots import LEGEND_LINES, build_plots

Labels = npt.NDArray[np.integer]
Pixels = npt.NDArray[np.uint8]

LARGE_PAGE = 50_000_000  # bytes
# 60,000 digits make a page of 16 MB that opens in a second; larger images and several panels leave room for fewer.
MAX_POINTS = 60_000
BLOCK = 1024  # images to reduce at a time, as photographs may not all fit into memory
_SHOWN = 2  # which of the seed's draws: those of maps.py are 0 and 1
_SHOWN_SIDE = 112  # pixels of the screen

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 16px 20px; color: #222; }
h1 { font-size: 17px; margin: 0 0 4px; }
p { margin: 0 0 10px; color: #555; }
#tip { position: fixed; display: none; pointer-events: none; z-index: 9999; background: #fff; padding: 6px;
  border: 1px solid #888; border-radius: 4px; box-shadow: 0 1px 6px #0004; }
#tip-image { image-rendering: pixelated; background-repeat: no-repeat; }
#tip-text { white-space: pre-wrap; max-width: 220px; overflow-wrap: anywhere; font-size: 12px; margin-top: 4px; }
"""

# Runs once: gives the frames of all maps the size that the window has room for, with the same scale on both axes.
_FIT = """
const fit = (item) => {
  const longest = Math.max(0, ...facts.names.map((name) => name.length));
  const beside = 85 + facts.legend_columns * (45 + 8 * longest);  // margins, tools and legend
  const room = Math.floor((document.documentElement.clientWidth - beside) / facts.across) - 35;
  const width = Math.max(280, room), height = Math.max(280, Math.min(width, window.innerHeight - 210));
  const models = new Map();  // elsewhere in the item a model is named by its id only
  const visit = (value) => {
    if (value === null || typeof value !== "object") return;
    if (value.attributes) models.set(value.id, value);
    Object.values(value).forEach(visit);
  };
  visit(item);
  for (const {attributes} of [...models.values()].filter((model) => model.name === "Figure")) {
    const [x, y] = attributes.tags, unit = 1.06 * Math.max(x / width, y / height) || 1e-12;
    for (const [range, pixels] of [[attributes.x_range, width], [attributes.y_range, height]]) {
      const ends = models.get(range.id).attributes, middle = (ends.start + ends.end) / 2;
      ends.start = middle - unit * pixels / 2;
      ends.end = middle + unit * pixels / 2;
    }
    Object.assign(attributes, {frame_width: width, frame_height: height});
  }
  return item;
};
"""

# Runs once: defines aekitShow, which shows image `i` of the page next to the pointer, or none for -1.
_SHOW = """
"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const facts = read("facts"), tip = document.getElementById("tip");
const picture = document.getElementById("tip-image"), caption = document.getElementById("tip-text");
const pointer = {x: 0, y: 0};
FIT
for (const kind of ["pointermove", "pointerdown"])
  window.addEventListener(kind, (event) => { pointer.x = event.clientX; pointer.y = event.clientY; }, true);
window.aekitShow = (i) => {
  if (i < 0) { tip.style.display = "none"; return; }
  const {width, height, scale, columns, per_sheet, sheets} = facts, place = i % per_sheet;
  picture.style.width = `${width * scale}px`;
  picture.style.height = `${height * scale}px`;
  picture.style.backgroundImage = `url("${sheets[Math.floor(i / per_sheet)]}")`;
  picture.style.backgroundSize = `${columns * width * scale}px auto`;
  picture.style.backgroundPosition =
    `-${(place % columns) * width * scale}px -${Math.floor(place / columns) * height * scale}px`;
  const label = facts.labels[i];
  caption.textContent = (label === null ? "" : `label ${facts.names[label]}\\n`) + `index ${facts.index[i]}` +
    (facts.origins === null ? "" : `\\n${facts.origins[i]}`);
  tip.dataset.index = facts.index[i];
  tip.style.display = "block";
  const box = tip.getBoundingClientRect(), gap = 14;
  const flips = (at, size, room) => at + gap + size > room ? Math.max(0, at - gap - size) : at + gap;
  tip.style.left = `${flips(pointer.x, box.width, window.innerWidth)}px`;
  tip.style.top = `${flips(pointer.y, box.height, window.innerHeight)}px`;
};
Bokeh.embed.embed_item(fit(read("plots")), "plots-here").then(() => { document.body.dataset.ready = "yes"; });
"""


def build_page(
    panels: Sequence[EmbeddingPanel],
    images: Pixels,
    index: npt.NDArray[np.integer],
    labels: Labels | None,
    class_names: Sequence[str] = (),
    *,
    title: str,
    parameters: dict[str, Any],
    note: str = "",
    origins: Sequence[str] | None = None,
) -> str:
    """Return the maps as one page of HTML that contains everything: it opens without a network.

    Pointing at a dot shows its image, label, index and origin, and with several panels circles it in all.
    Clicking a class in the legend hides it. The same arguments give the same bytes.

    Args:
        panels: At least one; all show the same images.
        images: Images, uint8 (N, C, H, W), at most 48 pixels on each side.
        index: The number shown for each image, (N,).
        labels: Class of each image, (N,); None draws all points in grey.
        class_names: One name per class; with more than eighty classes, whose colours and markers repeat, there is no
            legend.
        title: Heading of the page.
        parameters: Recorded in a meta tag named aekit.
        note: A sentence below the heading, such as that not all points are shown.
        origins: Where each image came from, N texts; None shows nothing.
    """
    kinds = np.zeros(len(images), np.int64) if labels is None else labels.astype(np.int64) % MAX_STYLES
    order = np.argsort(kinds, kind="stable")  # similar images next to each other in the sheets, each kind in one run
    names = _names(labels, class_names)
    has_legend = labels is not None and len(names) <= MAX_STYLES
    height, width = images.shape[2:]
    facts = {
        "sheets": list(build_sheets(images[order])),
        "columns": N_COLUMNS,
        "per_sheet": PER_SHEET,
        "width": width,
        "height": height,
        "scale": max(1, _SHOWN_SIDE // max(height, width)),
        "index": index[order].tolist(),
        "labels": [None] * len(order) if labels is None else labels[order].tolist(),
        "names": names,
        "across": count_columns(len(panels)),
        "legend_columns": ceil(len(np.unique(kinds)) / LEGEND_LINES) if has_legend else 0,
        "origins": None if origins is None else [shown(origins[i]) for i in order],
    }
    plots = build_plots(panels, kinds[order], order, names if has_legend else None)
    hint = "Hover over a dot to see its image."
    if has_legend:
        hint += " Click a class in the legend to hide or show it."
    return _html(title, note + hint, parameters, facts, plots)


def _html(title: str, text: str, parameters: dict[str, Any], facts: dict[str, Any], plots: dict[str, Any]) -> str:
    resources = Resources(mode="inline", components=["bokeh"])
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta name="aekit" content="{escape(json.dumps(parameters, sort_keys=True))}">',
            '<link rel="icon" href="data:,">',  # or a browser asks its server for one
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            resources.render_js(),
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{escape(text)}</p>",
            '<div id="plots-here"></div>',
            '<div id="tip"><div id="tip-image"></div><div id="tip-text"></div></div>',
            f'<script type="application/json" id="facts">{_json(facts)}</script>',
            f'<script type="application/json" id="plots">{_json(plots)}</script>',
            f"<script>{_SHOW.replace('FIT', _FIT)}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def build_limited_page(
    panels: Sequence[EmbeddingPanel],
    image_set: ImageSet,
    index: npt.NDArray[np.int64],
    *,
    title: str,
    parameters: dict[str, Any],
    seed: int,
) -> tuple[str, int]:
    """Return a page that opens quickly, and the number of its points: a draw if all would make it too large.

    Args:
        panels: At least one; all show the same N images.
        image_set: The images.
        index: The number shown for each image, (N,).
        title: Heading of the page.
        parameters: Recorded in a meta tag named aekit.
        seed: Seed of the draw.
    """
    n_points = min(len(image_set), MAX_POINTS)
    while True:
        rows = draw_rows(len(image_set), n_points, seed=seed, draw=_SHOWN)
        is_whole = n_points == len(image_set)
        blocks = [rows[start : start + BLOCK] for start in range(0, n_points, BLOCK)]
        page = build_page(
            [replace(panel, points=panel.points[rows]) for panel in panels],
            np.concatenate([reduce_images(image_set.take(block)) for block in blocks]),
            index[rows],
            None if image_set.labels is None else image_set.labels[rows],
            image_set.class_names,
            title=title,
            parameters=parameters,
            origins=None if image_set.origins is None else [image_set.origin_text(row) for row in rows],
            note="" if is_whole else f"{n_points:,} of {len(image_set):,} points, drawn with seed {seed}. ",
        )
        if len(page) <= LARGE_PAGE or n_points <= BLOCK:
            return page, n_points
        n_points = max(BLOCK, int(0.95 * n_points * LARGE_PAGE / len(page)))


def _json(value: object) -> str:
    # A class may be called </script>.
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _names(labels: Labels | None, class_names: Sequence[str]) -> list[str]:
    n_classes = 0 if labels is None else int(labels.max(initial=-1)) + 1
    return [class_names[kind] if kind < len(class_names) else str(kind) for kind in range(n_classes)]
