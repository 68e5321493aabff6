"""Maps of codes as one HTML page that needs nothing else: point at a dot and its image is shown."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from aekit.images.tsne.figure import EmbeddingPanel, count_columns, square_range
from aekit.plotting.style import CLASS_COLOURS, CLASS_MARKERS, GREY, class_style

Labels = npt.NDArray[np.integer]
Pixels = npt.NDArray[np.uint8]

MAX_SIDE = 48  # pixels; larger images are reduced
_SHOWN_SIDE = 112  # pixels of the screen
# Images lie side by side in sheets of 32 x 32: one file a sheet instead of one an image, a third of the bytes, and a
# browser has only to decode the sheet that is looked at.
_SHEET_COLUMNS, _PER_SHEET = 32, 1024
# Colour as PNG would take nine times as much: 10,000 faces of 48 x 40 are 5.6 MB so, and 53 MB without loss.
_COLOUR_QUALITY = 60
_MARKERS = dict(
    zip(
        CLASS_MARKERS,
        ("circle", "triangle", "square", "inverted_triangle", "diamond", "plus", "hex", "star"),
        strict=True,
    )
)
_MAX_STYLES = len(CLASS_COLOURS) * len(CLASS_MARKERS)
_LEGEND_LINES = 28

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 16px 20px; color: #222; }
h1 { font-size: 17px; margin: 0 0 4px; }
p { margin: 0 0 10px; color: #555; }
#tip { position: fixed; display: none; pointer-events: none; z-index: 9999; background: #fff; padding: 6px;
  border: 1px solid #888; border-radius: 4px; box-shadow: 0 1px 6px #0004; }
#tip-image { image-rendering: pixelated; background-repeat: no-repeat; }
#tip-text { white-space: pre-wrap; max-width: 220px; overflow-wrap: anywhere; font-size: 12px; margin-top: 4px; }
"""

# Runs once: shows image `i` of those on the page beside the pointer, or nothing for -1.
_SHOW = """
"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const facts = read("facts"), tip = document.getElementById("tip");
const picture = document.getElementById("tip-image"), caption = document.getElementById("tip-text");
const pointer = {x: 0, y: 0};
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
  caption.textContent = (label === null ? "" : `label ${facts.names[label]}\\n`) + `index ${facts.index[i]}`;
  tip.dataset.index = facts.index[i];
  tip.style.display = "block";
  const box = tip.getBoundingClientRect(), gap = 14;
  const flips = (at, size, room) => at + gap + size > room ? Math.max(0, at - gap - size) : at + gap;
  tip.style.left = `${flips(pointer.x, box.width, window.innerWidth)}px`;
  tip.style.top = `${flips(pointer.y, box.height, window.innerHeight)}px`;
};
Bokeh.embed.embed_item(read("plots"), "plots-here").then(() => { document.body.dataset.ready = "yes"; });
"""

# Runs at every move over a panel: the nearest point of those shown, within a few pixels of the pointer.
_ON_MOVE = """
const kx = side / (x_range.end - x_range.start), ky = side / (y_range.end - y_range.start);
let best = reach * reach, found = -1, at = 0;
renderers.forEach((renderer, kind) => {
  if (!renderer.visible) return;
  const xs = sources[kind].data[x_name], ys = sources[kind].data[y_name];
  for (let i = 0; i < xs.length; i++) {
    const dx = (xs[i] - cb_obj.x) * kx, dy = (ys[i] - cb_obj.y) * ky, square = dx * dx + dy * dy;
    if (square < best) { best = square; found = starts[kind] + i; at = [kind, i]; }
  }
});
window.aekitShow(found);
if (ring !== null && ring.tags[0] !== found) {
  ring.tags = [found];
  const names = Object.keys(ring.data);
  ring.data = Object.fromEntries(names.map((name) => [name, found < 0 ? [] : [sources[at[0]].data[name][at[1]]]]));
}
"""


