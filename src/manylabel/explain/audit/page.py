"""Writes an audit as one HTML file that opens in any browser, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from manylabel.explain.audit.findings import SURE, VERDICTS, Audit
from manylabel.html import PageSection, environment, make_section, write_html
from manylabel.metrics.bootstrap import Interval

_WITH_PICTURES: Final = 30
"""The largest number of pairs with pictures and advice. The table has all of them."""
_SHOWN: Final = ("rests on", "goes with", "speaks against")
"""The verdicts of pairs that are shown with pictures and advice."""
_INTRO: Final = (
    "For each label and its usual companions in the data, this shows whether the model's score of "
    "the label depends on the companion. A model that has learned such a shortcut fails where the "
    "two are not together."
)


def write_page(path: Path, found: Audit, about: Mapping[str, str]) -> Path:
    """Write the audit as one self-contained HTML file, and return its path.

    Args:
        path: The file.
        found: The audit.
        about: What was audited, by its name on the page.

    Raises:
        RunError: The file cannot be written.
    """
    return write_html(path, render(found, about))


def render(found: Audit, about: Mapping[str, str]) -> str:
    """The audit as HTML."""
    page = environment().get_template("audit.html.j2")
    return page.render(about=about, **_content(found))


def audit_section(found: Audit, *, anchor: str = "audit", mark: str = "") -> PageSection:
    """The audit as a section, for a page that has more.

    Args:
        found: The audit.
        anchor: The id of the section, different for each section of a page.
        mark: What follows the heading, such as " (A)" on a page of two models.
    """
    title = f"Shortcuts: labels that rest on other labels{mark}"
    return make_section(
        "audit_section.html.j2", anchor, title, _content(found), styles=("audit.css",)
    )


def _content(found: Audit) -> dict[str, Any]:
    """What the templates need."""
    ranks = list(enumerate(found.findings, start=1))
    return {
        "audit": found,
        "intro": _INTRO,
        "ranks": ranks,
        "shown": [each for each in ranks if each[1].verdict in _SHOWN][:_WITH_PICTURES],
        "verdicts": VERDICTS,
        "number": _number,
        "interval": _interval,
        "sure": SURE,
    }


def _number(value: float | None, *, signed: bool = False) -> str:
    """The number with three digits after the point, or a dash. Minus is U+2212, not "-"."""
    if value is None or value != value:
        return "–"
    return f"{value:{'+' if signed else ''}.3f}".replace("-", "−")


def _interval(found: Interval | None, *, signed: bool = False) -> str:
    """The interval as "low to high", or a dash."""
    if found is None or found.low != found.low:
        return "–"
    return f"{_number(found.low, signed=signed)} to {_number(found.high, signed=signed)}"
