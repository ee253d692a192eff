"""Scores the explanations of a model on a data set that knows where the objects are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from manylabel.data.records import Record, Records
from manylabel.engines.engine import Engine
from manylabel.errors import ConfigError, DataError, ImageError
from manylabel.evidence import find_method
from manylabel.explain.explaining import methods as all_methods
from manylabel.explain.scores.masks import MaskClasses
from manylabel.explain.scores.measures import MEASURES
from manylabel.explain.scores.pairs import (
    BASELINES,
    FindRegions,
    PairTable,
    Stage,
    measure_pairs,
    silent,
    split_iou,
)
from manylabel.explain.scores.regions import BoxRegions
from manylabel.explain.scores.removal import RemovalPlan, measure_removal
from manylabel.explain.scores.summary import MIN_PAIRS, Resampling, Summary, summarise
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace
from manylabel.predict import Predictor
from manylabel.text import counted

BESIDE: Final = ("cam", "grad-cam")
"""Methods that are measured beside the best one, if the model has them."""

_SHOWN: Final = 5


@final
@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What is scored, and how.

    Args:
        methods: The methods of evidence maps; None: the model's best, and those of `BESIDE`.
            `occlusion` runs the model about a hundred times for each image.
        mask_classes: The names of the classes of masks, if masks are the regions and not boxes.
        removal_pairs: The most pairs for insertion and deletion; 0: they are left out.
        removal: How insertion and deletion are measured.
        resampling: The bootstrap of the intervals.
    """

    methods: tuple[str, ...] | None = None
    mask_classes: MaskClasses | None = None
    removal_pairs: int = 200
    removal: RemovalPlan = RemovalPlan()
    resampling: Resampling = Resampling()


@final
@dataclass(frozen=True, eq=False)
class ExplanationScores:
    """How well the maps of a model show where its labels are.

    Args:
        summary: The scores by measure and method; `centre` and `chance` are the last methods.
        methods: The title of each method of the model that was measured.
        images: The number of images with a pair.
        pairs: The number of pairs of an image and a label that is present and has a region there.
        removal_pairs: The number of these pairs for insertion and deletion.
        shares: The threshold of each method for `iou_best`, as a share of the map's maximum.
        settings: What was scored, and how.
        notes: What was understood, decided or left out, one sentence each.
        bad: The errors of images that cannot be used and are left out.
    """

    summary: Summary
    methods: dict[str, str]
    images: int
    pairs: int
    removal_pairs: int
    shares: dict[str, float]
    settings: ScoreSettings
    notes: tuple[str, ...]
    bad: tuple[ImageError, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "regions": "boxes" if self.settings.mask_classes is None else "masks",
            "images": self.images,
            "pairs": self.pairs,
            "removal_pairs": self.removal_pairs,
            "removal_steps": self.settings.removal.steps,
            "removal_seed": self.settings.removal.seed,
            "resamples": self.settings.resampling.draws,
            "seed": self.settings.resampling.seed,
            "compared_from_pairs": MIN_PAIRS,
            "methods": self.methods,
            "best_shares": self.shares,
            "skipped_images": len(self.bad),
            "notes": list(self.notes),
            "measures": {name: self._measure(name) for name in self.summary},
        }

    def _measure(self, name: str) -> dict[str, Any]:
        measure = MEASURES[name]
        return {
            "definition": measure.definition,
            "higher_is_better": measure.higher_is_better,
            "methods": {method: each.as_dict() for method, each in self.summary[name].items()},
        }


def score_explanations(
    predictor: Predictor,
    records: Records,
    settings: ScoreSettings = ScoreSettings(),  # noqa: B008 (it is frozen)
    *,
    stage: Stage = silent,
) -> ExplanationScores:
    """Score a model's evidence maps with boxes or masks, beside a map at the centre and chance.

    A pair is a label that is present in an image and has a region there. Labels are matched by
    name; those that only the data set or only the model has are left out, and a note names them.
    The images are read in batches, and no maps are kept.

    Args:
        predictor: The model.
        records: Images with boxes, or with masks if the settings have classes of masks.
        settings: What to score, and how.
        stage: Shows the progress.

    Raises:
        ConfigError: The model has no evidence maps, or not by one of the methods.
        DataError: There is no pair: no box or mask of a label that is present; or a mask cannot be
            used; or no image can be used.
    """
    methods = chosen_methods(predictor.engine, settings.methods)
    known, notes = _with_labels(records, predictor.labels)
    candidates, find = _regions(known, predictor.labels, settings.mask_classes)
    table, bad = measure_pairs(predictor, candidates, methods, find, stage=stage)
    _require_pairs(table, records, bad, settings)
    table, shares = split_iou(table)
    summary = summarise(table, predictor.labels, settings.resampling)
    removal = _drawn(table, settings)
    if len(removal):
        removal = measure_removal(predictor, candidates, removal, settings.removal, stage=stage)
        summary |= summarise(removal, predictor.labels, settings.resampling)
    return ExplanationScores(
        summary=summary,
        methods={method: all_methods(predictor.engine)[method].title for method in methods},
        images=len(np.unique(table.images)),
        pairs=len(table),
        removal_pairs=len(removal),
        shares={method: share for method, share in shares.items() if method not in BASELINES},
        settings=settings,
        notes=(*notes, *_about_regions(known, candidates, settings), *_about_bad(bad)),
        bad=tuple(bad),
    )


