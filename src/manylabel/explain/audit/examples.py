"""The images of a pair that say most, with their pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

from PIL import Image

from manylabel.explain.audit.regions import Pixels

EXAMPLES: Final = 4
"""The largest number of examples of a pair that are kept."""
_THUMBNAIL: Final = 176
"""The longest side of an example's pictures in pixels."""


@final
@dataclass(frozen=True, slots=True)
class Example:
    """One image of a pair: as it is, with the companion hidden, and with another place hidden.

    Args:
        key: The image's key.
        present: Whether the label is present.
        scores: The label's score in each of the three, 0..1.
        predicted: Whether the label is predicted in each of the three.
        pictures: The three as JPEG files, in the shape of the model's input.
    """

    key: str
    present: bool
    scores: tuple[float, float, float]
    predicted: tuple[bool, bool, bool]
    pictures: tuple[bytes, bytes, bytes]

    @property
    def because(self) -> bool:
        """Whether the label is absent, and predicted only while the companion can be seen."""
        return not self.present and self.predicted == (True, False, True)

    @property
    def effect(self) -> float:
        """By how much the score falls if the companion is hidden and not another place."""
        return self.scores[2] - self.scores[1]


Pictures = tuple[Pixels, Pixels, Pixels]


def keep(examples: list[Example], example: Example, pictures: Callable[[], Pictures]) -> None:
    """Put an example among the few best, if it is one of them. Only then are pictures made."""

    def worth(each: Example) -> tuple[bool, float]:
        return each.because, each.effect

    if len(examples) == EXAMPLES and worth(example) <= worth(examples[-1]):
        return
    first, second, third = map(_thumbnail, pictures())
    examples.append(replace(example, pictures=(first, second, third)))
    examples.sort(key=worth, reverse=True)
    del examples[EXAMPLES:]


def _thumbnail(pixels: Pixels) -> bytes:
    image, stream = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()
