from __future__ import annotations

from pathlib import Path

import pytest

from manylabel.data.synthetic.rules import (
    LABELS,
    RULE_OF,
    RULES,
    SHY_SHARE,
    STRAY_CHANCE,
    chance_of,
    companion_given,
    prior,
    stray_chance,
)

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
        "| P(companion \\| label) | place | longer side | visibility |"
    )
    rows = [head, "| --- | --: | --- | --: | --: | --: | --- | --: | --- |"]
    for rule in RULES:
        chances = ["", "", "", ""]
        if rule.companion is not None:
            exact = (rule.chance_with, rule.chance, companion_given(rule.name))
            chances = [rule.companion, *(f"{chance:.3f}" for chance in exact)]
        visibility = f"{rule.shy} ({SHY_SHARE:.0%})" if rule.shy else "full"
        sizes = f"{rule.sizes[0]:g} to {rule.sizes[1]:g}"
        cells = [rule.name, f"{prior(rule.name):.3f}", *chances, rule.place, sizes, visibility]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_marginals_do_not_depend_on_the_strength(strength: float) -> None:
    """P(label), summed over all label sets that the rules can give."""
    exact = dict.fromkeys(LABELS, 0.0)
    for present, chance in label_sets(
        ("boat", "bird", "fish", "bridge", "cloud", "pond"), strength
    ):
        for name in present:
            exact[name] += chance
    for name in ("boat", "bird", "fish", "bridge", "cloud", "pond"):
        assert exact[name] == pytest.approx(prior(name))


def test_at_strength_0_labels_are_independent_but_for_rivals() -> None:
    sets = dict(label_sets(("boat", "bird", "bridge"), 0.0))
    assert sum(sets.values()) == pytest.approx(1)
    for present, chance in sets.items():
        product = 1.0
        for name in ("boat", "bird", "bridge"):
            product *= prior(name) if name in present else 1 - prior(name)
        assert chance == pytest.approx(product)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_as_many_shapes_without_a_label_at_each_strength(strength: float) -> None:
    total = 0.0
    for present, chance in label_sets(("boat", "bird", "fish"), strength):
        if not present & {"bird", "fish"}:
            there = "boat" in present
            total += chance * stray_chance(RULE_OF["bird"], with_reference=there, strength=strength)
    assert total == pytest.approx(STRAY_CHANCE * (1 - prior("boat")))


def test_at_full_strength_no_shape_lies_beside_its_reference_without_a_label() -> None:
    assert stray_chance(RULE_OF["cloud"], with_reference=True) == 0
    assert stray_chance(RULE_OF["cloud"], with_reference=False) == pytest.approx(STRAY_CHANCE)


def label_sets(names: tuple[str, ...], strength: float) -> list[tuple[frozenset[str], float]]:
    """Every set of these labels with its probability: the product of P(label | earlier ones)."""
    found: list[tuple[frozenset[str], float]] = [(frozenset(), 1.0)]
    for name in names:
        rule = RULE_OF[name]
        found = [
            (present | added, chance * (p if added else 1 - p))
            for present, chance in found
            for p in [chance_of(rule, present, strength)]
            for added in (frozenset({name}), frozenset[str]())
        ]
    return [(present, chance) for present, chance in found if chance > 0]
