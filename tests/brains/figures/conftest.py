"""What every figure must keep: its texts lie on the canvas, apart from each other, and are not read as mathematics."""

import io
from itertools import combinations

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure


def _texts(figure: Figure) -> list[mpl.text.Text]:
    found = [*figure.texts, *([figure._suptitle] if figure._suptitle else [])]
    for legend in figure.legends:
        found += legend.get_texts()
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    unique = {id(text): text for text in found if text.get_text() and text.get_visible()}
    return list(unique.values())


@pytest.fixture(scope="session")
def check_readable():
    """Return a function that fails if a text of a figure is cut off or overlaps another."""

    def check(figure: Figure) -> None:
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        tolerance = 1 / figure.dpi
        assert min(box.x0, box.y0) >= -tolerance
        assert box.x1 <= width + tolerance
        assert box.y1 <= height + tolerance
        assert max(width, height) < 15
        # Of the text alone: the extent of an annotation includes its arrow.
        extents = [(each.get_text(), mpl.text.Text.get_window_extent(each)) for each in _texts(figure)]
        boxes = [(text, extent.padded(-0.5)) for text, extent in extents]
        assert not [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
        assert not [text for text, _ in boxes if "mathdefault" in text or "nan" in text]

    return check


@pytest.fixture(scope="session")
def texts():
    """Return a function that lists the texts of a figure."""
    return lambda figure: [text.get_text() for text in _texts(figure)]


@pytest.fixture(scope="session")
def png():
    """Return a function that writes a figure as PNG and returns its bytes."""

    def write(figure: Figure) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    return write
