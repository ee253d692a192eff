"""Runs a model over a data set once, and keeps what relations are measured from.

Sums and the images that fire a unit most are kept for all images. Maps are kept for a sample of the
images, which is drawn by the seed before the first image is opened. So memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.engines.engine import RelationProbe
from manylabel.errors import ConfigError, DataError, ImageError
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.predict import Predictor

TOP: Final = 6
"""The number of images that are kept for each unit."""
SAMPLE: Final = 2000
"""The largest number of images whose maps are kept."""
SAMPLE_BYTES: Final = 1 << 28
"""The most bytes of maps that are kept: 256 MB."""
LEAST_SAMPLE: Final = 64
"""The maps of so many images are kept, even if they have more bytes."""


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """The images whose maps were kept, S of them.

    Args:
        rows: int64 [S]: their rows in the records, rising.
        maps: float32 [S, C, H, W]: the maps that the branch of relations reads.
        units: float32 [S, K]: the branch's units.
        present: Boolean [S, C]: the labels that are present by the targets.
        absent: Boolean [S, C]: the labels that are absent by the targets.
    """

    rows: NDArray[np.int64]
    maps: NDArray[np.float32]
    units: NDArray[np.float32]
    present: NDArray[np.bool_]
    absent: NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class Observed:
    """What was kept of N images.

    Args:
        records: The N images, with the model's labels in its order.
        sample: The images whose maps were kept.
        top: int64 [K, TOP]: the rows of the images that fire each unit most, the first one most;
            -1 where fewer images fire it.
        top_values: float32 [K, TOP]: the activations there.
        correlations: [K, C]: the correlation of each unit with each label; NaN if one of them does
            not vary.
        bad: The errors of images that could not be opened and were left out.
    """

    records: Records
    sample: Sample
    top: NDArray[np.int64]
    top_values: NDArray[np.float32]
    correlations: NDArray[np.float64]
    bad: tuple[ImageError, ...]


def relation_probe(predictor: Predictor) -> RelationProbe:
    """What computes the branch of relations of a model.

    Raises:
        ConfigError: The model's head has no such branch.
    """
    probe = predictor.engine.relations
    if probe is None:
        raise ConfigError(
            "The head of the model has no branch that reads the maps of all labels, so it has no "
            "relations to show.",
            where="head",
            fix="Give a model with the head srn or srn-modern. `manylabel models` lists the heads.",
        )
    return probe


def observe(
    predictor: Predictor,
    records: Records,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Observed:
    """Run the model over all images once.

    Args:
        predictor: The model.
        records: The images, with the model's labels in any order.
        seed: The seed of the sample.
        skip_bad: Whether to leave out images that cannot be opened.
        on_progress: Called after each batch with the number of images done.

    Raises:
        ConfigError: The model's head has no branch of relations.
        DataError: The labels are not the model's, or there is no image.
        ImageError: An image cannot be opened, and `skip_bad` is false.
    """
    probe = relation_probe(predictor)
    records = records.relabelled(predictor.labels)
    watch = _Watch(_drawn(len(records), probe, predictor, seed))
    done = 0
    sources = zip(records.keys, records.images, strict=True)
    with closing(predictor.prepare_batches(sources)) as batches:
        for batch in batches:
            errors = list(batch.errors.values())
            if errors and not skip_bad:
                raise errors[0]
            watch.bad += errors
            rows = done + batch.good
            if len(rows):
                maps = probe.maps(batch.pixels).maps
                watch.add(rows, maps, probe.compute(maps)[1], records.targets[rows])
            done += len(batch.keys)
            if on_progress is not None:
                on_progress(done)
    return watch.finish(records)


@final
@dataclass
class _Watch:
    """What was seen so far."""

    sampled: NDArray[np.bool_]
    kept: list[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]] = field(
        default_factory=list
    )
    bad: list[ImageError] = field(default_factory=list)
    top: NDArray[np.int64] | None = None
    values: NDArray[np.float32] | None = None
    sums: _Sums | None = None
    seen: int = 0

    def add(
        self,
        rows: NDArray[np.int64],
        maps: NDArray[np.float32],
        units: NDArray[np.float32],
        targets: NDArray[np.int8],
    ) -> None:
        """Take in a batch."""
        own = self.sampled[rows]
        # float16 would halve the memory, but small values of U would become 0.
        self.kept.append((rows[own], maps[own], units[own]))
        self.seen += len(rows)
        if self.sums is None:
            self.sums = _Sums(units.shape[1], targets.shape[1])
        self.sums.add(units, targets)
        self._rank(rows, units)

    def _rank(self, rows: NDArray[np.int64], units: NDArray[np.float32]) -> None:
        """Keep the images that fire each unit most; of equal ones the first in the data set."""
        count = units.shape[1]
        if self.top is None or self.values is None:
            self.top = np.full((count, TOP), -1, dtype=np.int64)
            self.values = np.zeros((count, TOP), dtype=np.float32)
        values = np.concatenate([self.values, units.T], axis=1)
        places = np.concatenate([self.top, np.broadcast_to(rows, (count, len(rows)))], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :TOP]
        self.values = np.take_along_axis(values, order, 1)
        self.top = np.where(self.values > 0, np.take_along_axis(places, order, 1), -1)

    def finish(self, records: Records) -> Observed:
        """What was kept.

        Raises:
            DataError: No image was seen.
        """
        if self.top is None or self.values is None or self.sums is None:
            raise DataError(
                "There is no image to measure relations on.",
                where=records.source,
                fix="Give a data set with images that can be opened.",
            )
        rows, maps, units = (np.concatenate(each) for each in zip(*self.kept, strict=True))
        targets = records.targets[rows]
        sample = Sample(
            rows, maps, units, targets == PRESENT, (targets != UNKNOWN) & (targets != PRESENT)
        )
        return Observed(
            records, sample, self.top, self.values, self.sums.correlations(), tuple(self.bad)
        )


@final
class _Sums:
    """Sums from which correlations of units and labels follow; only known targets count."""

    def __init__(self, units: int, labels: int) -> None:
        self.known = np.zeros(labels)
        self.y = np.zeros(labels)
        self.u, self.uu, self.uy = (np.zeros((units, labels)) for _ in range(3))

    def add(self, units: NDArray[np.float32], targets: NDArray[np.int8]) -> None:
        """Add the units [N, K] and targets [N, C] of a batch."""
        known, y = (targets != UNKNOWN).astype(float), (targets == PRESENT).astype(float)
        u = units.astype(np.float64)
        self.known += known.sum(0)
        self.y += y.sum(0)
        self.u += u.T @ known
        self.uu += np.square(u).T @ known
        self.uy += u.T @ y

    def correlations(self) -> NDArray[np.float64]:
        """[K, C]; NaN where a unit or a label does not vary."""
        n = np.maximum(self.known, 1)
        shared = self.uy / n - self.u / n * (self.y / n)
        spread = (self.uu / n - np.square(self.u / n)).clip(0) * (self.y / n) * (1 - self.y / n)
        safe = np.sqrt(np.where(spread > 1e-18, spread, 1))
        return np.where(spread > 1e-18, shared / safe, np.nan)


def _drawn(images: int, probe: RelationProbe, predictor: Predictor, seed: int) -> NDArray[np.bool_]:
    """Which images are sampled, boolean [N]. The sample is cut if its maps would be too large."""
    black = np.zeros((1, predictor.spec.height, predictor.spec.width, 3), dtype=np.uint8)
    most = max(LEAST_SAMPLE, min(SAMPLE, SAMPLE_BYTES // probe.maps(black).maps.nbytes))
    sampled = np.zeros(images, dtype=bool)
    sampled[np.random.default_rng(seed).permutation(images)[:most]] = True
    return sampled
