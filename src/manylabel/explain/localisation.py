"""The pointing game: does the highest point of a label's map lie on an object of that label?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.places import Places
from manylabel.data.records import Box, Record, Records
from manylabel.engines.engine import Engine
from manylabel.errors import DataError
from manylabel.explain.scores.regions import contains, union_area
from manylabel.images import Place, prepared
from manylabel.labels import PRESENT, LabelSpace
from manylabel.predict import Predictor

_BATCH: Final = 32


@final
@dataclass(frozen=True, slots=True)
class PointingGame:
    """How often the highest point of a label's map lies on an object of the label.

    A try is a label that is present in an image and has a box there.

    Args:
        hits: The number of tries whose highest point lies in a box of the label.
        misses: The number of tries whose highest point does not.
        chance: The expected share of hits of random points, 0..1; NaN if there are no tries.
        per_label: The game of each label alone, in the order of the label space. It is empty in
            these games themselves.
    """

    hits: int
    misses: int
    chance: float
    per_label: dict[str, PointingGame] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The share of tries that are hits, 0..1; NaN if there are no tries."""
        tries = self.hits + self.misses
        return self.hits / tries if tries else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; share and chance are None if there are no tries."""
        tried = self.hits + self.misses > 0
        figures = {
            "share": self.share if tried else None,
            "chance": self.chance if tried else None,
            "hits": self.hits,
            "misses": self.misses,
        }
        rows = [{"label": name, **game.as_dict()} for name, game in self.per_label.items()]
        return figures | ({"labels": rows} if rows else {})


def pointing_game(
    maps: NDArray[Any],
    targets: NDArray[np.int8],
    boxes: Sequence[tuple[Box, ...]],
    labels: LabelSpace,
) -> PointingGame:
    """Play the pointing game: count the labels whose map is highest inside one of their boxes.

    A label counts in an image if its target is 1 and the image has at least one box of it. The
    point is the centre of the highest position. A box includes its edges. Chance is the mean area
    of the union of the label's boxes, as a fraction of the image. This is exactly the probability
    that a uniformly drawn point is a hit.

    Args:
        maps: Evidence maps [N, C, H, W], which cover whole images, on any scale.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        boxes: The boxes of the objects in each of the N images.
        labels: The C labels.

    Source: J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff, "Top-down Neural Attention by
    Excitation Backprop", ECCV 2016, section 4.1. Deliberate differences: no tolerance of 15
    pixels around the point, and the total is the mean over (image, label) pairs, not the mean of
    the labels' shares.
    """
    return _score(peaks(maps), targets, boxes, labels)


def peaks(maps: NDArray[Any]) -> NDArray[np.float64]:
    """The centre (x, y) of the highest position of each map, [..., 2], as fractions of the image.

    If several positions are equally high, the first one counts, row by row.

    Args:
        maps: [..., H, W].
    """
    height, width = maps.shape[-2:]
    row, column = np.divmod(maps.reshape(*maps.shape[:-2], -1).argmax(-1), width)
    return np.stack([(column + 0.5) / width, (row + 0.5) / height], axis=-1)


def score_localisation(predictor: Predictor, records: Records) -> dict[str, PointingGame]:
    """The pointing game of a predictor's evidence maps. Each image is run once.

    `scores.scoring.score_explanations` measures more, and with intervals.

    Returns:
        The game of each of the model's methods of evidence maps that is not costly, by the method's
        name.

    Raises:
        DataError: The records' labels are not the predictor's, or no present label has a box.
        ImageError: An image cannot be used.
    """
    records = records.relabelled(predictor.labels)
    boxed = [i for i, record in enumerate(records) if _has_target(record, predictor.labels)]
    if not boxed:
        raise DataError(
            "No image has a box of a label that is present in it.",
            where=records.source,
            fix="Give data with boxes: COCO instances, Pascal VOC, or drawn scenes.",
        )
    records = records.select(boxed)
    assert records.boxes is not None
    points: dict[str, list[NDArray[np.float64]]] = {}
    for batch in _batches(records.images):
        for name, found in _peaks_by_method(predictor, batch).items():
            points.setdefault(name, []).append(found)
    return {
        name: _score(np.concatenate(found), records.targets, records.boxes, predictor.labels)
        for name, found in points.items()
    }


def _score(
    points: NDArray[np.float64],
    targets: NDArray[np.int8],
    boxes: Sequence[tuple[Box, ...]],
    labels: LabelSpace,
) -> PointingGame:
    assert points.shape == (*targets.shape, 2), (points.shape, targets.shape)
    assert targets.shape == (len(boxes), len(labels)), (targets.shape, len(boxes), len(labels))
    tries: dict[str, list[tuple[bool, float]]] = {name: [] for name in labels}
    for row, image_boxes, image_points in zip(targets, boxes, points, strict=True):
        for i, name in enumerate(labels):
            own = [box for box in image_boxes if box.label == name]
            if own and row[i] == PRESENT:
                hit = any(contains(box, *image_points[i]) for box in own)
                tries[name].append((hit, union_area(own)))
    all_tries = [one for label_tries in tries.values() for one in label_tries]
    return _game(all_tries, {name: _game(each, {}) for name, each in tries.items()})


def _game(tries: Sequence[tuple[bool, float]], per_label: dict[str, PointingGame]) -> PointingGame:
    hits = sum(hit for hit, _ in tries)
    chance = float(np.mean([area for _, area in tries])) if tries else float("nan")
    return PointingGame(hits, len(tries) - hits, chance, per_label)


def _has_target(record: Record, labels: LabelSpace) -> bool:
    present = labels.decode(record.targets)
    return any(box.label in present for box in record.boxes)


def _batches(images: Places) -> Iterator[list[Place]]:
    for start in range(0, len(images), _BATCH):
        yield [images[i] for i in range(len(images))[start : start + _BATCH]]


def _peaks_by_method(
    predictor: Predictor, images: Sequence[Place]
) -> dict[str, NDArray[np.float64]]:
    engine = predictor.engine
    size = (predictor.spec.height, predictor.spec.width)
    pixels = np.stack([prepared(image, engine.prepare, size=size) for image in images])
    found = engine.run(pixels, evidence=_cheap(engine)).evidence
    return {method: peaks(maps) for method, maps in found.items()}


def _cheap(engine: Engine) -> list[str]:
    """The methods that take no more than the model's forward pass."""
    return [method for method, kind in engine.evidence.items() if not kind.costly]
