"""Scores of explanations as a section of a page."""

from __future__ import annotations

from typing import Final

from manylabel.explain.scores.measures import MEASURES
from manylabel.explain.scores.pairs import BASELINES
from manylabel.explain.scores.scoring import ExplanationScores
from manylabel.explain.scores.summary import MIN_PAIRS
from manylabel.html import PageSection, make_section
from manylabel.metrics.bootstrap import Interval

_WORDS: Final = {"+": "better", "-": "worse", "=": "not told apart"}


def scores_section(
    found: ExplanationScores, *, anchor: str = "explanations", mark: str = ""
) -> PageSection:
    """The scores of the maps of a model, in total and label by label.

    Args:
        found: The scores.
        anchor: The id of the section, different for each section of a page.
        mark: What follows the heading, such as " (A)" on a page of two models.
    """
    content = {
        "found": found,
        "regions": "box" if found.settings.mask_classes is None else "mask",
        "measures": {name: MEASURES[name] for name in found.summary},
        "columns": list(next(iter(found.summary.values()))),
        "baselines": BASELINES,
        "labels": {method: _by_label(found, method) for method in found.methods},
        "least": MIN_PAIRS,
        "words": _WORDS,
        "interval": _interval,
    }
    title = f"Do the maps point at the objects?{mark}"
    return make_section("scores_section.html.j2", anchor, title, content, styles=("scores.css",))


def _by_label(found: ExplanationScores, method: str) -> list[str]:
    """The labels that have a pair: those with enough by the first measure, then the others."""
    scores = next(iter(found.summary.values()))[method].labels
    few = [name for name, each in scores.items() if each.pairs < MIN_PAIRS]
    many = [name for name in scores if name not in few]
    return sorted(many, key=lambda name: (-scores[name].found.value, name)) + few


def _interval(found: Interval) -> str:
    """Both ends in percent, as "low to high"; empty if there are none."""
    return "" if found.low != found.low else f"{100 * found.low:.1f} to {100 * found.high:.1f}"
