"""The page of relations in a real browser: graph and table are drawn without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from manylabel.explain.relations.page import RelationsPage, relations_section, write_relations
from manylabel.html import asset

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

LABELS = ["cat", "dog", "owl", "<b>ant</b>"]


def content() -> RelationsPage:
    """Two relations of the model that are sure, one pair of the data, and pairs without numbers."""
    pairs = [(b, a) for b in range(4) for a in range(4) if a != b]
    rows: list[list[object]] = []
    for b, a in pairs:
        adds, sure = {(0, 1): (2.5, 1), (2, 3): (-1.5, 1)}.get((b, a), (None, 0))
        p = 0.001 if {b, a} == {0, 1} else None
        best = "above, not below" if sure and b == 0 else ""
        own = [adds, -adds if adds else None, adds, sure]
        rows.append([b, a, *own, 1.5, 1.2, 1.8, 30, 0.4, p, best, "above (3 of 4)"])
    payload = {"labels": LABELS, "around": [0, 1, 2, 3], "share": 0.5, "pairs": 12, "rows": rows}
    matrix = (tuple(LABELS), tuple((None, 1.0, -0.5, None) for _ in LABELS))
    return RelationsPage("t", "s", ("a note",), ("4 follow",), matrix, payload, (), 4, False)


def dump(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's DOM after its scripts ran, and what the console said."""
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    )
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def drawn(tmp_path: Path, script: str = "") -> str:
    page = write_relations(tmp_path / "relations.html", content())
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    dom, said = dump(page, tmp_path / "profile")
    assert not said
    return dom


def test_the_model_has_an_arrow_for_each_sure_relation(tmp_path):
    dom = drawn(tmp_path)
    assert re.findall(r'<path d="M[^"]*" class="edge (plus|minus)"', dom) == ["minus", "plus"]
    assert dom.count('class="node"') == 4
    assert dom.count('class="tip') == 2
    assert "cat → dog: +2.50 logits" in dom
    assert "best place: above, not below" in dom
    body = dom.partition('id="relations-table"')[2].partition("</table>")[0]
    assert body.count("<tr") == 13
    assert "<b>ant</b>" not in dom.replace('"<b>ant</b>"', "")


def test_the_data_have_a_line_for_each_significant_pair(tmp_path):
    script = (
        'const what = document.getElementById("relations-what"); what.value = "data";'
        'what.dispatchEvent(new Event("change"));'
    )
    dom = drawn(tmp_path, script)
    assert dom.count('class="node"') == 2
    assert dom.count('class="tip') == 0
    assert "cat and dog: lift 1.50 (1.20 to 1.80), 30 images with both" in dom


def test_a_label_can_be_reached_without_a_mouse_and_found_in_the_table(tmp_path):
    script = (
        'document.querySelector(".node").focus();'
        'const filter = document.getElementById("relations-filter"); filter.value = "OWL";'
        'filter.dispatchEvent(new Event("input"));'
    )
    dom = drawn(tmp_path, script)
    assert re.search(r'id="relations-about"[^>]*><h3>cat</h3>', dom)
    body = dom.partition('id="relations-table"')[2].partition("</table>")[0]
    assert body.count("<tr") == 7


def test_a_page_with_two_sections_draws_both(tmp_path):
    sections = [relations_section(content(), anchor=f"relations-{each}") for each in "ab"]
    bodies = "".join(section.body for section in sections)
    page = tmp_path / "two.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8>{bodies}<script>{asset('relations.js')}</script>"
        '<script>const what = document.getElementById("relations-a-what"); what.value = "data";'
        'what.dispatchEvent(new Event("change"));</script>',
        encoding="utf-8",
    )
    dom, said = dump(page, tmp_path / "profile")
    assert not said
    first, second = dom.split('id="relations-b"')
    assert first.count('class="node"') == 2  # the pair of the data
    assert second.count('class="node"') == 4
    assert "cat and dog: lift 1.50" in first
    assert "cat → dog: +2.50 logits" in second
    for part in (first, second):
        table = part.partition('-table"')[2].partition("</table>")[0]
        assert table.count("<tr") == 13
