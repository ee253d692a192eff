"""Pages from bundles and from files of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from manylabel.data.records import Records
from manylabel.evaluate.predictions.table import Predictions, matched
from manylabel.evaluate.receipt import receipt_of
from manylabel.evaluate.report.content import Page, ScoredModel, make_page
from manylabel.evaluate.report.pictures import Overlay
from manylabel.evaluate.run import Evaluation, evaluate
from manylabel.metrics.profiles import measure
from manylabel.predict import Predictor


def page_of_bundles(
    models: Sequence[tuple[str, Predictor]],
    records: Records,
    *,
    overlay: Callable[[Predictor, Sequence[int]], Overlay] | None = None,
    skip_bad: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Page:
    """The page of one bundle or two on the same images, which are scored now.

    Args:
        models: Names and predictors; the second is held against the first.
        records: The images, with the models' labels in any order.
        overlay: Makes what draws a model's evidence, from the model and its column of each label
            of the page.
        skip_bad: Leave out images that cannot be used, and say so in the notes.
        on_progress: Called with the number of images done, over all models.

    Raises:
        DataError: Other labels than a model's, no image, or images that cannot be used.
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
        info = predictor.bundle.info
        scored.append(_of_bundle(name, found, truth, columns, (info.at_least, info.at_most), drawn))
        if (info.at_least, info.at_most) != (0, None):
            note = f"{name}: what is decided at a threshold moved here knows no limit of labels"
            truth = truth.with_notes(note)
    title = " and ".join(name for name, _ in models)
    return make_page(title, truth, tuple(scored), notes=truth.notes)


def page_of_predictions(found: Sequence[Predictions], truth: Records) -> Page:
    """The page of one file of predictions or two, decided at 0.5 for all labels.

    Args:
        found: As read; the second is held against the first.
        truth: The images with their targets.

    Raises:
        DataError: They are of different images or labels.
    """
    scored: list[ScoredModel] = []
    for each in found:
        kept, _ = matched(each, truth)
        measures = measure(kept.scores, truth.targets, truth.labels)
        receipt = receipt_of(
            measures, truth, thresholds="the profile's own", predictions=kept.source
        )
        scored.append(ScoredModel(each.source, kept.scores, measures, receipt))
    notes = dict.fromkeys([*truth.notes, *(note for each in found for note in each.notes)])
    title = " and ".join(each.source for each in found)
    return make_page(title, truth, tuple(scored), notes=tuple(notes))


def _of_bundle(
    name: str,
    found: Evaluation,
    truth: Records,
    columns: Sequence[int],
    limits: tuple[int, int | None],
    overlay: Overlay | None,
) -> ScoredModel:
    """Measured anew in the page's order of labels, which need not be the bundle's."""
    scores = found.scores[:, columns]
    own = np.array([row.threshold for row in found.measures.per_label])
    measures = measure(
        scores,
        truth.targets,
        truth.labels,
        thresholds=own[columns],
        at_least=limits[0],
        at_most=limits[1],
    )
    receipt = found.receipt.model_copy(update={"data_sha256": truth.fingerprint()})
    return ScoredModel(name, scores, measures, receipt, overlay, limits)
