"""Drawn scenes: a synthetic multi-label data set with known boxes, made from a declared table.

Reads top to bottom as it is made:

    RULES          the table: how often a label comes, with what, where and how large
    sample_scene   tosses the labels and lays the objects out; numbers only
    render_scene   draws a laid-out scene and finds the visible part of each object
    draw_scenes    writes a folder in COCO's format

A scene depends on (seed, split, index) alone, so any number of workers draws the same bytes.
Lengths are in units, 128 to the side of the image, whatever the image's size in pixels.
docs/drawn-scenes.md tells why the table is as it is.
"""

from __future__ import annotations

import colorsys
import json
import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from manylabel.data.records import SPLITS, Box, Split
from manylabel.errors import ConfigError, DataError, RunError

VERSION: Final = 1
"""Raised whenever the same seed would draw other scenes."""
COUNTS: Final[Mapping[str, int]] = {"train": 3000, "val": 300, "test": 1000}
"""Images a split, unless told otherwise."""

SIDE: Final = 128.0
"""The side of a scene in units."""
SHY_SHARE: Final = 0.85
"""Share of a shy label's objects that come small or hidden; the rest are shown plainly."""
HIDDEN: Final = (0.5, 0.8)
"""What a thicket covers of a hidden object's area, uniform between the two."""
TINY: Final = (10.0, 14.0)
"""The longer side of an object that comes small."""
STRAY_CHANCE: Final = 0.15
"""P(an ambiguous shape that is no label | its reference is absent)."""
BARE_THICKET_CHANCE: Final = 0.35
"""P(a thicket that hides nothing | nothing is hidden)."""

_MARGIN: Final = 2.0
_MILD_OVERLAP: Final = 0.12
_REACH: Final = 14.0
_TRIES: Final = 40
_OVERSAMPLE: Final = 3


# ------------------------------------------------------------------------------- the table


@final
@dataclass(frozen=True)
class LabelRule:
    """How often a label comes, what it goes with, and how it is shown."""

    name: str
    shape: str
    """Its drawing in `SHAPES`; two labels with one shape differ by `place` alone."""
    sizes: tuple[float, float]
    """Smallest and largest longer side in units, uniform between."""
    chance: float
    """P(label) in a scene without its companion, or in any scene if it has none."""
    companion: str | None = None
    """An earlier label that this one depends on."""
    chance_with: float = 0.0
    """P(label | companion)."""
    place: Literal["anywhere", "near", "above", "below"] = "anywhere"
    """Where it lies with respect to its companion, if that is in the scene."""
    shy: Literal["small", "hidden"] | None = None
    """How it comes in `SHY_SHARE` of its scenes."""
    rival: str | None = None
    """An earlier label of the same companion that never comes together with this one."""


# fmt: off
RULES: Final = (
    #         name        shape       sizes     chance companion chance_with place   shy
    LabelRule("boat",     "boat",     (22, 45), 0.38),
    LabelRule("bird",     "spindle",  (18, 34), 0.0,   "boat",   0.42, "above"),
    LabelRule("fish",     "spindle",  (18, 34), 0.0,   "boat",   0.42, "below", rival="bird"),
    LabelRule("bridge",   "bridge",   (22, 45), 0.42,  "boat",   0.14),
    LabelRule("cloud",    "puff",     (18, 36), 0.0,   "bridge", 0.42, "above"),
    LabelRule("pond",     "puff",     (18, 36), 0.0,   "bridge", 0.42, "below", rival="cloud"),
    LabelRule("tree",     "tree",     (22, 54), 0.40),
    LabelRule("house",    "house",    (20, 48), 0.14,  "tree",   0.40),
    LabelRule("signal",   "signal",   (20, 48), 0.32,  "tree",   0.12),
    LabelRule("flower",   "flower",   (20, 48), 0.26),
    LabelRule("car",      "car",      (20, 40), 0.026, "signal", 0.50, "near", "hidden"),
    LabelRule("bee",      "bee",      (18, 32), 0.031, "flower", 0.50, "near", "small"),
    LabelRule("mushroom", "mushroom", (18, 32), 0.035, "tree",   0.30, "near", "small"),
    LabelRule("balloon",  "balloon",  (20, 48), 0.07),
    LabelRule("windmill", "windmill", (22, 54), 0.05),
)
# fmt: on

LABELS: Final = tuple(rule.name for rule in RULES)
_RULE: Final = {rule.name: rule for rule in RULES}


def prior(name: str) -> float:
    """P(label), exact: every label depends on one earlier label at most."""
    rule = _RULE[name]
    if rule.companion is None:
        return rule.chance
    with_it = prior(rule.companion)
    return rule.chance_with * with_it + rule.chance * (1 - with_it)


def companion_given(name: str) -> float:
    """P(companion | label), exact, by Bayes; the label must have a companion."""
    rule = _RULE[name]
    assert rule.companion is not None
    return rule.chance_with * prior(rule.companion) / prior(name)


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
            given = companion_given(rule.name)
            chances = [
                rule.companion,
                *(f"{p:.3f}" for p in (rule.chance_with, rule.chance, given)),
            ]
        comes = f"{rule.shy} ({SHY_SHARE:.0%})" if rule.shy else "plain"
        sizes = f"{rule.sizes[0]:g} to {rule.sizes[1]:g}"
        cells = [rule.name, f"{prior(rule.name):.3f}", *chances, rule.place, sizes, comes]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


