"""Thresholds that are found on a validation split, so that what is gained there is kept elsewhere.

A label's own best threshold is a guess from its rarer side: from ten positives it is mostly luck.
So each label's is drawn towards the one that is best for all labels together, the more the less
there is to go by; how strongly, cross-fitting decides. A label that only one side is known of has
no best threshold and takes the common one.
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
from manylabel.metrics.ranking import Scores, Targets, check_scored, check_scores
from manylabel.metrics.threshold_rules import (
    Counts,
    Floats,
    Rule,
    Tally,
    best_thresholds,
    figure_of,
    logit,
    sigmoid,
)

STRENGTHS: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, np.inf)
"""How many examples of its rarer side a label needs to be heard as much as the common threshold.

0 is the label's own threshold, infinity the common one.
"""

_PAIRS_AT_ONCE: Final = 4_000_000
"""Pairs of image and label that are sorted together, which bounds the memory."""


@final
@dataclass(frozen=True, eq=False)
class Tuned:
    """Thresholds, and what to expect of them.

    Args:
        rule: What they are the best for.
        thresholds: [C], 0..1: each label's own, drawn towards the common one.
        naive: [C], 0..1: each label's own; the common one where it has none.
        common: The best for all pairs of image and label pooled, 0..1.
        support: [C], known examples of each label's rarer side.
        strength: How strongly they are drawn; see `STRENGTHS`.
        decided: Boolean [N, C]: out of fold, by thresholds that the image had no part in.
        expected: The rule's figure out of fold, a mean over labels, of `tuned`, `naive` and
            `common` thresholds. A label that misses the precision or recall it was to keep counts
            0; of a cost it is minus the mean for a known target, so that more is better.
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
    """A threshold for each label, drawn towards the common one as far as cross-fitting says.

    Args:
        scores: [N, C], after the sigmoid, 0..1, of images that the model was not trained on.
        targets: [N, C] of 1, 0 and -1; unknown ones count nowhere.
        rule: What to seek; F1 if not given.
        folds: Parts that take turns to be held out, at least 2.
        seed: Of the folds.
        strength: See `STRENGTHS`; chosen by the rule's figure out of fold, of labels
            and of all pairs pooled, if not given.

    Raises:
        ConfigError: Folds or strength cannot be used.
        DataError: Scores or targets cannot be used, there are fewer images than folds, or only
            one side is known of all labels.
    """
    rule = rule or Rule()
    scores, targets = _checked(scores, targets, folds, strength)
    strengths = STRENGTHS if strength is None else (0.0, strength, np.inf)
    open_to = range(len(strengths)) if strength is None else [1]
    parts = np.random.default_rng(seed).permutation(len(scores)) % folds
    held = [_held_out(scores, targets, parts == part, rule, strengths) for part in range(folds)]
    decided = np.zeros(scores.shape, dtype=np.bool_)
    nested = list[Tally]()
    for part, own in enumerate(held):
        # The fold's strength comes from the others: it has no part in what it is judged by.
        others = [other for other in held if other is not own]
        chosen = _best_strength(rule, others, open_to)
        nested.append(own.tallies[chosen])
        decided[parts == part] = scores[parts == part] >= own.thresholds[chosen].astype(
            scores.dtype
        )
    chosen = _best_strength(rule, held, open_to)
    found = _fit(scores, targets, rule)
    return Tuned(
        rule=rule,
        thresholds=found.drawn(strengths[chosen]),
        naive=found.naive,
        common=found.common,
        support=found.support,
        strength=strengths[chosen],
        decided=decided,
        expected={
            "tuned": figure_of(rule, _sum(nested)),
            "naive": figure_of(rule, _sum([part.tallies[0] for part in held])),
            "common": figure_of(rule, _sum([part.tallies[-1] for part in held])),
        },
    )


