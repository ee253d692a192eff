"""Makes reports from bundles and from files of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manylabel.data.records import Records
from manylabel.decide import Decision
from manylabel.errors import DataError
from manylabel.evaluate.intervals import decision_in_words
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
    keep_trained: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Report:
    """Scores images with one bundle or two, and makes the report.

    It is about the images that neither of them was trained on.

    Args:
        models: Names and predictors. The second is compared with the first.
        records: The images, with the models' labels in any order.
        overlay: Makes the function that draws a model's evidence. It takes the model and, for each
            label of the report, the column of the model.
        skip_bad: Leave out images that cannot be used, with a note.
        keep_trained: Keep images that a model was trained on.
        on_progress: Called with the number of images done, summed over all models.

    Raises:
        DataError: The labels differ from a model's, there is no image, images cannot be used, or
            a model was trained on each of them.
    """
    truth = records.relabelled(models[0][1].labels)
    found: list[Evaluation] = []
    for turn, (_, predictor) in enumerate(models):
        before = turn * len(truth)
        found.append(
            evaluate(
                predictor,
                truth,
                skip_bad=skip_bad,
                keep_trained=keep_trained,
                on_progress=None if on_progress is None else lambda n, b=before: on_progress(b + n),
            )
        )
    truth = _measured_by_all(truth, [name for name, _ in models], found)
    scored: list[ScoredModel] = []
    for (name, predictor), each in zip(models, found, strict=True):
        columns = [predictor.labels.index(label) for label in truth.labels]
        drawn = overlay(predictor, columns) if overlay else None
        scored.append(_scored_model(name, each, truth, columns, predictor.decision, drawn))
        if predictor.decision.limited:
            note = f"{name}: thresholds that are moved on this page ignore the limits of labels"
            truth = truth.with_notes(note)
    title = " and ".join(name for name, _ in models)
    return make_report(title, truth, tuple(scored), notes=truth.notes)


def report_from_predictions(found: Sequence[Predictions], truth: Records) -> Report:
    """Makes the report of one file of predictions or two.

    A model decides as it does elsewhere, if that was saved with its predictions, and else at 0.5.

    Args:
        found: Predictions that were read. The second is compared with the first.
        truth: The images with their targets.

    Raises:
        DataError: The images or the labels differ.
    """
    scored: list[ScoredModel] = []
    for each in found:
        kept, truth = matched(each, truth)
        own, limits = kept.decision, _limits(kept.decision)
        thresholds = None if own is None else own.thresholds
        measures = measure(
            kept.scores, truth.targets, truth.labels, thresholds=thresholds, **limits
        )
        rule = "the profile's own" if own is None else f"the saved ones: {decision_in_words(own)}"
        receipt = receipt_of(measures, truth, thresholds=rule, predictions=kept.source)
        decision = _decision(measures, **limits)
        scored.append(ScoredModel(each.source, kept.scores, measures, receipt, decision))
    notes = dict.fromkeys([*truth.notes, *(note for each in found for note in each.notes)])
    title = " and ".join(each.source for each in found)
    return make_report(title, truth, tuple(scored), notes=tuple(notes))


def _measured_by_all(truth: Records, names: Sequence[str], found: Sequence[Evaluation]) -> Records:
    """The images that all models were measured on, with the notes of all.

    A note that only some models have names them.

    Raises:
        DataError: There is no such image.
    """
    common = set(found[0].keys).intersection(*(each.keys for each in found[1:]))
    if not common:
        raise DataError(
            "One model or the other was trained on each of the images, so none is left to compare "
            "them on.",
            where=truth.source,
            fix="Give images that neither was trained on, or keep these with --keep-trained.",
        )
    notes: list[str] = []
    for name, each in zip(names, found, strict=True):
        for note in each.notes:
            shared = all(note in other.notes for other in found)
            notes.append(note if shared else f"{name}: {note}")
    return replace(truth.select_keys(common), notes=tuple(dict.fromkeys(notes)))


def _scored_model(
    name: str,
    found: Evaluation,
    truth: Records,
    columns: Sequence[int],
    decision: Decision,
    overlay: Overlay | None,
) -> ScoredModel:
    """A bundle's model, measured again in the report's order of labels, which may be another."""
    common = set(truth.keys)
    rows = np.array([key in common for key in found.keys])
    scores = (found.scores if rows.all() else found.scores[rows])[:, columns]
    own = np.array([row.threshold for row in found.measures.per_label])
    limits = {"at_least": decision.at_least, "at_most": decision.at_most}
    measures = measure(scores, truth.targets, truth.labels, thresholds=own[columns], **limits)
    of_report = {"data_sha256": truth.fingerprint(), "images": len(truth)}
    receipt = found.receipt.model_copy(update=of_report)
    return ScoredModel(name, scores, measures, receipt, _decision(measures, **limits), overlay)


def _limits(decision: Decision | None) -> dict[str, Any]:
    if decision is None:
        return {}
    return {"at_least": decision.at_least, "at_most": decision.at_most}


def _decision(measures: Measures, *, at_least: int = 0, at_most: int | None = None) -> Decision:
    """The decision rule of the metrics, in the report's order of labels."""
    thresholds = tuple(row.threshold for row in measures.per_label)
    return Decision(thresholds=thresholds, at_least=at_least, at_most=at_most)
