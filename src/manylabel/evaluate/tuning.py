"""Tunes a bundle's decision on a split: thresholds, calibration, and their expected figures.

The figures are cross-fitted: the thresholds and the calibration that decide on an image were fitted
without it. So the figures are an estimate for new images, not those of the images in the fit.
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
from manylabel.bundle.info import ModelInfo
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
    """The settings of tuning."""

    rule: Rule = Field(default_factory=Rule)
    """The rule that thresholds are chosen by."""
    calibrate: Kind | None = None
    """How scores are calibrated; None: they are not calibrated."""
    at_least: Annotated[int, Field(ge=0)] = 0
    """The smallest number of labels of each image."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """The largest number of labels of each image; None: no limit."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of the folds."""

    def decision(self, thresholds: ArrayLike, calibration: Calibration | None) -> Decision:
        """The decision with these thresholds [C] and this calibration, within the plan's limits."""
        return Decision(
            calibration=calibration,
            thresholds=tuple(np.asarray(thresholds, dtype=np.float64).tolist()),
            at_least=self.at_least,
            at_most=self.at_most,
        )


@final
@dataclass(frozen=True, eq=False)
class Tuning:
    """The result of tuning.

    Args:
        plan: The settings.
        tuned: The thresholds. They are for calibrated scores if there is a calibration.
        calibration: The calibration of the scores; None: there is none.
        figures: Figures of three ways to decide: the decision before tuning, one tuned threshold
            for all labels, and a tuned threshold per label. The last two are out of fold.
        ece: The class-wise ECE, a mean over labels, 0..1: before tuning, and out of fold after it.
        brier: The Brier score in the same two cases.
        evaluation: The evaluation of the model on the split, without calibration.
        model: The model that was tuned, and the SHA-256 of its weights.
    """

    plan: TuningPlan
    tuned: Tuned
    calibration: Calibration | None
    figures: Mapping[Row, Decisions]
    ece: tuple[float, float]
    brier: tuple[float, float]
    evaluation: Evaluation
    model: tuple[ModelInfo, str]

    @property
    def decision(self) -> Decision:
        """The decision of the tuned bundle."""
        return self.plan.decision(self.tuned.thresholds, self.calibration)

    def provenance(self) -> dict[str, Any]:
        """The description of the tuning in a bundle, ready for JSON."""
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
        """Save the bundle in `folder` as `out`, with this decision; see `with_decision`.

        Raises:
            RunError: The bundle in `folder` is not the model that was tuned.
        """
        return with_decision(
            folder,
            out,
            self.decision,
            tuned=self.provenance(),
            found_for=self.model,
            tuned_on=self.evaluation.contents,
        )


def tune(
    predictor: Predictor,
    records: Records,
    plan: TuningPlan,
    *,
    skip_bad: bool = False,
    keep_trained: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Tuning:
    """Fit thresholds, and a calibration if the plan has one, on `records`.

    Images that the model was trained on are left out, since its scores are more confident there.

    Args:
        predictor: The model. Its own calibration is not used.
        records: Images, with the model's labels in any order.
        plan: The settings.
        skip_bad: Whether to leave out images that cannot be used.
        keep_trained: Whether to keep images that the model was trained on.
        on_progress: Called after each image with the number of images done.

    Raises:
        ConfigError: The limits of the plan are impossible.
        DataError: Images or labels cannot be used, or there are too few targets for the fit.
        RunError: There is no room for the scores.
    """
    found = evaluate(
        predictor.deciding(predictor.decision.uncalibrated()),
        records,
        skip_bad=skip_bad,
        keep_trained=keep_trained,
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
        model=(predictor.engine.info, predictor.engine.weights_sha256),
    )


def refuse_trained(records: Records, taken: Records, trained_on: str | None) -> None:
    """Refuse to tune on training images, since the model's scores are more confident there.

    This is for bundles that do not know the hashes of their images: it compares whole data sets.

    Args:
        records: The data set.
        taken: The part of the data set to tune on.
        trained_on: The fingerprint of the images that the model was trained on; None: not known.

    Raises:
        DataError: `taken` is or contains the images that the model was trained on.
    """
    if trained_on is None:
        return
    same = taken.fingerprint() == trained_on
    if same or (len(taken) == len(records) and trained_part(records) == trained_on):
        raise DataError(
            "The model was trained on these images: thresholds from them do not suit new images.",
            where=records.source,
            fix="Use --split val; or --split train, if that is what you want.",
        )


@dataclass(frozen=True, eq=False)
class _OutOfFold:
    """Scores [N, C] and decisions [N, C]; those of each image come from a fit without it."""

    scores: Scores
    tuned: Decided
    common: Decided


def _cross_fitted(scores: Scores, targets: Targets, plan: TuningPlan) -> _OutOfFold:
    """Tune without each fold in turn, and apply the result to the images of that fold."""
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