def decide(
    scores: ArrayLike, thresholds: ArrayLike, *, at_least: int = 0, at_most: int | None = None
) -> Decided:
    """Boolean [N, C]: labels that reach their thresholds, but at least and at most so many.

    Of an image with too few or too many the best labels are taken: by how far the logit lies over
    the threshold's; of equals the one with the lower index.

    Args:
        scores: [N, C], 0..1.
        thresholds: One for all labels, or [C].
        at_least: How many labels each image gets at least; all, where there are fewer.
        at_most: How many at most; None: any number.

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
    order = np.lexsort((-margin, ~decided), axis=1)  # those decided for come first, whatever else
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(scores.shape[1])[None], axis=1)
    return (decided | (rank < at_least)) & (
        rank < (scores.shape[1] if at_most is None else at_most)
    )


def check_limits(at_least: int, at_most: int | None) -> None:
    """Refuse numbers of labels that no image can have.

    Raises:
        ConfigError: One is negative, `at_most` is 0, or it is less than `at_least`.
    """
    if at_least < 0 or (at_most is not None and at_most < max(1, at_least)):
        raise ConfigError(
            f"An image cannot have at least {at_least} and at most {at_most} labels.",
            where="at_least, at_most",
            fix="Give at_least of 0 or more, and at_most of 1 or more that is no less.",
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
    scores, targets = check_scored(scores, targets)
    if len(scores) < folds:
        raise DataError(
            f"{len(scores)} images cannot be parted into {folds} folds.",
            where="scores and targets",
            fix="Tune on more images.",
        )
    if not ((targets == PRESENT).any() and (targets == ABSENT).any()):
        raise DataError(
            "There is no label to tune: all known targets are alike.",
            where="targets",
            fix="Tune on images of which some have labels and some do not.",
        )
    return scores, targets


class _Fitted(NamedTuple):
    """Thresholds found on some images."""

    naive: Floats
    common: float
    support: Counts

    def drawn(self, strength: float) -> Floats:
        """[C]: each label's own and the common one, mixed as logits."""
        if np.isinf(strength):
            return np.full_like(self.naive, self.common)
        own = self.support / np.maximum(self.support + strength, 1e-9)
        mixed = own * logit(self.naive) + (1 - own) * logit(np.array(self.common))
        # A detour by logits may move a threshold by a digit, off the score that it was to reach.
        return np.where(own == 1, self.naive, np.where(own == 0, self.common, sigmoid(mixed)))


class _HeldOut(NamedTuple):
    """A fold, seen with thresholds of the others: these [C] and what they came to, by strength."""

    thresholds: Sequence[Floats]
    tallies: Sequence[Tally]


def _held_out(
    scores: Scores, targets: Targets, out: NDArray[np.bool_], rule: Rule, strengths: Sequence[float]
) -> _HeldOut:
    found = _fit(scores[~out], targets[~out], rule)
    thresholds = [found.drawn(strength) for strength in strengths]
    own_scores, own_targets = scores[out], targets[out]
    present, known = own_targets == PRESENT, own_targets != UNKNOWN
    tallies = list[Tally]()
    for each in thresholds:
        decided = own_scores >= each.astype(scores.dtype)
        right = (decided & present).sum(axis=0)
        wrong = (decided & known).sum(axis=0) - right
        tallies.append(Tally(right, wrong, present.sum(axis=0), known.sum(axis=0)))
    return _HeldOut(thresholds, tallies)


def _fit(scores: Scores, targets: Targets, rule: Rule) -> _Fitted:
    present, absent = (targets == PRESENT).sum(axis=0), (targets == ABSENT).sum(axis=0)
    support = np.minimum(present, absent)
    # Some of the images tell what all labels have in common as well as all of them do.
    rows = slice(None, None, max(1, -(-scores.size // _PAIRS_AT_ONCE)))
    pooled = best_thresholds(scores[rows].reshape(-1, 1), targets[rows].reshape(-1, 1), rule)
    own = [best_thresholds(*some, rule) for some in _some_labels(scores, targets)]
    naive = np.where(support > 0, np.concatenate(own), pooled[0])
    return _Fitted(naive, float(pooled[0]), support)


def _some_labels(scores: Scores, targets: Targets) -> Iterator[tuple[Scores, Targets]]:
    step = max(1, _PAIRS_AT_ONCE // max(1, len(scores)))
    for start in range(0, scores.shape[1], step):
        yield scores[:, start : start + step], targets[:, start : start + step]


def _best_strength(rule: Rule, held: Sequence[_HeldOut], open_to: Sequence[int]) -> int:
    """The index of the strength with the best figures; of equally good ones the strongest.

    The mean of two: over labels, and of all pairs pooled. The first alone hangs on the few pairs
    of rare labels: chosen by it, strengths did worse on new images by both.
    """

    def merit(index: int) -> float:
        tally = _sum([part.tallies[index] for part in held])
        pooled = Tally(*(counts.sum(keepdims=True) for counts in tally))
        figures = np.array([figure_of(rule, tally), figure_of(rule, pooled)])
        return float(np.nan_to_num(figures, nan=-np.inf).sum())

    return max(open_to, key=lambda index: (merit(index), index))


def _sum(tallies: Sequence[Tally]) -> Tally:
    return Tally(*(np.sum(counts, axis=0) for counts in zip(*tallies, strict=True)))
