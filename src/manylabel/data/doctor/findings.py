"""What the doctor finds: one fault each, with its weight, its examples and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, final

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
"""Worst first. An error spoils training or its measurement for certain; a warning does so if it is
not meant; a note is worth knowing."""

SHOWN: Final = 10
"""Examples that a finding shows; its `data` holds all."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Args:
        kind: Part and name, for programs: "duplicates.leak".
        severity: How bad it is.
        what: The finding in one sentence.
        count: How many images, labels or pairs it is about.
        fix: What to do.
        examples: The first few keys, labels or pairs, as text.
        pairs: Keys of two images that are to be seen side by side, the first few.
        data: All of it, ready for JSON.
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
        label: Its name.
        positives: Images that have it, by split ("all" where the data set has none).
        known: Images of which it is known whether they have it.
        total: All images.
    """

    label: str
    positives: Mapping[str, int]
    known: int
    total: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found in a data set.

    Args:
        source: Where it was read from.
        summary: What its reader understood, one paragraph.
        fingerprint: Hash of its image list and targets.
        images: Number of images.
        opened: How many of them were opened: all or none.
        seconds: What opening and comparing them took.
        workers: Threads that opened them.
        labels: A row a label.
        findings: The worst first.
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
        """How fast images were opened and compared; None where none was."""
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
    """The worst first; those of one severity in the order in which they were found."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def counted(number: int, thing: str, things: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "image"), counted(1200, "image"), counted(2, "entry", "entries")
        ('1 image', '1,200 images', '2 entries')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def listed(names: Sequence[str], limit: int = 3) -> str:
    """The first few names as text.

    Example:
        >>> listed(["a", "b", "c", "d"])
        'a, b, c, ...'
    """
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
