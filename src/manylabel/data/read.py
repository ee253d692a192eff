"""Reads a data set of any known kind: the one door for commands and recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from manylabel.config import Config
from manylabel.data.coco import read_coco
from manylabel.data.folder import read_folder
from manylabel.data.records import Records
from manylabel.data.table import read_table
from manylabel.data.voc import Difficult, read_voc
from manylabel.errors import ConfigError, DataError

Format = Literal["table", "coco", "voc", "folder"]


class DataSource(Config):
    """Where a data set lies and how to read it."""

    path: Path
    """A CSV or TSV table, a COCO JSON file, or a folder."""
    format: Literal["auto"] | Format = "auto"
    """The kind of data set; auto recognises it by what lies there."""
    images: Path | None = None
    """The folder that image paths start from, where that is not beside the table or JSON."""
    image_column: str | None = Field(default=None, min_length=1)
    """Table: header of the column of image paths."""
    label_column: str | None = Field(default=None, min_length=1)
    """Table: header of the column that holds all labels of an image."""
    label_delimiter: str | None = Field(default=None, min_length=1)
    """Table: what stands between two labels of that column."""
    split_column: str | None = Field(default=None, min_length=1)
    """Table: header of the column of splits."""
    difficult: Difficult = "unknown"
    """Pascal VOC: the target of a label all of whose objects in an image are marked difficult."""


@dataclass(frozen=True)
class _Reader:
    """A reader and the settings of `DataSource` that it takes."""

    read: Callable[..., Records]
    settings: tuple[str, ...] = ()


READERS: Final[Mapping[Format, _Reader]] = {
    "table": _Reader(
        read_table,
        ("images", "image_column", "label_column", "label_delimiter", "split_column"),
    ),
    "coco": _Reader(read_coco, ("images",)),
    "voc": _Reader(read_voc, ("difficult",)),
    "folder": _Reader(read_folder),
}


def read(source: DataSource) -> Records:
    """The records of a data set.

    Raises:
        DataError: It is not there, is of no known kind, or cannot be read as it is.
        ConfigError: A setting was changed that this kind of data set does not have.

    Example:
        `read(DataSource(path=Path("photos.csv"))).summary()`
    """
    if source.format == "auto":
        kind, path = recognise(source.path)
    else:
        kind, path = source.format, source.path
    reader = READERS[kind]
    _require_settings_apply(source, kind, reader)
    settings: dict[str, Any] = {name: getattr(source, name) for name in reader.settings}
    records = reader.read(path, **settings)
    _require_text(records)
    return records


def recognise(path: Path) -> tuple[Format, Path]:
    """The kind of data set that `path` is, by names alone, and the path that its reader takes.

    Raises:
        DataError: Nothing is there, or nothing that is known.
    """
    if path.is_dir():
        return _recognise_folder(path)
    if not path.exists():
        raise DataError("The data set does not exist.", where=str(path), fix="Check the path.")
    kinds: dict[str, Format] = {".csv": "table", ".tsv": "table", ".json": "coco"}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"The ending {path.suffix!r} is of no data set that is known.",
            where=str(path),
            fix="Give a .csv or .tsv table, a COCO .json or a folder, or say what it is with "
            f"format: {', '.join(READERS)}.",
        )
    return kind, path


def _recognise_folder(path: Path) -> tuple[Format, Path]:
    if _is_voc(path) or any(map(_is_voc, [*path.glob("VOC*"), *path.glob("VOCdevkit/VOC*")])):
        return "voc", path
    if any(path.glob("instances_*.json")) or any(path.glob("annotations/instances_*.json")):
        return "coco", path
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in {".csv", ".tsv"})
    if len(tables) == 1:
        return "table", tables[0]
    if tables:
        raise DataError(
            f"The folder holds {len(tables)} tables: {', '.join(t.name for t in tables[:5])}.",
            where=str(path),
            fix="Give the one that is meant by its own path; put splits into a column 'split'.",
        )
    if any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir()):
        return "folder", path
    raise DataError(
        "The folder holds no data set that is known. Looked for: Annotations and JPEGImages "
        "(Pascal VOC), instances_*.json (COCO), one .csv or .tsv table, a folder for each label.",
        where=str(path),
        fix="Give one of these; images alone have no labels to learn from.",
    )


def _is_voc(path: Path) -> bool:
    return (path / "Annotations").is_dir() and (path / "JPEGImages").is_dir()


def _require_settings_apply(source: DataSource, kind: Format, reader: _Reader) -> None:
    """A setting that would be passed over is a mistake, not a wish."""
    for name, declared in DataSource.model_fields.items():
        value = getattr(source, name)
        if name in {"path", "format", *reader.settings} or value == declared.default:
            continue
        raise ConfigError(
            f"The setting {name!r} does not apply to a data set of the kind {kind!r}.",
            where=str(source.path),
            fix=f"Leave it out. Settings that do: {', '.join(reader.settings) or 'none'}.",
        )


def _require_text(records: Records) -> None:
    """Keys and labels are written to files later: names that no text file can hold stop here."""
    for name in (*records.labels, *records.keys):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"The name {name!r} is not valid Unicode.",
                where=records.source,
                fix="Rename it.",
            ) from None
