from __future__ import annotations

from pathlib import Path

import pytest

from manylabel.data.synthetic.rules import LABELS, RULES, companion_given, describe_rules, prior

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
