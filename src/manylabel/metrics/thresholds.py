"""Finds thresholds on a validation split that also work on new images.

The best threshold of a label is an estimate from its positives or its negatives, whichever are
fewer. With ten examples it is mostly chance. So the threshold of each label is shrunk towards the
common threshold, which is the best for all labels together. The fewer examples a label has, the
more it is shrunk. Cross-fitting chooses the strength of this shrinkage. A label without a positive,
or without a negative, has no best threshold and takes the common one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import ConfigError, DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN
from manylabel.metrics.decisions import decide_at_threshold
from manylabel.metrics.f1 import Decided
from manylabel.metrics.ranking import Scores, Targets, check_scores, check_scores_and_targets
from manylabel.metrics.threshold_rules import (
    Counts,
    DecisionCounts,
    Floats,
    Rule,
    best_thresholds,
    logit,
    mean_rule_value,
    sigmoid,
)

STRENGTHS: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, np.inf)
"""Strengths of shrinkage to choose from.

A strength is a number of examples. A label with as many examples (positives or negatives, whichever
are fewer) has a threshold halfway between its own and the common one. 0 gives the label's own
threshold, infinity the common one.
"""

_PAIRS_AT_ONCE: Final = 4_000_000
"""The number of pairs of image and label that are sorted at once. It limits the memory."""


@final
@dataclass(frozen=True, eq=False)
class Tuned:
    """Thresholds, and how well they are expected to work on new images.

    Args:
        rule: What the thresholds optimise.
        thresholds: [C], 0..1: each label's own threshold, shrunk towards the common one.
        naive: [C], 0..1: each label's own threshold; the common one if it has none.
        common: The best threshold for all pairs of image and label pooled, 0..1.
        support: [C], the number of positives or of negatives of each label, whichever are fewer.
        strength: The strength of the shrinkage; see `STRENGTHS`.
        decided: Boolean [N, C], out-of-fold decisions: the thresholds were found without the image.
        expected: The out-of-fold value of the rule, as a mean over labels, for `tuned`, `naive` and
            `common` thresholds. A label that misses the precision or recall of the rule counts as
            0. For costs, the value is minus the mean cost of a known target, so that higher is
            better.
    """

    rule: Rule
    thresholds: Floats
    naive: Floats
    common: float
    support: Counts
    strength: float
    decided: Decided
    expected: Mapping[str, float]


def tune_thresholds(
    scores: ArrayLike,
    targets: ArrayLike,
    rule: Rule | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    strength: float | None = None,
) -> Tuned:
    """The threshold of each label, shrunk towards the common one; cross-fitting chooses how much.

    Args:
        scores: [N, C], after the sigmoid, 0..1, of images that the model was not trained on.
        targets: [N, C] of 1, 0 and -1; unknown ones are ignored.
        rule: What to optimise; F1 if not given.
        folds: The number of folds of the cross-fitting, at least 2.
        seed: The random seed that assigns images to folds.
        strength: The strength of the shrinkage; see `STRENGTHS`. If not given, it is chosen by the
            out-of-fold value of the rule, over labels and over all pairs pooled.

    Raises:
        ConfigError: Folds or strength cannot be used.
        DataError: Scores or targets cannot be used, there are fewer images than folds, or the
            targets do not include both 1 and 0.
    """
    rule = rule or Rule()
    scores, targets = _checked(scores, targets, folds, strength)
    strengths = STRENGTHS if strength is None else (0.0, strength, np.inf)
    candidates = range(len(strengths)) if strength is None else [1]
    fold_of = np.random.default_rng(seed).permutation(len(scores)) % folds
    results = [
        _evaluate_fold(scores, targets, fold_of == fold, rule, strengths) for fold in range(folds)
    ]
    decided = np.zeros(scores.shape, dtype=np.bool_)
    tuned_counts = list[DecisionCounts]()
    for fold, result in enumerate(results):
        # The strength for a fold comes from the other folds, so that the fold is a fair test of it.
        others = [other for other in results if other is not result]
        chosen = _best_strength(rule, others, candidates)
        tuned_counts.append(result.counts[chosen])
        thresholds = result.thresholds[chosen].astype(scores.dtype)
        decided[fold_of == fold] = scores[fold_of == fold] >= thresholds
    chosen = _best_strength(rule, results, candidates)
    found = _fit(scores, targets, rule)
    return Tuned(
        rule=rule,
        thresholds=found.shrunk(strengths[chosen]),
        naive=found.naive,
        common=found.common,
        support=found.support,
        strength=strengths[chosen],
        decided=decided,
        expected={
            "tuned": mean_rule_value(rule, _sum(tuned_counts)),
            "naive": mean_rule_value(rule, _sum([result.counts[0] for result in results])),
            "common": mean_rule_value(rule, _sum([result.counts[-1] for result in results])),
        },
    )


def decide(
    scores: ArrayLike, thresholds: ArrayLike, *, at_least: int = 0, at_most: int | None = None
) -> Decided:
    """The labels that reach their thresholds, within limits on their number; boolean [N, C].

    If an image has too few or too many labels, the best ones are taken. The best label is the one
    whose logit is furthest above the logit of its threshold. If two are equal, the label with the
    lower index is taken.

    Args:
        scores: [N, C], 0..1.
        thresholds: One for all labels, or [C].
        at_least: The smallest number of labels of each image. If there are fewer labels, it gets
            all.
        at_most: The largest number of labels of each image; None: any number.

    Raises:
        DataError: The scores cannot be used.
        ConfigError: Thresholds or limits cannot be used.

    Example:
        >>> decide([[0.4, 0.1], [0.9, 0.8]], 0.5, at_least=1, at_most=1).tolist()
        [[True, False], [True, False]]
    """
    check_limits(at_least, at_most)
    scores = check_scores(scores)
    decided = decide_at_threshold(scores, thresholds)
    if at_least == 0 and at_most is None:
        return decided
    margin = logit(scores) - logit(np.asarray(thresholds, dtype=scores.dtype))
    order = np.lexsort((-margin, ~decided), axis=1)  # decided labels come first, then the margin
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(scores.shape[1])[None], axis=1)
    return (decided | (rank < at_least)) & (
        rank < (scores.shape[1] if at_most is None else at_most)
    )


def check_limits(at_least: int, at_most: int | None) -> None:
    """Refuse limits that no number of labels can meet.

    Raises:
        ConfigError: One is negative, `at_most` is 0, or it is less than `at_least`.
    """
    if at_least < 0 or (at_most is not None and at_most < max(1, at_least)):
        raise ConfigError(
            f"An image cannot have at least {at_least} and at most {at_most} labels.",
            where="at_least, at_most",
            fix="Give an at_least of 0 or more, and an at_most of 1 or more that is not lower.",
        )


def _checked(
    scores: ArrayLike, targets: ArrayLike, folds: int, strength: float | None
) -> tuple[Scores, Targets]:
    if folds < 2 or (strength is not None and not strength >= 0):
        raise ConfigError(
            f"Cannot tune with {folds} folds and a strength of {strength}.",
            where="folds, strength",
            fix="Give 2 folds or more, and a strength of 0 or more.",
        )
    scores, targets = check_scores_and_targets(scores, targets)
    if len(scores) < folds:
        raise DataError(
            f"{len(scores)} images cannot be divided into {folds} folds.",
            where="scores and targets",
            fix="Tune on more images.",
        )
    if not ((targets == PRESENT).any() and (targets == ABSENT).any()):
        raise DataError(
            "There is nothing to tune: the targets do not include both 1 and 0.",
            where="targets",
            fix="Tune on images of which some have labels and some do not.",
        )
    return scores, targets


class _Fitted(NamedTuple):
    """Thresholds found on some images, before shrinkage; the fields are those of `Tuned`."""

    naive: Floats
    common: float
    support: Counts

    def shrunk(self, strength: float) -> Floats:
        """Each label's own threshold shrunk towards the common one, as logits; [C]."""
        if np.isinf(strength):
            return np.full_like(self.naive, self.common)
        own = self.support / np.maximum(self.support + strength, 1e-9)
        mixed = own * logit(self.naive) + (1 - own) * logit(np.array(self.common))
        # Conversion to a logit and back may change the last digit. Then the score from which the
        # threshold was taken would no longer reach it. So unmixed thresholds are not converted.
        return np.where(own == 1, self.naive, np.where(own == 0, self.common, sigmoid(mixed)))


