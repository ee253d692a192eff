"""Average precision: how well each label's scores rank the images that have it.

Different definitions give values of mAP that differ by up to a point on the same scores. `APRule`
holds the choices in which they differ. The two most common definitions have functions of their
own. Every report says which definition it used (see `profiles`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN

Scores = NDArray[np.floating[Any]]
Targets = NDArray[np.int8]

_MAX_EXAMPLES: Final = 3
"""The most wrong entries that an error names."""

_LABELS_AT_ONCE: Final = 64
"""Columns that are transposed together: enough to fill cache lines, but far less than the table."""

_LabelAP = Callable[[Scores, NDArray[np.bool_]], float]
"""AP of one label from its scores [n] and presence [n] in the known images; some are present."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class APRule:
    """The choices in which definitions of average precision and its mean differ.

    Args:
        formula: Which precision is averaged. "not interpolated": the precision at each positive.
            "interpolated": the best precision at that positive or any later one. "11-point": the
            interpolated precision at recalls 0, 0.1 .. 1.
        ties: How images with equal scores are handled. "grouped": they are taken together. "in
            input order" and "in reversed order": they are ranked in that order.
        empty: How a label without a positive counts in the mean. "skipped": it is left out.
            "zero": its AP is 0. "undefined": neither it nor the mean has a value.
        unknown: Whether unknown targets are left out of the label or count as absent.
    """

    formula: Literal["not interpolated", "interpolated", "11-point"]
    ties: Literal["grouped", "in input order", "in reversed order"]
    empty: Literal["skipped", "zero", "undefined"]
    unknown: Literal["left out", "absent"]

    def __post_init__(self) -> None:
        assert self.ties != "grouped" or self.formula == "not interpolated", self


def average_precision_by(
    rule: APRule, scores: ArrayLike, targets: ArrayLike
) -> NDArray[np.float64]:
    """Average precision of each label by a rule.

    Args:
        rule: The definition.
        scores: [N, C], finite; only their order within a label matters.
        targets: [N, C] of 1, 0 and -1.

    Returns:
        [C] in 0..1. A label without a positive has 0 if the rule says so, else NaN.

    Raises:
        DataError: Scores or targets cannot be used.

    Example:
        >>> rule = APRule(
        ...     formula="11-point", ties="in input order", empty="zero", unknown="left out"
        ... )
        >>> average_precision_by(rule, [[0.9], [0.5], [0.4]], [[1], [0], [1]]).round(4).tolist()
        [0.8485]
    """
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    leave_out = rule.unknown == "left out"
    ap = _compute_labels(_label_ap_function(rule), scores, targets, leave_out=leave_out)
    return np.where(np.isnan(ap), 0.0, ap) if rule.empty == "zero" else ap


def mean_average_precision(rule: APRule, ap: NDArray[np.float64]) -> float:
    """The mAP from the labels' AP [C] by the same rule; NaN where it is not defined."""
    if rule.empty == "skipped":
        return mean_of_defined(ap)
    return float(ap.mean()) if ap.size else float("nan")


