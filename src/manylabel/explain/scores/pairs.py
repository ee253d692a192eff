"""Walks over a data set and measures the maps of each pair of an image and a present label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Record, Records
from manylabel.errors import ImageError
from manylabel.explain.localisation import peaks
from manylabel.explain.occlusion import DEFAULT_OCCLUSION, occlusion_maps
from manylabel.explain.scores.grids import GRID, centre_map, resized
from manylabel.explain.scores.measures import HALF, SHARES, energy_inside, iou_at
from manylabel.explain.scores.regions import Regions
from manylabel.labels import PRESENT
from manylabel.predict import Predictor

CENTRE: Final = "centre"
"""The baseline that is one fixed map, high at the centre."""
CHANCE: Final = "chance"
"""The baseline that knows nothing: a random point, a map that is the same everywhere, or for
insertion and deletion a random map."""
BASELINES: Final = (CENTRE, CHANCE)

OCCLUSION_METHOD: Final = "occlusion"
"""The method that every model has, and no engine."""

FindRegions = Callable[[Record], Regions]
"""Gives the regions of a record."""
Maps = Mapping[str, NDArray[Any]]
"""Maps [..., H, W] by method."""


class Done(Protocol):
    """Something that shows how far a stage is."""

    def done(self, count: int) -> None:
        """Set how many are done."""


Stage = Callable[[str, int], AbstractContextManager[Done]]
"""Begins a stage of the work: its name and how many there are to do."""


@final
class _Silent:
    def done(self, count: int) -> None:
        pass


@contextmanager
def silent(doing: str, total: int) -> Iterator[Done]:
    """A stage that shows nothing."""
    yield _Silent()


@final
@dataclass(frozen=True, eq=False)
class PairTable:
    """The measured values of P pairs of an image and a label.

    Args:
        images: int64 [P]: positions of the images in the records.
        labels: int64 [P]: columns of the labels.
        values: By measure: float [P, M] for M methods, or [P, M, S] for S thresholds.
        methods: The M methods; the baselines are last.
    """

    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    values: dict[str, NDArray[np.floating[Any]]]
    methods: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


@final
@dataclass(slots=True)
class PairRows:
    """Collects the rows of a `PairTable`."""

    methods: tuple[str, ...]
    images: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    values: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)

    def add(self, image: int, label: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Add one pair with its values [M] or [M, S] by measure."""
        self.images.append(image)
        self.labels.append(label)
        for name, each in values.items():
            self.values.setdefault(name, []).append(each.astype(np.float32))

    def table(self) -> PairTable:
        """All rows."""
        return PairTable(
            np.array(self.images, dtype=np.int64),
            np.array(self.labels, dtype=np.int64),
            {name: np.stack(rows) for name, rows in self.values.items()},
            self.methods,
        )


@final
@dataclass(frozen=True, eq=False)
class Reached:
    """An image that a walk has reached.

    Args:
        row: The position of the image in the records.
        pixels: uint8 [height, width, 3], as the model takes it.
        maps: A map [H, W] by method, for each column of a label that is present.
    """

    row: int
    pixels: NDArray[np.uint8]
    maps: Mapping[int, Maps]


def measure_pairs(
    predictor: Predictor,
    records: Records,
    methods: Sequence[str],
    find: FindRegions,
    *,
    stage: Stage = silent,
) -> tuple[PairTable, list[ImageError]]:
    """Measure the maps of all labels that are present in an image and have a region there.

    Each image is run once. Only numbers are kept, no maps.

    Args:
        predictor: The model.
        records: The images, with the model's labels in the model's order.
        methods: The engine's methods of evidence maps to measure.
        find: Gives the regions of an image.
        stage: Shows the progress.

    Returns:
        The values of `pointing`, `energy_inside` and `iou` (at each of `SHARES`), and the errors of
        images that cannot be used and are left out.
    """
    rows = PairRows((*methods, *BASELINES))
    bad: list[ImageError] = []
    with stage("scoring", len(records)) as shown:
        for image in walk(predictor, records, methods, bad):
            record = records[image.row]
            regions = find(record)
            there = regions.labels()
            for column, maps in image.maps.items():
                label = predictor.labels[column]
                if label in there:
                    rows.add(image.row, column, measure_maps(maps, regions, label))
            shown.done(image.row + 1)
    return rows.table(), bad


