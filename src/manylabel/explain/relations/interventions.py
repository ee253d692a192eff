"""What a model makes of one label when the evidence of another one is changed.

Only the maps are changed, and the branch of relations computes its logits from them again. So the
changes are effects of the other label's map and of nothing else, in logits of that branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.engines.engine import RelationProbe
from manylabel.explain.relations.significance import (
    LEVEL,
    Changes,
    benjamini_hochberg,
    sign_flips,
    sign_flips_each,
)
from manylabel.explain.relations.stream import Sample

LEAST: Final = 15
"""A change is reported if so many images show it."""
INTO: Final = 200
"""The largest number of images without a label that its evidence is put into."""
MOVED: Final = 150
"""The largest number of images of a pair in which a map is moved."""
PLACED_PAIRS: Final = 80
"""The largest number of pairs in which a map is moved: those with the strongest effects."""
DIRECTIONS: Final = ("above", "below", "left", "right", "same place")
"""Where the map of the other label is moved to, as seen from the label."""

CONTRASTS: Final = ("above - below", "right - left", "same place - sides")
"""The differences that are tested. The sides are the mean of above and below, or of left and right,
or of all four, whatever an image allows."""

_WORDS: Final = (("above, not below", "below, not above"), ("right, not left", "left, not right"))
_STEPS: Final = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
_AT_ONCE: Final = 64

Report = Callable[[int], None]


@final
@dataclass(frozen=True, eq=False)
class Effects:
    """The mean change of the label of the column when the evidence of the row's label changes.

    Args:
        images: int64 [C]: the number of images that were changed, by row.
        mean: [C, C]: in logits of the branch of relations; NaN where there were fewer than `LEAST`
            images.
        low: The lower end of the 95 % interval of the mean.
        high: The upper end.
        p: p-values by turning signs, corrected for all pairs by the largest statistic; NaN on the
            diagonal.
    """

    images: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Placed:
    """What a label gains when the map of another one is moved.

    Args:
        other: The label whose map is moved.
        label: The label whose logit is read.
        images: The number of images.
        gains: [5]: the mean logit with the map moved in each of `DIRECTIONS`, minus the mean of
            the directions of the same image; NaN where no image allows the direction.
        changes: [5]: the mean logit with the map moved minus the logit without a move.
        contrasts: [3]: the mean differences of `CONTRASTS`, in the images that allow them; NaN if
            none does.
        p: [3]: their p-values by turning signs, corrected for all pairs by Benjamini and Hochberg;
            NaN where there were fewer than `LEAST` images.
    """

    other: int
    label: int
    images: int
    gains: NDArray[np.float64]
    changes: NDArray[np.float64]
    contrasts: NDArray[np.float64]
    p: NDArray[np.float64]

    def words(self) -> str:
        """Where the other label helps, in words; empty if its place makes no sure difference.

        That the same place is worse is not said: two objects rarely lie on the same place, so most
        models know nothing else.
        """
        sure = np.nan_to_num(self.p, nan=1.0) < LEVEL
        sides = [i for i in (0, 1) if sure[i]]
        if sides:
            surest = min(sides, key=lambda i: (self.p[i], -abs(self.contrasts[i])))
            return _WORDS[surest][int(self.contrasts[surest] < 0)]
        return "on the same place" if sure[2] and self.contrasts[2] > 0 else ""


def put_out(
    probe: RelationProbe, sample: Sample, *, seed: int = 0, report: Report | None = None
) -> Effects:
    """What happens when the map of a label is set to 0 in the images that have the label."""
    found: list[Changes] = []
    for label in range(sample.present.shape[1]):
        rows = np.flatnonzero(sample.present[:, label])
        found.append(_changes(probe, sample, rows, label, None))
        _tell(report, len(rows))
    return _effects(found, seed)


def put_in(
    probe: RelationProbe, sample: Sample, *, seed: int = 0, report: Report | None = None
) -> Effects:
    """What happens when images without a label get its map from an image that has the label.

    The images and those that give the map are drawn by the seed.
    """
    random = np.random.default_rng(seed)
    found: list[Changes] = []
    for label in range(sample.present.shape[1]):
        without, having = (
            np.flatnonzero(each[:, label]) for each in (sample.absent, sample.present)
        )
        rows = np.sort(random.permutation(without)[: INTO if len(having) else 0])
        givers = random.choice(having, len(rows)) if len(rows) else having[:0]
        found.append(_changes(probe, sample, rows, label, givers))
        _tell(report, len(rows))
    return _effects(found, seed)


def strongest(strength: NDArray[np.float64], sample: Sample) -> list[tuple[int, int]]:
    """The pairs (other, label) in which a map is moved: the strongest ones with enough images.

    Args:
        strength: [C, C]: the size of the effect of the row's label on the column's.
        sample: The images.
    """
    together = sample.present.T.astype(np.float32) @ sample.present
    possible = (together >= LEAST) & ~np.eye(len(strength), dtype=bool) & np.isfinite(strength)
    order = np.argsort(-np.where(possible, np.abs(strength), -1), axis=None, kind="stable")
    count = min(PLACED_PAIRS, int(possible.sum()))
    return [divmod(int(each), len(strength)) for each in order[:count]]


def move(
    probe: RelationProbe,
    sample: Sample,
    pairs: Sequence[tuple[int, int]],
    *,
    seed: int = 0,
    report: Report | None = None,
) -> list[Placed]:
    """What labels gain when the maps of others are moved, as seen from their own maps.

    The map of the other label is shifted so that its highest place lies a quarter of the map above,
    below, left or right of the label's highest place, or on it. What leaves the map is lost, and
    the rest is scaled so that the sum stays. A direction that leaves the map is left out.

    Args:
        probe: Computes the branch of relations.
        sample: The images.
        pairs: The pairs (other, label).
        seed: The seed of the images that are drawn, and of the tests.
        report: Called with the number of images done.
    """
    random = np.random.default_rng(seed)
    logits: list[NDArray[np.float32]] = []
    before: list[NDArray[np.float32]] = []
    for other, label in pairs:
        rows = np.flatnonzero(sample.present[:, other] & sample.present[:, label])
        rows = np.sort(random.permutation(rows)[:MOVED])
        logits.append(_moved(probe, sample, rows, other, label))
        before.append(_logits(probe, (sample.maps[row] for row in rows))[:, label])
        _tell(report, len(rows))
    differences = [_differences(found) for found in logits]
    flat = [each for three in differences for each in three]
    raw = sign_flips_each(flat, least=LEAST, seed=seed).reshape(len(pairs), 3)
    p = np.stack([benjamini_hochberg(column) for column in raw.T], axis=1)
    return [
        Placed(
            *pairs[i],
            images=len(found),
            gains=_mean(found - _mean(found.T)[:, None]),
            changes=_mean(found - before[i][:, None]),
            contrasts=np.array([_mean(each[:, None])[0] for each in differences[i]]),
            p=p[i],
        )
        for i, found in enumerate(logits)
    ]


def shifted(one_map: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """A map [H, W] moved by rows and columns. Its sum stays, unless all of it leaves the map."""
    height, width = one_map.shape
    moved = np.zeros_like(one_map)
    moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = one_map[
        max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)
    ]
    total = moved.sum()
    return moved * (one_map.sum() / total) if total > 0 else moved


def _changes(
    probe: RelationProbe,
    sample: Sample,
    rows: NDArray[np.int64],
    label: int,
    givers: NDArray[np.int64] | None,
) -> Changes:
    """What the new maps of a label do in some images; no givers: the maps become 0."""

    def changed() -> Iterator[NDArray[np.float32]]:
        for i, row in enumerate(rows):
            maps = sample.maps[row].copy()
            maps[label] = 0 if givers is None else sample.maps[givers[i], label]
            yield maps

    after = _logits(probe, changed())
    before = _logits(probe, (sample.maps[row] for row in rows))
    return Changes(rows, (after - before).reshape(len(rows), sample.present.shape[1]))


def _logits(probe: RelationProbe, maps: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The logits [N, C] of the branch for maps that are made when they are needed."""
    found: list[NDArray[np.float32]] = []
    waiting: list[NDArray[np.float32]] = []
    for each in maps:
        waiting.append(each)
        if len(waiting) == _AT_ONCE:
            found.append(probe.compute(np.stack(waiting))[0])
            waiting.clear()
    if waiting:
        found.append(probe.compute(np.stack(waiting))[0])
    return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)


