"""One place for the style of all figures: fonts, sizes, colours and resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import ceil

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator

from aekit.plotting.fonts import FAMILY, complete_fonts, families_for

DPI = 150
FONT_SIZE = 9.0
SMALL_FONT_SIZE = 7.5
TINY_FONT_SIZE = 6.0  # only for numbers in the cells of a crowded heat map, which are not needed to understand a figure
LINE_HEIGHT = 1.25  # of a line of text, in font sizes
MARGIN = 0.06  # inches between text and the edge of the figure

# Okabe & Ito 2008, Color Universal Design: distinguishable with all common forms of colour blindness.
BLUE = "#0072B2"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
GREEN = "#009E73"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
YELLOW = "#F0E442"
BLACK = "#000000"
GREY = "#999999"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, YELLOW, BLACK)
_LINE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

# Found by a search for the largest smallest distance in CAM02-UCS, as everyone sees them: with normal vision and with
# each form of colour blindness (simulated after Machado et al. 2009, doi:10.1109/TVCG.2009.113). The second ten were
# found given the first, and the order keeps neighbours far apart. None of the first ten is grey or brown.
CLASS_COLOURS = (
    "#0096ff", "#d2871e", "#00f0b4", "#781e5a", "#ff2da5", "#c3e100", "#00875a", "#ffb4ff", "#4b0fc3", "#c3000f",
    "#b487c3", "#690000", "#005aff", "#003c2d", "#87a569", "#5a4b87", "#87c3b4", "#0f690f", "#d2c369", "#965a78",
)  # fmt: skip
CLASSES_PER_MARKER = 10  # the second ten are close to some of the first, so they differ by marker too
CLASS_MARKERS = ("o", "^", "s", "v", "D", "P", "X", "*")

_STYLE = {
    "figure.dpi": DPI,
    "figure.constrained_layout.use": True,
    "font.family": [FAMILY],
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.titlelocation": "left",
    "axes.labelsize": FONT_SIZE,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": SMALL_FONT_SIZE,
    "ytick.labelsize": SMALL_FONT_SIZE,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # the name of a class may contain dollar signs
    "legend.frameon": False,
    "legend.fontsize": SMALL_FONT_SIZE,
}


def class_style(number: int) -> tuple[str, str]:
    """Return the colour and the marker of class ``number``, unique among the first eighty classes."""
    marker = CLASS_MARKERS[number // CLASSES_PER_MARKER % len(CLASS_MARKERS)]
    return CLASS_COLOURS[number % len(CLASS_COLOURS)], marker


def line_style(number: int) -> tuple[str, str]:
    """Return the colour and the marker of line ``number``, unique among the first sixty-four lines.

    Neighbours differ in both, so that a figure can be read without its colours.
    """
    n = len(COLOURS)
    return COLOURS[number % n], _LINE_MARKERS[(number + number // n) % len(_LINE_MARKERS)]


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply aekit's style, and none of the user's matplotlib settings, to everything drawn within."""
    with matplotlib.style.context(_STYLE, after_reset=True):
        yield


class _AnyScript(Figure):
    """A figure whose texts find their fonts before it is drawn, also where its layout is not :func:`lay_out`'s."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure."""
        complete_fonts(self)
        super().draw(renderer)


def build_figure(width_inches: float, height_inches: float) -> Figure:
    """Return an empty figure of this size on an Agg canvas: no window, no pyplot, no global state."""
    figure = _AnyScript(figsize=(width_inches, height_inches))
    FigureCanvasAgg(figure)
    return figure


@lru_cache(maxsize=4096)
def text_size(text: str, points: float = SMALL_FONT_SIZE) -> tuple[int, int]:
    """Return the width and height of a line of text in pixels of the figure."""
    font = FontProperties(family=families_for(text), size=points)
    renderer = RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]
    width, height, _ = renderer.get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
    return ceil(width), ceil(height)


def wrap_text(text: str, width_inches: float, points: float = SMALL_FONT_SIZE) -> str:
    """Return the text in lines of at most this width, broken at spaces, and within words that are wider."""
    room = width_inches * DPI
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".lstrip()
        if text_size(joined, points)[0] <= room:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and text_size(lines[-1] + letter, points)[0] > room:
                lines.append("")
            lines[-1] += letter
    return "\n".join(lines)


