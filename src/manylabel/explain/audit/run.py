"""Audits a model for shortcuts: each label, each of its usual companions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.errors import ConfigError, DataError
from manylabel.explain.audit.contrasts import Sampling, contrasts
from manylabel.explain.audit.findings import Audit, Finding, Hidden, ranked
from manylabel.explain.audit.hiding import Hidings, hide_companions
from manylabel.explain.audit.pairs import Pair, usual_companions
from manylabel.explain.audit.plan import HidingSettings
from manylabel.explain.audit.regions import Fill
from manylabel.explain.audit.statistics import adjusted, drawn, mean_p
from manylabel.metrics.bootstrap import Interval, interval
from manylabel.predict import Predictor

_NOWHERE: Final = Interval(float("nan"), float("nan"), float("nan"))


@final
@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """The settings of an audit.

    Args:
        companions: The largest number of companions of a label.
        labels: The labels to audit; all if empty.
        images_per_pair: The largest number of images of a pair in which its companion is hidden.
        fewest: The fewest images that a figure needs.
        fill: What a hidden region is filled with: "surroundings" or "blur".
        method: The method of evidence maps for companions without boxes; None: the model's best.
        resamples: The number of bootstrap draws.
        seed: The seed of images, control regions and draws.
    """

    companions: int = 3
    labels: tuple[str, ...] = ()
    images_per_pair: int = 100
    fewest: int = 20
    fill: Fill = "surroundings"
    method: str | None = None
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"companions": 1, "images_per_pair": 2, "fewest": 3, "resamples": 1, "seed": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}.",
                    where=name,
                    fix=f"Give {minimum} or more.",
                )
        if self.images_per_pair < self.fewest:
            raise ConfigError(
                f"A companion is hidden in at most {self.images_per_pair} images, but a figure "
                f"needs {self.fewest}.",
                where="--images-per-pair and --fewest",
                fix=f"Allow {self.fewest} images or more, or let a figure need fewer.",
            )


def require_auditable(predictor: Predictor, records: Records, settings: AuditSettings) -> None:
    """Raise the errors that `audit` would raise, before anything is scored.

    Raises:
        ConfigError: The model has no such method of evidence maps.
        DataError: A label does not exist, the labels are not the model's, or no label has a usual
            companion.
    """
    if settings.method is not None:
        predictor.engine.method(settings.method)
    _pairs(predictor, records.relabelled(predictor.labels), settings)


def audit(
    predictor: Predictor,
    records: Records,
    scores: NDArray[np.floating[Any]],
    settings: AuditSettings | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audits a model for shortcuts, and returns what was found about each pair of labels.

    Args:
        predictor: The model.
        records: The N images, with the model's labels in any order.
        scores: The model's scores of these images, [N, C], in the order of the model's labels.
        settings: The settings; the defaults if not given.
        on_progress: Called with the number of images done in which companions are hidden, and the
            number of all of them.

    Raises:
        ConfigError: The model has no such method of evidence maps.
        DataError: A label does not exist, the labels are not the model's, or no label has a usual
            companion.
        ImageError: An image cannot be used.
    """
    settings = settings or AuditSettings()
    records = records.relabelled(predictor.labels)
    assert scores.shape == records.targets.shape, (scores.shape, records.targets.shape)
    pairs = _pairs(predictor, records, settings)
    hiding = HidingSettings(settings.images_per_pair, settings.fill, settings.method, settings.seed)
    hidings = hide_companions(predictor, records, scores, pairs, hiding, on_progress)
    findings = _findings(
        predictor, records, scores, list(zip(pairs, hidings, strict=True)), settings
    )
    paired = {predictor.labels[pair.label] for pair in pairs}
    audited = settings.labels or predictor.labels.names
    return Audit(
        source=records.source,
        images=len(records),
        findings=ranked(findings),
        alone=tuple(name for name in audited if name not in paired),
        settings=asdict(settings),
        notes=(*records.notes, *_notes(predictor, hidings, settings)),
    )


def _pairs(predictor: Predictor, records: Records, settings: AuditSettings) -> list[Pair]:
    """The labels to audit with their companions."""
    names = dict.fromkeys(settings.labels or predictor.labels.names)
    columns = [predictor.labels.index(name) for name in names]
    pairs = usual_companions(records.targets, at_most=settings.companions, labels=columns)
    if not pairs:
        raise DataError(
            "No label has a usual companion: none is with another one more often than by chance.",
            where=records.source,
            fix="Give data whose images have several labels, or audit other labels.",
        )
    return pairs


def _findings(
    predictor: Predictor,
    records: Records,
    scores: NDArray[np.floating[Any]],
    pairs: Sequence[tuple[Pair, Hidings]],
    settings: AuditSettings,
) -> list[Finding]:
    decided = predictor.decision.decide(scores)
    sampling = Sampling(settings.resamples, settings.seed, settings.fewest)
    compared = [contrasts(pair, scores, decided, records.targets, sampling) for pair, _ in pairs]
    enough = [len(found.effects) >= settings.fewest for _, found in pairs]
    p_values = [
        mean_p(found.effects) if sure else float("nan")
        for sure, (_, found) in zip(enough, pairs, strict=True)
    ]
    auc_q = adjusted([found.auc_p for found in compared]).tolist()
    return [
        Finding(
            label=predictor.labels[pair.label],
            companion=predictor.labels[pair.companion],
            pair=pair,
            contrasts=contrast,
            auc_q=of_auc,
            hidden=_hidden(found, (p, q), settings),
            fewest=settings.fewest,
        )
        for (pair, found), contrast, of_auc, p, q in zip(
            pairs, compared, auc_q, p_values, adjusted(p_values).tolist(), strict=True
        )
    ]


def _hidden(found: Hidings, test: tuple[float, float], settings: AuditSettings) -> Hidden:
    effects, present = np.array(found.effects), np.array(found.present, dtype=bool)
    return Hidden(
        source=found.source,
        images=len(effects),
        effect=_mean(effects, settings),
        with_label=_mean(effects[present], settings),
        without_label=_mean(effects[~present], settings),
        p=test[0],
        q=test[1],
        false_positives=found.false_positives,
        because=tuple(found.because),
        left_out={why: count for why, count in found.left_out.items() if count},
        examples=tuple(found.examples),
    )


def _mean(effects: NDArray[np.float64], settings: AuditSettings) -> Interval:
    """The mean effect with the middle 95 % of its bootstrap draws; NaN if there are too few."""
    if len(effects) < settings.fewest:
        return _NOWHERE
    random = np.random.default_rng(settings.seed)
    draws = drawn(random, len(effects), settings.resamples) @ effects / len(effects)
    return interval(float(effects.mean()), draws)


def _notes(predictor: Predictor, hidings: Sequence[Hidings], settings: AuditSettings) -> list[str]:
    by_map = sum(found.source == "map" for found in hidings)
    if not by_map:
        return ["Companions are hidden where their boxes are; the label's own boxes stay visible"]
    method = predictor.engine.method(settings.method)
    which = "all pairs" if by_map == len(hidings) else f"{by_map} of {len(hidings)} pairs"
    return [
        f"The data has no boxes of the companions of {which}: they are hidden where the evidence "
        f"map '{method}' is at least half as high as at its highest point, and only in images "
        "without the label. A map may miss a part of the companion, so effects can be too small"
    ]
