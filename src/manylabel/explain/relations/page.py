"""The page of relations: its content as data, and the HTML made of it.

`relations_section` gives the same content as a section, for a page that has more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.explain.relations.looks import SHOWN, UnitLook, look_at
from manylabel.explain.relations.measure import Relations
from manylabel.explain.relations.table import fed_labels, group_labels, notes, unit_lines
from manylabel.explain.relations.units import Kind
from manylabel.html import PageSection, environment, make_section, write_html
from manylabel.predict import Predictor

ROWS: Final = 20_000
"""The largest number of pairs on a page, the strongest ones. The CSV table has all."""
MATRIX: Final = 20
"""The largest number of labels of the matrix: those with the strongest relations."""


@final
@dataclass(frozen=True, slots=True)
class ShownUnit:
    """A unit on the page: what it follows, in words, and its pictures."""

    look: UnitLook
    kind: Kind
    first: str
    second: str
    explained: float
    place: float
    added: float
    added_place: float
    group: tuple[tuple[str, float], ...]
    """The labels that act most on its group, with by how much the group's map rises."""
    feeds: tuple[tuple[str, float], ...]
    """The labels that it acts on most, with what it adds to their logits in these images."""


@final
@dataclass(frozen=True, eq=False)
class RelationsPage:
    """The content of a page or section of relations, as plain data.

    Args:
        title: The title of the page.
        source: Where the images are from, and how many.
        notes: What was left out or cannot be known, one sentence each.
        counts: How many units follow what, a line each.
        matrix: The names of the labels of the matrix, and what the row's evidence adds to the
            column's logit; None where it is not measured.
        payload: What the graph and the table need, ready for JSON.
        units: The shown units, by heading and kind.
        unit_count: The number of all units.
        relative: Whether places in kernels are directions from the place of the unit.
    """

    title: str
    source: str
    notes: tuple[str, ...]
    counts: tuple[str, ...]
    matrix: tuple[tuple[str, ...], tuple[tuple[float | None, ...], ...]]
    payload: dict[str, Any]
    units: tuple[tuple[str, Kind, tuple[ShownUnit, ...]], ...]
    unit_count: int
    relative: bool


def make_page(predictor: Predictor, found: Relations, *, title: str) -> RelationsPage:
    """The content of a page of relations. The images of the shown units are opened again."""
    records = found.observed.records
    kinds: Sequence[tuple[Kind, str]] = (
        ("layout", "Units that follow a layout: the places of two labels or more"),
        ("several", "Units that follow how strong two labels or more are"),
        ("place", "Units that follow the place of one label"),
    )
    return RelationsPage(
        title=title,
        source=f"{len(records):,} images of {records.source}",
        notes=tuple(notes(found)),
        counts=tuple(unit_lines(found)),
        matrix=_matrix(found),
        payload=_payload(found),
        units=tuple(
            (heading, kind, tuple(_units(predictor, found, kind))) for kind, heading in kinds
        ),
        unit_count=len(found.weights.groups),
        relative=found.weights.relative,
    )


def relations_section(
    page: RelationsPage, *, anchor: str = "relations", mark: str = ""
) -> PageSection:
    """The content as a section, for a page that has more.

    Args:
        page: The content.
        anchor: The id of the section, different for each section of a page.
        mark: What follows the headings, such as " (A)" on a page of two models.
    """
    return make_section(
        "relations_section.html.j2",
        anchor,
        f"Labels that go together{mark}",
        {"page": page, "mark": mark},
        styles=("relations.css",),
        scripts=("relations.js",),
    )


def render_relations(page: RelationsPage) -> str:
    """The page as HTML."""
    template = environment().get_template("relations.html.j2")
    return template.render(page=page, section=relations_section(page))


def write_relations(path: Path, page: RelationsPage) -> Path:
    """Write the page as one HTML file that opens offline, and return its path.

    Raises:
        RunError: The file cannot be written.
    """
    return write_html(path, render_relations(page))


def around(strength: NDArray[np.float64]) -> list[int]:
    """An order of labels round a circle in which strongly related ones are near each other.

    It begins with the strongest label. The next one is always the one that is most strongly related
    to the last one. Labels without a relation come last.

    Args:
        strength: [C, C], 0 or more; the larger one of both directions counts.
    """
    both = np.maximum(strength, strength.T)
    np.fill_diagonal(both, 0)
    left = set(range(len(both)))
    order: list[int] = []
    while left:
        rest = sorted(left)
        links = both[order[-1], rest] if order else both[rest].sum(1)
        if not links.max(initial=0):
            links = both[rest].sum(1)
        order.append(rest[int(links.argmax())])
        left.remove(order[-1])
    return order


def _units(predictor: Predictor, found: Relations, kind: Kind) -> list[ShownUnit]:
    follows = found.follows
    chosen = follows.ranked(kind)[:SHOWN]
    return [
        ShownUnit(
            look=look,
            kind=kind,
            first=found.labels[int(follows.first[unit])],
            second=found.labels[int(follows.second[unit])],
            explained=float(follows.explained[unit]),
            place=float(follows.place[unit]),
            added=float(follows.added[unit]),
            added_place=float(follows.added_place[unit]),
            group=tuple((found.labels[i], value) for i, value in group_labels(found, unit)),
            feeds=tuple((found.labels[i], value) for i, value in fed_labels(found, unit)),
        )
        for unit, look in zip(chosen, look_at(predictor, found, chosen), strict=True)
    ]


def _matrix(
    found: Relations,
) -> tuple[tuple[str, ...], tuple[tuple[float | None, ...], ...]]:
    strength = np.nan_to_num(np.abs(found.support))
    np.fill_diagonal(strength, 0)
    total = strength.max(0) + strength.max(1)
    kept = set(np.argsort(-total, kind="stable")[:MATRIX].tolist())
    order = [label for label in around(strength) if label in kept]
    rows = tuple(
        tuple(None if b == a else _rounded(found.support[b, a]) for a in order) for b in order
    )
    return tuple(found.labels[label] for label in order), rows


def _payload(found: Relations) -> dict[str, Any]:
    strength = np.where(found.sure, np.nan_to_num(np.abs(found.support)), 0)
    pairs = found.strongest()
    return {
        "labels": list(found.labels),
        "around": around(strength),
        "share": found.share,
        "pairs": len(pairs),
        "rows": [_row(found, b, a) for b, a in pairs[:ROWS]],
    }


def _row(found: Relations, b: int, a: int) -> list[Any]:
    """Other, label, adds, put out, put in, sure, lift, low, high, both, p, best place, boxes."""
    data, moved = found.data, found.placed_by_pair().get((b, a))
    best = moved.words() if moved is not None else ""
    return [
        *(b, a, _rounded(found.support[b, a])),
        *(_rounded(found.without.mean[b, a]), _rounded(found.with_.mean[b, a])),
        int(found.sure[b, a]),
        *(_rounded(each[b, a]) for each in (data.lift, data.low, data.high)),
        *(int(data.both[b, a]), _rounded(data.phi[b, a]), _rounded(data.p[b, a]), best),
        "" if found.places is None else found.places.words(b, a),
    ]


def _rounded(value: float) -> float | None:
    return float(f"{value:.3g}") if np.isfinite(value) else None
