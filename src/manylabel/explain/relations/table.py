"""The tables of relations: all of them as CSV, and the strongest ones as lines for a terminal."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from manylabel.explain.relations.interventions import DIRECTIONS, LEAST, Placed
from manylabel.explain.relations.measure import Relations
from manylabel.explain.relations.places import WHERE
from manylabel.files import replaced_file, write_errors
from manylabel.text import counted, for_spreadsheet

_NAMED: Final = 3
"""The number of labels that are named for a group and a unit."""

PAIR_COLUMNS: Final = (
    *("other", "label", "images", "images_of_other", "images_of_label", "images_of_both"),
    *("lift", "lift_low", "lift_high", "phi", "p_together"),
    *("support", "sure", "put_out", "put_out_low", "put_out_high", "p_put_out", "put_out_images"),
    *("put_in", "put_in_low", "put_in_high", "p_put_in", "put_in_images"),
    *("best_place", "above_minus_below", "right_minus_left", "same_place_minus_sides"),
    *("p_above_below", "p_right_left", "p_same_place", "moved_images"),
    *(f"moved_{each.replace(' ', '_')}" for each in DIRECTIONS),
    *(f"boxes_{each}" for each in WHERE),
    "p_above_or_below",
)
"""The columns of the table of pairs; docs/relations-of-a-model.md says what they mean."""

UNIT_COLUMNS: Final = (
    *("unit", "group", "kind", "first", "second", "explained", "place", "added", "added_place"),
    *("p_first", "p_second", "group_labels", "feeds", "correlated", "correlation", "images"),
)
"""The columns of the table of units."""


def write_pairs(path: Path, found: Relations) -> None:
    """Write all pairs as CSV, the strongest first.

    Raises:
        RunError: The file cannot be written.
    """
    _write(path, PAIR_COLUMNS, pair_rows(found))


def write_units(path: Path, found: Relations) -> None:
    """Write all units as CSV, in their order.

    Raises:
        RunError: The file cannot be written.
    """
    _write(path, UNIT_COLUMNS, unit_rows(found))


def pair_rows(found: Relations) -> Iterator[list[Any]]:
    """The values of `PAIR_COLUMNS` for all pairs, the strongest first; None where not measured."""
    placed, support, sure = found.placed_by_pair(), found.support, found.sure
    names = [for_spreadsheet(name) for name in found.labels]
    data = found.data
    for b, a in found.strongest():
        moved = placed.get((b, a))
        together = (each[b, a] for each in (data.lift, data.low, data.high, data.phi, data.p))
        yield [
            *(names[b], names[a]),
            *(int(data.images[b, a]), int(data.first[b, a]), int(data.first[a, b])),
            int(data.both[b, a]),
            *map(_number, together),
            *(_number(support[b, a]), "yes" if sure[b, a] else "no"),
            *_effect(found.without, b, a),
            *_effect(found.with_, b, a),
            *([None] * 8 if moved is None else _best(moved)),
            *([None] * 5 if moved is None else map(_number, moved.changes)),
            *([None] * 7 if found.places is None else _boxes(found, b, a)),
        ]


def unit_rows(found: Relations) -> Iterator[list[Any]]:
    """The values of `UNIT_COLUMNS` for all units; None where there is nothing."""
    follows, observed = found.follows, found.observed
    names = [for_spreadsheet(name) for name in found.labels]
    for k, kind in enumerate(follows.kind):
        shown = kind not in ("none", "silent")
        correlations = observed.correlations[k]
        best = None if np.isnan(correlations).all() else int(np.nanargmax(np.abs(correlations)))
        rows = observed.top[k][observed.top[k] >= 0].tolist()
        yield [
            *(k, int(found.weights.groups[k]), kind),
            *((names[follows.first[k]], names[follows.second[k]]) if shown else (None, None)),
            *map(_number, (follows.explained[k], follows.place[k])),
            *map(_number, (follows.added[k], follows.added_place[k])),
            *(_number(follows.p_first[k]), _number(follows.p_second[k])),
            " ".join(f"{names[i]} {value:+.3g}" for i, value in group_labels(found, k)),
            " ".join(f"{names[i]} {value:+.3g}" for i, value in fed_labels(found, k)),
            *((None, None) if best is None else (names[best], _number(correlations[best]))),
            " ".join(for_spreadsheet(observed.records.keys[row]) for row in rows),
        ]


def group_labels(found: Relations, unit: int) -> list[tuple[int, float]]:
    """The labels that act most on a unit's group, with by how much its map rises."""
    return _largest(found.weights.label_to_group[found.weights.groups[unit]])


