"""Scores that were computed anywhere, read from a file and set beside the truth by name.

table (.csv .tsv .parquet)   a column `image`, then one column a label
NumPy (.npz)                 arrays `images` [N], `labels` [C] and `scores` [N, C]
lists (.txt)                 C numbers a line, beside a list of images: SRN's authors' format
COCO results (.json)         objects of image_id, category_id and score, beside the instances
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.parsing import (
    Entry,
    entries,
    listed_entries,
    load_json,
    load_object,
    read_bytes,
    read_lines,
    read_text,
)
from manylabel.data.records import Records
from manylabel.errors import DataError, MissingExtraError
from manylabel.labels import LabelSpace

_SHOWN: Final = 3

_NPZ_DAMAGE: Final = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, SyntaxError, MemoryError),
    *(NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error),
)
"""NumPy and zipfile raise all of these on truncated or mutated files."""

IMAGE_COLUMN: Final = "image"


@final
@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of images by label.

    Args:
        keys: The N images, each once.
        labels: The C labels.
        scores: float [N, C], 0..1.
        source: The file, for messages.
        notes: What reading it decided, a sentence each.
    """

    keys: tuple[str, ...]
    labels: LabelSpace
    scores: NDArray[np.floating[Any]]
    source: str
    notes: tuple[str, ...] = ()


def read_predictions(
    path: Path,
    *,
    logits: bool = False,
    image_list: Path | None = None,
    label_names: Path | None = None,
    instances: Path | None = None,
) -> Predictions:
    """The predictions in a file; its ending says of which kind it is.

    Args:
        path: The file.
        logits: The numbers are logits, and become scores by the sigmoid; they are scores else.
        image_list: Lists only: a file with the path of an image as the first word of each line.
        label_names: Lists only: a file with a label a line; without it they are called 1 to C.
        instances: COCO results only: the instances file whose ids they speak of.

    Raises:
        DataError: The file cannot be read as its ending says, an image comes twice, a number is
            missing, NaN or infinite, or scores lie outside of 0..1.
        MissingExtraError: Parquet without pyarrow.
    """
    notes: tuple[str, ...] = ()
    match path.suffix.lower():
        case ".csv" | ".tsv":
            keys, labels, values = _read_table(path)
        case ".parquet":
            keys, labels, values = _read_parquet(path)
        case ".npz":
            keys, labels, values = _read_npz(path)
        case ".txt":
            keys, labels, values = _read_lists(path, image_list, label_names)
        case ".json":
            keys, labels, values, notes = _read_coco_results(path, instances)
        case _:
            raise DataError(
                f"The ending {path.suffix!r} is of no kind of predictions that is known.",
                where=str(path),
                fix="Give .csv, .tsv, .parquet, .npz, .txt (with a list of images) or .json.",
            )
    keys = [_key(key) for key in keys]
    _require_once(keys, path)
    _require_finite(values, keys, labels, path)
    scores = _sigmoid(values) if logits else values
    if not logits:
        _require_scores(scores, path)
    return Predictions(tuple(keys), LabelSpace(labels, where=str(path)), scores, str(path), notes)