def walk(
    predictor: Predictor, records: Records, methods: Sequence[str], bad: list[ImageError]
) -> Iterator[Reached]:
    """The images that can be used, in order, each with the maps of the labels that are present.

    Other images are added to `bad`. A method is one of the engine, or `occlusion`.
    """
    sources = ((str(row), place) for row, place in enumerate(records.images))
    with closing(predictor.prepare_batches(sources)) as batches:
        for batch in batches:
            bad += batch.errors.values()
            rows = [int(batch.keys[i]) for i in batch.good]
            columns = [np.flatnonzero(records.targets[row] == PRESENT).tolist() for row in rows]
            if rows:
                yield from _reached(predictor, rows, batch.pixels, columns, methods)


def measure_maps(maps: Maps, regions: Regions, label: str) -> dict[str, NDArray[np.float64]]:
    """The values of the maps of one label of one image, and of the baselines behind them.

    Args:
        maps: M maps [H, W] by method.
        regions: The regions of the image.
        label: A label that has a region there.

    Returns:
        `pointing` and `energy_inside` [M + 2], and `iou` [M + 2, S] at each of `SHARES`.
    """
    cover = regions.cover(label, GRID)
    area = cover.mean()
    points = [peaks(each).tolist() for each in maps.values()] + [[0.5, 0.5]]
    grids = np.stack([*(on_grid(each) for each in maps.values()), centre_map(GRID, GRID)])
    ious = iou_at(grids, cover, SHARES)
    return {
        "pointing": np.array([*(regions.holds(label, x, y) for x, y in points), area]),
        "energy_inside": np.append(energy_inside(grids, cover), area),
        "iou": np.concatenate([ious, np.full((1, len(SHARES)), area)]),
    }


def on_grid(one: NDArray[Any]) -> NDArray[np.float64]:
    """The positive values of a map [H, W] on the common grid."""
    return resized(one.clip(0), GRID, GRID)


def split_iou(table: PairTable) -> tuple[PairTable, dict[str, float]]:
    """The table with `iou_half` and `iou_best` in place of `iou`, and each method's best threshold.

    The best threshold of a method is the one with the highest mean over all pairs.
    """
    ious = table.values["iou"]
    best = ious.mean(axis=0).argmax(axis=-1)
    values = {name: each for name, each in table.values.items() if name != "iou"}
    values["iou_half"] = ious[:, :, SHARES.index(HALF)]
    values["iou_best"] = np.take_along_axis(ious, best[None, :, None], axis=2)[:, :, 0]
    shares = {name: SHARES[i] for name, i in zip(table.methods, best, strict=True)}
    return PairTable(table.images, table.labels, values, table.methods), shares


def _reached(
    predictor: Predictor,
    rows: Sequence[int],
    pixels: NDArray[np.uint8],
    columns: Sequence[list[int]],
    methods: Sequence[str],
) -> Iterator[Reached]:
    """The images of a batch with their maps, which are computed for present labels only."""
    wanted = sorted({column for each in columns for column in each})
    place = {column: i for i, column in enumerate(wanted)}
    own = [method for method in methods if method != OCCLUSION_METHOD]
    output = predictor.engine.run(pixels, own, wanted)
    for i, row in enumerate(rows):
        maps = {c: {m: output.evidence[m][i, place[c]] for m in own} for c in columns[i]}
        if OCCLUSION_METHOD in methods and columns[i]:
            fallen = occlusion_maps(
                predictor.engine,
                pixels[i],
                output.logits[i],
                columns[i],
                DEFAULT_OCCLUSION,
                batch_size=predictor.batch_size,
            )
            for column, each in zip(columns[i], fallen, strict=True):
                maps[column][OCCLUSION_METHOD] = each
        yield Reached(row, pixels[i], {c: {m: maps[c][m] for m in methods} for c in columns[i]})
