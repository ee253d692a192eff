"""Findings of the doctor: each has a severity, a text, examples and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, final

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
"""Severities, the worst first. An error makes training or its evaluation wrong. A warning does so
unless it is intended. A note is good to know."""

SHOWN: Final = 10
"""The number of examples that a finding shows; its `data` holds all."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem or fact that the doctor found.

    Args:
        kind: A name for programs, such as "duplicates.leak".
        severity: How serious it is.
        what: The finding in one sentence.
        count: The number of images, labels or pairs that it concerns.
        fix: What to do.
        examples: The first few keys, labels or pairs, as text.
        pairs: The first few pairs of images to show side by side, as their keys.
        data: All details, ready for JSON.
    """

    kind: str
    severity: Severity
    what: str
    count: int
    fix: str
    examples: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The finding, ready for JSON."""
        return asdict(self)


@final
@dataclass(frozen=True, slots=True)
class LabelRow:
    """How often a label is present.

    Args:
        label: The name of the label.
        positives: The number of images that have it, by split ("all" if there are no splits).
        known: The number of images with a known target for it.
        total: The number of all images.
    """

    label: str
    positives: Mapping[str, int]
    known: int
    total: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The findings about a data set.

    Args:
        source: Where the data set was read from.
        summary: How its reader understood it, in one paragraph.
        fingerprint: Hash of its image list and targets.
        images: The number of images.
        opened: The number of images that were opened: all or none.
        seconds: The time in seconds to open and compare them.
        workers: The number of threads that opened them.
        labels: One row for each label.
        findings: All findings, the worst first.
    """

    source: str
    summary: str
    fingerprint: str
    images: int
    opened: int
    seconds: float
    workers: int
    labels: tuple[LabelRow, ...]
    findings: tuple[Finding, ...]

    @property
    def images_per_second(self) -> float | None:
        """Images opened and compared per second; None if none was opened."""
        return self.opened / self.seconds if self.opened and self.seconds > 0 else None

    def count(self, severity: Severity) -> int:
        """The number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "source": self.source,
            "summary": self.summary,
            "fingerprint": self.fingerprint,
            "images": self.images,
            "opened": self.opened,
            "seconds": self.seconds,
            "workers": self.workers,
            "images_per_second": self.images_per_second,
            "severities": {severity: self.count(severity) for severity in SEVERITIES},
            "findings": [finding.as_dict() for finding in self.findings],
            "labels": [asdict(row) for row in self.labels],
        }


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings sorted by severity, the worst first; otherwise their order stays."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def listed(names: Sequence[str], limit: int = 3) -> str:
    """The first few names as text.

    Example:
        >>> listed(["a", "b", "c", "d"])
        'a, b, c, ...'
    """
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
