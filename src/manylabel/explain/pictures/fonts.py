"""Fonts of pictures: which one has the letters of a text, and how wide the text is.

DejaVu Sans comes with matplotlib, so it is always there. It has Latin, Greek, Cyrillic, Arabic,
Hebrew and many other letters, but no Chinese, Japanese or Korean ones. For a letter
that it lacks, a font of the computer is used, if a common one that has the letter is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from PIL import ImageFont

from manylabel.text import visible

_NO_CHARACTERS: Final = re.compile("[\ufffe\uffff]")
"""Unicode has no characters at these two places, and XML forbids them."""

ELLIPSIS: Final = "…"

_MEASURED_AT: Final = 100
"""The size at which text is measured: there, rounding to whole pixels does not matter."""

_NEUTRAL: Final = " \u200b\u200c\u200d\ufe0e\ufe0f"
"""Characters that go with the font before them: the space, and what joins letters."""

_COMMON: Final = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "Nirmala.ttf",
    "LeelawUI.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf",
    "FreeSans.ttf",
    "unifont.otf",
)
"""Files of fonts with many letters on Linux, Windows and macOS. Pillow finds them by name."""


def one_line(text: str) -> str:
    """The text on one line, with an escape for each character that would not be shown."""
    shown = visible(" ".join(text.split()))
    return _NO_CHARACTERS.sub(lambda found: ascii(found[0])[1:-1], shown)


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a line of text."""
    widths = [font.getlength(run) for run, font in runs(text, _MEASURED_AT, bold=bold)]
    return sum(widths) * size / _MEASURED_AT


def shortened(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """The longest beginning of a text, with an ellipsis, that is at most `room` wide.

    The text itself is returned if it is not wider.
    """
    if width_of(text, size, bold=bold) <= room:
        return text
    low, high = 0, len(text)
    while low < high:  # `low` letters fit; more than `high` do not
        middle = (low + high + 1) // 2
        fits = width_of(text[:middle].rstrip() + ELLIPSIS, size, bold=bold) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + ELLIPSIS


def shortened_in_front(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """As `shortened`, but the end of the text stays: for names of files."""
    if width_of(text, size, bold=bold) <= room:
        return text
    for start in range(1, len(text)):
        if width_of(ELLIPSIS + text[start:], size, bold=bold) <= room:
            return ELLIPSIS + text[start:]
    return ELLIPSIS


def wrapped(text: str, room: float, size: float) -> list[str]:
    """The lines of a text that is broken between words, each at most `room` wide."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(shortened(word, room, size))
    return lines


def not_drawable(texts: Iterable[str]) -> list[str]:
    """The texts with letters that no font here has. In a PNG, such letters are empty boxes."""
    return [
        text
        for text in texts
        if any(_with(letter, bold=False) is None for letter in one_line(text))
    ]


def runs(text: str, size: float, *, bold: bool = False) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """The parts of a text that are drawn with one font each, from left to right."""
    return [(run, _opened(file, size)) for run, file in _runs(text, bold)]


@lru_cache(maxsize=4096)
def _runs(text: str, bold: bool) -> tuple[tuple[str, Path], ...]:
    parts: list[tuple[str, Path]] = []
    for letter in text:
        file = _with(letter, bold=bold) or _dejavu(bold)
        if parts and (letter in _NEUTRAL or file == parts[-1][1]):
            parts[-1] = (parts[-1][0] + letter, parts[-1][1])
        else:
            parts.append((letter, file))
    return tuple(parts)


@cache
def _with(letter: str, *, bold: bool) -> Path | None:
    """The file of the first font that has a letter; None if there is none."""
    own = _dejavu(bold)
    if letter in _NEUTRAL or ord(letter) in _letters(own):
        return own
    others = (file for name in _COMMON if (file := _found(name)))
    return next((file for file in others if ord(letter) in _letters(file)), None)


@cache
def _dejavu(bold: bool) -> Path:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name


@cache
def _found(name: str) -> Path | None:
    try:
        return Path(str(ImageFont.truetype(name, _MEASURED_AT).path))
    except OSError:
        return None


@cache
def _letters(file: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(file)).get_charmap())


@cache
def _opened(file: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)
