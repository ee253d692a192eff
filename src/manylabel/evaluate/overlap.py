"""Which images of a data set a model has seen: in training, in validation, and in tuning.

Figures of images that a model was trained on say little about new images. Images are compared by
what they show (see `images.content`), so that other paths, splits and formats hide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from manylabel.bundle.seen import SEEN_FILE, SeenImages
from manylabel.errors import DataError
from manylabel.text import counted

NEAR_COPIES = (
    "Copies that were resized or saved with loss were not looked for: `manylabel data check` finds "
    "them in a data set that has train and test"
)
UNKNOWN = (
    f"The bundle does not say which images it was trained on (it is older, or its {SEEN_FILE} is "
    "missing), so such images are not left out"
)


@final
@dataclass(frozen=True)
class Overlap:
    """How many of N images a model has seen. An image counts in the first of the parts that has it.

    Args:
        images: N.
        trained: The number of images that the weights were trained on; None: not known.
        validated: The number of images that validation chose by.
        tuned: The number of images that thresholds or calibration were fitted to.
        kept: Whether the images that the weights were trained on are kept.
    """

    images: int
    trained: int | None = None
    validated: int = 0
    tuned: int = 0
    kept: bool = False

    def sentences(self) -> list[str]:
        """What users are told, without full stops."""
        if self.trained is None:
            return [UNKNOWN]
        return [*self._of_training(), *self._of_choices(), NEAR_COPIES]

    def receipt(self) -> dict[str, Any]:
        """The fields of a `Receipt`."""
        if self.trained is None:
            return {}
        return {
            "trained_on": self.trained,
            "trained_kept": self.kept if self.trained else None,
            "validated_on": self.validated,
            "tuned_on": self.tuned,
        }

    def _of_training(self) -> list[str]:
        validated = f" ({self.validated:,} validated on)"
        if not self.trained:
            validated = validated if self.validated else " or validated on"
            return [f"None of {counted(self.images, 'image')} was trained on{validated}"]
        were = "was" if self.trained == 1 else "were"
        seen = f"{self.trained:,} of {counted(self.images, 'image')} {were} trained on{validated}"
        if self.kept:
            return [f"{seen}. They are kept, so expect lower figures for new images"]
        return [f"{seen}. They are left out; --keep-trained keeps them"]

    def _of_choices(self) -> list[str]:
        found = []
        if self.validated:
            found.append(
                f"{counted(self.validated, 'image')} of validation chose the model, such as its "
                "best epoch, so figures may be a little too high"
            )
        if self.tuned:
            found.append(
                f"The thresholds were tuned on {counted(self.tuned, 'image')} of these, so figures "
                "of decisions may be a little too high"
            )
        return found


def find_overlap(
    seen: SeenImages | None, contents: NDArray[np.uint64], *, keep: bool
) -> tuple[Overlap, NDArray[np.bool_]]:
    """How many of N images a model has seen, and which of them are measured, bool [N].

    Args:
        seen: The images that the model has seen; None: not known.
        contents: uint64 [N], hashes of `images.content`.
        keep: Whether to keep the images that the model was trained on.
    """
    every = np.ones(len(contents), dtype=np.bool_)
    if seen is None:
        return Overlap(len(contents)), every
    trained = seen.trained_among(contents)
    validated = seen.validated_among(contents) & ~trained
    tuned = seen.tuned_among(contents) & ~trained
    counts = (int(np.count_nonzero(part)) for part in (trained, validated, tuned))
    return Overlap(len(contents), *counts, kept=keep), every if keep else ~trained


def require_unseen(overlap: Overlap, *, where: str) -> None:
    """Check that images are left if those that the model was trained on are left out.

    Raises:
        DataError: All of them were trained on.
    """
    if overlap.images and overlap.trained == overlap.images and not overlap.kept:
        raise DataError(
            f"The model was trained on all of the {counted(overlap.images, 'image')}, so none is "
            "left: what is found for them does not hold for new images.",
            where=where,
            fix="Give images that it was not trained on, such as --split test or --split val; or "
            "keep these with --keep-trained, if that is what you want.",
        )