def fed_labels(found: Relations, unit: int) -> list[tuple[int, float]]:
    """The labels that a unit acts on most, with what it adds to their logits at its mean value."""
    mean = float(found.observed.top_values[unit].mean())
    return _largest(found.weights.unit_to_label[:, unit] * mean)


def pair_lines(found: Relations, count: int) -> list[str]:
    """The strongest pairs as lines for a terminal; what is not significant is left out."""
    sure = found.sure
    shown = [pair for pair in found.strongest() if sure[pair]][:count]
    if not shown:
        return ["No label's evidence changes another label's logit more than by chance."]
    placed, support = found.placed_by_pair(), found.support
    rows = [["other label", "label", "adds", "put out", "put in", "best place", "lift", "boxes"]]
    for b, a in shown:
        moved = placed.get((b, a))
        rows.append(
            [
                *(found.labels[b], found.labels[a], f"{support[b, a]:+.2f}"),
                *(f"{found.without.mean[b, a]:+.2f}", f"{found.with_.mean[b, a]:+.2f}"),
                (moved.words() if moved is not None else "") or "–",
                _lift(found.data.lift[b, a]),
                "–" if found.places is None else found.places.words(b, a) or "–",
            ]
        )
    return _aligned(rows, left={0, 1, 5, 7})


def _lift(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"  # not a number: a label that is nowhere


def unit_lines(found: Relations) -> list[str]:
    """How many units follow what, as lines for a terminal."""
    kinds = found.follows.kind
    says = {
        "layout": "follow a layout: the places of two labels or more",
        "several": "follow how strong two labels or more are",
        "place": "follow the place of one label",
        "presence": "follow whether one label is present, wherever",
        "none": "follow no label more than by chance",
        "silent": "have the same value in all images",
    }
    return [f"{kinds.count(kind):,} {text}" for kind, text in says.items() if kind in kinds]


def notes(found: Relations) -> list[str]:
    """What was left out or cannot be known, one sentence each."""
    observed, data = found.observed, found.data
    lines = [
        f"All images were run; maps of {len(observed.sample.rows):,} of them were kept "
        f"(seed {found.seed})"
    ]
    if observed.bad:
        lines.append(f"{counted(len(observed.bad), 'image')} could not be opened and were left out")
    rare = [found.labels[int(i)] for i in np.flatnonzero(found.without.images < LEAST)]
    if rare:
        lines.append(
            f"{counted(len(rare), 'label')} with fewer than {LEAST} images in the sample: their "
            f"evidence was not put out ({_some(rare)})"
        )
    never = np.argwhere(np.triu((data.both == 0) & np.isfinite(data.lift), k=1))
    if len(never):
        pairs = [f"{found.labels[a]} and {found.labels[b]}" for a, b in never.tolist()]
        lines.append(
            f"{counted(len(pairs), 'pair')} of labels never occur together ({_some(pairs)})"
        )
    if found.places is None:
        lines.append("No image has boxes of two labels, so places in the data were not measured")
    return lines


def _some(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _best(moved: Placed) -> list[Any]:
    return [moved.words(), *map(_number, (*moved.contrasts, *moved.p)), moved.images]


def _boxes(found: Relations, b: int, a: int) -> list[Any]:
    assert found.places is not None
    return [*found.places.counts[b, a].tolist(), _number(found.places.p[b, a])]


def _effect(effects: Any, b: int, a: int) -> list[Any]:
    four = (effects.mean, effects.low, effects.high, effects.p)
    return [*(_number(each[b, a]) for each in four), int(effects.images[b])]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.5g}")


def _largest(values: Any) -> list[tuple[int, float]]:
    order = np.argsort(-np.abs(values), kind="stable")[:_NAMED]
    return [(int(i), float(values[i])) for i in order if values[i] != 0]


def _write(path: Path, columns: Sequence[str], rows: Iterator[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        write_errors(path, "The table"),
        replaced_file(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as stream,
    ):
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def _aligned(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = (
            f"{cell:{'<' if i in left else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return lines
