"""The facts that a picture shows: an image, its labels with scores and maps, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manylabel.data.records import Box
from manylabel.evidence import MapKind
from manylabel.explain.explaining import Explanation
from manylabel.images import ImageSource, Memory, prepared
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.predict import Predictor
from manylabel.text import counted

LARGEST: Final = 2240
"""The longest side of an image in pixels that the largest pictures need."""

_WORDS: Final = {
    (True, True): "found",
    (True, False): "missed",
    (False, True): "wrongly predicted",
    (False, False): "rightly not predicted",
}
"""What is said of a label that is (present, predicted)."""


@final
@dataclass(frozen=True, slots=True)
class Truth:
    """What a data set says about one image.

    Args:
        targets: int8 [C]: 1 present, 0 absent, -1 unknown, for the model's labels.
        boxes: The objects of the image that are to be drawn; may be empty.
    """

    targets: NDArray[np.int8]
    boxes: tuple[Box, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShown:
    """One label of one image.

    Args:
        name: Its name.
        score: Its score, 0..1.
        threshold: Its threshold, 0..1.
        predicted: Whether it is predicted.
        right: Whether that is right; None: the truth is not known.
        said: The same in words: found, missed, ...
        boxes: Its objects in the image.
    """

    name: str
    score: float
    threshold: float
    predicted: bool
    right: bool | None
    said: str
    boxes: tuple[Box, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShown:
    """One image with the labels that are shown for it.

    Args:
        name: The name of its file.
        image: RGB. It may be smaller than the file's.
        size: Width and height of the image in the file, in pixels.
        labels: K labels.
        strengths: [K, H, W], 0..1, the map of each label over the whole image.
        predicted: The number of labels that the model predicts, whether they are shown or not.
        present: The names of the labels that are present; None: the truth is not known.
        boxes: The objects that are drawn, of all labels.
    """

    name: str
    image: Image.Image
    size: tuple[int, int]
    labels: tuple[LabelShown, ...]
    strengths: NDArray[np.floating[Any]]
    predicted: int
    present: tuple[str, ...] | None = None
    boxes: tuple[Box, ...] = ()

    @property
    def summary(self) -> str:
        """How many labels are predicted, and which ones the truth has."""
        return f"{self.predicted_in_words}{self.truth_in_words}"

    @property
    def predicted_in_words(self) -> str:
        """How many labels are predicted. If there is none, which ones are shown instead."""
        if self.predicted:
            are = "is" if self.predicted == 1 else "are"
            return f"{counted(self.predicted, 'label')} {are} predicted."
        return "No label is predicted; the best are shown."

    @property
    def truth_in_words(self) -> str:
        """Which labels are present by the data set, after a space; empty if that is not known."""
        if self.present is None:
            return ""
        return f" In the data: {', '.join(self.present) or 'no label'}."


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What holds for all maps of a picture.

    Args:
        method: The method of the maps.
        kind: What their numbers mean.
        grid: Their height and width in cells.
        limited: Whether the number of labels of an image has a limit besides the thresholds.
        notes: What else is said below the picture, one sentence each.
    """

    method: str
    kind: MapKind
    grid: tuple[int, int]
    limited: bool = False
    notes: tuple[str, ...] = field(default=())


class Opened(NamedTuple):
    """An image that was opened to be shown.

    `name` is the name to show, `image` has RGB pixels, and `size` is the width and height of the
    image in its file, in pixels.
    """

    name: str
    image: Image.Image
    size: tuple[int, int]


def open_shown(
    place: ImageSource, name: str, *, largest: int = LARGEST, memory: Memory | None = None
) -> Opened:
    """Opens an image to be shown.

    Args:
        place: Where it is.
        name: The name to show.
        largest: The longest side that is kept, in pixels; a larger image is shrunk.
        memory: The memory for decoding; None: no limit besides those of each image.

    Raises:
        ImageError: The image cannot be used.
    """

    def shrink(pixels: NDArray[np.uint8]) -> Opened:
        image = Image.fromarray(pixels)
        scale = min(1, largest / max(image.size))
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
        return Opened(name, small, image.size)

    return prepared(place, shrink, memory=memory)


def image_shown(
    predictor: Predictor,
    opened: Opened,
    found: Explanation,
    columns: Sequence[int],
    truth: Truth | None = None,
) -> ImageShown:
    """The facts of one image.

    Args:
        predictor: The model that explained it.
        opened: The image and its name.
        found: Scores, labels and maps of the image.
        columns: The columns of the K labels to show, in their order in the picture.
        truth: What a data set says about the image; None: nothing.
    """
    names = predictor.labels
    rows = [found.columns.index(column) for column in columns]
    return ImageShown(
        name=opened.name,
        image=opened.image,
        size=opened.size,
        labels=tuple(_label(predictor, found, column, truth) for column in columns),
        strengths=found.scaled[rows],
        predicted=int(found.decided.sum()),
        present=None if truth is None else tuple(names.decode(truth.targets)),
        boxes=() if truth is None else truth.boxes,
    )


def about(predictor: Predictor, found: Explanation, *notes: str) -> About:
    """What holds for all maps of a model's picture."""
    height, width = found.maps.shape[-2:]
    limited = predictor.decision.limited
    return About(
        method=found.method, kind=found.kind, grid=(height, width), limited=limited, notes=notes
    )


def choose_labels(
    scores: NDArray[Any],
    decided: NDArray[np.bool_],
    present: NDArray[np.bool_] | None = None,
    *,
    least: int = 3,
    most: int = 11,
) -> list[int]:
    """The labels to show, by falling score: the predicted ones, and the best of the others.

    Args:
        scores: [C], 0..1.
        decided: Boolean [C], which labels are predicted.
        present: Boolean [C], which labels are present; they are shown, too, after the predicted
            ones. None: that is not known.
        least: The smallest number of labels to show, even if fewer are predicted.
        most: The largest number of labels to show; 11 and the image fill three rows of four.
    """
    missed = np.zeros_like(decided) if present is None else present & ~decided
    wanted = int((decided | missed).sum())
    ranked = np.lexsort((-scores, ~missed, ~decided))[: np.clip(wanted, least, most)]
    return sorted(ranked.tolist(), key=lambda column: (-scores[column], column))


def best_labels(scores: NDArray[Any], number: int) -> list[int]:
    """The labels with the highest scores, by falling score."""
    return (-scores).argsort(kind="stable")[:number].tolist()


def _label(
    predictor: Predictor, found: Explanation, column: int, truth: Truth | None
) -> LabelShown:
    name, predicted = predictor.labels[column], bool(found.decided[column])
    target = UNKNOWN if truth is None else int(truth.targets[column])
    said = "predicted" if predicted else "not predicted"
    right = None
    if target != UNKNOWN:
        right = predicted == (target == PRESENT)
        said = _WORDS[target == PRESENT, predicted]
    elif truth is not None:
        said = f"{said}, truth unknown"
    return LabelShown(
        name=name,
        score=float(found.scores[column]),
        threshold=predictor.decision.thresholds[column],
        predicted=predicted,
        right=right,
        said=said,
        boxes=() if truth is None else tuple(box for box in truth.boxes if box.label == name),
    )