# ------------------------------------------------------------------------------- the layout


@final
@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to draw: an object with a label, or clutter without."""

    shape: str
    label: str | None = None
    left: float = 0.0
    top: float = 0.0
    width: float
    height: float
    flip: bool = False
    """Mirrored left to right."""
    tilt: float = 0.0
    """Degrees, anticlockwise; the tilted drawing is fitted into the box."""
    hidden: float = 0.0
    """The share of its area that the next item of the scene, a thicket, covers."""
    seed: int
    """Fixes its colours and details, so that leaving out one item changes no other."""

    @property
    def right(self) -> float:
        """Right edge in units."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge in units."""
        return self.top + self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, (x, y) in units."""
        return self.left + self.width / 2, self.top + self.height / 2

    def moved(self, right: float, down: float) -> Item:
        """The same item elsewhere."""
        return replace(self, left=self.left + right, top=self.top + down)


@final
@dataclass(frozen=True)
class Scene:
    """What a picture shows: clutter first, then objects, from back to front."""

    items: tuple[Item, ...]
    seed: int
    """Fixes the background and the grain."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels present, in the table's order."""
        present = {item.label for item in self.items}
        return tuple(name for name in LABELS if name in present)


Block = tuple[Item, ...]
"""Items that keep their places with respect to one another."""


def sample_scene(seed: int, split: Split, index: int) -> Scene:
    """The layout of one scene: which labels, where, how large, what hides what."""
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    rules = toss_labels(rng)
    shrink = 1.0
    while (blocks := _arrange(_make_blocks(rules, rng, shrink), rng)) is None:
        shrink *= 0.93  # no label is ever dropped: a crowded scene is drawn smaller instead
    order = rng.permutation(len(blocks))
    clutter = [_clutter_item(rng) for _ in range(rng.integers(5, 11))]
    objects = [item for i in order for item in blocks[i]]
    return Scene((*clutter, *objects), _item_seed(rng))


def toss_labels(rng: Generator) -> tuple[LabelRule, ...]:
    """The rules of the labels that are present: one toss a row of the table."""
    present: dict[str, LabelRule] = {}
    for rule in RULES:
        if rng.random() < _chance(rule, present):
            present[rule.name] = rule
    return tuple(present.values())


def _chance(rule: LabelRule, present: Mapping[str, LabelRule]) -> float:
    """P(label | the labels tossed before it)."""
    chance = rule.chance_with if rule.companion in present else rule.chance
    if rule.rival is None:
        return chance
    if rule.rival in present:
        return 0.0
    return chance / (1 - _chance(_RULE[rule.rival], present))


def _make_blocks(rules: Sequence[LabelRule], rng: Generator, shrink: float) -> list[Block]:
    """The scene's blocks, not yet placed: companions before what lies near them."""
    blocks: list[Block] = []
    for rule in rules:
        item = _item(rule, rng, shrink)
        if rule.place in ("above", "below"):
            reference = next(
                i for i, (head, *_) in enumerate(blocks) if head.label == rule.companion
            )
            blocks[reference] = _stack(blocks[reference][0], item, rule.place, rng)
        elif rule.shy == "hidden" and rng.random() < SHY_SHARE:
            blocks.append(_hide(replace(item, tilt=0.0), rng))
        else:
            blocks.append((item,))
    return blocks + _decoys(rules, blocks, rng, shrink)


def _decoys(
    rules: Sequence[LabelRule], blocks: Sequence[Block], rng: Generator, shrink: float
) -> list[Block]:
    """What would give a label away if it came with that label only, shown without it."""
    present = {rule.name for rule in rules}
    decoys: list[Block] = [
        (replace(_item(rule, rng, shrink), label=None),)
        for rule in RULES
        if rule.place == "above" and rule.companion not in present and rng.random() < STRAY_CHANCE
    ]
    nothing_hidden = all(item.hidden == 0 for block in blocks for item in block)
    if nothing_hidden and rng.random() < BARE_THICKET_CHANCE:
        width, height = rng.uniform(14, 30, size=2).tolist()
        decoys.append((Item(shape="thicket", width=width, height=height, seed=_item_seed(rng)),))
    return decoys


def _item(rule: LabelRule, rng: Generator, shrink: float) -> Item:
    if rule.shy == "small" and rng.random() < SHY_SHARE:
        longer = rng.uniform(*TINY)
    else:
        longer = shrink * rng.uniform(*rule.sizes)
    shape = SHAPES[rule.shape]
    aspect = shape.aspect * math.exp(rng.uniform(-0.1, 0.1))
    return Item(
        shape=rule.shape,
        label=rule.name,
        width=longer * min(1.0, aspect),
        height=longer / max(1.0, aspect),
        flip=bool(rng.random() < 0.5),
        tilt=rng.uniform(-shape.tilt, shape.tilt),
        seed=_item_seed(rng),
    )


def _clutter_item(rng: Generator) -> Item:
    shape = CLUTTER[rng.integers(len(CLUTTER))]
    width, height = (_log_uniform((6, 32), rng) * math.exp(rng.uniform(-0.3, 0.3)) for _ in "wh")
    return Item(
        shape=shape,
        left=rng.uniform(-8, SIDE - 8),
        top=rng.uniform(-8, SIDE - 8),
        width=width,
        height=height,
        tilt=rng.uniform(-180, 180),
        seed=_item_seed(rng),
    )