def text_inches(text: str, points: float = SMALL_FONT_SIZE) -> tuple[float, float]:
    """Return the width and height of lines of text in inches."""
    lines = text.split("\n")
    return max(text_size(line, points)[0] for line in lines) / DPI, len(lines) * LINE_HEIGHT * points / 72


def _without_orphan(title: str, width_inches: float) -> str:
    """Return a title in lines of at most this width, in narrower ones if the last would have a single word."""
    lines = wrap_text(title, width_inches, FONT_SIZE)
    for percent in range(95, 45, -5):
        if "\n" not in lines or " " in lines.rpartition("\n")[2]:
            break
        narrower = wrap_text(title, width_inches * percent / 100, FONT_SIZE)
        if narrower.count("\n") > lines.count("\n"):
            break
        lines = narrower
    return lines


def write_title(figure: Figure | SubFigure, title: str, width_inches: float, *, room: float = 0.0) -> None:
    """Write a title at the top left of a figure, in as many lines as it needs; an empty title writes nothing.

    Args:
        figure: Figure to write on; its layout makes room.
        title: Text of the title.
        width_inches: Width of the figure.
        room: Inches to leave free on the right, as for a legend.
    """
    if title:
        lines = _without_orphan(title, width_inches - 2 * MARGIN - room)
        figure.suptitle(lines, x=MARGIN / width_inches, ha="left", fontsize=FONT_SIZE)


def add_legend_below(figure: Figure, keys: Sequence[Artist]) -> None:
    """Add a legend below all axes, in as few and as even lines as its entries need; the figure grows by them."""
    width = figure.get_figwidth() - 4 * MARGIN
    around = 4.8 * SMALL_FONT_SIZE / 72  # the handle of an entry, and the gaps around it
    widths = [text_inches(str(key.get_label()))[0] + around for key in keys]
    heights = [text_inches(str(key.get_label()))[1] + 0.04 for key in keys]
    n_lines, columns = 0, [[sum(widths) + width]]
    while n_lines < len(keys) and sum(map(max, columns)) > width:
        n_lines += 1
        n_columns = ceil(len(keys) / n_lines)
        columns = [part.tolist() for part in np.array_split(widths, n_columns)]
    figure.set_figheight(figure.get_figheight() + n_lines * max(heights))
    figure.legend(handles=list(keys), loc="outside lower left", ncols=len(columns))


def lay_out(figure: Figure) -> Figure:
    """Return the figure with its layout fixed; call it within :func:`figure_style` when everything is drawn.

    Matplotlib chooses ticks only when it renders, and would then follow the user's settings.
    """
    complete_fonts(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)  # alone: a whole draw takes half as long again, and moves nothing more
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator(axis.get_majorticklocs().tolist()))
    keep_places(figure)
    return figure


def keep_places(figure: Figure) -> None:
    """Leave everything where it is when the figure is drawn."""
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)  # "none" would leave an engine without effect, for which savefig draws twice


def finish_figure(figure: Figure, title: str = "") -> Figure:
    """Return the figure with its title at the top left and its layout fixed."""
    write_title(figure, title, figure.get_figwidth())
    return lay_out(figure)


def mark_values(axes: Axes, values: Sequence[float], *, gap: float) -> None:
    """Put the ticks of the x axis at values; of two whose labels would touch, at the larger one.

    Args:
        axes: Axes whose limits and scale are settled.
        values: Where something was measured.
        gap: Smallest distance between ticks, as a fraction of the axis.
    """
    marked: list[float] = []
    last = np.inf
    for value in sorted(set(values), reverse=True):
        place = axes.transAxes.inverted().transform(axes.get_xaxis_transform().transform((value, 0)))[0]
        if last - place >= gap:
            marked.append(value)
            last = place
    axes.set_xticks(marked[::-1], [f"{value:g}" for value in marked[::-1]])
    axes.minorticks_off()


def axis_label(quantity: str, unit: str) -> str:
    """Return the label of an axis: the quantity, and its unit in brackets if it has one."""
    return f"{quantity} ({unit})" if unit else quantity


def shorten(text: str, length: int) -> str:
    """Return the text with its middle left out if it is longer: names of one kind often differ only at their end."""
    return text if len(text) <= length else f"{text[: length - length // 3 - 1]}…{text[-(length // 3) :]}"


def hide_axes(axes: Axes) -> None:
    """Remove ticks, grid and spines from axes that show pixels."""
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
