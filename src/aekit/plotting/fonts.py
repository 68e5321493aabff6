"""Fonts for texts in any script: DejaVu Sans first, then fonts of this machine for what it lacks."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator
from functools import lru_cache

from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

from aekit.errors import GlyphWarning

FAMILY = "DejaVu Sans"  # bundled with matplotlib, so that all machines draw the same letters

# Asked before all others, as they have a whole script in an upright sans-serif.
_PREFERRED = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP",
    "Source Han Sans SC", "PingFang SC", "PingFang HK", "Hiragino Sans", "Hiragino Sans GB", "Apple SD Gothic Neo",
    "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Thai",
    "Segoe UI", "Arial Unicode MS", "FreeSans", "Noto Emoji", "Segoe UI Symbol", "Apple Symbols", "Symbola", "Unifont",
)  # fmt: skip
# Fonts of colour pictures, of boxes, and of symbols under the numbers of other letters.
_UNUSABLE = ("color", "last resort", "lastresort", "blank", "stixnonunicode", "stixsize")
_MARK = "\u200e"  # reads from left to right
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]+")  # Hebrew, Arabic, Syriac and others
_REGULAR = range(350, 551)  # weights
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # categories of Unicode; variation selectors are of Mn


def _ignore_glyph_warnings() -> None:
    """Keep matplotlib from warning once per letter that a font lacks; :func:`complete_fonts` says it in one line.

    For the whole process, as a figure may be drawn at any time, and in any thread.
    """
    warnings.filterwarnings("ignore", r"Glyph \d+ |Matplotlib currently does not support", UserWarning)


def families_for(text: str) -> list[str]:
    """Return the fonts that a text needs, DejaVu Sans first and alone if it has all letters."""
    families, missing = _fallbacks(_lacking(text))
    if missing:
        _ignore_glyph_warnings()
    return [FAMILY, *families]


def complete_fonts(figure: Figure) -> None:
    """Give each text of a figure the fonts that it needs; a warning names letters that no font has."""
    missing: set[str] = set()
    for text in _foreign_texts(figure):
        families, lacking = _fallbacks(_lacking(text.get_text()))
        missing |= lacking
        if families:
            text.set_fontfamily([FAMILY, *families])
    if missing:
        _ignore_glyph_warnings()
        examples = " ".join(sorted(missing)[:3])
        warnings.warn(
            f"no installed font has the letters {examples}{' ...' if len(missing) > 3 else ''}: they are boxes in "
            "figures; install a font for them, for example of the Noto family",
            GlyphWarning,
            stacklevel=2,
        )


def _foreign_texts(figure: Figure) -> Iterator[Text]:
    """Yield the texts that are not ASCII, but make no ticks, which takes as long as the layout."""
    found: list[Artist] = [figure]
    while found:
        artist = found.pop()
        if isinstance(artist, Axis):
            formatter = artist.get_major_formatter()
            is_fixed = isinstance(formatter, FixedFormatter) and not all(str(one).isascii() for one in formatter.seq)
            if is_fixed:
                found += artist.get_ticklabels()  # which writes them
            # Only ticks that exist: one with a name does.
            found += [artist.label, *vars(artist).get("majorTicks", ())]
        elif not isinstance(artist, Text):
            found += artist.get_children()
        elif not artist.get_text().isascii():
            yield artist


@lru_cache(maxsize=4096)
def _lacking(text: str) -> frozenset[str]:
    """Return the letters of a text that DejaVu Sans lacks."""
    if text.isascii():
        return frozenset()
    own = _own_letters()
    return frozenset(
        letter
        for letter in text
        if ord(letter) not in own
        and unicodedata.category(letter) not in _INVISIBLE
        and not unicodedata.name(letter, "").startswith("VARIATION SELECTOR")
    )


@lru_cache(maxsize=1)
def _own_letters() -> frozenset[int]:
    return frozenset(FT2Font(findfont(FontProperties(family=FAMILY))).get_charmap())


@lru_cache(maxsize=1024)
def _fallbacks(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the families that together have these letters, and the letters that none has."""
    families: list[str] = []
    for family, path in _installed() if letters else ():
        found = _letters_of(path, letters)
        if found:
            families.append(family)
            letters -= found
        if not letters:
            break
    return tuple(families), letters


def _installed() -> list[tuple[str, str]]:
    """Return family and file of each upright font of regular weight, preferred ones first."""
    rank = {family: number for number, family in enumerate(_PREFERRED)}
    regular = {
        entry.name: str(entry.fname)
        for entry in fontManager.ttflist
        if entry.style == "normal"
        and (entry.weight in _REGULAR or entry.weight in ("normal", "regular", "book", "medium"))
        and not any(word in entry.name.lower() for word in _UNUSABLE)
    }
    return sorted(regular.items(), key=lambda item: (rank.get(item[0], len(rank)), item))


@lru_cache(maxsize=4096)
def _letters_of(path: str, letters: frozenset[str]) -> frozenset[str]:
    """Return which letters a font has; none if it cannot be opened, or has pictures instead of outlines."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError, ValueError):
        return frozenset()
    if not font.scalable:
        return frozenset()
    return frozenset(letter for letter in letters if font.get_char_index(ord(letter)))


def left_to_right(text: str) -> str:
    """Return a label that is read from left to right, also where names in it, as in Arabic, are not.

    Without marks of direction the whole label would turn around, with its numbers, brackets and arrows.
    """
    marked = _RIGHT_TO_LEFT.sub(lambda match: match[0] + _MARK, text)
    return _MARK + marked if marked != text else text
