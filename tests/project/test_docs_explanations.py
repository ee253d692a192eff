"""docs/explanations.md: its table of methods is what the heads have."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from manylabel.evidence import OCCLUSION, MapKind
from manylabel.labels import LabelSpace
from manylabel.models.backbones import MapShapes
from manylabel.models.gradients import gradient_methods
from manylabel.models.heads import HEADS

PAGE = Path(__file__).parents[2] / "docs" / "explanations.md"
BOUNDS = {"0..1": (0, 1), "signed": (None, None), "at least 0": (0, None)}


def in_the_table() -> tuple[dict[str, set[str]], dict[str, str]]:
    """The methods of each head, and the range of each method, as the page says."""
    section = PAGE.read_text(encoding="utf-8").split("## The methods")[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| `" in line]
    heads: dict[str, set[str]] = {name: set() for name in HEADS}
    ranges = {}
    for methods, where, _, bounds, _ in rows:
        named = set(re.findall("`(.+?)`", where))
        assert named <= set(HEADS), where
        for method in re.findall("`(.+?)`", methods):
            ranges[method] = bounds
            for head in set(HEADS) - named if where.startswith("all") else named:
                heads[head].add(method)
    return heads, ranges


def of_head(name: str) -> dict[str, MapKind]:
    with torch.device("meta"):
        head = HEADS[name](HEADS[name].Config(), MapShapes(8, 8, (2, 2)), LabelSpace(["a", "b"]))
    parts = head.evidence() | gradient_methods(head.takes)
    return {method: each.kind for method, each in parts.items()} | {"occlusion": OCCLUSION}


def test_the_table_has_each_method_of_each_head():
    heads, _ = in_the_table()
    assert heads == {name: set(of_head(name)) for name in HEADS}


def test_the_ranges_are_those_of_the_kinds():
    _, ranges = in_the_table()
    kinds = {method: kind for name in HEADS for method, kind in of_head(name).items()}
    assert {method: BOUNDS[bounds] for method, bounds in ranges.items()} == {
        method: (kind.low, kind.high) for method, kind in kinds.items()
    }
