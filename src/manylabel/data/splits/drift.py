"""Measures how much the label frequencies of splits differ from those of the whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import SPLITS, Records
from manylabel.labels import PRESENT
from manylabel.text import visible

SHOWN: Final = 10
"""The number of labels that the table shows: those with the largest drift."""


@final
@dataclass(frozen=True)
class Drift:
    """The distribution of the images, and of the positives of each label, over the splits.

    Each split has a fraction of all images and a fraction of a label's positives. The drift of a
    label is the largest difference of these two fractions over the splits. It is 0 if the label is
    equally frequent in all splits.

    Args:
        labels: The C labels.
        splits: The K splits.
        images: int64 [K], images of each split.
        positives: int64 [K, C], positives of each label in each split; unknown targets are none.
    """

    labels: tuple[str, ...]
    splits: tuple[str, ...]
    images: NDArray[np.int64]
    positives: NDArray[np.int64]

    @property
    def of_labels(self) -> NDArray[np.float64]:
        """The drift of each label, [C], 0..1; NaN if it has no positive."""
        totals = self.positives.sum(axis=0)
        shares = self.positives / np.where(totals > 0, totals, np.nan)
        return np.abs(shares - (self.images / self.images.sum())[:, None]).max(axis=0)

    @property
    def mean(self) -> float:
        """The mean drift of the labels that have positives; 0 if none has."""
        known = self.of_labels[np.isfinite(self.of_labels)]
        return float(known.mean()) if len(known) else 0.0

    @property
    def worst(self) -> float:
        """The largest drift of a label; 0 if no label has positives."""
        return float(np.nanmax(self.of_labels, initial=0.0))

    def missing(self) -> list[str]:
        """Labels that have positives, but not in every split."""
        incomplete = (self.positives == 0).any(axis=0) & (self.positives > 0).any(axis=0)
        return [self.labels[c] for c in np.flatnonzero(incomplete)]

    def as_dict(self) -> dict[str, Any]:
        """All values, ready for JSON."""
        return {
            "images": dict(zip(self.splits, self.images.tolist(), strict=True)),
            "mean": self.mean,
            "worst": self.worst,
            "missing": self.missing(),
            "labels": {
                label: {
                    "positives": dict(zip(self.splits, counts, strict=True)),
                    "drift": drift if np.isfinite(drift) else None,
                }
                for label, counts, drift in zip(
                    self.labels, self.positives.T.tolist(), self.of_labels.tolist(), strict=True
                )
            },
        }

    def table(self) -> str:
        """A table of the labels with the largest drift, and a line about all labels."""
        drifts = self.of_labels
        order = np.argsort(-drifts, kind="stable")[:SHOWN].tolist()  # NaN last
        head = ("", *self.splits, "drift")
        images = ("images", *(f"{count:,}" for count in self.images), "")
        rows = [
            (
                visible(self.labels[c]),
                *(f"{count:,}" for count in self.positives[:, c]),
                f"{drifts[c]:.2%}" if np.isfinite(drifts[c]) else "-",
            )
            for c in order
        ]
        return "\n".join([*_aligned([head, images, *rows]), self._summary()])

    def _summary(self) -> str:
        more = len(self.labels) - SHOWN
        text = f"Drift of {len(self.labels):,} labels: mean {self.mean:.2%}, worst {self.worst:.2%}"
        text += f"; the {SHOWN} worst are shown." if more > 0 else "."
        missing = self.missing()
        if missing:
            shown = visible(", ".join(missing[:5])) + (", ..." if len(missing) > 5 else "")
            text += f"\nLabels without a positive in some split: {len(missing):,} ({shown})."
        return text


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; the first column is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        line = name.ljust(widths[0])
        for cell, width in zip(cells, widths[1:], strict=True):
            line += f"  {cell:>{width}}"
        lines.append(line.rstrip())
    return lines


def drift(
    targets: NDArray[np.int8],
    assignment: NDArray[np.integer],
    *,
    labels: Sequence[str],
    splits: Sequence[str],
) -> Drift:
    """Measures how evenly the labels are distributed over splits.

    Args:
        targets: int8 [N, C] in {1, 0, -1}.
        assignment: [N], the split of each row, as its position in `splits`.
        labels: [C], names.
        splits: [K], names.
    """
    present = targets == PRESENT
    kinds = range(len(splits))
    return Drift(
        labels=tuple(labels),
        splits=tuple(splits),
        images=np.bincount(assignment, minlength=len(splits)).astype(np.int64),
        positives=np.stack([np.count_nonzero(present[assignment == k], axis=0) for k in kinds]),
    )


def drift_of(records: Records) -> Drift:
    """Measures how evenly the labels are distributed over the splits of a data set.

    Records without a split are left out.
    """
    splits = records.split_names()
    place = np.full(len(records), -1)
    for position, name in enumerate(splits):
        place[records.splits == SPLITS.index(name)] = position
    known = place >= 0
    return drift(records.targets[known], place[known], labels=records.labels.names, splits=splits)
