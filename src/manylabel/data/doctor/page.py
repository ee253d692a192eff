"""One HTML file that shows a diagnosis; it opens anywhere, offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from manylabel.data.doctor.findings import SEVERITIES, Diagnosis, Finding
from manylabel.data.records import Record, Records
from manylabel.errors import ImageError
from manylabel.html import environment, write_html
from manylabel.images import open_image
from manylabel.labels import LabelSpace

_THUMBNAIL: Final = 200
"""Longest side in pixels of the pictures that the page shows."""

_PAIRS: Final = 6
"""Pairs of pictures that the page shows of one finding."""


def write_page(path: Path, diagnosis: Diagnosis, records: Records) -> Path:
    """Write the diagnosis as one self-contained HTML file, and give its path back.

    Raises:
        RunError: The file cannot be written.
    """
    return write_html(path, render(diagnosis, records))


def render(diagnosis: Diagnosis, records: Records) -> str:
    """The diagnosis as HTML; thumbnails are made of the images of `records`."""
    shown = _shown(diagnosis.findings, records)
    pictures = {record.key: _thumbnail(record) for record in shown}
    return (
        environment()
        .get_template("doctor.html.j2")
        .render(
            diagnosis=diagnosis,
            severities=SEVERITIES,
            pictures={key: picture for key, picture in pictures.items() if picture is not None},
            about={record.key: _about(record, records.labels) for record in shown},
            shown_pairs=_PAIRS,
        )
    )


def _shown(findings: Iterable[Finding], records: Records) -> list[Record]:
    """The images that are shown in a pair."""
    keys = {key for finding in findings for pair in finding.pairs[:_PAIRS] for key in pair}
    return list(records.select_keys(keys))


def _thumbnail(record: Record) -> str | None:
    """None if the image has gone since it was looked at."""
    try:
        image = open_image(record.image)
    except ImageError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _about(record: Record, labels: LabelSpace) -> str:
    """What is written below a thumbnail: its split and labels."""
    names = ", ".join(labels.decode(record.targets)) or "no label"
    return f"{record.split}: {names}" if record.split else names
