"""Reads a data set of any known kind. All commands and recipes read data sets through it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Literal, final

from pydantic import Field

from manylabel.config import Config
from manylabel.data.formats.label_cells import LabelText, MissingWords
from manylabel.data.formats.table_settings import TABLE_SETTINGS
from manylabel.data.label_sets import apply, read_label_set
from manylabel.data.readers.celeba import find_celeba, read_celeba
from manylabel.data.readers.coco import Unlabelled, find_coco, read_coco
from manylabel.data.readers.fiftyone import find_fiftyone, read_fiftyone
from manylabel.data.readers.folder import find_folder, read_folder
from manylabel.data.readers.huggingface import find_huggingface, read_huggingface
from manylabel.data.readers.imagefolder import find_imagefolder, read_imagefolder
from manylabel.data.readers.label_studio import find_label_studio, read_label_studio
from manylabel.data.readers.nus_wide import Truth, find_nus_wide, read_nus_wide
from manylabel.data.readers.openimages import find_openimages, read_openimages
from manylabel.data.readers.pa100k import find_pa100k, read_pa100k
from manylabel.data.readers.parquet import find_parquet, read_parquet
from manylabel.data.readers.roboflow import find_roboflow, read_roboflow
from manylabel.data.readers.srn_lists import find_srn_lists, read_srn_lists
from manylabel.data.readers.table import find_table, read_table
from manylabel.data.readers.visual_genome import find_visual_genome, read_visual_genome
from manylabel.data.readers.voc import Difficult, find_voc, read_voc
from manylabel.data.readers.webdataset import find_webdataset, read_webdataset
from manylabel.data.readers.wider_attribute import find_wider_attribute, read_wider_attribute
from manylabel.data.records import Records
from manylabel.errors import ConfigError, DataError, os_errors_as

Format = Literal[
    "nus-wide",
    "srn-lists",
    "wider-attribute",
    "visual-genome-500",
    "openimages",
    "celeba",
    "pa100k",
    "label-studio",
    "voc",
    "fiftyone",
    "imagefolder",
    "roboflow",
    "coco",
    "table",
    "parquet",
    "huggingface",
    "webdataset",
    "folder",
]


class DataSource(Config):
    """Where a data set is and how to read it."""

    path: Path
    """A file or a folder. docs/data.md describes the kinds of data sets."""
    format: Literal["auto"] | Format = "auto"
    """The kind of data set. With auto, it is recognised from `path` and the files in it."""
    images: Path | None = None
    """The folder that image paths are relative to, if it is not the folder of the table or JSON."""
    image_column: str | None = Field(default=None, min_length=1)
    """Table: header of the column of image paths. Label Studio: the key of a task's image."""
    label_column: str | None = Field(default=None, min_length=1)
    """Table: header of the column that holds all labels of an image. Label Studio: the labelling
    control that is read."""
    label_delimiter: str | None = Field(default=None, min_length=1)
    """Table: the separator between two labels in that column."""
    split_column: str | None = Field(default=None, min_length=1)
    """Table: header of the column of splits."""
    ignored_columns: tuple[str, ...] = ()
    """Table: headers of columns that are not used."""
    missing_words: MissingWords = "no-label"
    """Table: what words such as nan, None and N/A are in a column of labels: no-label or label."""
    label_cells: LabelText = "auto"
    """Table: with text, each cell of labels is taken as it is written, also brackets, quotes and
    numbers; with auto, lists are read, and doubtful cells are refused."""
    subset: str | None = Field(default=None, min_length=1)
    """Hugging Face: the configuration, if the data set on the hub has several."""
    difficult: Difficult = "unknown"
    """Pascal VOC: the target of a label if all its objects in the image are marked difficult."""
    unlabelled: Unlabelled = "keep"
    """COCO, NUS-WIDE: whether images without any label are kept or dropped."""
    truth: Truth = "groundtruth"
    """NUS-WIDE: which files give the labels: the annotators' decisions, or the owners' tags."""
    label_names: Path | None = None
    """SRN's lists, Visual Genome-500, table: a text file with the names of the labels, one per
    line."""
    label_set: Path | None = None
    """A TOML file that renames, merges, implies, drops or orders labels; see docs/label-sets.md."""


@final
@dataclass(frozen=True)
class Reader:
    """How one kind of data set is recognised and read.

    Args:
        read: Reads the records. It takes the path, and the settings by name.
        find: Takes a path. Returns the path to give to `read` if a data set of this kind seems to
            be there, else None. It decides by names alone, unless the kind says otherwise.
        settings: The names of the settings of `DataSource` that `read` takes.
        lists: Patterns of the names of folders that hold lists only. The images are then beside
            such a folder.
    """

    read: Callable[..., Records]
    find: Callable[[Path], Path | None]
    settings: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