def reduce_images(images: Pixels) -> Pixels:
    """Return images, uint8 (N, C, H, W), no side longer than 48 pixels: as they are, or reduced by averaging."""
    height, width = images.shape[2:]
    longest = max(height, width)
    if longest <= MAX_SIDE:
        return images
    size = (max(1, round(width * MAX_SIDE / longest)), max(1, round(height * MAX_SIDE / longest)))
    reduced = [np.asarray(_picture(image).resize(size, Image.Resampling.BOX)) for image in images]
    stack = np.stack(reduced).reshape(len(images), size[1], size[0], images.shape[1])
    return np.ascontiguousarray(stack.transpose(0, 3, 1, 2))


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
) -> str:
    """Return the maps as one page of HTML with everything inside: it opens without a network.

    Pointing at a dot shows its image, label and index, and with several panels rings the same image in all of them. A
    click in the legend hides a class. The same arguments give the same bytes.

    Args:
        panels: At least one; all show the same images.
        images: Images, uint8 (N, C, H, W) with no side above 48 pixels.
        index: What each image is called, (N,).
        labels: Class of each image, (N,); None draws all points in grey.
        class_names: One name a class; with more than eighty classes, whose colours and markers come again, there is no
            legend.
        title: Heading of the page.
        parameters: What made it, for a meta tag named aekit.
        note: A sentence that stands under the heading, as that these are not all points.
    """
    from bokeh.resources import Resources

    kinds = np.zeros(len(images), np.int64) if labels is None else labels.astype(np.int64) % _MAX_STYLES
    order = np.argsort(kinds, kind="stable")  # like lies beside like in the sheets, and kinds are stretches of rows
    names = _names(labels, class_names)
    height, width = images.shape[2:]
    facts = {
        "sheets": list(_sheets(images[order])),
        "columns": _SHEET_COLUMNS,
        "per_sheet": _PER_SHEET,
        "width": width,
        "height": height,
        "scale": max(1, _SHOWN_SIDE // max(height, width)),
        "index": index[order].tolist(),
        "labels": [None] * len(order) if labels is None else labels[order].tolist(),
        "names": names,
    }
    plots = _plots(panels, kinds[order], order, names if labels is not None and len(names) <= _MAX_STYLES else None)
    hint = "Point at a dot to see its image."
    if labels is not None and len(names) <= _MAX_STYLES:
        hint += " Click a class in the legend to hide or show it."
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
            f"<p>{escape(note)}{hint}</p>",
            '<div id="plots-here"></div>',
            '<div id="tip"><div id="tip-image"></div><div id="tip-text"></div></div>',
            f'<script type="application/json" id="facts">{_json(facts)}</script>',
            f'<script type="application/json" id="plots">{_json(plots)}</script>',
            f"<script>{_SHOW}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _json(value: object) -> str:
    # A class may be called </script>.
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _names(labels: Labels | None, class_names: Sequence[str]) -> list[str]:
    n_classes = 0 if labels is None else int(labels.max(initial=-1)) + 1
    return [class_names[kind] if kind < len(class_names) else str(kind) for kind in range(n_classes)]


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _sheets(images: Pixels) -> Iterator[str]:
    """Yield data URIs of sheets with up to 1,024 images each, row after row."""
    n_channels, height, width = images.shape[1:]
    for start in range(0, len(images), _PER_SHEET):
        block = images[start : start + _PER_SHEET]
        n_rows = ceil(len(block) / _SHEET_COLUMNS)
        places = np.zeros((n_rows * _SHEET_COLUMNS, n_channels, height, width), np.uint8)
        places[: len(block)] = block
        rows = places.reshape(n_rows, _SHEET_COLUMNS, n_channels, height, width).transpose(2, 0, 3, 1, 4)
        sheet = _picture(rows.reshape(n_channels, n_rows * height, _SHEET_COLUMNS * width))
        file = io.BytesIO()
        if n_channels == 1:
            kind = "png"
            sheet.save(file, kind)
        else:
            kind = "webp" if features.check("webp") else "jpeg"
            sheet.save(file, kind, quality=_COLOUR_QUALITY)
        yield f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"


def _plots(
    panels: Sequence[EmbeddingPanel], kinds: npt.NDArray[np.int64], order: npt.NDArray[np.intp], names: list[str] | None
) -> dict[str, Any]:
    """Return the panels as bokeh embeds them; kinds are sorted, order says which row of a map each point is."""
    from bokeh.embed import json_item
    from bokeh.events import MouseLeave, MouseMove, Tap
    from bokeh.layouts import gridplot
    from bokeh.models import ColumnDataSource, CustomJS

    present, starts = np.unique(kinds, return_index=True)
    stretches = np.split(order, starts[1:])
    sources = [
        ColumnDataSource(
            {
                f"{axis}{number}": panel.points[rows, column].astype(np.float32)
                for number, panel in enumerate(panels)
                for column, axis in enumerate("xy")
            }
        )
        for rows in stretches
    ]
    ring = ColumnDataSource({name: [] for name in sources[0].data}, tags=[-1]) if len(panels) > 1 else None
    figures, all_renderers = [], []
    for number, panel in enumerate(panels):
        figure, renderers = _draw(panel, number, sources, [int(kind) for kind in present], len(panels), names)
        if ring is not None:
            mark = {"size": 15, "fill_color": None, "line_color": "black", "line_width": 2}
            figure.scatter(f"x{number}", f"y{number}", source=ring, **mark)
        on_move = CustomJS(
            args={
                "x_range": figure.x_range,
                "y_range": figure.y_range,
                "x_name": f"x{number}",
                "y_name": f"y{number}",
                "side": figure.frame_width,
                "reach": 10,
                "renderers": renderers,
                "sources": sources,
                "starts": starts.tolist(),
                "ring": ring,
            },
            code=_ON_MOVE,
        )
        figure.js_on_event(MouseMove, on_move)
        figure.js_on_event(Tap, on_move)  # fingers do not hover
        figure.js_on_event(MouseLeave, CustomJS(code="window.aekitShow(-1)"))
        figures.append(figure)
        all_renderers.append(renderers)
    n_columns = count_columns(len(panels))
    if names is not None:
        _add_legend(figures[0], all_renderers, [names[kind] for kind in present])
    layout = figures[0] if len(figures) == 1 else gridplot(figures, ncols=n_columns, toolbar_location="right")
    item: dict[str, Any] = _with_plain_ids(json_item(layout))
    return item


def _draw(
    panel: EmbeddingPanel,
    number: int,
    sources: list[Any],
    present: list[int],
    n_panels: int,
    names: list[str] | None,
) -> tuple[Any, list[Any]]:
    from bokeh import plotting
    from bokeh.models.annotations import Title
    from bokeh.models.ranges import Range1d

    side = 620 if n_panels == 1 else 360 if n_panels <= 4 else 300
    x_range, y_range = square_range(panel.points)
    figure: Any = plotting.figure(
        frame_width=side,
        frame_height=side,
        x_range=Range1d(start=x_range[0], end=x_range[1]),
        y_range=Range1d(start=y_range[0], end=y_range[1]),
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_scroll="wheel_zoom" if n_panels == 1 else None,  # several are scrolled through
        x_axis_label=panel.axis_names[0],
        y_axis_label=panel.axis_names[1],
    )
    figure.toolbar.logo = None
    figure.grid.visible = False
    figure.axis.ticker = []
    for line in reversed(panel.measures):
        figure.add_layout(Title(text=_no_formula(line), text_font_style="normal", text_font_size="11px"), "above")
    if panel.title:
        figure.add_layout(Title(text=_no_formula(panel.title), text_font_size="13px"), "above")
    size = float(np.clip(side * np.sqrt(0.3 / len(panel.points)), 2.5, 8))
    renderers = []
    for kind, source in zip(present, sources, strict=True):
        colour, marker = (GREY, "o") if names is None and len(present) == 1 else class_style(kind)
        shape = {"marker": _MARKERS[marker], "size": size, "fill_color": colour, "line_color": None}
        renderers.append(figure.scatter(f"x{number}", f"y{number}", source=source, fill_alpha=0.75, **shape))
    return figure, renderers


def _add_legend(figure: Any, renderers: list[list[Any]], names: list[str]) -> None:
    """Add one legend for all panels to the first, on its left if there are more: there it is seen without scrolling."""
    from bokeh.models.annotations import Legend, LegendItem

    own, *others = renderers
    items = [
        LegendItem(label={"value": _no_formula(name)}, renderers=[renderer])
        for name, renderer in zip(names, own, strict=True)
    ]
    legend = Legend(
        items=items,
        click_policy="hide",
        ncols=ceil(len(items) / _LEGEND_LINES),
        label_text_font_size="12px",
        border_line_color=None,
        glyph_width=18,
        glyph_height=18,
        spacing=0,
        margin=6,
    )
    figure.add_layout(legend, "left" if others else "right")
    for other in others:
        for source, target in zip(own, other, strict=True):
            source.js_link("visible", target, "visible")


def _no_formula(text: str) -> str:
    """Return text that bokeh does not take for a formula, which it would fetch MathJax for; it looks the same."""
    return re.sub(r"([$\\])(?=[$(\[])", "\\1\u200b", text)


def _with_plain_ids(item: Any) -> Any:
    """Return what bokeh embeds with its models numbered from 1: its own count goes on as long as the process lives."""
    known: dict[str, str] = {}

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: known.setdefault(inner, f"m{len(known) + 1}")
                if key == "id" and isinstance(inner, str)
                else rename(inner)
                for key, inner in value.items()
            }
        return [rename(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    renamed = rename(dict(item))
    return {**renamed, "root_id": known[item["root_id"]]}
