"""The layout of a scene: its labels, the places and sizes of objects, and which hide others."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.random import Generator

from manylabel.data.records import SPLITS, Split
from manylabel.data.synthetic.rules import (
    BARE_THICKET_CHANCE,
    HIDDEN,
    RULE_OF,
    RULES,
    SHY_SHARE,
    STANDARD,
    TINY,
    Distance,
    LabelRule,
    Relations,
    sample_labels,
    stray_chance,
)
from manylabel.data.synthetic.scene import SIDE, Item, Scene
from manylabel.data.synthetic.shapes import CLUTTER, INKS, RAGGED, SHAPES, draw_item

_MARGIN: Final = 2.0
"""The least distance, in units, between an object and the edge of the image."""
_MAX_OVERLAP: Final = 0.12
"""The largest overlap of two boxes, as a fraction of the smaller box."""
_REACH: Final = 14.0
"""The largest gap, in units, between an object and its companion, in each direction."""
FAR_GAP: Final = 30.0
"""The least gap, in units, between an object and its companion if they are to be far apart."""
ASIDE: Final[Mapping[Distance, tuple[float, float]]] = {"near": (0.0, 34.0), "far": (60.0, 80.0)}
"""How far, in units, a shape above or below its reference lies to the side, centre to centre."""
GAP: Final = (1.0, 4.0)
"""The gap, in units of height, between a shape and the reference that it is above or below."""
_TRIES: Final = 40
"""The number of places tried for a block before the scene is considered too crowded."""

Block = tuple[Item, ...]
"""Items that are moved together."""

Side = Literal["left", "right", "below"]
_SIDES: Final[tuple[Side, ...]] = ("left", "right", "below")


def sample_scene(seed: int, split: Split, index: int, relations: Relations = STANDARD) -> Scene:
    """The layout of one scene. It depends on these four arguments only."""
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    rules = sample_labels(rng, relations.strength)
    shrink = 1.0
    while (blocks := _arrange(*_make_blocks(rules, rng, shrink, relations), rng)) is None:
        shrink *= 0.93  # no label is dropped: the objects of a crowded scene get smaller instead
    order = rng.permutation(len(blocks))
    clutter = [_clutter_item(rng) for _ in range(rng.integers(5, 11))]
    objects = [item for i in order for item in blocks[i]]
    return Scene((*clutter, *objects), _item_seed(rng))


Bonds = Mapping[str, Distance]
"""The labels that are placed relative to their companion, and how far from it."""


def _make_blocks(
    rules: Sequence[LabelRule], rng: Generator, shrink: float, relations: Relations
) -> tuple[list[Block], Bonds]:
    """The blocks of the scene, not yet placed. A companion comes before the objects near it."""
    blocks: list[Block] = []
    bonds: dict[str, Distance] = {}
    for rule in rules:
        item = _item(rule, rng, shrink)
        reference = _reference(rule, blocks) if _holds(rule, relations, rng) else None
        if rule.place in ("above", "below") and reference is not None:
            aside = ASIDE[relations.distance]
            blocks[reference] = _stack(blocks[reference][0], item, rule.place, aside, rng)
            continue
        if rule.place == "near" and reference is not None:
            bonds[rule.name] = relations.distance
        hidden = rule.shy == "hidden" and rng.random() < SHY_SHARE
        blocks.append(_hide(replace(item, tilt=0.0), rng) if hidden else (item,))
    return blocks + _decoys(rules, blocks, rng, shrink, relations.strength), bonds


def _holds(rule: LabelRule, relations: Relations, rng: Generator) -> bool:
    """Whether an object keeps the place of its rule. At full strength no number is drawn."""
    if relations.strength >= 1 or rule.place == "anywhere":
        return True
    return bool(rng.random() < relations.strength)


def _reference(rule: LabelRule, blocks: Sequence[Block]) -> int | None:
    """The position of the companion's block; None if there is none in the scene."""
    return next((i for i, (head, *_) in enumerate(blocks) if head.label == rule.companion), None)


def _decoys(
    rules: Sequence[LabelRule],
    blocks: Sequence[Block],
    rng: Generator,
    shrink: float,
    strength: float,
) -> list[Block]:
    """Objects without a label, so that certain shapes alone do not reveal a label.

    They are ambiguous shapes without their reference, and thickets that hide nothing.
    """
    present = {rule.name for rule in rules}
    decoys: list[Block] = [
        (replace(_item(rule, rng, shrink), label=None),)
        for rule in RULES
        if rule.place == "above"
        and (chance := _stray_chance(rule, present, strength)) > 0
        and rng.random() < chance
    ]
    nothing_hidden = all(item.hidden == 0 for block in blocks for item in block)
    if nothing_hidden and rng.random() < BARE_THICKET_CHANCE:
        width, height = rng.uniform(14, 30, size=2).tolist()
        decoys.append((Item(shape="thicket", width=width, height=height, seed=_item_seed(rng)),))
    return decoys


