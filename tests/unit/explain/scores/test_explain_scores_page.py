"""The section of scores: its figures, its signs, and names that look like HTML."""

from __future__ import annotations

import re

from manylabel.explain.scores.page import scores_section
from manylabel.explain.scores.scoring import ExplanationScores, ScoreSettings
from manylabel.explain.scores.summary import LabelScore, MethodScore
from manylabel.metrics.bootstrap import Interval

NAN = float("nan")
NOWHERE = Interval(NAN, NAN, NAN)


def one(value: float, sign: str | None, labels: dict[str, LabelScore]) -> MethodScore:
    return MethodScore(Interval(value, value - 0.02, value + 0.03), NOWHERE, {}, sign, labels)  # pyright: ignore[reportArgumentType]


def scores(removal_pairs: int = 0) -> ExplanationScores:
    """Two labels: the second one has too few pairs for a sign, and its name is hostile."""
    labels = {
        "<b>ant</b>": LabelScore(3, Interval(1 / 3, 0, 1), {}, None),
        "cat": LabelScore(12, Interval(0.25, 0.1, 0.4), {}, "-"),
        "dog": LabelScore(40, Interval(0.75, 0.6, 0.9), {}, "+"),
    }
    methods = {
        "attention": one(0.705, "+", labels),
        "centre": one(0.05, None, labels),
        "chance": one(0.031, None, labels),
    }
    return ExplanationScores(
        summary={"pointing": methods, "energy_inside": methods},
        methods={"attention": "SRN's weighted attention U"},
        images=50,
        pairs=1055,
        removal_pairs=removal_pairs,
        shares={"attention": 0.02},
        settings=ScoreSettings(),
        notes=("a <i>note</i>",),
        bad=(),
    )


def cells(body: str, row: str) -> list[str]:
    line = re.findall(rf'<tr[^>]*><th scope="row">{re.escape(row)}.*?</tr>', body, re.DOTALL)[0]
    return [re.sub(r"<[^>]+>", " ", cell).split()[0] for cell in re.findall(r"<td.*?</td>", line)]


def test_totals_and_labels_have_their_figures():
    body = scores_section(scores()).body
    assert "1,055 pairs" in body
    assert cells(body, "pointing game") == ["70.5", "5.0", "3.1"]
    assert cells(body, "dog") == ["40", "75.0", "75.0"]
    assert "68.5 to 73.5" in body
    order = re.findall(r'<th scope="row">(cat|dog|&lt;b&gt;ant&lt;/b&gt;)</th>', body)
    assert order == ["dog", "cat", "&lt;b&gt;ant&lt;/b&gt;"]


def test_signs_are_words_too_and_few_pairs_have_none():
    body = scores_section(scores()).body
    line = re.findall(r'<tr class="few">.*?</tr>', body, re.DOTALL)
    assert len(line) == 1
    assert "title=" not in line[0]
    assert '<b class="up" title="better">+</b>' in body
    assert '<b class="down" title="worse">−</b>' in body


def test_names_and_notes_stay_text_and_ids_begin_with_the_anchor():
    section = scores_section(scores(), anchor="explanations-b", mark=" (B)")
    assert "<b>ant" not in section.body
    assert "a &lt;i&gt;note" in section.body
    assert section.title == "Do the maps point at the objects? (B)"
    found = re.findall(r'\sid="([^"]+)"', section.body)
    assert found == ["explanations-b", "explanations-b-title"]


def test_it_says_whether_insertion_and_deletion_were_measured():
    assert "manylabel explain --score" in scores_section(scores()).body
    with_both = scores_section(scores(200)).body
    assert "Insertion and deletion are measured on 200 of these pairs." in with_both
    assert "manylabel explain --score" not in with_both
