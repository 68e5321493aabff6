"""Names in any script: their letters come from installed fonts, or one line of our own says that they do not."""

import io
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from aekit.errors import GlyphWarning
from aekit.plotting import fonts
from aekit.plotting.style import build_figure, figure_style, finish_figure, text_size

SIDE = 800  # of the square that is every letter of the planted font, in thousandths of the font size
LETTERS = "\U0010fff0\U0010fff1"  # for private use, so that no font of the machine has them


@pytest.fixture
def forget():
    """Forget which fonts have which letters, before and after a test."""
    cached = (fonts._fallbacks, fonts._letters_of, text_size)
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


@pytest.fixture
def planted(tmp_path, monkeypatch, forget):
    """Install a font whose letters are squares, for this test only."""
    names = [".notdef", *(f"u{ord(letter):X}" for letter in LETTERS)]
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(0, 0), (0, SIDE), (SIDE, SIDE), (SIDE, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(LETTERS, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=SIDE, descent=-200)
    builder.setupNameTable({"familyName": "Planted", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "planted.ttf")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "planted.ttf")
    return "Planted"


def test_a_label_with_a_name_from_right_to_left_keeps_its_order():
    label = fonts.left_to_right("\u0642\u0637\u0629 (#45) \u2192 abc")
    assert label == "\u200e\u0642\u0637\u0629\u200e (#45) \u2192 abc"
    assert fonts.left_to_right("4 \u2192 7") == "4 \u2192 7"


def figure_of(*names, ticks=()):
    with figure_style():
        figure = build_figure(3, 2)
        axes = figure.add_subplot()
        for number, name in enumerate(names):
            axes.text(0.1, 0.2 + 0.3 * number, name, fontsize=30)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks)
        return finish_figure(figure)


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def said(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [one for one in caught if issubclass(one.category, UserWarning)]


@pytest.mark.parametrize("where", ["text", "ticks", "title"])
def test_letters_that_no_font_has_are_one_warning_of_our_own(forget, where):
    def draw():
        with figure_style():
            figure = build_figure(3, 2)
            axes = figure.add_subplot()
            if where == "text":
                axes.text(0, 0, LETTERS)
            elif where == "ticks":
                axes.set_yticks([0, 1], list(LETTERS))
            finish_figure(figure, f"name: {LETTERS}" if where == "title" else "")

    warned = said(draw)
    assert {one.category for one in warned} == {GlyphWarning}
    assert len(warned) == 1
    assert all(letter in str(warned[0].message) for letter in LETTERS)


def test_a_figure_with_a_layout_of_its_own_warns_when_it_is_saved(forget):
    with figure_style():
        figure = build_figure(2, 2)
        figure.text(0.1, 0.1, LETTERS)
    assert {one.category for one in said(lambda: png(figure))} == {GlyphWarning}


def test_an_installed_font_is_used_for_what_the_first_one_lacks(planted):
    assert fonts.families_for(f"a{LETTERS}") == ["DejaVu Sans", planted]
    assert fonts.families_for("Größe, İstanbul, Ελλάδα, Москва") == ["DejaVu Sans"]
    figures = []
    assert not said(lambda: figures.append(figure_of(LETTERS[0], ticks=list(LETTERS))))
    assert not said(lambda: png(figures[0]))
    pixels = np.asarray(figures[0].canvas.buffer_rgba())[..., :3].mean(axis=2)
    side = SIDE / 1000 * 30 * 150 / 72
    black = (pixels < 30).sum()
    assert black > 0.9 * side**2  # the square is filled; the box of a missing letter is an outline
    assert text_size(LETTERS[0], 30)[0] == pytest.approx(30 * 150 / 72, abs=2)


def test_other_texts_keep_their_font_and_figures_their_bytes(planted, monkeypatch):
    names = ("Größe", "x - y = z")
    figure = figure_of(*names, ticks=["a", "b"])
    assert all(text.get_fontfamily() == ["DejaVu Sans"] for text in figure.findobj(Text))
    with_font = png(figure)
    monkeypatch.setattr(fontManager, "ttflist", [one for one in fontManager.ttflist if one.name != planted])
    assert png(figure_of(*names, ticks=["a", "b"])) == with_font


@pytest.mark.parametrize("text", ["a\u200db", "a\ufe0fb", "a\nb", "\u202eabc", ""])
def test_letters_that_are_not_drawn_are_not_missing(text):
    assert fonts.families_for(text) == ["DejaVu Sans"]
    assert not fonts._lacking(text)


def test_a_font_that_cannot_be_opened_is_passed_over(tmp_path, monkeypatch, planted):
    (tmp_path / "planted.ttf").write_bytes(b"no font")
    assert fonts.families_for(LETTERS) == ["DejaVu Sans"]