class _FoldResult(NamedTuple):
    """For each strength: thresholds [C] from the other folds, and their counts on this fold."""

    thresholds: Sequence[Floats]
    counts: Sequence[DecisionCounts]


def _evaluate_fold(
    scores: Scores,
    targets: Targets,
    in_fold: NDArray[np.bool_],
    rule: Rule,
    strengths: Sequence[float],
) -> _FoldResult:
    found = _fit(scores[~in_fold], targets[~in_fold], rule)
    thresholds = [found.shrunk(strength) for strength in strengths]
    fold_scores, fold_targets = scores[in_fold], targets[in_fold]
    present, known = fold_targets == PRESENT, fold_targets != UNKNOWN
    counts = list[DecisionCounts]()
    for each in thresholds:
        decided = fold_scores >= each.astype(scores.dtype)
        right = (decided & present).sum(axis=0)
        wrong = (decided & known).sum(axis=0) - right
        counts.append(DecisionCounts(right, wrong, present.sum(axis=0), known.sum(axis=0)))
    return _FoldResult(thresholds, counts)


def _fit(scores: Scores, targets: Targets, rule: Rule) -> _Fitted:
    present, absent = (targets == PRESENT).sum(axis=0), (targets == ABSENT).sum(axis=0)
    support = np.minimum(present, absent)
    # A sample of the images is enough to find the common threshold of all labels.
    rows = slice(None, None, max(1, -(-scores.size // _PAIRS_AT_ONCE)))
    pooled = best_thresholds(scores[rows].reshape(-1, 1), targets[rows].reshape(-1, 1), rule)
    own = [best_thresholds(*block, rule) for block in _label_blocks(scores, targets)]
    naive = np.where(support > 0, np.concatenate(own), pooled[0])
    return _Fitted(naive, float(pooled[0]), support)


def _label_blocks(scores: Scores, targets: Targets) -> Iterator[tuple[Scores, Targets]]:
    step = max(1, _PAIRS_AT_ONCE // max(1, len(scores)))
    for start in range(0, scores.shape[1], step):
        yield scores[:, start : start + step], targets[:, start : start + step]


def _best_strength(rule: Rule, results: Sequence[_FoldResult], candidates: Sequence[int]) -> int:
    """The index of the best strength; the highest of equally good ones.

    A strength is judged by two values of the rule: the mean over labels, and the value of all pairs
    pooled. The first alone depends too much on the few examples of rare labels: strengths chosen by
    it gave lower values of both kinds on new images.
    """

    def quality(index: int) -> float:
        counts = _sum([result.counts[index] for result in results])
        pooled = DecisionCounts(*(count.sum(keepdims=True) for count in counts))
        values = np.array([mean_rule_value(rule, counts), mean_rule_value(rule, pooled)])
        return float(np.nan_to_num(values, nan=-np.inf).sum())

    return max(candidates, key=lambda index: (quality(index), index))


def _sum(counts: Sequence[DecisionCounts]) -> DecisionCounts:
    return DecisionCounts(*(np.sum(count, axis=0) for count in zip(*counts, strict=True)))
