"""Writes a diagnosis as one HTML file that opens in any browser, without a network."""

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
"""The longest side, in pixels, of the images on the page."""

_PAIRS: Final = 6
"""The largest number of pairs of images that the page shows for one finding."""


def write_page(path: Path, diagnosis: Diagnosis, records: Records) -> Path:
    """Write the diagnosis as one self-contained HTML file, and return its path.

    Raises:
        RunError: The file cannot be written.
    """
    return write_html(path, render(diagnosis, records))


def render(diagnosis: Diagnosis, records: Records) -> str:
    """The diagnosis as HTML; its thumbnails are made from the images of `records`."""
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
    """The records of all images that the page shows in pairs."""
    keys = {key for finding in findings for pair in finding.pairs[:_PAIRS] for key in pair}
    return list(records.select_keys(keys))


def _thumbnail(record: Record) -> str | None:
    """The image as a base64 JPEG; None if it was removed after the check."""
    try:
        image = open_image(record.image)
    except ImageError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _about(record: Record, labels: LabelSpace) -> str:
    """The caption of a thumbnail: split and labels."""
    names = ", ".join(labels.decode(record.targets)) or "no label"
    return f"{record.split}: {names}" if record.split else names