def _effects(found: list[Changes], seed: int) -> Effects:
    size = len(found)
    mean, error = np.full((size, size), np.nan), np.full((size, size), np.nan)
    for row, each in enumerate(found):
        if len(each.images) >= LEAST:
            mean[row] = each.values.mean(0)
            error[row] = 1.96 * each.values.std(0, ddof=1) / np.sqrt(len(each.images))
    others = [Changes(each.images, _without(each.values, row)) for row, each in enumerate(found)]
    p = sign_flips(others, least=LEAST, seed=seed)
    np.fill_diagonal(p, np.nan)
    images = np.array([len(each.images) for each in found])
    return Effects(images, mean, mean - error, mean + error, p)


def _without(values: NDArray[np.float32], column: int) -> NDArray[np.float32]:
    """The same values with 0 for the label itself, so that it cannot be the largest one."""
    copied = values.copy()
    copied[:, column] = 0
    return copied


def _moved(
    probe: RelationProbe, sample: Sample, rows: NDArray[np.int64], other: int, label: int
) -> NDArray[np.float32]:
    """The label's logits [n, 5] with the other's map moved; NaN where it would leave the map."""
    height, width = sample.maps.shape[2:]
    distances = (max(1, round(height / 4)), max(1, round(width / 4)))
    slots: list[tuple[int, int]] = []

    def moved() -> Iterator[NDArray[np.float32]]:
        for i, row in enumerate(rows):
            ours, theirs = (_peak(sample.maps[row, each]) for each in (label, other))
            for j, step in enumerate(_STEPS):
                goal = ours + np.multiply(step, distances)
                if (goal >= 0).all() and (goal < (height, width)).all():
                    maps = sample.maps[row].copy()
                    maps[other] = shifted(maps[other], *(goal - theirs).tolist())
                    slots.append((i, j))
                    yield maps

    logits = _logits(probe, moved())
    table = np.full((len(rows), len(_STEPS)), np.nan, dtype=np.float32)
    for (i, j), row in zip(slots, logits, strict=True):
        table[i, j] = row[label]
    return table


def _differences(found: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The differences of `CONTRASTS`, each in the images that allow it."""
    above, below, left, right, same = found.T
    opposite = np.stack([(above + below) / 2, (left + right) / 2])
    there = ~np.isnan(opposite)
    # Only sides whose opposite is there, too: at a map's edge the others would say where it is.
    sides = np.where(there, opposite, 0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
    three = (above - below, right - left, (same - sides).astype(np.float32))
    return [each[~np.isnan(each)] for each in three]


def _mean(table: NDArray[Any]) -> NDArray[np.float64]:
    """The means of columns without their NaNs; NaN for a column of NaNs."""
    there = ~np.isnan(table)
    counts = there.sum(0)
    return np.where(counts > 0, np.nansum(table, axis=0) / np.maximum(counts, 1), np.nan)


def _peak(one_map: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.array(np.unravel_index(int(one_map.argmax()), one_map.shape))


def _tell(report: Report | None, images: int) -> None:
    if report is not None:
        report(images)
