from __future__ import annotations

from pathlib import Path

import pytest

from manylabel.data.synthetic.rules import LABELS, RULES, SHY_SHARE, companion_given, prior

SIDED = [rule for rule in RULES if rule.place in ("above", "below")]
SHY = [rule for rule in RULES if rule.shy]


def test_probabilities_by_hand() -> None:
    assert prior("boat") == 0.38
    assert prior("bridge") == pytest.approx(0.38 * 0.14 + 0.62 * 0.42)
    assert prior("pond") == pytest.approx(0.42 * (0.38 * 0.14 + 0.62 * 0.42))
    signal = 0.40 * 0.12 + 0.60 * 0.32
    car = signal * 0.50 + (1 - signal) * 0.026
    assert prior("car") == pytest.approx(car)
    assert companion_given("car") == pytest.approx(signal * 0.50 / car)


def test_table_keeps_what_the_docs_promise() -> None:
    priors = [prior(name) for name in LABELS]
    assert 12 <= len(LABELS) <= 16
    assert (min(priors), max(priors)) == (0.05, 0.40)
    assert 2.8 < sum(priors) < 3.2
    assert all(0.84 < companion_given(rule.name) < 0.87 for rule in SHY)
    assert len({rule.shape for rule in SIDED}) == 2
    assert len(SHY) == 3


def test_docs_print_the_table() -> None:
    page = Path(__file__).parents[4] / "docs" / "drawn-scenes.md"
    assert describe_rules() in page.read_text(encoding="utf-8")


def describe_rules() -> str:
    """The table in Markdown, with the probabilities that follow from it."""
    head = (
        "| label | P(label) | companion | P(label \\| companion) | P(label \\| no companion) "
        "| P(companion \\| label) | lies | longer side | comes |"
    )
    rows = [head, "| --- | --: | --- | --: | --: | --: | --- | --: | --- |"]
    for rule in RULES:
        chances = ["", "", "", ""]
        if rule.companion is not None:
            exact = (rule.chance_with, rule.chance, companion_given(rule.name))
            chances = [rule.companion, *(f"{chance:.3f}" for chance in exact)]
        comes = f"{rule.shy} ({SHY_SHARE:.0%})" if rule.shy else "plain"
        sizes = f"{rule.sizes[0]:g} to {rule.sizes[1]:g}"
        cells = [rule.name, f"{prior(rule.name):.3f}", *chances, rule.place, sizes, comes]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