def write_predictions(path: Path, predictions: Predictions) -> Path:
    """Write predictions as CSV, TSV, Parquet or NPZ, by the path's ending; scores keep every bit.

    Raises:
        DataError: The ending is none of these, or the file cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    writers = {".csv": _write_csv, ".tsv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(path.suffix.lower(), _write_npz if path.suffix == ".npz" else None)
    if write is None:
        raise DataError(
            f"Predictions cannot be written with the ending {path.suffix!r}.",
            where=str(path),
            fix="Give .csv, .tsv, .parquet or .npz.",
        )
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(unfinished, predictions)
        unfinished.replace(path)
    except OSError as error:
        raise DataError(
            f"The predictions cannot be written: {error.strerror or error}.",
            where=str(path),
            fix="Make room or name another file.",
        ) from None
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def matched(
    predictions: Predictions, truth: Records, *, common: bool = False
) -> tuple[Predictions, Records]:
    """The predictions in the truth's order of images and labels, and the truth.

    Matched by image key and by label name, never by position.

    Args:
        predictions: As read.
        truth: The images with their targets.
        common: Keep the images that both have, where they differ.

    Raises:
        DataError: The label sets differ; or the images do, and `common` is not set; or there is
            no common image.
    """
    _require_labels(predictions, truth)
    row_of = {key: row for row, key in enumerate(predictions.keys)}
    missing = [key for key in truth.keys if key not in row_of]
    known = set(truth.keys)
    foreign = [key for key in predictions.keys if key not in known]
    if (missing or foreign) and not common:
        raise _other_images(predictions, truth, missing, foreign)
    items = tuple(record for record in truth.items if record.key in row_of)
    if not items:
        raise _other_images(predictions, truth, missing, foreign)
    rows = [row_of[record.key] for record in items]
    columns = [predictions.labels.index(name) for name in truth.labels]
    note = f"Images that only one side has, left out: {len(missing) + len(foreign):,}"
    notes = (*truth.notes, note) if missing or foreign else truth.notes
    kept = Records(truth.labels, items, truth.source, notes)
    scores = predictions.scores[np.ix_(rows, columns)]
    found = Predictions(
        tuple(kept.keys), truth.labels, scores, predictions.source, predictions.notes
    )
    return found, kept


def _read_table(path: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    text = read_text(path)
    header_line = text.partition("\n")[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header_line.count)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    if len(rows) < 2:
        raise DataError(
            "The table has no rows.",
            where=str(path),
            fix=f"Give a header, {IMAGE_COLUMN!r} and the labels, and a row for each image.",
        )
    header, *body = rows
    names = [name.strip() for name in header]
    column = _image_column(names, path)
    labels = names[:column] + names[column + 1 :]
    keys = []
    values = np.empty((len(body), len(labels)))
    for number, row in enumerate(body):
        if len(row) != len(names):
            raise DataError(
                f"The row has {len(row)} cells and the header {len(names)}.",
                where=f"{path}, row {number + 2}",
                fix="Give each row a number for each label.",
            )
        keys.append(row[column].strip())
        cells = row[:column] + row[column + 1 :]
        try:
            values[number] = [float(cell) for cell in cells]
        except ValueError:
            raise _no_number(path, number, labels, cells) from None
    return keys, labels, values


def _no_number(path: Path, number: int, labels: list[str], cells: list[str]) -> DataError:
    for label, cell in zip(labels, cells, strict=True):
        try:
            float(cell)
        except ValueError:
            return DataError(
                f"{cell!r} is no number.",
                where=f"{path}, row {number + 2}, column {label!r}",
                fix="Give each image a score for each label; leave out columns that are no label.",
            )
    raise AssertionError("every cell is a number")


def _image_column(names: Sequence[str], path: Path) -> int:
    if IMAGE_COLUMN in names:
        return names.index(IMAGE_COLUMN)
    raise DataError(
        f"There is no column {IMAGE_COLUMN!r}.",
        where=str(path),
        fix=f"Call the column of images {IMAGE_COLUMN!r}; every other column is a label.",
    )


def _read_parquet(path: Path) -> tuple[list[str], list[str], NDArray[np.floating[Any]]]:
    pyarrow, parquet = _parquet()
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise DataError(
            "The file does not exist.", where=str(path), fix="Check the path."
        ) from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"The file is no Parquet: {str(error).splitlines()[0]}",
            where=str(path),
            fix="Write it again; it may have been cut short.",
        ) from None
    column = _image_column(table.column_names, path)
    labels = [name for name in table.column_names if name != IMAGE_COLUMN]
    for name in labels:
        kind = table.schema.field(name).type
        if not (pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)):
            raise DataError(
                f"The column {name!r} is {kind}, not numbers.",
                where=str(path),
                fix="Leave out columns that are no label.",
            )
    keys = [str(key) for key in table.column(column).to_pylist()]
    columns = [table.column(name).to_numpy() for name in labels]
    return keys, labels, np.stack(columns, axis=1) if columns else np.empty((len(keys), 0))


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            "Parquet files need pyarrow, which is not installed.",
            where="predictions",
            fix="pip install 'manylabel[parquet]'",
        ) from None
    return pyarrow, parquet


def _read_npz(path: Path) -> tuple[list[str], list[str], NDArray[np.floating[Any]]]:
    data = io.BytesIO(read_bytes(path))
    try:
        with np.load(data, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except _NPZ_DAMAGE as error:
        raise DataError(
            f"The file is no NPZ of plain arrays: {error}.",
            where=str(path),
            fix="Write it with numpy.savez(images=..., labels=..., scores=...).",
        ) from None
    missing = [name for name in ("images", "labels", "scores") if name not in found]
    if missing:
        raise DataError(
            f"There is no array {missing[0]!r}; there are {', '.join(found) or 'none'}.",
            where=str(path),
            fix="Write it with numpy.savez(images=..., labels=..., scores=...).",
        )
    images, labels, scores = found["images"], found["labels"], found["scores"]
    if scores.ndim != 2 or scores.shape != (images.size, labels.size) or scores.dtype.kind != "f":
        raise DataError(
            f"There are {images.size:,} images and {labels.size:,} labels, but the scores are "
            f"{scores.dtype} {list(scores.shape)}.",
            where=str(path),
            fix="Give float scores, one row an image and one column a label.",
        )
    return [str(key) for key in images], [str(name) for name in labels], scores


def _read_lists(
    path: Path, image_list: Path | None, label_names: Path | None
) -> tuple[list[str], list[str], NDArray[np.float64]]:
    if image_list is None:
        raise DataError(
            "A list of numbers does not say which images they are of.",
            where=str(path),
            fix="Give the list of images with --image-list, a path a line in the same order.",
        )
    keys = [line.split()[0] for _, line in read_lines(image_list)]
    lines = read_lines(path)
    if len(lines) != len(keys):
        raise DataError(
            f"There are {len(lines):,} lines of numbers and {len(keys):,} images.",
            where=f"{path} and {image_list}",
            fix="Give the list that belongs to the numbers.",
        )
    rows = [_numbers(line, f"{path}, line {number}") for number, line in lines]
    width = len(rows[0]) if rows else 0
    for (number, _), row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise DataError(
                f"The line has {len(row)} numbers and the first {width}.",
                where=f"{path}, line {number}",
                fix="Give a number for each label in every line.",
            )
    names = [str(i + 1) for i in range(width)]
    if label_names is not None:
        names = [line for _, line in read_lines(label_names)]
        if len(names) != width:
            raise DataError(
                f"There are {len(names)} names for {width} columns.",
                where=f"{label_names} and {path}",
                fix="Give a label a line, in the order of the columns.",
            )
    return keys, names, np.array(rows, dtype=np.float64).reshape(len(keys), width)


def _numbers(line: str, where: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise DataError(
            f"The line holds something else than numbers: {error}.",
            where=where,
            fix="Give C numbers a line, separated by blanks.",
        ) from None


def _read_coco_results(
    path: Path, instances: Path | None
) -> tuple[list[str], list[str], NDArray[np.float64], tuple[str, ...]]:
    """Image names, labels, scores and a note; a pair that is not listed has score 0.

    Of several results for one image and category, as a detector gives them, the best one counts.
    """
    if instances is None:
        raise DataError(
            "COCO results speak of ids, and no file says what they stand for.",
            where=str(path),
            fix="Give the COCO instances file as the targets.",
        )
    document = load_object(instances, "a COCO instances file")
    names = [
        (entry.integer("id"), entry.text("name"))
        for entry in entries(document, "categories", instances)
    ]
    images = [
        (entry.integer("id"), entry.text("file_name"))
        for entry in entries(document, "images", instances)
    ]
    names.sort()
    column_of = {number: column for column, (number, _) in enumerate(names)}
    row_of = {number: row for row, (number, _) in enumerate(images)}
    listed = load_json(path)
    if not isinstance(listed, list):
        raise DataError(
            "The file does not hold a JSON list.",
            where=str(path),
            fix="Give a list of objects with image_id, category_id and score.",
        )
    scores = np.zeros((len(images), len(names)))
    given = np.zeros(scores.shape, dtype=np.bool_)
    for entry in listed_entries(listed, "results", path):
        row, column = _place(entry, "image_id", row_of), _place(entry, "category_id", column_of)
        scores[row, column] = max(scores[row, column], entry.number("score"))
        given[row, column] = True
    note = f"Pairs of image and label without a result, score 0: {int((~given).sum()):,}"
    notes = (note,) if not given.all() else ()
    return [file for _, file in images], [name for _, name in names], scores, notes


def _place(entry: Entry, key: str, places: dict[int, int]) -> int:
    place = places.get(entry.integer(key))
    if place is None:
        raise entry.unfit(key, "an id of the instances file")
    return place


def _write_csv(path: Path, predictions: Predictions) -> None:
    separator = "\t" if ".tsv." in path.name else ","
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow([IMAGE_COLUMN, *predictions.labels])
        for key, row in zip(predictions.keys, predictions.scores, strict=True):
            writer.writerow([key, *map(repr, row.tolist())])


def _write_parquet(path: Path, predictions: Predictions) -> None:
    pyarrow, parquet = _parquet()
    columns: dict[str, Any] = {IMAGE_COLUMN: list(predictions.keys)}
    columns |= {
        name: predictions.scores[:, column] for column, name in enumerate(predictions.labels)
    }
    parquet.write_table(pyarrow.table(columns), path)


def _write_npz(path: Path, predictions: Predictions) -> None:
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            images=np.array(predictions.keys),
            labels=np.array(predictions.labels.names),
            scores=predictions.scores,
        )


def _key(name: str) -> str:
    """An image's name as the readers of data sets give it."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _sigmoid(logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    # Of -|x|, which cannot overflow.
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))


