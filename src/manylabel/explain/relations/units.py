"""What the units of the branch of relations follow: one label's place, or several labels.

For each unit, two questions are asked of the sample. How much of the unit's variance do the map of
the best label explain, its strength and its place? How much more does a second label's map explain?
A unit to which a second label adds much follows several labels. It follows a
layout if the place of both labels counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.explain.relations.significance import LEVEL
from manylabel.explain.relations.stream import Sample

Kind = Literal["layout", "several", "place", "presence", "none", "silent"]
"""What a unit follows: `Follows.kind` says what the words mean."""

CELLS: Final = 4
"""A map is summed over a grid of this many rows and columns before it is compared with units."""
SECOND: Final = 0.2
"""A unit follows several labels if the second one explains at least this share of what both do."""
PLACE: Final = 0.2
"""A unit follows a label's place if place explains at least this share of what the label does."""
MOST: Final = 1000
"""The largest number of images that units are compared on."""
SHUFFLES: Final = 99
"""The number of shuffles; the smallest p-value is 1 / 100."""

_RANK: Final = 1e-5
"""Directions of a label's map with less than this share of its largest spread are left out."""

Report = Callable[[int], None]


@final
@dataclass(frozen=True, eq=False)
class Follows:
    """What each of K units follows. All arrays are [K].

    Args:
        kind: What the unit follows.
            `layout`: the maps of two labels; the second one adds at least `SECOND` of what both
            explain, and for each of them its place adds at least `PLACE` of what it explains.
            `several`: the maps of two labels, but for one of them its strength is enough.
            `place`: the map of one label, and its place adds at least `PLACE` of what it explains.
            `presence`: how strong one label's map is, wherever.
            `none`: no label's map explains more than in shuffled data.
            `silent`: the unit has one value in all images.
        first: The label whose map explains most of the unit's variance.
        second: The label whose map explains most of the rest.
        explained: The share of the variance that the first label's map explains, 0..1.
        place: The part of `explained` that the place adds to the strength of the map.
        added: What the second label's map adds to `explained`.
        added_place: The part of `added` that its place adds to the strength of the map.
        p_first: p-values of `explained`: the largest share of any unit and label when the images
            of the maps and of the units are shuffled; so they are corrected for all of these.
        p_second: The same for what the second label explains of the rest.
        images: The number of images.
    """

    kind: tuple[Kind, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    explained: NDArray[np.float64]
    place: NDArray[np.float64]
    added: NDArray[np.float64]
    added_place: NDArray[np.float64]
    p_first: NDArray[np.float64]
    p_second: NDArray[np.float64]
    images: int

    def ranked(self, kind: Kind) -> list[int]:
        """The units of a kind, the clearest first.

        A layout is clear if the places of both labels explain much; `several`, if the second label
        adds much; a place, if it explains much.
        """
        clear = {
            "layout": np.minimum(self.place, self.added_place),
            "several": self.added,
            "place": self.place,
        }.get(kind, self.explained)
        order = np.argsort(-clear, kind="stable")
        return [int(unit) for unit in order if self.kind[int(unit)] == kind]


def follow(sample: Sample, *, seed: int = 0, report: Report | None = None) -> Follows:
    """What each unit follows in the images of the sample.

    Args:
        sample: The images.
        seed: The seed of the shuffles, and of the images if there are more than `MOST`.
        report: Called after each shuffle with 1.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(sample.rows))[:MOST])
    units, silent = _standard(sample.units[chosen])
    strengths, places = _bases(sample.maps[chosen, : sample.present.shape[1]])
    bases = [np.concatenate(pair, axis=1) for pair in zip(strengths, places, strict=True)]
    by_label = np.stack([_explained(basis, units) for basis in bases])  # [C, K]
    first = by_label.argmax(0)
    explained = by_label.max(0)
    place = (
        explained
        - np.stack([_explained(basis, units) for basis in strengths])[first, np.arange(len(first))]
    )
    second, added, added_place = _second(bases, strengths, units, first)
    largest = _shuffled(bases, units, random, report)
    p_first = _p(explained, largest)
    p_second = _p(added / np.maximum(1 - explained, 1e-9), largest)
    parts = (first, second, explained, place, added, added_place, p_first, p_second)
    without_kinds = Follows((), *parts, len(chosen))
    return replace(without_kinds, kind=tuple(_kinds(without_kinds, silent)))


def _kinds(found: Follows, silent: NDArray[np.bool_]) -> Iterator[Kind]:
    two = (found.p_second < LEVEL) & (found.added >= SECOND * (found.explained + found.added))
    placed = found.place >= PLACE * found.explained
    both = placed & (found.added_place >= PLACE * found.added)
    for k in range(len(found.first)):
        if silent[k]:
            yield "silent"
        elif found.p_first[k] >= LEVEL:
            yield "none"
        elif two[k]:
            yield "layout" if both[k] else "several"
        else:
            yield "place" if placed[k] else "presence"


def cells(maps: NDArray[np.float32], count: int = CELLS) -> NDArray[np.float32]:
    """The sums of maps [..., H, W] over a grid of `count` rows and columns, or fewer if small."""
    for axis in (-2, -1):
        size = maps.shape[axis]
        starts = np.unique(np.linspace(0, size, min(count, size), endpoint=False).astype(int))
        maps = np.add.reduceat(maps, starts, axis=axis)
    return maps


def _standard(units: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Units with mean 0 and length 1 [n, K]; which of them do not vary, and are 0 then."""
    centred = units - units.mean(0) if len(units) else units
    lengths = np.sqrt(np.square(centred, dtype=np.float64).sum(0))
    silent = lengths <= 1e-6 * np.abs(units).max(0, initial=1e-12)
    return (centred / np.where(silent, np.inf, lengths)).astype(np.float32), silent


def _bases(
    maps: NDArray[np.float32],
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Orthonormal bases, for each label: [n, 1] of its map's sum, and [n, <=16] of its places."""
    strengths: list[NDArray[np.float32]] = []
    places: list[NDArray[np.float32]] = []
    for label in range(maps.shape[1]):
        summed = cells(maps[:, label]).reshape(len(maps), -1).astype(np.float64)
        strength = _basis(summed.sum(1, keepdims=True), None)
        strengths.append(strength)
        places.append(_basis(summed, strength))
    return strengths, places


def _basis(
    features: NDArray[np.float64], without: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """An orthonormal basis of centred features [n, F], after the directions `without`."""
    centred = features - features.mean(0) if len(features) else features
    scale = np.abs(centred).max(initial=0)
    if without is not None:
        centred = centred - without @ (without.T @ centred)
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    kept = spread > max(_RANK * spread.max(initial=0), 1e-9 * scale)
    return left[:, kept].astype(np.float32)


def _explained(basis: NDArray[np.float32], units: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of each unit's variance in the span of a basis, [K]."""
    return np.square(basis.T @ units, dtype=np.float64).sum(0)


def _second(
    bases: list[NDArray[np.float32]],
    strengths: list[NDArray[np.float32]],
    units: NDArray[np.float32],
    first: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The label that explains most of what the first one leaves, how much, and by its place."""
    second, added, strong = np.zeros_like(first), np.zeros(len(first)), np.zeros(len(first))
    for label in np.unique(first):
        own = np.flatnonzero(first == label)
        rest = units[:, own] - bases[label] @ (bases[label].T @ units[:, own])
        gains = np.zeros((2, len(bases), len(own)))
        for other in range(len(bases)):
            if other != label:
                for kind, each in enumerate((bases[other], strengths[other])):
                    gains[kind, other] = _gained(each, bases[label], rest)
        best = gains[0].argmax(0)
        second[own], added[own] = best, gains[0].max(0)
        strong[own] = gains[1, best, np.arange(len(own))]
    return second, added, added - strong


def _gained(
    basis: NDArray[np.float32], without: NDArray[np.float32], rest: NDArray[np.float32]
) -> NDArray[np.float64]:
    """What a basis explains of units [n, K] from which the directions `without` are gone, [K].

    The part of the basis beyond `without` has the inner products 1 - S'S, where S are those of the
    two bases. So only small matrices are decomposed, whatever the number of images.
    """
    shared = without.T.astype(np.float64) @ basis
    values, vectors = np.linalg.eigh(np.eye(basis.shape[1]) - shared.T @ shared)
    kept = values > _RANK
    sums = vectors[:, kept].T @ (basis.T @ rest)
    return (np.square(sums) / values[kept, None]).sum(0)


def _shuffled(
    bases: list[NDArray[np.float32]],
    units: NDArray[np.float32],
    random: np.random.Generator,
    report: Report | None,
) -> NDArray[np.float64]:
    """The largest share that any label explains of any unit, in each shuffle of the images."""
    together = np.concatenate(bases, axis=1)  # one product for all labels
    ends = np.cumsum([basis.shape[1] for basis in bases])
    largest = np.zeros(SHUFFLES)
    for draw in range(SHUFFLES):
        mixed = together[random.permutation(len(together))]
        sums = np.square(mixed.T @ units).cumsum(0, dtype=np.float64)
        shares = np.diff(np.concatenate([np.zeros((1, sums.shape[1])), sums])[[0, *ends]], axis=0)
        largest[draw] = shares.max(initial=0)
        if report is not None:
            report(1)
    return largest


def _p(found: NDArray[Any], largest: NDArray[np.float64]) -> NDArray[np.float64]:
    ranks = np.searchsorted(np.sort(largest), found, side="left")
    return (1 + len(largest) - ranks) / (1 + len(largest))
