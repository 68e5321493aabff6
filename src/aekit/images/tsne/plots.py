"""Maps of codes as interactive plots: one bokeh figure per map, linked to each other and to the images of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh import plotting
from bokeh.embed import json_item
from bokeh.events import MouseLeave, MouseMove, Tap
from bokeh.layouts import gridplot
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.models.annotations import Legend, LegendItem, Title
from bokeh.models.ranges import Range1d

from aekit.images.tsne.figure import EmbeddingPanel, count_columns, square_range
from aekit.plotting.style import CLASS_MARKERS, GREY, class_style

_MARKERS = dict(
    zip(
        CLASS_MARKERS,
        ("circle", "triangle", "square", "inverted_triangle", "diamond", "plus", "hex", "star"),
        strict=True,
    )
)
LEGEND_LINES = 28

# Runs whenever the pointer moves over a panel: finds the nearest visible point within a few pixels.
_ON_MOVE = """
const {frame_width, frame_height} = cb_obj.origin;
const kx = frame_width / (x_range.end - x_range.start), ky = frame_height / (y_range.end - y_range.start);
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


@dataclass(frozen=True)
class _Points:
    """What all panels share: the points, by the kind of their colour and marker.

    Attributes:
        kinds: The kinds that occur, ascending.
        starts: Number of the first image of each kind.
        sources: For each kind the places of its points in all panels.
        ring: The place in all panels of the image under the pointer; None if there is one panel.
    """

    kinds: list[int]
    starts: list[int]
    sources: list[ColumnDataSource]
    ring: ColumnDataSource | None


def build_plots(
    panels: Sequence[EmbeddingPanel], kinds: npt.NDArray[np.int64], order: npt.NDArray[np.intp], names: list[str] | None
) -> dict[str, Any]:
    """Return the maps as bokeh embeds them: pointing at a dot calls ``aekitShow`` with the number of its image.

    Args:
        panels: At least one; all show the same N images.
        kinds: Colour and marker of each image, ascending, (N,).
        order: The row of each image in the maps, (N,).
        names: Names of the kinds, for a legend; None draws none.
    """
    points = _build_points(panels, kinds, order)
    figures, all_renderers = [], []
    for number, panel in enumerate(panels):
        figure = _build_figure(panel, len(panels))
        renderers = _draw_points(figure, panel, number, points, is_grey=names is None)
        _link_pointer(figure, number, points, renderers)
        figures.append(figure)
        all_renderers.append(renderers)
    if names is not None:
        _add_legend(figures[0], all_renderers, [names[kind] for kind in points.kinds])
    n_columns = count_columns(len(panels))
    layout = figures[0] if len(figures) == 1 else gridplot(figures, ncols=n_columns, toolbar_location="right")
    item: dict[str, Any] = _with_plain_ids(json_item(layout))
    return item


def _build_points(
    panels: Sequence[EmbeddingPanel], kinds: npt.NDArray[np.int64], order: npt.NDArray[np.intp]
) -> _Points:
    present, starts = np.unique(kinds, return_index=True)
    sources = [
        ColumnDataSource(
            {
                f"{axis}{number}": panel.points[rows, column].astype(np.float32)
                for number, panel in enumerate(panels)
                for column, axis in enumerate("xy")
            }
        )
        for rows in np.split(order, starts[1:])
    ]
    ring = ColumnDataSource({name: [] for name in sources[0].data}, tags=[-1]) if len(panels) > 1 else None
    return _Points([int(kind) for kind in present], starts.tolist(), sources, ring)


def _build_figure(panel: EmbeddingPanel, n_panels: int) -> Any:
    side = 620 if n_panels == 1 else 360 if n_panels <= 4 else 300
    x_range, y_range = square_range(panel.points)
    figure: Any = plotting.figure(
        frame_width=side,
        frame_height=side,
        tags=np.ptp(panel.points, axis=0).tolist(),  # for the page, which fits the frame to the window
        x_range=Range1d(start=x_range[0], end=x_range[1]),
        y_range=Range1d(start=y_range[0], end=y_range[1]),
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_scroll="wheel_zoom" if n_panels == 1 else None,  # with several, scrolling moves the page
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
    return figure


def _draw_points(figure: Any, panel: EmbeddingPanel, number: int, points: _Points, *, is_grey: bool) -> list[Any]:
    size = float(np.clip(figure.frame_width * np.sqrt(0.3 / len(panel.points)), 2.5, 8))
    renderers = []
    for kind, source in zip(points.kinds, points.sources, strict=True):
        colour, marker = (GREY, "o") if is_grey and len(points.kinds) == 1 else class_style(kind)
        shape = {"marker": _MARKERS[marker], "size": size, "fill_color": colour, "line_color": None}
        renderers.append(figure.scatter(f"x{number}", f"y{number}", source=source, fill_alpha=0.75, **shape))
    if points.ring is not None:
        mark = {"size": 15, "fill_color": None, "line_color": "black", "line_width": 2}
        figure.scatter(f"x{number}", f"y{number}", source=points.ring, **mark)
    return renderers


def _link_pointer(figure: Any, number: int, points: _Points, renderers: list[Any]) -> None:
    """Have the image under the pointer shown while it is over a panel."""
    on_move = CustomJS(
        args={
            "x_range": figure.x_range,
            "y_range": figure.y_range,
            "x_name": f"x{number}",
            "y_name": f"y{number}",
            "reach": 10,
            "renderers": renderers,
            "sources": points.sources,
            "starts": points.starts,
            "ring": points.ring,
        },
        code=_ON_MOVE,
    )
    figure.js_on_event(MouseMove, on_move)
    figure.js_on_event(Tap, on_move)  # fingers do not hover
    figure.js_on_event(MouseLeave, CustomJS(code="window.aekitShow(-1)"))


def _add_legend(figure: Any, renderers: list[list[Any]], names: list[str]) -> None:
    """Add one legend for all panels to the first; if there are several, on its left, visible without scrolling."""
    own, *others = renderers
    items = [
        LegendItem(label={"value": _no_formula(name)}, renderers=[renderer])
        for name, renderer in zip(names, own, strict=True)
    ]
    legend = Legend(
        items=items,
        click_policy="hide",
        ncols=ceil(len(items) / LEGEND_LINES),
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
    """Return text that looks the same but that bokeh does not take for a formula, for which it would fetch MathJax."""
    return re.sub(r"([$\\])(?=[$(\[])", "\\1\u200b", text)


def _with_plain_ids(item: Any) -> Any:
    """Return what bokeh embeds with its models numbered from 1: its own count goes on within a process."""
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