def _require_once(keys: Sequence[str], path: Path) -> None:
    seen: set[str] = set()
    twice = list(dict.fromkeys(key for key in keys if key in seen or seen.add(key)))
    if twice:
        raise DataError(
            f"{len(twice):,} images come more than once: {_some(twice)}.",
            where=str(path),
            fix="Keep one row an image.",
        )


def _require_finite(
    values: NDArray[Any], keys: Sequence[str], labels: Sequence[str], path: Path
) -> None:
    faulty = ~np.isfinite(values)
    if faulty.any():
        shown = [
            f"{keys[row]}, {labels[column]}: {values[row, column]}"
            for row, column in np.argwhere(faulty)[:_SHOWN]
        ]
        raise DataError(
            f"{int(faulty.sum()):,} of {values.size:,} scores are NaN or infinite: "
            f"{'; '.join(shown)}.",
            where=str(path),
            fix="Find out where the model diverged or half precision overflowed.",
        )


def _require_scores(scores: NDArray[Any], path: Path) -> None:
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        raise DataError(
            f"{int(outside.sum()):,} of {scores.size:,} scores lie outside of 0..1; they reach "
            f"from {scores.min():.4g} to {scores.max():.4g}.",
            where=str(path),
            fix="If they are logits, say so with --logits.",
        )


def _require_labels(predictions: Predictions, truth: Records) -> None:
    missing = [name for name in truth.labels if name not in predictions.labels]
    extra = [name for name in predictions.labels if name not in truth.labels]
    if not (missing or extra):
        return
    parts = []
    if missing:
        parts.append(f"{len(missing):,} without predictions ({_some(missing)})")
    if extra:
        parts.append(f"{len(extra):,} without targets ({_some(extra)})")
    raise DataError(
        f"The labels differ: {' and '.join(parts)}.",
        where=f"{predictions.source} and {truth.source}",
        fix="Give both for the same labels; their order does not matter.",
    )


def _other_images(
    predictions: Predictions, truth: Records, missing: Sequence[str], foreign: Sequence[str]
) -> DataError:
    parts = []
    if missing:
        parts.append(f"{len(missing):,} have targets but no predictions ({_some(missing)})")
    if foreign:
        parts.append(f"{len(foreign):,} have predictions but no targets ({_some(foreign)})")
    return DataError(
        f"The images differ: {' and '.join(parts)}.",
        where=f"{predictions.source} and {truth.source}",
        fix="Give both for the same images, take one --split of the targets, or say --common.",
    )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