def _item_seed(rng: Generator) -> int:
    return int(rng.integers(2**32))


def _log_uniform(bounds: tuple[float, float], rng: Generator) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _stack(reference: Item, item: Item, place: Literal["above", "below"], rng: Generator) -> Block:
    """The reference and the item above or below it, aside by up to 34 units.

    The gap is small and the shapes are flat: the taller the stack, the more the item's height
    in the picture would tell which side of the reference it is on.
    """
    gap = rng.uniform(1, 4)
    down = -gap - item.height if place == "above" else reference.height + gap
    aside = (reference.width - item.width) / 2 + rng.uniform(-34, 34)
    return (reference, item.moved(aside, down))


def _hide(item: Item, rng: Generator) -> Block:
    """The item and a thicket that covers, from one side, a share of what is drawn of it."""
    share = rng.uniform(*HIDDEN)
    side = ("left", "right", "below")[rng.integers(3)]
    mask = np.asarray(_tile(item, 3.0, _INKS[0]).getchannel("A")) > 127
    profile = mask.sum(axis=1 if side == "below" else 0)
    if side != "left":
        profile = profile[::-1]
    reached = np.cumsum(profile) / profile.sum()
    depth = float(np.searchsorted(reached, share) + 1) / len(profile)
    pads = rng.uniform(3, 7, size=4).tolist()
    left, top = item.left - pads[0], item.top - pads[1]
    right, bottom = item.right + pads[2], item.bottom + pads[3]
    inset = _RAGGED / 2  # on average the ragged edge lies that far inside the box
    if side == "left":
        right = item.left + depth * item.width + inset
    elif side == "right":
        left = item.right - depth * item.width - inset
    else:
        top = item.bottom - depth * item.height - inset
    thicket = Item(
        shape="thicket",
        left=left,
        top=top,
        width=right - left,
        height=bottom - top,
        seed=_item_seed(rng),
    )
    return (replace(item, hidden=share), thicket)


def _arrange(blocks: Sequence[Block], rng: Generator) -> list[Block] | None:
    """Every block at a free place, or None if one found none."""
    placed: list[Block] = []
    for block in blocks:
        taken = [item for other in placed for item in other]
        free = _free_place(block, taken, rng)
        if free is None:
            return None
        placed.append(free)
    return placed


def _free_place(block: Block, taken: Sequence[Item], rng: Generator) -> Block | None:
    left = min(item.left for item in block)
    top = min(item.top for item in block)
    width = max(item.right for item in block) - left
    height = max(item.bottom for item in block) - top
    room = (SIDE - 2 * _MARGIN - width, SIDE - 2 * _MARGIN - height)
    if min(room) < 0:
        return None
    companion = _near_what(block, taken)
    for _ in range(_TRIES):
        x, y = _MARGIN + rng.uniform(0, room[0]), _MARGIN + rng.uniform(0, room[1])
        if companion is not None:
            reach_x = (companion.width + width) / 2 + _REACH
            reach_y = (companion.height + height) / 2 + _REACH
            x = companion.centre[0] + rng.uniform(-reach_x, reach_x) - width / 2
            y = companion.centre[1] + rng.uniform(-reach_y, reach_y) - height / 2
            x = min(max(x, _MARGIN), _MARGIN + room[0])
            y = min(max(y, _MARGIN), _MARGIN + room[1])
        moved = tuple(item.moved(x - left, y - top) for item in block)
        if all(_overlap(a, b) <= _allowed(a, b) for a in moved for b in taken):
            return moved
    return None


def _near_what(block: Block, taken: Sequence[Item]) -> Item | None:
    label = block[0].label
    if label is None or _RULE[label].place != "near":
        return None
    return next((item for item in taken if item.label == _RULE[label].companion), None)


def _allowed(a: Item, b: Item) -> float:
    """The overlap that two items may have: none where a thicket hides enough already."""
    return 0.0 if a.hidden or b.hidden else _MILD_OVERLAP


