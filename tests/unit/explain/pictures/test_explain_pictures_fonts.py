"""Fonts: shortening, wrapping, and letters that fonts have or lack."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manylabel.explain.pictures import fonts
from manylabel.explain.pictures.fonts import (
    not_drawable,
    one_line,
    shortened,
    shortened_in_front,
    width_of,
    wrapped,
)

CAT = "猫"


@pytest.fixture
def no_other_font(monkeypatch):
    """As on a computer that has no common font with more letters."""
    monkeypatch.setattr(fonts, "_found", lambda name: None)
    for cached in (fonts._runs, fonts._with):
        cached.cache_clear()
    yield
    for cached in (fonts._runs, fonts._with):
        cached.cache_clear()


def test_a_text_is_as_wide_as_its_letters():
    assert width_of("", 12) == 0
    assert width_of("aa", 12) == pytest.approx(2 * width_of("a", 12))
    assert width_of("ab", 24) == pytest.approx(2 * width_of("ab", 12))
    assert width_of("cat", 12, bold=True) > width_of("cat", 12)


@given(st.text(max_size=60), st.integers(20, 200))
def test_a_shortened_text_fits_and_is_the_longest_that_does(text, room):
    text = one_line(text)
    short = shortened(text, room, 12)
    assert width_of(short, 12) <= room
    if short == text:
        return
    assert short.endswith("…")
    kept = short[:-1]
    assert text.startswith(kept)
    assert width_of(text, 12) > room
    more = text[: len(kept) + 1].rstrip()
    assert width_of(f"{more}…", 12) > room or more == kept


def test_of_the_name_of_a_file_the_end_stays():
    name = "photographs/of/the/summer/of/last/year/IMG_2034.jpg"
    short = shortened_in_front(name, 120, 12)
    assert short.startswith("…")
    assert short.endswith("2034.jpg")
    assert width_of(short, 12) <= 120
    assert shortened_in_front("a.jpg", 120, 12) == "a.jpg"


def test_lines_hold_all_words_in_order_and_fit():
    text = "Each map has its own scale, from no evidence to its own maximum. " * 4
    lines = wrapped(text, 150, 12)
    assert " ".join(lines).split() == text.split()
    assert all(width_of(line, 12) <= 150 for line in lines)
    assert len(lines) > 4
    assert wrapped("x" * 400, 150, 12)[0].endswith("…")
    assert wrapped("", 150, 12) == []


def test_hidden_characters_become_visible():
    assert one_line("a\u202eb\n c\x1b") == "a\\u202eb c\\x1b"
    assert one_line("a\uffff") == "a\\uffff"


def test_letters_that_no_font_has_are_named(no_other_font):
    names = ["cat", "عربة", "חתול", "Ελλάδα", CAT, "zwj\u200d"]
    assert not_drawable(names) == [CAT]
    assert width_of(CAT, 12) > 0  # it is drawn as an empty box


def test_a_font_of_the_computer_draws_what_the_own_font_lacks(monkeypatch, no_other_font):
    """DejaVu Sans stands for the computer's font; the own font is made to lack the letter z."""
    own, other = fonts._dejavu(False), fonts._dejavu(True)
    letters = {own: frozenset(map(ord, "ab ")), other: frozenset(map(ord, "z"))}
    monkeypatch.setattr(fonts, "_found", lambda name: other)
    monkeypatch.setattr(fonts, "_letters", letters.__getitem__)
    runs = [(run, Path(str(font.path))) for run, font in fonts.runs("ab zz a", 12)]
    assert [run for run, _ in runs] == ["ab ", "zz ", "a"]
    assert [path for _, path in runs] == [own, other, own]
    assert not_drawable(["ab", "z", "q"]) == ["q"]
