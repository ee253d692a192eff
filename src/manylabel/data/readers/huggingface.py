"""A data set of Hugging Face `datasets`: saved on disk, in Parquet files, or on the hub.

    scenes/                     saved with save_to_disk      scenes/
        dataset_dict.json                                        train-00000-of-00001.parquet
        train/  test/                                            test-00000-of-00001.parquet

or a name on the hub, org/name. Images stay in the Arrow files in their encoded form. They are read
one at a time.

Source: https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from manylabel.data.formats.arrow import is_text, texts
from manylabel.data.formats.arrow_labels import (
    ArrowLabels,
    labels_in_classes,
    labels_in_column,
    labels_in_columns,
)
from manylabel.data.formats.hub_folders import is_saved, load_parquet_files, load_saved
from manylabel.data.formats.lists import require_distinct
from manylabel.data.formats.tabular import (
    IMAGE_NAMES,
    LABEL_NAMES,
    find_column,
    listed,
    named_column,
    path_key,
    split_or_none,
)
from manylabel.data.records import Record, Records, Split, split_of
from manylabel.errors import DataError, MissingExtraError, reason, to_install
from manylabel.images import Place, Stored
from manylabel.images.places import read_file

_TRIED: Final = 20
"""If the data set has paths of images, one of this many first images must exist."""
_HUB_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def find_huggingface(path: Path) -> Path | None:
    """`path`, if it was saved with save_to_disk or is a folder of Parquet files; else None."""
    if not path.is_dir():
        return None
    places = ("*.parquet", "data/*.parquet")
    return path if is_saved(path) or any(any(path.glob(place)) for place in places) else None


def read_huggingface(
    path: Path,
    *,
    subset: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    ignored_columns: Sequence[str] = (),
) -> Records:
    """The rows of all splits of a Hugging Face data set.

    The labels of an image can be given in three ways:

    - A list of class indexes or of names. All other labels are absent.
    - One class index. All other labels are absent. With -1 or null, all labels are unknown.
    - A column for each label, of booleans, or of 1, 0, -1 and nulls.

    Class names keep their order. Names in lists are sorted alphabetically. The splits are those of
    the data set, unless `split_column` is given. The key is the path of the image, if a column has
    paths. Otherwise it is the split and the row, for example `train/17`.

    Args:
        path: A folder, a Parquet file, or the name on the hub, org/name.
        subset: The configuration, if the data set on the hub has several.
        image_column: Name of the column of images, which has encoded images or paths.
        label_column: Name of the column that holds all labels of an image.
        split_column: Name of a column of splits.
        ignored_columns: Names of columns that are not used.

    Raises:
        DataError: The data set does not exist, cannot be loaded (offline, or no access), or is
            damaged; a column is missing or has values of another kind.
        MissingExtraError: datasets is not installed.
    """
    parts = _load(path, subset)
    columns = _choose_columns(parts, str(path), image_column, label_column, split_column)
    parts = _without(parts, ignored_columns)
    table = _truth_table(parts, columns, str(path))
    if not table.num_rows:
        raise DataError("The data set has no rows.", where=str(path), fix="Give one with images.")
    labels = _labels(parts[0].dataset.features, table, columns, str(path))
    splits = _splits(parts, table, columns, path)
    places = (place for part in parts for place in _places(part, columns, path))
    items = (
        Record(key, image, targets, split)
        for (key, image), targets, split in zip(places, labels.targets, splits, strict=True)
    )
    records = Records.of(labels.space, items, str(path))
    require_distinct((key, f"{path}, row {row}") for row, key in enumerate(records.keys, start=1))
    images_note = f"Images are read from column {columns.image!r}"
    notes = (images_note, _split_note(parts, columns), *labels.notes)
    named = columns.label is not None
    return replace(records, absent_if_unnamed=named).with_notes(*notes)


@final
@dataclass(frozen=True, slots=True)
class ArrowImage(Stored):
    """An encoded image in a row of a Hugging Face data set.

    Args:
        dataset: A data set with one column, an image feature that is not decoded.
        row: The row of the image, from 0.
        name: The name of the data set and its split, for messages.
        file: The file that the row refers to; None if the row has the bytes itself.
    """

    dataset: Any
    row: int
    name: str
    file: Path | None = None

    def read(self) -> bytes:
        """The bytes of the image file, from the data set or from the file that it refers to.

        Raises:
            OSError: The row has no image, or the file cannot be read.
        """
        (cell,) = self.dataset[self.row].values()
        if cell is None:
            raise OSError("the row has no image")
        if cell["bytes"] is not None:
            return cell["bytes"]
        return read_file(cell["path"])

    def identity(self) -> str:
        """The fingerprint of the data set, which depends on its content, and the row."""
        return f"{self.dataset._fingerprint} {self.row}"

    def __str__(self) -> str:
        return f"{self.name}, row {self.row}"


@dataclass(frozen=True)
class _Part:
    """One split, as the data set names it."""

    name: str
    dataset: Any

    @property
    def split(self) -> Split | None:
        return split_of(self.name)


@dataclass(frozen=True)
class _Columns:
    image: str
    encoded: bool
    label: str | None
    split: str | None


def _datasets(where: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            "Hugging Face data sets need the package datasets, which is not installed.",
            where=where,
            fix=to_install("hub"),
        ) from None
    return datasets


def _load(path: Path, subset: str | None) -> list[_Part]:
    datasets = _datasets(str(path))
    saved = is_saved(path)
    if saved and subset is not None:
        raise DataError(
            "A data set that was saved with save_to_disk has no subsets.",
            where=str(path),
            fix="Remove the setting subset.",
        )
    if not path.exists() and not _HUB_NAME.fullmatch(path.as_posix()):
        raise DataError("The data set does not exist.", where=str(path), fix="Check the path.")
    try:
        if saved:
            loaded = load_saved(datasets, path)
        elif path.exists():
            loaded = load_parquet_files(datasets, path, subset)
        else:
            loaded = _download(datasets, path, subset)
    except DataError:
        raise
    except Exception as error:  # The library reads networks, caches and formats: anything can fail.
        raise DataError(
            f"The data set cannot be loaded: {reason(error)}.",
            where=str(path),
            fix=_load_fix(path, datasets),
        ) from None
    return [_Part(name, part) for name, part in loaded.items()]


def _download(datasets: Any, path: Path, subset: str | None) -> dict[str, Any]:
    """Load a data set of the hub."""
    loaded = datasets.load_dataset(str(path), name=subset)
    return {str(name): part for name, part in loaded.items()}


def _load_fix(path: Path, datasets: Any) -> str:
    """What the user can do if the data set cannot be loaded."""
    if path.exists():
        return "Save or download it again: it may be incomplete."
    if datasets.config.HF_HUB_OFFLINE:
        return (
            "The path does not exist, and the hub is not used, because HF_DATASETS_OFFLINE is set."
        )
    return (
        "The path does not exist. If it is a name on the hub, check the name, your network and "
        "your access rights."
    )


def _choose_columns(
    parts: Sequence[_Part], where: str, image: str | None, label: str | None, split: str | None
) -> _Columns:
    features = parts[0].dataset.features
    for part in parts[1:]:
        if part.dataset.features != features:
            raise DataError(
                f"The splits {parts[0].name!r} and {part.name!r} have different columns.",
                where=where,
                fix="Give both the same columns and class names.",
            )
    names = list(features)
    for name in (image, label, split):
        if name is not None:
            named_column(names, name, where)
    encoded = [name for name in names if type(features[name]).__name__ == "Image"]
    known = find_column(names, IMAGE_NAMES)
    chosen = image or (encoded[0] if encoded else None if known is None else names[known])
    if chosen is None:
        raise DataError(
            f"No column of images was found among {listed(names)}.",
            where=where,
            fix="Name the column with --image-column.",
        )
    found = find_column([name if name != chosen else "" for name in names], LABEL_NAMES)
    labels = label or (None if found is None else names[found])
    return _Columns(chosen, chosen in encoded, labels, split)


def _without(parts: list[_Part], ignored: Sequence[str]) -> list[_Part]:
    """The splits without columns that are not used."""
    names = [name for name in ignored if name in parts[0].dataset.features]
    return [_Part(part.name, part.dataset.remove_columns(names)) for part in parts]


def _truth_table(parts: Sequence[_Part], columns: _Columns, where: str) -> Any:
    """The columns of all splits that can hold labels or splits, as one Arrow table."""
    import pyarrow

    features = parts[0].dataset.features
    kept = [
        name for name, feature in features.items() if _is_plain(feature) and name != columns.image
    ]
    if not kept:
        raise DataError(
            f"No labels were found in the columns {listed(list(features))}.",
            where=where,
            fix="Name the column of labels with --label-column.",
        )
    tables = [part.dataset.select_columns(kept).data.table for part in parts]
    try:
        table = pyarrow.concat_tables(tables)
        table.validate(full=True)  # The files are memory-mapped: until now, nothing was checked.
    except pyarrow.ArrowException as error:
        raise DataError(
            f"The data set is damaged: {reason(error)}.",
            where=where,
            fix="Save or download it again.",
        ) from None
    return table


def _is_plain(feature: Any) -> bool:
    """Whether a column has numbers, texts, classes, or lists of them."""
    inner = getattr(feature, "feature", feature)
    return type(inner).__name__ in {"Value", "ClassLabel"}


def _labels(features: Any, table: Any, columns: _Columns, where: str) -> ArrowLabels:
    if columns.label is None:
        taken = {i for i, name in enumerate(table.column_names) if name == columns.split}
        return labels_in_columns(table, taken, where)
    if columns.label not in table.column_names:
        raise DataError(
            f"The column {columns.label!r} holds {features[columns.label]}, not labels.",
            where=where,
            fix="Name a column of classes or names with --label-column.",
        )
    position = table.column_names.index(columns.label)
    feature = features[columns.label]
    names = getattr(getattr(feature, "feature", feature), "names", None)
    if names is None:
        return labels_in_column(table, position, where)
    return labels_in_classes(table, position, names, where)


def _splits(
    parts: Sequence[_Part], table: Any, columns: _Columns, path: Path
) -> list[Split | None]:
    if columns.split is None:
        return [part.split for part in parts for _ in range(len(part.dataset))]
    where = f"{path}, column {columns.split!r}"
    cells = texts(table.column(columns.split), where)
    return [
        split_or_none(cell, lambda row=row: f"{where}, row {row}")
        for row, cell in enumerate(cells, start=1)
    ]


def _split_note(parts: Sequence[_Part], columns: _Columns) -> str:
    if columns.split is not None:
        return f"Splits are read from column {columns.split!r}"
    named = (f"{part.split or 'none'} from {part.name!r}" for part in parts)
    return f"Splits: {', '.join(named)}"


def _files(column: Any) -> list[Path | None]:
    """The file that each row of a column of images refers to; None if the row has the bytes."""
    cells = column.data.table.column(0)
    parts = dict(zip([part.name for part in cells.type], cells.flatten(), strict=True))
    rows = np.flatnonzero(parts["bytes"].is_null().to_numpy())
    files: list[Path | None] = [None] * len(cells)
    for row, path in zip(rows.tolist(), parts["path"].take(rows).to_pylist(), strict=True):
        files[row] = path and Path(path)
    return files


def _places(part: _Part, columns: _Columns, path: Path) -> Iterator[tuple[str, Place]]:
    """The key and the place of the image of each row."""
    column = part.dataset.select_columns([columns.image])
    if columns.encoded:
        column = column.cast_column(columns.image, _datasets(str(path)).Image(decode=False))
        for row, file in enumerate(_files(column)):
            yield f"{part.name}/{row}", ArrowImage(column, row, f"{path}, {part.name}", file)
        return
    where = f"{path}, {part.name}, column {columns.image!r}"
    paths = column.data.table.column(0)
    if not is_text(paths.type):
        raise DataError(
            "The column has neither images nor paths.",
            where=where,
            fix="Name the column of images with --image-column.",
        )
    root = path.parent if path.is_file() else path
    keys = [cell and path_key(cell) for cell in texts(paths, where)]
    if not any(os.path.isfile(root / key) for key in keys[:_TRIED] if key):
        raise DataError(
            f"None of the first {len(keys[:_TRIED])} images was found.",
            where=where,
            fix=f"Put the images where their paths say. The paths start from {root}.",
        )
    for row, key in enumerate(keys, start=1):
        if key is None:
            raise DataError(
                "The row has no image.", where=f"{where}, row {row}", fix="Add the path."
            )
        yield key, root / key
