"""The tables of labels that people read, change and give back as examples.

All begin with the columns image, labels and source. The source says where the labels come from:

    given      a person's: an example
    to check   the model's, for a person to correct: an example once the table is given back
    predicted  the model's: never an example, since a model must not learn from its own guesses
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TextIO, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.tabular import path_key
from manylabel.data.formats.text_table import read_rows
from manylabel.data.records import Records
from manylabel.errors import DataError
from manylabel.labels import UNKNOWN, LabelSpace
from manylabel.text import for_spreadsheet, from_spreadsheet

MARK: Final = "|"
"""What stands between two labels of a cell."""
HEADER: Final = ("image", "labels", "source")
GIVEN: Final = "given"
PREDICTED: Final = "predicted"
TO_CHECK: Final = "to check"
COLUMNS: Final = 50
"""With more labels, only the best scores of a photograph are written, in one column."""
BEST: Final = 10


@final
class Table:
    """Writes a table row by row.

    Args:
        stream: A text stream.
        scored: The labels whose scores are written; None: no scores.
    """

    def __init__(self, stream: TextIO, scored: LabelSpace | None = None) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._scored = scored
        self._wide = scored is not None and len(scored) <= COLUMNS
        self._write([*HEADER, *self._headers()])

    def row(
        self,
        image: str,
        labels: Iterable[str],
        source: str,
        scores: NDArray[np.float32] | None = None,
    ) -> None:
        """Write a row.

        Args:
            image: The name of the image.
            labels: Its labels.
            source: `GIVEN`, `PREDICTED` or `TO_CHECK`.
            scores: The scores [C] of the scored labels; None: there are none for this image.
        """
        self._write([image, MARK.join(labels), source, *self._cells(scores)])

    def _headers(self) -> list[str]:
        """Each begins with a word, so that a label such as "split" is not taken for a role."""
        if self._scored is None:
            return []
        return [f"score: {label}" for label in self._scored] if self._wide else ["best scores"]

    def _cells(self, scores: NDArray[np.float32] | None) -> list[str]:
        if self._scored is None or scores is None:
            return [""] * len(self._headers())
        if self._wide:
            return [f"{score:.4f}" for score in scores]
        best = np.argsort(-scores, kind="stable")[:BEST].tolist()
        return [f" {MARK} ".join(f"{self._scored[i]} {scores[i]:.4f}" for i in best)]

    def _write(self, cells: Sequence[str]) -> None:
        self._writer.writerow([for_spreadsheet(cell) for cell in cells])


def write_examples(stream: TextIO, records: Records) -> None:
    """Write all examples, to be given again.

    Labels are in one column. Only if some are unknown, each label has a column of 1, 0 and -1.
    """
    if not (records.targets == UNKNOWN).any():
        table = Table(stream)
        for key, targets in zip(records.keys, records.targets, strict=True):
            table.row(key, records.labels.decode(targets), GIVEN)
        return
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", *map(for_spreadsheet, records.labels)])
    for key, targets in zip(records.keys, records.targets, strict=True):
        writer.writerow([for_spreadsheet(key), *targets.tolist()])


def is_ours(path: Path) -> bool:
    """Whether a table is one of these.

    Raises:
        DataError: The file is not a table, or cannot be read.
    """
    return path.suffix.lower() in (".csv", ".tsv") and (
        next(_rows(path), (0, []))[1][:3] == list(HEADER)
    )


def read_ours(path: Path) -> tuple[list[tuple[str, tuple[str, ...]]], int]:
    """The examples of one of these tables, each an image and its labels.

    Also the number of rows that say `predicted`, which are no examples.

    Raises:
        DataError: A row does not fit the header, or has no image.
    """
    found, guesses = list[tuple[str, tuple[str, ...]]](), 0
    for line, cells in islice(_rows(path), 1, None):
        if len(cells) < len(HEADER) or not cells[0]:
            raise DataError(
                "The row has no image." if cells and not cells[0] else "The row is too short.",
                where=f"{path}, line {line}",
                fix=f"Give each row an image, its labels with {MARK!r} between them, and a source.",
            )
        if cells[2].lower() == PREDICTED:
            guesses += 1
            continue
        names = dict.fromkeys(part.strip() for part in cells[1].split(MARK))
        found.append((path_key(cells[0]), tuple(filter(None, names))))
    return found, guesses


def require_plain(labels: LabelSpace, where: str) -> None:
    """Check that labels can be joined in a cell.

    Raises:
        DataError: A label contains the mark that stands between labels.
    """
    marked = [label for label in labels if MARK in label]
    if marked:
        raise DataError(
            f"The label {marked[0]!r} contains {MARK!r}, which stands between labels in tables.",
            where=where,
            fix="Rename the label in the examples.",
        )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each row."""
    for row in read_rows(path):
        yield row.line, [from_spreadsheet(cell.strip()) for cell in row.cells]