def _overlap(a: Item, b: Item) -> float:
    """The shared area as a share of the smaller box."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(a.width * a.height, b.width * b.height)


# ------------------------------------------------------------------------------- the shapes

Colour = tuple[int, int, int]
_INKS: Final[tuple[Colour, Colour]] = ((28, 26, 32), (238, 236, 228))
_HOLE: Final = (0, 0, 0, 0)
_RAGGED: Final = 2.4


@final
@dataclass(frozen=True)
class Pen:
    """Draws on one item's tile in fractions of its width and height, y downwards."""

    draw: ImageDraw.ImageDraw
    width: int
    height: int
    unit: float
    """Pixels a unit."""
    main: Colour
    second: Colour
    accent: Colour
    ink: Colour
    rng: Generator

    @property
    def line(self) -> int:
        """An outline's width in pixels."""
        return max(1, round(0.75 * self.unit))

    def jitter(self, value: float, by: float) -> float:
        """`value`, up to `by` more or less."""
        return value + self.rng.uniform(-by, by)

    def points(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        """Fractions as pixels."""
        return [(x * (self.width - 1), y * (self.height - 1)) for x, y in points]

    def polygon(self, *points: tuple[float, float], fill: Colour) -> None:
        """A filled polygon with an outline."""
        self.draw.polygon(self.points(*points), fill=fill, outline=self.ink, width=self.line)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """A filled rectangle with an outline."""
        corners = self.points((left, top), (right, bottom))
        self.draw.rectangle(corners, fill=fill, outline=self.ink, width=self.line)

    def oval(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """A filled ellipse with an outline."""
        corners = self.points((left, top), (right, bottom))
        self.draw.ellipse(corners, fill=fill, outline=self.ink, width=self.line)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """A filled circle with an outline; the radius is a fraction of the shorter side."""
        centre_x, centre_y = self.points((x, y))[0]
        r = radius * min(self.width, self.height)
        corners = (centre_x - r, centre_y - r, centre_x + r, centre_y + r)
        self.draw.ellipse(corners, fill=fill, outline=self.ink, width=self.line)

    def stroke(self, *points: tuple[float, float], fill: Colour, width: float = 1.0) -> None:
        """An open line, `width` units wide."""
        thick = max(1, round(width * self.unit))
        self.draw.line(self.points(*points), fill=fill, width=thick, joint="curve")


@final
@dataclass(frozen=True)
class Shape:
    """How a shape is drawn, its width over its height, and how far it may tilt in degrees."""

    draw: Callable[[Pen], None]
    aspect: float = 1.0
    tilt: float = 6.0


def _boat(pen: Pen) -> None:
    cabin = pen.jitter(0.34, 0.05)
    pen.box(cabin + 0.3, 0.0, cabin + 0.4, 0.5, pen.accent)
    pen.box(cabin - 0.08, 0.18, cabin + 0.26, 0.56, pen.second)
    pen.polygon((0, 0.5), (1, 0.5), (pen.jitter(0.84, 0.04), 1), (0.14, 1), fill=pen.main)
    pen.stroke((0.1, 0.7), (0.9, 0.7), fill=pen.accent)


def _spindle(pen: Pen) -> None:
    """A body with a forked tail and two swept flaps: wings or fins, the same upside down."""
    notch, root = pen.jitter(0.87, 0.04), pen.jitter(0.36, 0.04)
    pen.polygon((0.6, 0.5), (1, 0.1), (notch, 0.5), (1, 0.9), fill=pen.second)
    pen.polygon((root - 0.12, 0.5), (0.62, 0), (root + 0.16, 0.5), (0.62, 1), fill=pen.accent)
    pen.oval(0, 0.24, pen.jitter(0.78, 0.04), 0.76, pen.main)
    pen.stroke((0.15, 0.34), (0.15, 0.66), fill=pen.ink, width=0.8)


def _bridge(pen: Pen) -> None:
    pen.polygon((0, 0.3), (0.5, 0.0), (1, 0.3), (1, 1), (0, 1), fill=pen.main)
    arches = int(pen.rng.integers(2, 4))
    for i in range(arches):
        left, right = (i + 0.16) / arches, (i + 0.84) / arches
        corners = pen.points((left, 0.5), (right, 1.6))
        pen.draw.ellipse(corners, fill=_HOLE, outline=pen.ink, width=pen.line)
    pen.stroke((0.02, 0.36), (0.5, 0.1), (0.98, 0.36), fill=pen.accent)


def _puff(pen: Pen) -> None:
    """Five lobes side by side under one outline: a cloud or a pond."""
    half = [0.28, pen.jitter(0.42, 0.06), 0.5, pen.jitter(0.42, 0.06), 0.28]
    lobes = [(0.2 * i, 0.5 - tall, 0.2 * i + 0.2, 0.5 + tall) for i, tall in enumerate(half)]
    wider = [(max(0, a - 0.06), b, min(1, c + 0.06), d) for a, b, c, d in lobes]
    for lobe in wider:
        pen.oval(*lobe, fill=pen.ink)
    line = pen.line
    for left, top, right, bottom in wider:
        (a, b), (c, d) = pen.points((left, top), (right, bottom))
        pen.draw.ellipse((a + line, b + line, c - line, d - line), fill=pen.main)
    pen.stroke((0.2, 0.5), (0.42, 0.5), fill=pen.second)
    pen.stroke((0.54, 0.5), (0.8, 0.5), fill=pen.second)


def _tree(pen: Pen) -> None:
    pen.box(0.42, 0.55, 0.58, 1, pen.second)
    if pen.rng.random() < 0.5:
        pen.polygon((0.5, 0.18), (0.98, 0.76), (0.02, 0.76), fill=pen.main)
        pen.polygon((0.5, 0), (0.86, 0.46), (0.14, 0.46), fill=pen.main)
        return
    pen.oval(0.0, 0.22, 0.6, 0.68, pen.main)
    pen.oval(0.4, 0.2, 1.0, 0.7, pen.main)
    pen.oval(0.14, 0.0, pen.jitter(0.84, 0.06), 0.56, pen.main)


def _house(pen: Pen) -> None:
    if pen.rng.random() < 0.6:
        pen.box(0.7, 0.06, 0.82, 0.5, pen.second)
    pen.box(0.1, 0.44, 0.9, 1, pen.main)
    pen.polygon((0, 0.5), (pen.jitter(0.5, 0.06), 0), (1, 0.5), fill=pen.second)
    door = pen.jitter(0.32, 0.06)
    pen.box(door - 0.1, 0.64, door + 0.1, 1, pen.accent)
    pen.box(0.58, 0.6, 0.78, 0.8, pen.accent)


def _signal(pen: Pen) -> None:
    pen.box(0.4, 0.55, 0.6, 1, pen.second)
    pen.box(0.06, 0, 0.94, 0.66, pen.main)
    lit = pen.rng.integers(3)
    for i in range(3):
        pen.disc(0.5, 0.12 + 0.21 * i, 0.24, pen.accent if i == lit else pen.ink)


def _flower(pen: Pen) -> None:
    pen.stroke((0.5, 0.4), (pen.jitter(0.5, 0.08), 1), fill=pen.ink, width=2.6)
    pen.stroke((0.5, 0.4), (0.5, 0.97), fill=pen.second, width=1.4)
    pen.oval(0.52, 0.72, 0.92, 0.86, pen.second)
    petals = int(pen.rng.integers(5, 8))
    for i in range(petals):
        angle = 2 * math.pi * i / petals
        pen.disc(0.5 + 0.3 * math.cos(angle), 0.32 + 0.2 * math.sin(angle), 0.19, pen.main)
    pen.disc(0.5, 0.32, 0.19, pen.accent)


def _car(pen: Pen) -> None:
    roof = pen.jitter(0.3, 0.04)
    pen.polygon((0.14, 0.48), (roof, 0.02), (0.68, 0.02), (0.86, 0.48), fill=pen.main)
    pen.polygon((0.24, 0.46), (roof + 0.04, 0.12), (0.47, 0.12), (0.47, 0.46), fill=pen.accent)
    pen.polygon((0.53, 0.46), (0.53, 0.12), (0.65, 0.12), (0.76, 0.46), fill=pen.accent)
    pen.polygon((0, 0.46), (0.94, 0.44), (1, 0.82), (0, 0.82), fill=pen.main)
    for x in (0.23, 0.77):
        pen.disc(x, 0.79, 0.2, pen.ink)
        pen.disc(x, 0.79, 0.09, pen.second)


def _bee(pen: Pen) -> None:
    pen.oval(0.22, 0.0, 0.52, 0.5, pen.accent)
    pen.oval(0.46, 0.0, 0.76, 0.5, pen.accent)
    pen.oval(0.0, 0.34, 1, 1, pen.main)
    for x in (0.36, 0.58, 0.78):
        pen.stroke((x, 0.4), (x, 0.94), fill=pen.ink, width=1.1)


def _mushroom(pen: Pen) -> None:
    pen.box(0.34, 0.5, 0.66, 1, pen.second)
    corners = pen.points((0, 0), (1, 1.24))
    pen.draw.pieslice(corners, 180, 360, fill=pen.main, outline=pen.ink, width=pen.line)
    for x, y in ((0.26, 0.42), (0.52, 0.24), (0.76, 0.42)):
        pen.draw.ellipse(pen.points((x - 0.09, y - 0.09), (x + 0.09, y + 0.09)), fill=pen.accent)


def _balloon(pen: Pen) -> None:
    for x, low in ((0.2, 0.4), (0.8, 0.6)):
        pen.stroke((x, 0.55), (low, 0.88), fill=pen.ink)
    pen.oval(0, 0, 1, 0.74, pen.main)
    pen.oval(0.2, 0, 0.8, 0.74, pen.second)
    pen.oval(0.38, 0, 0.62, 0.74, pen.main)
    pen.box(0.36, 0.84, 0.64, 1, pen.accent)


def _windmill(pen: Pen) -> None:
    pen.polygon((0.4, 0.3), (0.6, 0.3), (0.74, 1), (0.26, 1), fill=pen.main)
    pen.box(0.44, 0.78, 0.56, 1, pen.accent)
    turn = pen.rng.uniform(0.2, 1.37)
    for i in range(4):
        a = turn + i * math.pi / 2
        tip = (0.5 + 0.48 * math.cos(a), 0.36 + 0.36 * math.sin(a))
        wide = (0.5 + 0.44 * math.cos(a + 0.42), 0.36 + 0.33 * math.sin(a + 0.42))
        pen.polygon((0.5, 0.36), tip, wide, fill=pen.second)
    pen.disc(0.5, 0.36, 0.07, pen.ink)


def _thicket(pen: Pen) -> None:
    """A ragged patch: its edge runs between the box's edge and `_RAGGED` units inside it."""
    deep = (_RAGGED * pen.unit / pen.width, _RAGGED * pen.unit / pen.height)
    counts = [max(3, round(side / (2.2 * pen.unit))) for side in (pen.width, pen.height)]

    def inward(axis: int) -> float:
        return float(pen.rng.uniform(0, deep[axis]))

    across = np.linspace(0, 1, counts[0], endpoint=False).tolist()
    downward = np.linspace(0, 1, counts[1], endpoint=False).tolist()
    rim = [(x, inward(1)) for x in across] + [(1 - inward(0), y) for y in downward]
    rim += [(1 - x, 1 - inward(1)) for x in across] + [(inward(0), 1 - y) for y in downward]
    pen.polygon(*rim, fill=pen.main)
    for _ in range(round(pen.width * pen.height / (22 * pen.unit**2))):
        x, y = pen.rng.uniform(0.12, 0.88, size=2).tolist()
        lean = pen.rng.uniform(-1.2, 1.2) * pen.unit / pen.width
        tall = 2.4 * pen.unit / pen.height
        leaf = pen.second if pen.rng.random() < 0.6 else pen.ink
        pen.stroke((x, y), (x + lean, y - tall), fill=leaf, width=0.9)


def _plain_disc(pen: Pen) -> None:
    pen.oval(0, 0, 1, 1, pen.main)


def _ring(pen: Pen) -> None:
    pen.oval(0, 0, 1, 1, pen.main)
    corners = pen.points((0.28, 0.28), (0.72, 0.72))
    pen.draw.ellipse(corners, fill=_HOLE, outline=pen.ink, width=pen.line)


def _bar(pen: Pen) -> None:
    pen.box(0, 0.36, 1, 0.64, pen.main)


def _wedge(pen: Pen) -> None:
    pen.polygon((0, 1), (pen.rng.uniform(0, 1), 0), (1, pen.rng.uniform(0.5, 1)), fill=pen.main)


def _cross(pen: Pen) -> None:
    pen.box(0.38, 0, 0.62, 1, pen.main)
    pen.box(0, 0.38, 1, 0.62, pen.main)


def _zigzag(pen: Pen) -> None:
    points = [(i / 5, pen.rng.uniform(0, 1)) for i in range(6)]
    pen.stroke(*points, fill=pen.ink, width=2.4)
    pen.stroke(*points, fill=pen.main, width=1.4)


def _stripes(pen: Pen) -> None:
    for i in range(4):
        pen.box(0.0, i / 4, 1, i / 4 + 0.13, pen.main if i % 2 else pen.second)


SHAPES: Final[Mapping[str, Shape]] = {
    "boat": Shape(_boat, aspect=2.8, tilt=3),
    "spindle": Shape(_spindle, aspect=2.4, tilt=3),
    "bridge": Shape(_bridge, aspect=3.0, tilt=3),
    "puff": Shape(_puff, aspect=2.6, tilt=3),
    "tree": Shape(_tree, aspect=0.75),
    "house": Shape(_house, aspect=1.05),
    "signal": Shape(_signal, aspect=0.4),
    "flower": Shape(_flower, aspect=0.66),
    "car": Shape(_car, aspect=1.9),
    "bee": Shape(_bee, aspect=1.3, tilt=20),
    "mushroom": Shape(_mushroom, aspect=1.05, tilt=10),
    "balloon": Shape(_balloon, aspect=0.72),
    "windmill": Shape(_windmill, aspect=0.8),
    "thicket": Shape(_thicket),
    "disc": Shape(_plain_disc),
    "ring": Shape(_ring),
    "bar": Shape(_bar),
    "wedge": Shape(_wedge),
    "cross": Shape(_cross),
    "zigzag": Shape(_zigzag),
    "stripes": Shape(_stripes),
}
CLUTTER: Final = ("disc", "ring", "bar", "wedge", "cross", "zigzag", "stripes")


# ------------------------------------------------------------------------------- the picture


@final
@dataclass(frozen=True)
class Drawing:
    """A rendered scene: the picture and the visible part of every object, as fractions."""

    image: Image.Image
    boxes: tuple[Box, ...]


def render_scene(scene: Scene, size: int = 128) -> Drawing:
    """The scene as an RGB image of `size` x `size` pixels, with its boxes.

    It is drawn three times as large and reduced. A box spans what is seen of its object, parts
    that others hide left out.
    """
    rng = np.random.default_rng(scene.seed)
    background = _background(rng, size)
    ink = _INKS[int(np.asarray(background).mean() < 118)]
    side = size * _OVERSAMPLE
    canvas = background.resize((side, side), Image.Resampling.NEAREST)
    _add_blots(canvas, rng)
    owner = np.full((side, side), -1, dtype=np.int16)
    for number, item in enumerate(scene.items):
        tile = _tile(item, side / SIDE, ink)
        corner = (round(item.left * side / SIDE), round(item.top * side / SIDE))
        canvas.paste(tile, corner, tile)
        _claim(owner, tile, corner, number)
    image = _with_grain(canvas.reduce(_OVERSAMPLE), rng)
    boxes = tuple(
        _visible_box(owner == number, item.label)
        for number, item in enumerate(scene.items)
        if item.label is not None
    )
    return Drawing(image, boxes)


def _background(rng: Generator, size: int) -> Image.Image:
    """A gradient between two dull colours, under noise of three wavelengths."""
    light = rng.uniform(70, 185)
    ends = light + rng.uniform(-30, 30, size=(2, 1)) + rng.uniform(-22, 22, size=(2, 3))
    angle = rng.uniform(0, 2 * math.pi)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None] + 0.5
    pixels = ends[0] + slope[:, :, None] * (ends[1] - ends[0])
    for cells, strength in ((3, 26), (8, 20), (26, 15)):
        pixels = pixels + strength * _smooth_noise(rng, cells, size)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _smooth_noise(rng: Generator, cells: int, size: int) -> NDArray[np.float32]:
    """Noise [size, size, 3] in -1..1, mostly grey, whose waves are size/cells pixels long."""
    grey = rng.uniform(-0.7, 0.7, size=(cells, cells, 1))
    noise = grey + rng.uniform(-0.3, 0.3, size=(cells, cells, 3))
    coarse = Image.fromarray(np.round(127.5 + 127.5 * noise).astype(np.uint8))
    smooth = coarse.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) / 127.5 - 1


