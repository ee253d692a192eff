"""The settings with which a table is read, from CSV and from Parquet alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from manylabel.data.formats.label_cells import CellRules, LabelText, MissingWords
from manylabel.data.formats.tabular import NamedColumns

TABLE_SETTINGS: Final = (
    *("image_column", "label_column", "label_delimiter", "split_column", "ignored_columns"),
    *("missing_words", "label_cells", "label_names"),
)
"""The names of the settings; those of the fields below."""


@final
@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """How a table is read.

    Args:
        image_column: Header of the column of image paths.
        label_column: Header of the column that holds all labels of a row.
        label_delimiter: The separator between two labels.
        split_column: Header of the column of splits: train, val, valid, validation, test or empty.
        ignored_columns: Headers of columns that are not used.
        missing_words: Whether words such as nan and None are no label, or are labels.
        label_cells: `text`: brackets, quotes and numbers are names as they are written.
        label_names: A text file with all labels in order, one on each line.
    """

    image_column: str | None = None
    label_column: str | None = None
    label_delimiter: str | None = None
    split_column: str | None = None
    ignored_columns: Sequence[str] = ()
    missing_words: MissingWords = "no-label"
    label_cells: LabelText = "auto"
    label_names: Path | None = None

    def columns(self) -> NamedColumns:
        """The columns that are named."""
        return NamedColumns(
            self.image_column, self.label_column, self.split_column, self.ignored_columns
        )

    def rules(self) -> CellRules:
        """How cells with names of labels are read."""
        return CellRules(
            self.label_delimiter, self.missing_words, self.label_cells, self.label_names
        )