def average_precision(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Average precision of each label, not interpolated, tied scores grouped.

    The precision at a positive is the precision of all images that score at least as high. So the
    order of the images has no influence. Equal to scikit-learn's `average_precision_score`.

    Args:
        scores: [N, C], finite; only their order within a label matters.
        targets: [N, C] of 1, 0 and -1; an unknown image is left out of that label.

    Returns:
        [C] in 0..1; NaN for a label without a positive.

    Raises:
        DataError: Scores or targets cannot be used.

    Example:
        >>> average_precision([[0.9], [0.5], [0.5], [0.1]], [[1], [1], [0], [0]]).round(4).tolist()
        [0.8333]
    """
    return average_precision_by(GROUPED, scores, targets)


def average_precision_interpolated(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Average precision of each label, interpolated at all points, ties in the order of the input.

    The precision at a positive is the best one at it or at any later positive. With equal scores
    the result depends on the order of the images.

    Args:
        scores: [N, C], finite; only their order within a label matters.
        targets: [N, C] of 1, 0 and -1; an unknown image is left out of that label.

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
    return average_precision_by(INTERPOLATED, scores, targets)


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def check_scores(scores: ArrayLike, images: Sequence[str] | None = None) -> Scores:
    """`scores` as a float array [N, C] of finite numbers.

    Args:
        scores: [N, C].
        images: N names of the images for error messages. If not given, errors use positions.

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


def check_scores_and_targets(scores: ArrayLike, targets: ArrayLike) -> tuple[Scores, Targets]:
    """Scores (after the sigmoid, 0..1) and targets of the same shape [N, C].

    Raises:
        DataError: One of them cannot be used, their shapes differ, or the scores are logits.
    """
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise DataError(
            f"Scores must be in 0..1, but they are {scores.min():.4g} to {scores.max():.4g}.",
            where="scores",
            fix="Give scores (after the sigmoid), not logits.",
        )
    return scores, targets


def check_targets(targets: ArrayLike, images: Sequence[str] | None = None) -> Targets:
    """`targets` as int8 [N, C].

    Args:
        targets: [N, C] of 1, 0 and -1.
        images: N names of the images for error messages. If not given, errors use positions.

    Raises:
        DataError: The array is not numeric or not [N, C], or some targets are not 1, 0 or -1.
    """
    array = _table(targets, "targets")
    _refuse(
        (array != PRESENT) & (array != ABSENT) & (array != UNKNOWN),
        array,
        images,
        what="targets are not 1, 0 or -1",
        fix="Write 1 for present, 0 for absent, -1 for unknown.",
    )
    return array.astype(np.int8, copy=False)


def check_same_shape(name: str, shape: tuple[int, ...], targets: Targets) -> None:
    """Refuse targets whose shape differs from that of another array.

    Args:
        name: What the other array is called in the error ("scores").
        shape: The shape of the other array.
        targets: [N, C].

    Raises:
        DataError: The shapes differ.
    """
    if shape != targets.shape:
        raise DataError(
            f"The {name} have the shape {list(shape)}, the targets {list(targets.shape)}.",
            where=f"{name} and targets, [images, labels]",
            fix="Give both for the same images and labels.",
        )


GROUPED: Final = APRule(
    formula="not interpolated", ties="grouped", empty="skipped", unknown="left out"
)
INTERPOLATED: Final = APRule(
    formula="interpolated", ties="in input order", empty="skipped", unknown="left out"
)


def _compute_labels(
    label_ap: _LabelAP, scores: Scores, targets: Targets, *, leave_out: bool
) -> NDArray[np.float64]:
    """The AP of each label by `label_ap`, [C]; NaN without a positive."""
    num_labels = scores.shape[1]
    result = np.full(num_labels, np.nan)
    for start in range(0, num_labels, _LABELS_AT_ONCE):
        some = slice(start, start + _LABELS_AT_ONCE)
        # Transposed to [labels, N]: reading a column of a row-major table is slow.
        columns, truths = np.ascontiguousarray(scores[:, some].T), targets[:, some].T
        for label, (column, truth) in enumerate(zip(columns, truths, strict=True), start):
            present = truth == PRESENT
            if leave_out and not (known := truth != UNKNOWN).all():
                column, present = column[known], present[known]
            if present.any():
                result[label] = label_ap(column, present)
    return result


def _label_ap_function(rule: APRule) -> _LabelAP:
    if rule.ties == "grouped":
        return _grouped
    summary = _SUMMARIES[rule.formula]
    if rule.ties == "in input order":
        return lambda scores, present: summary(_precision_at_positives(scores, present))
    return lambda scores, present: summary(_precision_at_positives(scores[::-1], present[::-1]))


def _grouped(scores: Scores, present: NDArray[np.bool_]) -> float:
    """AP of one label, ties grouped. Counting scores that are at least as high needs no argsort."""
    all_scores, positive = np.sort(scores), np.sort(scores[present])
    predicted = len(all_scores) - np.searchsorted(all_scores, positive, side="left")
    right = len(positive) - np.searchsorted(positive, positive, side="left")
    return float((right / predicted).mean())


def _precision_at_positives(scores: Scores, present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Precision at each positive, from the best score on; equal scores are in input order."""
    ranks = np.flatnonzero(present[falling_order(scores)]) + 1
    return np.arange(1, len(ranks) + 1) / ranks


def _best_at_or_after(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum.accumulate(precision[::-1])[::-1]


def _mean(precision: NDArray[np.float64]) -> float:
    return float(precision.mean())


def _interpolated(precision: NDArray[np.float64]) -> float:
    """Recall rises only at positives, so the interpolated precision is needed only there."""
    return float(_best_at_or_after(precision).mean())


def _eleven_point(precision: NDArray[np.float64]) -> float:
    """The interpolated precision at the recalls j / 10, averaged.

    With P positives, recall j / 10 is reached at the first positive k with 10 k >= j P. This is
    computed in integers.
    """
    needed = -(-np.arange(11) * len(precision) // 10)
    return float(_best_at_or_after(precision)[np.maximum(needed, 1) - 1].mean())


_SUMMARIES: Final[dict[str, Callable[[NDArray[np.float64]], float]]] = {
    "not interpolated": _mean,
    "interpolated": _interpolated,
    "11-point": _eleven_point,
}


def falling_order(scores: Scores) -> NDArray[np.intp]:
    """Positions of scores [n] from the highest to the lowest, equal scores in input order.

    The result is that of `np.argsort(-scores, kind="stable")`, but four times as fast for float32.
    The bits of a score are read as an integer that falls when the score rises. These integers are
    sorted by 16 bits at a time, which NumPy does with a radix sort.
    """
    # Adding 0 turns -0.0 into 0.0: the two are equal but have different bits.
    bits = (scores + scores.dtype.type(0)).view(np.uint32 if scores.itemsize == 4 else np.uint64)
    sign = bits.dtype.type(1 << (8 * scores.itemsize - 1))
    keys = np.where(bits & sign, bits, ~bits ^ sign)
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    for shift in range(16, 8 * scores.itemsize, 16):
        digits = (keys >> bits.dtype.type(shift)).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


def _table(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(
            f"The {name} are not a table of numbers: shape {list(array.shape)}, "
            f"type {array.dtype}.",
            where=name,
            fix="Give one row for each image and one column for each label.",
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
        for row, label in np.argwhere(faulty)[:_MAX_EXAMPLES]
    ]
    raise DataError(
        f"{int(faulty.sum()):,} of {values.size:,} {what}.",
        where="; ".join(first) + " (counted from 0)",
        fix=fix,
    )
