"""Average precision: how well each label's scores rank the images that have it.

Definitions differ by up to a point of mAP on the same scores. `APRule` holds what they differ in,
the two commonest have functions of their own, and every report says which one it used (see
`profiles`).
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

_NAMED_IN_ERRORS = 3

_LABELS_AT_ONCE: Final = 64
"""Columns that are transposed together: enough to fill cache lines, little beside the table."""

_OneLabel = Callable[[Scores, NDArray[np.bool_]], float]
"""AP of one label from its known images: scores [n], and which have it; one at least does."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class APRule:
    """What definitions of average precision and of its mean differ in.

    Args:
        formula: The precision at a positive: as it is; the best one at it or at any later
            positive; or that best one read at recalls 0, 0.1 .. 1.
        ties: Images of equal score: taken together, or sorted in the order of the input or in the
            reverse of it.
        empty: A label without a positive in the mean: left out, an AP of 0, or no value, which
            leaves the mean without a value too.
        unknown: Unknown targets: left out of the label, or taken as absent.
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
        [C] in 0..1; for a label without a positive 0 if the rule says so, else NaN.

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
    ap = _each_label(_one_label(rule), scores, targets, leave_out=rule.unknown == "left out")
    return np.where(np.isnan(ap), 0.0, ap) if rule.empty == "zero" else ap


def mean_average_precision(rule: APRule, ap: NDArray[np.float64]) -> float:
    """MAP of the labels' AP [C] by the same rule; NaN where it is not defined."""
    if rule.empty == "skipped":
        return mean_of_defined(ap)
    return float(ap.mean()) if ap.size else float("nan")


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
    return average_precision_by(GROUPED, scores, targets)


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
    return average_precision_by(INTERPOLATED, scores, targets)


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


def check_scored(scores: ArrayLike, targets: ArrayLike) -> tuple[Scores, Targets]:
    """Scores, after the sigmoid, and targets: of one shape [N, C], the scores in 0..1.

    Raises:
        DataError: One cannot be used, they do not fit each other, or the scores are logits.
    """
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise DataError(
            f"Scores must lie in 0..1; given are {scores.min():.4g} to {scores.max():.4g}.",
            where="scores",
            fix="Give scores, after the sigmoid, not logits.",
        )
    return scores, targets


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


GROUPED: Final = APRule(
    formula="not interpolated", ties="grouped", empty="skipped", unknown="left out"
)
INTERPOLATED: Final = APRule(
    formula="interpolated", ties="in input order", empty="skipped", unknown="left out"
)


def _each_label(
    one_label: _OneLabel, scores: Scores, targets: Targets, *, leave_out: bool
) -> NDArray[np.float64]:
    """What `one_label` gives for each label, [C]; NaN without a positive."""
    num_labels = scores.shape[1]
    result = np.full(num_labels, np.nan)
    for start in range(0, num_labels, _LABELS_AT_ONCE):
        some = slice(start, start + _LABELS_AT_ONCE)
        # Transposed to [labels, N]: columns would be read across the rows otherwise.
        columns, truths = np.ascontiguousarray(scores[:, some].T), targets[:, some].T
        for label, (column, truth) in enumerate(zip(columns, truths, strict=True), start):
            present = truth == PRESENT
            if leave_out and not (known := truth != UNKNOWN).all():
                column, present = column[known], present[known]
            if present.any():
                result[label] = one_label(column, present)
    return result


def _one_label(rule: APRule) -> _OneLabel:
    if rule.ties == "grouped":
        return _grouped
    summary = _SUMMARIES[rule.formula]
    if rule.ties == "in input order":
        return lambda scores, present: summary(_precision_at_positives(scores, present))
    return lambda scores, present: summary(_precision_at_positives(scores[::-1], present[::-1]))


def _grouped(scores: Scores, present: NDArray[np.bool_]) -> float:
    """AP of one label; counting what scores at least as high needs a sort, but no argsort."""
    every, positive = np.sort(scores), np.sort(scores[present])
    predicted = len(every) - np.searchsorted(every, positive, side="left")
    right = len(positive) - np.searchsorted(positive, positive, side="left")
    return float((right / predicted).mean())


def _precision_at_positives(scores: Scores, present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Precision at each positive, best score first, equal scores in the order of the input."""
    ranks = np.flatnonzero(present[falling_order(scores)]) + 1
    return np.arange(1, len(ranks) + 1) / ranks


def _best_from_here(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum.accumulate(precision[::-1])[::-1]


def _mean(precision: NDArray[np.float64]) -> float:
    return float(precision.mean())


def _interpolated(precision: NDArray[np.float64]) -> float:
    """Recall rises only at positives, so only the envelope at them counts."""
    return float(_best_from_here(precision).mean())


def _eleven_point(precision: NDArray[np.float64]) -> float:
    """Read at recalls j / 10: from the first positive on at which 10 k >= j P, in whole numbers."""
    needed = -(-np.arange(11) * len(precision) // 10)
    return float(_best_from_here(precision)[np.maximum(needed, 1) - 1].mean())


_SUMMARIES: Final[dict[str, Callable[[NDArray[np.float64]], float]]] = {
    "not interpolated": _mean,
    "interpolated": _interpolated,
    "11-point": _eleven_point,
}


def falling_order(scores: Scores) -> NDArray[np.intp]:
    """Positions of scores [n] from the highest to the lowest, equal ones in their order.

    What `np.argsort(-scores, kind="stable")` gives, four times as fast for float32: its bits, as
    whole numbers that fall with the score, are sorted 16 at a time, which NumPy does by counting.
    """
    # Adding 0 turns -0.0 into 0.0, which has other bits but is equal.
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
