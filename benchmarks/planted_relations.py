"""How many relations that the rules of the drawn scenes have does `manylabel relations` find?

    manylabel relations BUNDLE --data SCENES --out relations
    python -m benchmarks.planted_relations relations/relations.csv

The rules of the drawn scenes are known (docs/drawn-scenes.md): a label depends on its companion,
and two rivals never occur together. These pairs are planted. The pairs of labels are ranked by the
table, without a direction: by the data (the size of phi), and by the model (the size of what
evidence adds; put out, put in, and both). The share of planted pairs among the first k is printed,
for k up to the number of planted pairs, beside the share among all pairs: that is chance. For the
four labels whose place decides, it is printed on which side of the label the companion helps.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.common import write
from manylabel.data.synthetic.rules import LABELS, RULES

Row = dict[str, str]
Pair = frozenset[str]

PLANTED: Final[frozenset[Pair]] = frozenset(
    frozenset((rule.name, other))
    for rule in RULES
    for other in (rule.companion, rule.rival)
    if other is not None
)
"""The pairs of labels that depend on each other by a rule."""

PLACED: Final = {rule.name: rule for rule in RULES if rule.place in ("above", "below")}
"""The labels that are told apart by their place alone."""


def precision_at(ranked: Sequence[Pair], planted: frozenset[Pair], k: int) -> float:
    """The share of planted pairs among the first k."""
    return sum(pair in planted for pair in ranked[:k]) / k


def ranking(rows: Iterable[Row], strength: Callable[[Row], float]) -> list[Pair]:
    """The pairs of labels, the strongest first; the stronger one of both directions counts."""
    best: dict[Pair, float] = {}
    for row in rows:
        pair = frozenset((row["other"], row["label"]))
        best[pair] = max(best.get(pair, 0.0), strength(row))
    return sorted(best, key=lambda pair: -best[pair])


def direction(rows: Iterable[Row], label: str) -> Row:
    """The row of a label's companion and the label."""
    companion = PLACED[label].companion
    return next(row for row in rows if (row["other"], row["label"]) == (companion, label))


def magnitude(column: str) -> Callable[[Row], float]:
    """The absolute value in a column; 0 if it is empty."""
    return lambda row: abs(float(row[column] or 0))


def measured(rows: Sequence[Row]) -> dict[str, Any]:
    """All figures, ready for JSON."""
    total = len(PLANTED)
    ks = (4, 8, total)
    columns = {
        "data: phi": "phi",
        "model: adds": "support",
        "put out": "put_out",
        "put in": "put_in",
    }
    precision = {
        name: [precision_at(ranking(rows, magnitude(column)), PLANTED, k) for k in ks]
        for name, column in columns.items()
    }
    places: dict[str, dict[str, Any]] = {}
    for label, rule in PLACED.items():
        row = direction(rows, label)
        up = float(row["above_minus_below"])
        expected = "below" if rule.place == "above" else "above"
        found = "above" if up > 0 else "below"
        places[label] = {
            "companion": rule.companion,
            "lies": expected,
            "helps": found,
            "above - below": up,
            "p": float(row["p_above_below"]),
        }
    chance = total / (len(LABELS) * (len(LABELS) - 1) / 2)
    return {"k": ks, "precision": precision, "chance": chance, "places": places}


def main() -> None:
    """Print the figures of a table of relations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path, help="relations.csv, of drawn scenes")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    with given.table.open(encoding="utf-8", newline="") as file:
        found = measured(list(csv.DictReader(file)))
    print("precision at k:", *(f"k={k}" for k in found["k"]))
    for name, shares in found["precision"].items():
        print(f"  {name:13}", *(f"{share:.2f}" for share in shares))
    print(f"  {'chance':13} {found['chance']:.2f}")
    for label, place in found["places"].items():
        lies = f"{label}: the {place['companion']} lies {place['lies']}; it helps more "
        size = f"({place['above - below']:+.2f} logits above - below, p {place['p']:.3g})"
        print(f"{lies}{place['helps']} {size}")
    write(found, given.out)


if __name__ == "__main__":
    main()
