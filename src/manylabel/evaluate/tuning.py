"""Tuning a bundle's decisions on a split: thresholds, calibration, and what to expect of them.

The figures are cross-fitted: whatever decides on an image was found without it. They are an
estimate for new images, not the figures of the split that was tuned on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, final

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from manylabel.bundle.folder import with_decision
from manylabel.config import Config
from manylabel.data.records import Records
from manylabel.decide import Decision
from manylabel.errors import DataError
from manylabel.evaluate.run import Evaluation, evaluate, trained_part
from manylabel.metrics.calibration import Calibration, Kind, fit_calibration
from manylabel.metrics.decisions import precision_recall_f1
from manylabel.metrics.f1 import Decided, Decisions
from manylabel.metrics.ranking import Scores, Targets, mean_of_defined
from manylabel.metrics.reliability import brier, class_wise_ece
from manylabel.metrics.threshold_rules import Rule
from manylabel.metrics.thresholds import Tuned, tune_thresholds
from manylabel.predict import Predictor

FOLDS: Final = 5

Row = Literal["as it was", "one for all", "tuned"]


class TuningPlan(Config):
    """What is sought."""

    rule: Rule = Field(default_factory=Rule)
    """What thresholds are the best for."""
    calibrate: Kind | None = None
    """How scores are calibrated; None: not at all."""
    at_least: Annotated[int, Field(ge=0)] = 0
    """How many labels each image is given at least."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """How many at most; None: any number."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the folds."""

    def decision(self, thresholds: ArrayLike, calibration: Calibration | None) -> Decision:
        """The decision that has these thresholds [C] and this calibration, within the limits."""
        return Decision(
            calibration=calibration,
            thresholds=tuple(np.asarray(thresholds, dtype=np.float64).tolist()),
            at_least=self.at_least,
            at_most=self.at_most,
        )


@final
@dataclass(frozen=True, eq=False)
class Tuning:
    """What was found.

    Args:
        plan: What was sought.
        tuned: The thresholds, of calibrated scores if there is a calibration.
        calibration: Of the scores.
        figures: Of the decisions as they were, and out of fold of one tuned threshold for all and
            of the tuned ones.
        ece: Class-wise ECE, a mean over labels, 0..1, as it was and out of fold as it is now.
        brier: The Brier score, likewise.
        evaluation: The model on the split without any calibration.
    """

    plan: TuningPlan
    tuned: Tuned
    calibration: Calibration | None
    figures: Mapping[Row, Decisions]
    ece: tuple[float, float]
    brier: tuple[float, float]
    evaluation: Evaluation

    @property
    def decision(self) -> Decision:
        """What the tuned bundle decides by."""
        return self.plan.decision(self.tuned.thresholds, self.calibration)

    def provenance(self) -> dict[str, Any]:
        """What a bundle keeps of it, ready for JSON."""
        found = self.evaluation
        return {
            "plan": self.plan.model_dump(mode="json", exclude_none=True),
            "sought": self.plan.rule.words,
            "data_sha256": found.data_fingerprint,
            "images": len(found.keys),
            "strength": "common" if np.isinf(self.tuned.strength) else self.tuned.strength,
            "out_of_fold": {row: figures.as_dict() for row, figures in self.figures.items()},
            "versions": found.receipt.versions,
        }

    def save(self, folder: Path, out: Path) -> Path:
        """Save the bundle in `folder` as `out`, with this decision; see `with_decision`."""
        return with_decision(folder, out, self.decision, tuned=self.provenance())


def tune(
    predictor: Predictor,
    records: Records,
    plan: TuningPlan,
    *,
    skip_bad: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Tuning:
    """The thresholds, and the calibration if one is asked for, that fit all of `records`.

    Args:
        predictor: The model; a calibration that it has is left out.
        records: Images that it was not trained on, with the model's labels in any order.
        plan: What is sought.
        skip_bad: Leave out images that cannot be used.
        on_progress: Called with the number of images done, after each.

    Raises:
        ConfigError: The limits of the plan cannot be kept.
        DataError: Images or labels cannot be used, or there is too little to go by.
        RunError: There is no room for the scores.
    """
    found = evaluate(
        predictor.deciding(predictor.decision.uncalibrated()),
        records,
        skip_bad=skip_bad,
        on_progress=on_progress,
    )
    scores, targets = found.scores, found.targets
    before = predictor.decision.calibrated(scores)
    out_of_fold = _cross_fitted(scores, targets, plan)
    calibration = _calibration(scores, targets, plan)
    now = scores if calibration is None else calibration.apply(scores)
    decided: dict[Row, Decided] = {
        "as it was": predictor.decision.decide(before),
        "one for all": out_of_fold.common,
        "tuned": out_of_fold.tuned,
    }
    return Tuning(
        plan=plan,
        tuned=tune_thresholds(now, targets, plan.rule, seed=plan.seed),
        calibration=calibration,
        figures={row: precision_recall_f1(each, targets) for row, each in decided.items()},
        ece=_means(class_wise_ece, before, out_of_fold.scores, targets),
        brier=_means(brier, before, out_of_fold.scores, targets),
        evaluation=found,
    )


def refuse_trained(records: Records, taken: Records, trained_on: str | None) -> None:
    """Refuse to tune on what the model was trained on: it is surer there than anywhere else.

    Args:
        records: The data set.
        taken: The part of it to tune on.
        trained_on: Fingerprint of the images that the model was trained on; None: not known.

    Raises:
        DataError: The images are those, or these are among them.
    """
    if trained_on is None:
        return
    same = taken.fingerprint() == trained_on
    if same or (len(taken) == len(records) and trained_part(records) == trained_on):
        raise DataError(
            "The model was trained on these images: its thresholds would suit nothing else.",
            where=records.source,
            fix="Take --split val; or --split train, if that is what you want.",
        )


@dataclass(frozen=True, eq=False)
class _OutOfFold:
    """Scores [N, C] and decisions [N, C], each image's found without it."""

    scores: Scores
    tuned: Decided
    common: Decided


def _cross_fitted(scores: Scores, targets: Targets, plan: TuningPlan) -> _OutOfFold:
    """The whole of tuning on each part of the images, and what comes of it on the rest."""
    parts = np.random.default_rng([plan.seed, 1]).permutation(len(scores)) % FOLDS
    given = np.array(scores)
    tuned, common = np.zeros(scores.shape, np.bool_), np.zeros(scores.shape, np.bool_)
    for part in range(FOLDS):
        out = parts == part
        fit, fit_targets = scores[~out], targets[~out]
        calibration = _calibration(fit, fit_targets, plan)
        if calibration is not None:
            fit, given[out] = calibration.apply(fit), calibration.apply(scores[out])
        found = tune_thresholds(fit, fit_targets, plan.rule, seed=plan.seed)
        decision = plan.decision(found.thresholds, calibration)
        tuned[out] = decision.decide(given[out])
        common[out] = decision.at_threshold(found.common).decide(given[out])
    return _OutOfFold(given, tuned, common)


def _calibration(scores: Scores, targets: Targets, plan: TuningPlan) -> Calibration | None:
    return None if plan.calibrate is None else fit_calibration(scores, targets, plan.calibrate)


def _means(
    measure: Callable[..., np.ndarray], before: Scores, after: Scores, targets: Targets
) -> tuple[float, float]:
    return mean_of_defined(measure(before, targets)), mean_of_defined(measure(after, targets))