def _add_blots(canvas: Image.Image, rng: Generator) -> None:
    """Translucent ellipses in the objects' colours."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(rng.integers(3, 8)):
        x, y = rng.uniform(0, canvas.width, size=2).tolist()
        half_x, half_y = rng.uniform(0.04, 0.22, size=2) * canvas.width
        fill = (*_colour(rng), int(rng.integers(30, 90)))
        draw.ellipse((x - half_x, y - half_y, x + half_x, y + half_y), fill=fill)


def _with_grain(image: Image.Image, rng: Generator) -> Image.Image:
    """Fine noise over objects and background alike."""
    grain = rng.standard_normal((image.height, image.width, 1), dtype=np.float32)
    pixels = np.asarray(image, dtype=np.float32) + rng.uniform(3, 7) * grain
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def _tile(item: Item, unit: float, ink: Colour) -> Image.Image:
    """The item alone, RGBA, at `unit` pixels a unit."""
    width, height = max(3, round(item.width * unit)), max(3, round(item.height * unit))
    tile = Image.new("RGBA", (width, height), _HOLE)
    rng = np.random.default_rng(item.seed)
    main, second, accent = (_colour(rng) for _ in range(3))
    draw = ImageDraw.Draw(tile)
    SHAPES[item.shape].draw(Pen(draw, width, height, unit, main, second, accent, ink, rng))
    if item.flip:
        tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if item.tilt:
        turned = tile.rotate(item.tilt, Image.Resampling.BILINEAR, expand=True)
        tile = turned.resize((width, height), Image.Resampling.BILINEAR)
    return tile


def _colour(rng: Generator) -> Colour:
    hue, saturation, value = rng.random(), rng.uniform(0.3, 0.95), rng.uniform(0.4, 1.0)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _claim(
    owner: NDArray[np.int16], tile: Image.Image, corner: tuple[int, int], number: int
) -> None:
    """Mark the pixels that the tile covers as the item's."""
    left, top = max(0, corner[0]), max(0, corner[1])
    seen = np.asarray(tile.getchannel("A"))[top - corner[1] :, left - corner[0] :] > 127
    region = owner[top : top + seen.shape[0], left : left + seen.shape[1]]
    region[seen[: region.shape[0], : region.shape[1]]] = number


