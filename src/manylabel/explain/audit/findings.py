"""What the audit found out about each pair: figures, a verdict, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, final

from manylabel.explain.audit.contrasts import Contrasts
from manylabel.explain.audit.examples import Example
from manylabel.explain.audit.pairs import Pair
from manylabel.explain.audit.plan import Source
from manylabel.metrics.bootstrap import Interval
from manylabel.text import counted

Verdict = Literal["rests on", "goes with", "no sign", "speaks against", "not enough images"]
VERDICTS: Final[tuple[Verdict, ...]] = (
    "rests on",
    "goes with",
    "no sign",
    "speaks against",
    "not enough images",
)
"""The verdicts, in the order of the list."""

SURE: Final = 0.05
"""A corrected p-value up to this is a finding."""
LEAST_EFFECT: Final = 0.02
"""A mean change of the score below this is too small to be named, however sure it is."""
LEAST_AUC: Final = 0.55
"""An AUC of the negatives below this is too small to be named."""


@final
@dataclass(frozen=True, slots=True)
class Hidden:
    """What hiding the companion did to the label's score.

    Args:
        source: "boxes": the companion was hidden where its boxes are. "map": where its evidence map
            is high; then only images without the label were used.
        images: The number of images from which the effect is measured.
        effect: How much more the score falls if the companion is hidden than if another place of
            the same size is hidden; the mean over the images, -1..1, with a 95 % interval.
        with_label: The effect in images that have the label.
        without_label: The effect in images that do not.
        p: The p-value of the effect; NaN if there are not enough images.
        q: The same after the correction for the number of pairs.
        false_positives: The images without the label in which it is predicted and the companion
            was hidden.
        because: The keys of those in which it is predicted because of the companion.
        left_out: The number of images that could not be used, by the reason.
        examples: The images that say most.
    """

    source: Source
    images: int
    effect: Interval
    with_label: Interval
    without_label: Interval
    p: float
    q: float
    false_positives: int
    because: tuple[str, ...]
    left_out: dict[str, int]
    examples: tuple[Example, ...]

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON, without the pictures."""
        intervals = ("effect", "with_label", "without_label")
        return {
            "hidden_by": self.source,
            "images": self.images,
            **{name: _plain(getattr(self, name).as_dict()) for name in intervals},
            "p": _number(self.p),
            "p_corrected": _number(self.q),
            "false_positives": self.false_positives,
            "predicted_because_of_companion": list(self.because),
            "left_out": self.left_out,
        }


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """All that is known about a label and one of its companions.

    Args:
        label: The name of the label.
        companion: The name of the companion.
        pair: The number of images of each kind.
        contrasts: Images with the companion beside images without it.
        auc_q: The p-value of the AUC of the negatives, after the correction for all pairs.
        hidden: What hiding the companion did.
        fewest: The number of images that a figure needs.
    """

    label: str
    companion: str
    pair: Pair
    contrasts: Contrasts
    auc_q: float
    hidden: Hidden
    fewest: int

    @property
    def verdict(self) -> Verdict:
        """What the figures say."""
        hidden, auc = self.hidden, self.contrasts.auc
        measured = hidden.images >= self.fewest
        if measured and hidden.q <= SURE and hidden.effect.value >= LEAST_EFFECT:
            return "rests on"
        if auc is not None and self.auc_q <= SURE and auc.value >= LEAST_AUC:
            return "goes with"
        if not measured:
            return "not enough images"
        against = hidden.q <= SURE and hidden.effect.value <= -LEAST_EFFECT
        return "speaks against" if against else "no sign"

    @property
    def words(self) -> str:
        """The verdict as one sentence."""
        label, companion = f"'{self.label}'", f"'{self.companion}'"
        return {
            "rests on": f"Scores of {label} rest partly on {companion}.",
            "goes with": f"Scores of {label} are higher beside {companion}, also where {label} is "
            f"absent, but {self._not_shown(companion)}.",
            "no sign": f"There is no sign that scores of {label} rest on {companion}.",
            "speaks against": f"Scores of {label} rise if {companion} is hidden.",
            "not enough images": f"There are not enough images of {label} and {companion}.",
        }[self.verdict]

    @property
    def details(self) -> tuple[str, ...]:
        """The figures behind the verdict, a sentence each."""
        return tuple(filter(None, (self._of_hiding(), self._of_false(), self._of_because())))

    @property
    def advice(self) -> tuple[str, ...]:
        """What can be done about it, a sentence each; nothing if there is nothing to do."""
        if self.verdict not in ("rests on", "goes with"):
            return ()
        label, companion = f"'{self.label}'", f"'{self.companion}'"
        has = self.pair.both + self.pair.label_only
        found = [
            f"Collect images of {label} without {companion}: only {self.pair.label_only:,} of "
            f"{has:,} images with {label} are like that."
            if self.pair.share > 0.5
            else f"Give the {self.pair.label_only:,} images of {label} without {companion} a "
            "greater weight in training, or collect more of them.",
            f"Collect images of {companion} without {label}, too: there are "
            f"{self.pair.companion_only:,}.",
            f"Train with crops, or with {companion} hidden in some images, so that {label} has to "
            "be found by itself.",
        ]
        if self.hidden.because:
            found.append(
                f"Look at the {counted(len(self.hidden.because), 'image')} in which {label} is "
                f"predicted because of {companion}: is {label} really absent, or is the target "
                "wrong?"
            )
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; a figure without a value is None."""
        return {
            "label": self.label,
            "companion": self.companion,
            "verdict": self.verdict,
            "words": self.words,
            "details": list(self.details),
            "advice": list(self.advice),
            "lift": self.pair.lift,
            "share_of_label_with_companion": self.pair.share,
            "images": {
                k: v for k, v in asdict(self.pair).items() if k not in ("label", "companion")
            },
            "contrasts": _plain(self.contrasts.as_dict())
            | {"negatives_AUC_p_corrected": _number(self.auc_q)},
            "hidden": self.hidden.as_dict(),
        }

    def _not_shown(self, companion: str) -> str:
        if self.hidden.images < self.fewest:
            return f"there are not enough images in which {companion} could be hidden"
        return f"hiding {companion} is not shown to lower them"

    def _of_hiding(self) -> str:
        hidden = self.hidden
        if hidden.images < self.fewest:
            return (
                f"'{self.companion}' could be hidden in {counted(hidden.images, 'image')}, and "
                f"{self.fewest} are needed."
            )
        effect = hidden.effect
        way = "falls" if effect.value >= 0 else "rises"
        low, high = sorted((effect.low, effect.high), key=abs)
        low, high = (low, high) if effect.value >= 0 else (-low, -high)
        return (
            f"With '{self.companion}' hidden, the score of '{self.label}' {way} by "
            f"{abs(effect.value):.3f} more than with another place hidden (95 %: {low:.3f} to "
            f"{high:.3f}; {counted(hidden.images, 'image')})."
        )

    def _of_false(self) -> str:
        false = self.contrasts.false_positives
        if false is None:
            return ""
        return (
            f"'{self.label}' is wrongly predicted in {100 * false.beside.value:.1f} % of the "
            f"images with '{self.companion}' and in {100 * false.alone.value:.1f} % of those "
            "without it."
        )

    def _of_because(self) -> str:
        hidden = self.hidden
        if not hidden.false_positives:
            return ""
        return (
            f"In {len(hidden.because):,} of {counted(hidden.false_positives, 'image')} in which "
            f"'{self.label}' is wrongly predicted beside '{self.companion}', it is predicted "
            f"because of '{self.companion}'."
        )


@final
@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of a model on a data set.

    Args:
        source: Where the data was read from.
        images: The number of images.
        findings: What was found about each pair, the strongest first.
        alone: The labels without a usual companion, or without an image.
        settings: The settings of the audit by name, for the record.
        notes: What was decided or left out, a sentence each.
    """

    source: str
    images: int
    findings: tuple[Finding, ...]
    alone: tuple[str, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """The number of pairs with a verdict."""
        return sum(found.verdict == verdict for found in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "data": self.source,
            "images": self.images,
            "settings": self.settings,
            "notes": list(self.notes),
            "verdicts": {verdict: self.count(verdict) for verdict in VERDICTS},
            "labels_without_companion": list(self.alone),
            "pairs": [{"rank": i, **each.as_dict()} for i, each in enumerate(self.findings, 1)],
        }


def ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings by verdict; those of one verdict by the least effect that is sure."""

    def strength(found: Finding) -> tuple[float, ...]:
        auc, effect = found.contrasts.auc, found.hidden.effect
        by_auc = found.verdict == "goes with" and auc is not None
        least = auc.low if by_auc and auc is not None else effect.low
        return VERDICTS.index(found.verdict), -least if least == least else float("inf")

    return tuple(sorted(findings, key=strength))


def _number(value: float) -> float | None:
    return value if value == value else None


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with None for NaN."""
    return {
        name: _plain(each)
        if isinstance(each, dict)
        else (_number(each) if isinstance(each, float) else each)
        for name, each in figures.items()
    }
