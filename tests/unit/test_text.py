"""Text that is safe to show, and JSON that keeps the exact value."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from manylabel.text import for_spreadsheet, from_spreadsheet, json_line, visible

quick = settings(max_examples=200, deadline=None, database=None, derandomize=True)


def test_every_control_character_is_escaped() -> None:
    for code in range(0x110000):
        character = chr(code)
        directs = unicodedata.bidirectional(character) in {
            *("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
        } or unicodedata.name(character, "").endswith(
            ("-TO-RIGHT MARK", "-TO-LEFT MARK", "LETTER MARK")
        )
        obeyed = unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or directs
        assert (visible(character) != character) == obeyed, hex(code)


def test_letters_of_all_scripts_and_joined_emoji_stay() -> None:
    for text in ("traffic light", "雪", "می‌خواهم", "क्‍ष", "👩‍👩‍👧", r"a\x1b"):
        assert visible(text) == text


@quick
@given(st.text(st.characters(max_codepoint=0x2100)))
def test_json_is_one_visible_line_with_the_same_value(text: str) -> None:
    line = json_line({text: [text, 0.5]})
    assert visible(line) == line
    assert json.loads(line) == {text: [text, 0.5]}


@quick
@given(st.text(st.sampled_from("'=+-@\t\r\n\uff1da")))
def test_a_cell_for_spreadsheets_is_read_back_and_never_runs(text: str) -> None:
    cell = for_spreadsheet(text)
    assert from_spreadsheet(cell) == text
    assert not cell.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