def _visible_box(seen: NDArray[np.bool_], label: str) -> Box:
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert len(rows), f"nothing is seen of {label}: the layout must not let that happen"
    side = len(seen)
    left, right = columns[0] / side, (columns[-1] + 1) / side
    return Box(
        label, float(left), float(rows[0] / side), float(right), float((rows[-1] + 1) / side)
    )


def contact_sheet(
    columns: int = 8, rows: int = 4, *, seed: int = 0, size: int = 128
) -> Image.Image:
    """The first scenes of the training split in a grid, each above its labels."""
    cell, strip = size + 8, 36
    sheet = Image.new("RGB", (columns * cell, rows * (cell + strip)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for index in range(columns * rows):
        scene = sample_scene(seed, "train", index)
        left, top = index % columns * cell + 4, index // columns * (cell + strip) + 4
        sheet.paste(render_scene(scene, size).image, (left, top))
        caption = _wrapped(scene.labels or ("(no label)",), size, font)
        draw.multiline_text((left, top + size + 2), caption, fill="black", font=font, spacing=1)
    return sheet


def _wrapped(
    words: Sequence[str], width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    lines = [words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]}, {word}"
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


# ------------------------------------------------------------------------------- the folder

_HEADER: Final = "scenes.json"
_UNFINISHED: Final = "scenes.partial.json"
_CHUNK: Final = 50


def draw_scenes(
    folder: Path,
    *,
    seed: int = 0,
    counts: Mapping[str, int] = COUNTS,
    size: int = 128,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Path:
    """Draws the data set into `folder` and gives the folder back.

    Writes images/<split>/NNNNN.jpg, instances_<split>.json (COCO; file names are relative to
    images/, boxes in pixels) and, last, scenes.json: a folder without it was interrupted, and
    drawing with the same settings again completes it. A finished folder is left as it is.

    Args:
        folder: New, empty, or drawn with the same settings before.
        seed: Zero or more. The same seed gives the same bytes with the same versions of Pillow
            and NumPy.
        counts: Images a split; the splits are among train, val and test.
        size: The side of an image in pixels, 64 to 1024.
        workers: Processes; None takes as many as there are cores. More than one are started
            afresh, so a script must call this under `if __name__ == "__main__":`.
        on_progress: Is told how many images have been drawn so far.

    Raises:
        ConfigError: A setting is out of range.
        DataError: The folder holds something else.
        RunError: The folder cannot be written: no permission, a full disk.
    """
    if scenes_are_drawn(folder, seed=seed, counts=counts, size=size):
        return folder
    try:
        _write(folder, _header(seed, counts, size), workers, on_progress or (lambda _: None))
    except OSError as error:
        raise RunError(
            f"The scenes cannot be written: {error.strerror or error}.",
            where=str(error.filename or folder),
            fix="Make room or give another folder, then draw again.",
        ) from error
    return folder


def scenes_are_drawn(folder: Path, *, seed: int, counts: Mapping[str, int], size: int) -> bool:
    """Whether the folder holds just these scenes, whole; False where they can be drawn.

    Raises:
        ConfigError: A setting is out of range.
        DataError: The folder holds something else.
    """
    _check_settings(seed, counts, size)
    header = _header(seed, counts, size)
    if folder.is_dir() and (folder / _HEADER).is_file():
        if _read_header(folder / _HEADER) == header:
            return True
        raise DataError(
            "The folder holds drawn scenes of another seed, count, size or version.",
            where=str(folder / _HEADER),
            fix="Give another folder, or delete this one first.",
        )
    unfinished = folder.is_dir() and (folder / _UNFINISHED).is_file()
    if unfinished and _read_header(folder / _UNFINISHED) == header:
        return False
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(
            "An interrupted drawing with other settings is in the folder."
            if unfinished
            else "The folder is not empty, or is no folder.",
            where=str(folder),
            fix="Give a new or an empty folder.",
        )
    return False


def _check_settings(seed: int, counts: Mapping[str, int], size: int) -> None:
    unknown = [name for name in counts if name not in SPLITS]
    if unknown or not counts:
        raise ConfigError(
            f"There is no split '{unknown[0]}'." if unknown else "No split is to be drawn.",
            where="counts",
            fix=f"The splits are {', '.join(SPLITS)}.",
        )
    limits = [("seed", seed, 0, 2**63 - 1), ("size", size, 64, 1024)]
    limits += [(f"counts['{name}']", count, 1, 99_999) for name, count in counts.items()]
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise ConfigError(
                f"{name} is {value}.", where=name, fix=f"Give a whole number from {low} to {high}."
            )


def _header(seed: int, counts: Mapping[str, int], size: int) -> dict[str, Any]:
    """What scenes.json holds: all that decides what is drawn, and the table."""
    rules = [asdict(rule) | {"prior": round(prior(rule.name), 6)} for rule in RULES]
    header = {
        "version": VERSION,
        "seed": seed,
        "size": size,
        "counts": {name: counts[name] for name in SPLITS if name in counts},
        "labels": rules,
    }
    return json.loads(json.dumps(header))  # tuples become lists, as they are read back


def _read_header(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _write(
    folder: Path, header: dict[str, Any], workers: int | None, on_progress: Callable[[int], None]
) -> None:
    counts: dict[Split, int] = header["counts"]
    for split in counts:
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
    _write_json(folder / _UNFINISHED, header)
    chunks = [
        _Chunk(folder, header["seed"], header["size"], split, start, min(start + _CHUNK, count))
        for split, count in counts.items()
        for start in range(0, count, _CHUNK)
    ]
    boxes: dict[Split, list[tuple[Box, ...]]] = {split: [] for split in counts}
    done = 0
    for chunk, drawn in zip(chunks, _run(chunks, workers or os.cpu_count() or 1), strict=True):
        boxes[chunk.split] += drawn
        done += len(drawn)
        on_progress(done)
    for split, of_split in boxes.items():
        _write_json(folder / f"instances_{split}.json", _coco(split, header["size"], of_split))
    (folder / _UNFINISHED).replace(folder / _HEADER)


@final
@dataclass(frozen=True)
class _Chunk:
    """Some images of one split, for one worker: start <= index < stop."""

    folder: Path
    seed: int
    size: int
    split: Split
    start: int
    stop: int


def _run(chunks: Sequence[_Chunk], workers: int) -> Iterator[list[tuple[Box, ...]]]:
    """The chunks' boxes in order; in this process where another would not pay."""
    if workers == 1 or len(chunks) < 4:
        yield from map(_draw_chunk, chunks)
        return
    # Not forked: the caller may have threads (progress bars, torch), and those do not survive it.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupt) as pool:
        yield from pool.map(_draw_chunk, chunks)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches the whole group of processes; the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw_chunk(chunk: _Chunk) -> list[tuple[Box, ...]]:
    boxes = []
    for index in range(chunk.start, chunk.stop):
        drawing = render_scene(sample_scene(chunk.seed, chunk.split, index), chunk.size)
        drawing.image.save(chunk.folder / "images" / _file_name(chunk.split, index), quality=92)
        boxes.append(drawing.boxes)
    return boxes


def _file_name(split: Split, index: int) -> str:
    return f"{split}/{index:05d}.jpg"


def _coco(split: Split, size: int, boxes: Sequence[tuple[Box, ...]]) -> dict[str, Any]:
    images = [
        {"id": i, "file_name": _file_name(split, i), "width": size, "height": size}
        for i in range(len(boxes))
    ]
    objects = [(i, box) for i, of_image in enumerate(boxes) for box in of_image]
    annotations = [
        {"id": number, "image_id": i} | _coco_box(box, size)
        for number, (i, box) in enumerate(objects, start=1)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(LABELS, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _coco_box(box: Box, size: int) -> dict[str, Any]:
    left, top = box.left * size, box.top * size
    width, height = (box.right - box.left) * size, (box.bottom - box.top) * size
    return {
        "category_id": LABELS.index(box.label) + 1,
        "bbox": [round(value, 2) for value in (left, top, width, height)],
        "area": round(width * height, 2),
        "iscrowd": 0,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
