"""Makes reports from bundles and from files of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from manylabel.data.records import Records
from manylabel.decide import Decision
from manylabel.evaluate.predictions.table import Predictions, matched
from manylabel.evaluate.receipt import receipt_of
from manylabel.evaluate.report.content import Report, ScoredModel, make_report
from manylabel.evaluate.report.pictures import Overlay
from manylabel.evaluate.run import Evaluation, evaluate
from manylabel.metrics.profiles import Measures, measure
from manylabel.predict import Predictor


def report_from_bundles(
    models: Sequence[tuple[str, Predictor]],
    records: Records,
    *,
    overlay: Callable[[Predictor, Sequence[int]], Overlay] | None = None,
    skip_bad: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Report:
    """Scores images with one bundle or two, and makes the report.

    Args:
        models: Names and predictors. The second is compared with the first.
        records: The images, with the models' labels in any order.
        overlay: Makes the function that draws a model's evidence. It takes the model and, for each
            label of the report, the column of the model.
        skip_bad: Leave out images that cannot be used, with a note.
        on_progress: Called with the number of images done, summed over all models.

    Raises:
        DataError: The labels differ from a model's, there is no image, or images cannot be used.
    """
    truth = records.relabelled(models[0][1].labels)
    scored: list[ScoredModel] = []
    for turn, (name, predictor) in enumerate(models):
        before = turn * len(truth)
        found = evaluate(
            predictor,
            truth,
            skip_bad=skip_bad,
            on_progress=None if on_progress is None else lambda n, b=before: on_progress(b + n),
        )
        truth = replace(truth.select_keys(set(found.keys)), notes=found.notes)
        columns = [predictor.labels.index(label) for label in truth.labels]
        drawn = overlay(predictor, columns) if overlay else None
        scored.append(_scored_model(name, found, truth, columns, predictor.decision, drawn))
        if predictor.decision.limited:
            note = f"{name}: thresholds that are moved on this page ignore the limits of labels"
            truth = truth.with_notes(note)
    title = " and ".join(name for name, _ in models)
    return make_report(title, truth, tuple(scored), notes=truth.notes)


def report_from_predictions(found: Sequence[Predictions], truth: Records) -> Report:
    """Makes the report of one file of predictions or two, with thresholds of 0.5 for all labels.

    Args:
        found: Predictions that were read. The second is compared with the first.
        truth: The images with their targets.

    Raises:
        DataError: The images or the labels differ.
    """
    scored: list[ScoredModel] = []
    for each in found:
        kept, truth = matched(each, truth)
        measures = measure(kept.scores, truth.targets, truth.labels)
        receipt = receipt_of(
            measures, truth, thresholds="the profile's own", predictions=kept.source
        )
        scored.append(ScoredModel(each.source, kept.scores, measures, receipt, _decision(measures)))
    notes = dict.fromkeys([*truth.notes, *(note for each in found for note in each.notes)])
    title = " and ".join(each.source for each in found)
    return make_report(title, truth, tuple(scored), notes=tuple(notes))


def _scored_model(
    name: str,
    found: Evaluation,
    truth: Records,
    columns: Sequence[int],
    decision: Decision,
    overlay: Overlay | None,
) -> ScoredModel:
    """A bundle's model, measured again in the report's order of labels, which may be another."""
    scores = found.scores[:, columns]
    own = np.array([row.threshold for row in found.measures.per_label])
    limits = {"at_least": decision.at_least, "at_most": decision.at_most}
    measures = measure(scores, truth.targets, truth.labels, thresholds=own[columns], **limits)
    receipt = found.receipt.model_copy(update={"data_sha256": truth.fingerprint()})
    return ScoredModel(name, scores, measures, receipt, _decision(measures, **limits), overlay)


def _decision(measures: Measures, *, at_least: int = 0, at_most: int | None = None) -> Decision:
    """The decision rule of the metrics, in the report's order of labels."""
    thresholds = tuple(row.threshold for row in measures.per_label)
    return Decision(thresholds=thresholds, at_least=at_least, at_most=at_most)