def _stray_chance(rule: LabelRule, present: Container[str], strength: float) -> float:
    """P(a shape without a label), given the labels that are present."""
    if any(other.shape == rule.shape and other.name in present for other in RULES):
        return 0.0
    there = (rule.companion or "") in present
    return stray_chance(rule, with_reference=there, strength=strength)


def _item(rule: LabelRule, rng: Generator, shrink: float) -> Item:
    """One object with the label of the rule, not yet placed."""
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


def _stack(
    reference: Item,
    item: Item,
    place: Literal["above", "below"],
    bounds: tuple[float, float],
    rng: Generator,
) -> Block:
    """The reference and the item above or below it, shifted sideways within `bounds`.

    The gap is small and the shapes are flat. In a tall stack, the position of the item in the image
    alone would reveal whether it is above or below the reference.
    """
    gap = rng.uniform(*GAP)
    down = -gap - item.height if place == "above" else reference.height + gap
    least, most = bounds
    shift = rng.uniform(-(most - least), most - least)
    aside = (reference.width - item.width) / 2 + shift + math.copysign(least, shift)
    return (reference, item.moved(aside, down))


def _hide(item: Item, rng: Generator) -> Block:
    """The item, and a thicket that covers a fraction of its drawing from one side."""
    share = rng.uniform(*HIDDEN)
    side: Side = _SIDES[rng.integers(len(_SIDES))]
    depth = _depth(item, share, side)
    pads = rng.uniform(3, 7, size=4).tolist()
    left, top = item.left - pads[0], item.top - pads[1]
    right, bottom = item.right + pads[2], item.bottom + pads[3]
    inset = RAGGED / 2  # the mean distance of the ragged edge from the box
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


def _depth(item: Item, share: float, side: Side) -> float:
    """The depth from one side that contains the fraction `share` of the item's drawing.

    The depth is a fraction of the width or height of the item's box.
    """
    drawn = np.asarray(draw_item(item, 3.0, INKS[0]).getchannel("A")) > 127
    profile = drawn.sum(axis=1 if side == "below" else 0)
    if side != "left":
        profile = profile[::-1]
    reached = np.cumsum(profile) / profile.sum()
    return float(np.searchsorted(reached, share) + 1) / len(profile)


def _arrange(blocks: Sequence[Block], bonds: Bonds, rng: Generator) -> list[Block] | None:
    """Every block at a free place; None if there is no place for one of them."""
    placed: list[Block] = []
    for block in blocks:
        taken = [item for other in placed for item in other]
        free = _free_place(block, taken, bonds, rng)
        if free is None:
            return None
        placed.append(free)
    return placed


def _free_place(block: Block, taken: Sequence[Item], bonds: Bonds, rng: Generator) -> Block | None:
    """The block at a place where it overlaps the `taken` items little; None if none was found."""
    left = min(item.left for item in block)
    top = min(item.top for item in block)
    width = max(item.right for item in block) - left
    height = max(item.bottom for item in block) - top
    # The range of positions of the block's left and top edges.
    room = (SIDE - 2 * _MARGIN - width, SIDE - 2 * _MARGIN - height)
    if min(room) < 0:
        return None
    distance = bonds.get(block[0].label or "")
    companion = None if distance is None else _find_companion(block, taken)
    for _ in range(_TRIES):
        x, y = _MARGIN + rng.uniform(0, room[0]), _MARGIN + rng.uniform(0, room[1])
        if companion is not None and distance == "near":
            reach_x = (companion.width + width) / 2 + _REACH
            reach_y = (companion.height + height) / 2 + _REACH
            x = companion.centre[0] + rng.uniform(-reach_x, reach_x) - width / 2
            y = companion.centre[1] + rng.uniform(-reach_y, reach_y) - height / 2
            x = min(max(x, _MARGIN), _MARGIN + room[0])
            y = min(max(y, _MARGIN), _MARGIN + room[1])
        moved = tuple(item.moved(x - left, y - top) for item in block)
        if (
            companion is not None
            and distance == "far"
            and gap_between(moved[0], companion) < FAR_GAP
        ):
            continue
        if all(_overlap(a, b) <= _max_overlap(a, b) for a in moved for b in taken):
            return moved
    return None


def _find_companion(block: Block, taken: Sequence[Item]) -> Item | None:
    """The companion that the block must be near; None if it has none or it is not in the scene."""
    label = block[0].label
    if label is None or RULE_OF[label].place != "near":
        return None
    return next((item for item in taken if item.label == RULE_OF[label].companion), None)


def gap_between(a: Item, b: Item) -> float:
    """The larger of the gaps between two boxes in width and in height, in units; 0 if none."""
    across = max(a.left, b.left) - min(a.right, b.right)
    down = max(a.top, b.top) - min(a.bottom, b.bottom)
    return max(across, down, 0.0)


def _max_overlap(a: Item, b: Item) -> float:
    """The largest overlap of two items; 0 if a thicket already hides one of them."""
    return 0.0 if a.hidden or b.hidden else _MAX_OVERLAP


def _overlap(a: Item, b: Item) -> float:
    """The common area as a fraction of the smaller box."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(a.width * a.height, b.width * b.height)
