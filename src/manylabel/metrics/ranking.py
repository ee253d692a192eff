"""Average precision: how well each label's scores rank the images that have it.

Two definitions, two functions. They differ by up to a point of mAP on the same scores, so every
report says which one it used (see `profiles`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN

Scores = NDArray[np.floating[Any]]
Targets = NDArray[np.int8]

_NAMED_IN_ERRORS = 3


def average_precision(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Average precision of each label, not interpolated, images of equal score taken together.

    The precision at a positive is that of all images which score at least as high, so the order
    of the images has no influence. Equal to scikit-learn's `average_precision_score`.

    Args:
        scores: [N, C], finite; only their order within a label matters.
        targets: [N, C] of 1, 0 and -1; an image unknown for a label is left out of that label.

    Returns:
        [C] in 0..1; NaN for a label without a positive.

    Raises:
        DataError: Scores or targets cannot be used.

    Example:
        >>> average_precision([[0.9], [0.5], [0.5], [0.1]], [[1], [1], [0], [0]]).round(4).tolist()
        [0.8333]
    """
    return _each_label(_grouped, scores, targets)


def average_precision_interpolated(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Average precision of each label, interpolated at all points, ties in the order of the input.

    The precision at a positive is the best one at it or at any later positive. With equal scores
    the result depends on the order of the images.

    Args:
        scores: [N, C], finite; only their order within a label matters.
        targets: [N, C] of 1, 0 and -1; an image unknown for a label is left out of that label.

    Returns:
        [C] in 0..1; NaN for a label without a positive.

    Raises:
        DataError: Scores or targets cannot be used.

    Source:
        The VOC 2012 measure, as SRN's published evaluation uses it (arXiv:1702.05891): a stable
        sort by descending score; WIDER-Attribute's unspecified targets are left out.

    Example:
        >>> average_precision_interpolated([[0.9], [0.5], [0.4]], [[0], [1], [1]]).round(4).tolist()
        [0.6667]
    """
    return _each_label(_interpolated, scores, targets)


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def check_scores(scores: ArrayLike, images: Sequence[str] | None = None) -> Scores:
    """`scores` as a float array [N, C] of finite numbers.

    Args:
        scores: [N, C].
        images: N names to call the images by in an error; their positions otherwise.

    Raises:
        DataError: The array is not numeric or not [N, C], or some scores are NaN or infinite.
    """
    array = _table(scores, "scores")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    _refuse(
        ~np.isfinite(array),
        array,
        images,
        what="scores are NaN or infinite",
        fix="Find out where the model diverged or half precision overflowed.",
    )
    return array


def check_targets(targets: ArrayLike, images: Sequence[str] | None = None) -> Targets:
    """`targets` as int8 [N, C].

    Args:
        targets: [N, C] of 1, 0 and -1.
        images: N names to call the images by in an error; their positions otherwise.

    Raises:
        DataError: The array is not numeric or not [N, C], or some targets are not 1, 0 or -1.
    """
    array = _table(targets, "targets")
    _refuse(
        (array != PRESENT) & (array != ABSENT) & (array != UNKNOWN),
        array,
        images,
        what="targets are none of 1, 0 and -1",
        fix="Write 1 for present, 0 for absent, -1 for unknown.",
    )
    return array.astype(np.int8, copy=False)


def check_same_shape(name: str, shape: tuple[int, ...], targets: Targets) -> None:
    """Refuse targets of another shape than the `name` ("scores") that they belong to.

    Raises:
        DataError: The shapes differ.
    """
    if shape != targets.shape:
        raise DataError(
            f"The {name} are {list(shape)}, the targets {list(targets.shape)}.",
            where=f"{name} and targets, [images, labels]",
            fix="Give both for the same images and labels.",
        )


def _each_label(
    formula: Callable[[Scores, NDArray[np.bool_]], float], scores: ArrayLike, targets: ArrayLike
) -> NDArray[np.float64]:
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    # One transposition to [C, N]: the labels' columns would be read across the rows otherwise.
    columns, truths = np.ascontiguousarray(scores.T), np.ascontiguousarray(targets.T)
    result = np.full(len(columns), np.nan)
    for label, (column, truth) in enumerate(zip(columns, truths, strict=True)):
        known = truth != UNKNOWN
        if not known.all():
            column, truth = column[known], truth[known]
        present = truth == PRESENT
        if present.any():
            result[label] = formula(column, present)
    return result


def _grouped(scores: Scores, present: NDArray[np.bool_]) -> float:
    """AP of one label; counting what scores at least as high needs a sort, but no argsort."""
    every, positive = np.sort(scores), np.sort(scores[present])
    predicted = len(every) - np.searchsorted(every, positive, side="left")
    right = len(positive) - np.searchsorted(positive, positive, side="left")
    return float((right / predicted).mean())


def _interpolated(scores: Scores, present: NDArray[np.bool_]) -> float:
    """AP of one label; recall rises only at positives, so only their ranks count."""
    by_score = np.argsort(-scores, kind="stable")
    ranks = np.flatnonzero(present[by_score]) + 1
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(np.maximum.accumulate(precision[::-1]).mean())


def _table(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(
            f"The {name} are not a table of numbers: shape {list(array.shape)}, "
            f"type {array.dtype}.",
            where=name,
            fix="Give one row an image and one column a label.",
        )
    return array


def _refuse(
    faulty: NDArray[np.bool_],
    values: NDArray[Any],
    images: Sequence[str] | None,
    *,
    what: str,
    fix: str,
) -> None:
    if not faulty.any():
        return
    first = [
        f"image {images[row] if images else row}, label {label}: {values[row, label]}"
        for row, label in np.argwhere(faulty)[:_NAMED_IN_ERRORS]
    ]
    raise DataError(
        f"{int(faulty.sum()):,} of {values.size:,} {what}.",
        where="; ".join(first) + " (counted from 0)",
        fix=fix,
    )
