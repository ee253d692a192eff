"""The page where a person corrects the photographs that the model is least sure of.

It is one file that opens in any browser, without a network. What is corrected is saved by the
browser as a table, to be given again as examples.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final
from urllib.parse import quote

import numpy as np

from manylabel.errors import ImageError
from manylabel.html import environment
from manylabel.images import open_image
from manylabel.labelling.doubt import WORST, doubt
from manylabel.labelling.tables import HEADER, MARK, TO_CHECK
from manylabel.predict import Prediction

_SIDE: Final = 360
"""The longest side, in pixels, of the pictures on the page."""
_LINES: Final = 5
"""A photograph shows at least so many labels, if there are so many."""


@final
@dataclass(frozen=True)
class Line:
    """A label of a photograph, as the page shows it.

    Args:
        position: The position of the label.
        score: Its score, 0..1.
        threshold: Its threshold, 0..1.
        decided: Whether it is predicted.
        doubtful: Whether it is one of those that the photograph is shown for.
    """

    position: int
    score: float
    threshold: float
    decided: bool
    doubtful: bool


@final
@dataclass(frozen=True)
class Card:
    """A photograph on the page.

    Args:
        image: Its name.
        link: The address of its file, relative to the page.
        picture: A small JPEG in base64; empty if the file cannot be read any more.
        lines: Its labels, the highest score first.
    """

    image: str
    link: str
    picture: str
    lines: tuple[Line, ...]


@final
@dataclass(frozen=True)
class Content:
    """What the page shows.

    Args:
        title: The name of the folder of photographs.
        labels: All labels.
        cards: The photographs, the most doubtful first.
        facts: Names and values of the figures at the top.
        command: The command that takes the corrections.
    """

    title: str
    labels: Sequence[str]
    cards: Sequence[Card]
    facts: Sequence[tuple[str, str]]
    command: str


def make_card(
    prediction: Prediction, file: Path, thresholds: Sequence[float], beside: Path
) -> Card:
    """A photograph with its labels.

    Args:
        prediction: The scores and labels.
        file: The image file.
        thresholds: The threshold of each label.
        beside: The folder of the page.
    """
    link = quote(Path(os.path.relpath(os.path.realpath(file), os.path.realpath(beside))).as_posix())
    return Card(prediction.key, link, _picture(file), _lines(prediction, thresholds))


def render(content: Content) -> str:
    """The page as HTML."""
    payload = {
        "images": [card.image for card in content.cards],
        "labels": list(content.labels),
        "header": HEADER,
        "mark": MARK,
        "source": TO_CHECK,
    }
    return environment().get_template("label.html.j2").render(page=content, payload=payload)


def _lines(prediction: Prediction, thresholds: Sequence[float]) -> tuple[Line, ...]:
    """The predicted labels, the doubtful ones, and others until there are enough."""
    doubtful = set(
        np.argsort(-doubt(prediction.scores, thresholds), kind="stable")[:WORST].tolist()
    )
    order = np.argsort(-prediction.scores, kind="stable").tolist()
    chosen = {i for i in order if prediction.decided[i]} | doubtful
    for i in order:
        if len(chosen) >= _LINES:
            break
        chosen.add(i)
    return tuple(
        Line(
            i,
            float(prediction.scores[i]),
            float(thresholds[i]),
            bool(prediction.decided[i]),
            i in doubtful,
        )
        for i in order
        if i in chosen
    )


def _picture(file: Path) -> str:
    try:
        image = open_image(file)
    except ImageError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=78)
    return base64.b64encode(stream.getvalue()).decode("ascii")