READERS: Final[Mapping[Format, Reader]] = {
    "nus-wide": Reader(read_nus_wide, find_nus_wide, ("images", "truth", "unlabelled")),
    "srn-lists": Reader(read_srn_lists, find_srn_lists, ("images", "label_names"), lists=("*",)),
    "wider-attribute": Reader(
        read_wider_attribute, find_wider_attribute, ("images",), lists=("*",)
    ),
    "visual-genome-500": Reader(
        read_visual_genome, find_visual_genome, ("images", "label_names"), lists=("*",)
    ),
    "openimages": Reader(read_openimages, find_openimages, ("images",)),
    "celeba": Reader(read_celeba, find_celeba, ("images",), lists=("Anno", "Eval")),
    "pa100k": Reader(read_pa100k, find_pa100k, ("images",), lists=("annotation",)),
    "label-studio": Reader(
        read_label_studio, find_label_studio, ("images", "image_column", "label_column")
    ),
    "voc": Reader(read_voc, find_voc, ("difficult",)),
    "fiftyone": Reader(read_fiftyone, find_fiftyone, ("images",)),
    "imagefolder": Reader(read_imagefolder, find_imagefolder, ("images", "label_column")),
    "roboflow": Reader(read_roboflow, find_roboflow),
    "coco": Reader(read_coco, find_coco, ("images", "unlabelled"), lists=("annotations",)),
    "table": Reader(
        read_table,
        find_table,
        ("images", *TABLE_SETTINGS),
    ),
    "parquet": Reader(
        read_parquet,
        find_parquet,
        ("images", *TABLE_SETTINGS),
    ),
    "huggingface": Reader(
        read_huggingface,
        find_huggingface,
        ("subset", "image_column", "label_column", "split_column", "ignored_columns"),
    ),
    "webdataset": Reader(read_webdataset, find_webdataset),
    "folder": Reader(read_folder, find_folder),
}
"""The readers by kind, in the order in which the kinds are tried."""


def read(source: DataSource) -> Records:
    """The records of a data set.

    Raises:
        DataError: The data set does not exist, is of no known kind, or has a mistake.
        ConfigError: A setting is given that this kind of data set does not have.

    Example:
        `read(DataSource(path=Path("photos.csv"))).summary()`
    """
    fix = "Check the path and its permissions."
    with os_errors_as(DataError, "The data set cannot be read", where=source.path, fix=fix):
        records = _read(source)
    _require_text(records)
    if source.label_set is None:
        return records
    return apply(read_label_set(source.label_set), records, where=str(source.label_set))


def _read(source: DataSource) -> Records:
    """The records as the reader of their kind gives them."""
    if source.format == "auto":
        kind, path = recognise(source.path)
    else:
        kind, path = source.format, source.path
    reader = READERS[kind]
    _require_settings_apply(source, kind, reader)
    settings: dict[str, Any] = {name: getattr(source, name) for name in reader.settings}
    return replace(reader.read(path, **settings), folders=_folders(source, reader))


def recognise(path: Path) -> tuple[Format, Path]:
    """The kind of the data set at `path`, and the path to give to its reader.

    Raises:
        DataError: The path does not exist, or the data set is of no known kind.
    """
    if not path.exists():
        raise DataError("The data set does not exist.", where=str(path), fix="Check the path.")
    for kind, reader in READERS.items():
        found = reader.find(path)
        if found is not None:
            return kind, found
    item = "folder" if path.is_dir() else f"file with the ending {path.suffix!r}"
    raise DataError(
        f"The {item} is not a data set of a known kind.",
        where=str(path),
        fix=f"Give its kind with --format: {', '.join(READERS)}. Images alone are not enough: "
        "training needs labels.",
    )


def _folders(source: DataSource, reader: Reader) -> tuple[Path, ...]:
    """The folders that the user named: that of the data set and that of the images."""
    folder = source.path if source.path.is_dir() else source.path.parent
    whole = Path(os.path.abspath(folder))
    beside = any(fnmatch(whole.name, pattern) for pattern in reader.lists)
    images = () if source.images is None else (source.images,)
    return (whole.parent if beside else whole, *images)


def _require_settings_apply(source: DataSource, kind: Format, reader: Reader) -> None:
    """Refuse a setting that the reader would ignore."""
    for name, declared in DataSource.model_fields.items():
        value = getattr(source, name)
        if name in {"path", "format", "label_set", *reader.settings} or value == declared.default:
            continue
        raise ConfigError(
            f"The setting {name!r} does not apply to a data set of the kind {kind!r}.",
            where=str(source.path),
            fix=f"Remove it. Settings that apply: {', '.join(reader.settings) or 'none'}.",
        )


def _require_text(records: Records) -> None:
    """Refuse keys and labels that no text file or path can hold."""
    for name in (*records.labels, *records.keys):
        try:
            fault = "holds a NUL character" if b"\0" in name.encode() else None
        except UnicodeEncodeError:
            fault = "is not valid Unicode"
        if fault:
            raise DataError(f"The name {name!r} {fault}.", where=records.source, fix="Rename it.")