def require_scorable(predictor: Predictor, records: Records, settings: ScoreSettings) -> None:
    """Raise the errors that `score_explanations` would raise before it opens an image.

    Raises:
        ConfigError: The model has no evidence maps, or not by one of the methods.
        DataError: No image can have a box or a mask of a label that is present.
    """
    chosen_methods(predictor.engine, settings.methods)
    known, _ = _with_labels(records, predictor.labels)
    _regions(known, predictor.labels, settings.mask_classes)


def chosen_methods(engine: Engine, wanted: Sequence[str] | None) -> list[str]:
    """The methods to measure, each once.

    Raises:
        ConfigError: The model has no evidence maps, or not by one of these methods.
    """
    known = all_methods(engine)
    if wanted is None:
        return list(dict.fromkeys([engine.method(), *(m for m in BESIDE if m in engine.evidence)]))
    if not wanted or "" in wanted:
        raise ConfigError(
            "The name of a method is empty.",
            where="methods",
            fix=f"There are: {', '.join(known)}.",
        )
    return list(dict.fromkeys(find_method(name, known) for name in wanted))


def _with_labels(records: Records, labels: LabelSpace) -> tuple[Records, list[str]]:
    """The records with the model's labels, and notes about the labels of one side only.

    Raises:
        DataError: No label of the data set is one of the model's.
    """
    if records.labels == labels:
        return records, []
    common = [name for name in labels if name in records.labels]
    if not common:
        raise DataError(
            "No label of the data set is known to the model.",
            where=records.source,
            fix=f"The model knows: {', '.join(labels.names[:10])}.",
        )
    targets = np.full((len(records), len(labels)), UNKNOWN, dtype=np.int8)
    own = [records.labels.index(name) for name in common]
    targets[:, [labels.index(name) for name in common]] = records.targets[:, own]
    sides = (
        ("Labels that the model does not know, left out", records.labels, labels),
        ("Labels that the data set does not have, not measured", labels, records.labels),
    )
    notes = [f"{said}: {_named(extra)}" for said, a, b in sides if (extra := _missing(a, b))]
    return replace(records, labels=labels, targets=targets), notes


def _regions(
    records: Records, labels: LabelSpace, masks: MaskClasses | None
) -> tuple[Records, FindRegions]:
    """The records that may have a region of a present label, and what gives their regions."""
    if masks is not None:
        if records.masks is None:
            raise DataError(
                "The data set has no masks.",
                where=records.source,
                fix="Give a table with a column 'mask', or leave out --mask-classes to use boxes.",
            )
        classes = masks.of(labels)
        columns = [labels.index(name) for name in classes]
        there = np.array([mask is not None for mask in records.masks])
        there &= (records.targets[:, columns] == PRESENT).any(axis=1)
        return records.select(there), lambda record: masks.regions(record, classes)
    boxed = [i for i, record in enumerate(records) if _has_box(record, labels)]
    if not boxed:
        raise _no_boxes(records)
    return records.select(boxed), lambda record: BoxRegions(record.boxes)


def _has_box(record: Record, labels: LabelSpace) -> bool:
    names = {box.label for box in record.boxes if box.label in labels}
    return any(record.targets[labels.index(name)] == PRESENT for name in names)


def _no_boxes(records: Records) -> DataError:
    masks = ", or give --mask-classes to use its masks." if records.masks else "."
    return DataError(
        "No image has a box of a label that is present in it.",
        where=records.source,
        fix=f"Give data with boxes: COCO instances, Pascal VOC, or drawn scenes{masks}",
    )


def _require_pairs(
    table: PairTable, records: Records, bad: Sequence[ImageError], settings: ScoreSettings
) -> None:
    if len(table):
        return
    if bad:
        raise DataError(
            f"No image can be used: {bad[0].what}",
            where=bad[0].where,
            fix=bad[0].fix,
        )
    assert settings.mask_classes is not None, "records without boxes were refused"
    raise DataError(
        "No mask has a pixel of a label that is present in its image.",
        where=records.source,
        fix=f"Check that the numbers in the masks are those of {settings.mask_classes.source}.",
    )


def _drawn(table: PairTable, settings: ScoreSettings) -> PairTable:
    """The pairs for insertion and deletion: all, or as many as are allowed, drawn by the seed."""
    number = min(len(table), settings.removal_pairs)
    random = np.random.default_rng(settings.removal.seed)
    rows = np.sort(random.choice(len(table), number, replace=False))
    return PairTable(table.images[rows], table.labels[rows], {}, table.methods)


def _about_regions(records: Records, used: Records, settings: ScoreSettings) -> list[str]:
    masks = settings.mask_classes
    what = "boxes" if masks is None else "masks"
    notes = [f"Regions are {what}: {counted(len(used), 'image')} of {len(records):,} may have one"]
    if masks is not None:
        without = [name for name in used.labels if name not in masks.names]
        notes += [f"Labels without a class in the masks, left out: {_named(without)}"] * any(
            without
        )
    return notes


def _about_bad(bad: Sequence[ImageError]) -> list[str]:
    if not bad:
        return []
    shown = "; ".join(f"{error.where}: {error.what.rstrip('.')}" for error in bad[:_SHOWN])
    more = "; ..." if len(bad) > _SHOWN else ""
    return [f"Images that cannot be used, left out: {len(bad):,} ({shown}{more})"]


def _missing(one: Iterable[str], other: LabelSpace) -> list[str]:
    return [name for name in one if name not in other]


def _named(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names):,} ({', '.join(names[:_SHOWN])}{more})"
