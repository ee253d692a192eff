"""Reads predictions from a file, writes them, and matches them with targets by name.

table (.csv .tsv .parquet)   a column `image`, then one column per label; as CSV, also what
                             `manylabel predict` writes as spreadsheet and csv
NumPy (.npz)                 arrays `images` [N], `labels` [C] and `scores` [N, C]
lists (.txt)                 C numbers per line, with a list of images: SRN's authors' format
COCO results (.json)         objects of image_id, category_id and score, with the instances file
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.decide import sigmoid
from manylabel.errors import DataError
from manylabel.evaluate.predictions.csv_table import read_table
from manylabel.evaluate.predictions.files import (
    WRITERS,
    read_coco_results,
    read_lists,
    read_npz,
    read_parquet,
)
from manylabel.files import replaced_file, write_errors
from manylabel.labels import LabelSpace
from manylabel.text import counted

_SHOWN: Final = 3


@final
@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of images by label.

    Args:
        keys: The keys of the N images, each once.
        labels: The C labels.
        scores: float [N, C], 0..1.
        source: The file, for messages.
        notes: What was decided in reading the file, a sentence each.
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
    """The predictions in a file. The suffix of the path gives the format.

    Args:
        path: The file.
        logits: Whether the numbers are logits. They then become scores by the sigmoid.
        image_list: For lists: a file with the path of an image as the first word of each line.
        label_names: For lists: a file with one label per line. Without it, labels are named 1 to C.
        instances: For COCO results: the instances file that defines their ids.

    Raises:
        DataError: The file cannot be read in this format, an image occurs twice, a number is
            missing, NaN or infinite, or a score is outside 0..1.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    notes: tuple[str, ...] = ()
    match path.suffix.lower():
        case ".csv" | ".tsv":
            keys, labels, values, notes = read_table(path)
        case ".parquet":
            keys, labels, values = read_parquet(path)
        case ".npz":
            keys, labels, values = read_npz(path)
        case ".txt":
            keys, labels, values = read_lists(path, image_list, label_names)
        case ".json":
            keys, labels, values, notes = read_coco_results(path, instances)
        case _:
            raise DataError(
                f"{path.suffix!r} is not the suffix of a known format of predictions.",
                where=str(path),
                fix="Give .csv, .tsv, .parquet, .npz, .txt (with a list of images) or .json.",
            )
    keys = [_key(key) for key in keys]
    _require_once(keys, path)
    _require_finite(values, keys, labels, path)
    scores = sigmoid(values) if logits else values
    if not logits:
        _require_scores(scores, path)
    return Predictions(tuple(keys), LabelSpace(labels, where=str(path)), scores, str(path), notes)


def write_predictions(path: Path, predictions: Predictions) -> Path:
    """Write predictions as CSV, TSV, Parquet or NPZ, without rounding, and return the path.

    Args:
        path: The path; its suffix gives the format.
        predictions: The predictions.

    Raises:
        DataError: The suffix is none of these.
        RunError: The file cannot be written.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    write = writer_for(path)
    with (
        write_errors(path, "The predictions"),
        replaced_file(path) as unfinished,
    ):
        write(unfinished, predictions)
    return path


def writer_for(path: Path) -> Callable[[Path, Predictions], None]:
    """The function that writes predictions in the format of `path`, to exactly the path it gets.

    Raises:
        DataError: The suffix is none of those that can be written.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise DataError(
            f"Predictions cannot be written to a file with the suffix {path.suffix!r}.",
            where=str(path),
            fix=f"Give {', '.join(WRITERS)}.",
        )
    return lambda out, found: write(out, found.keys, found.labels.names, found.scores)


def matched(
    predictions: Predictions, truth: Records, *, common: bool = False
) -> tuple[Predictions, Records]:
    """The predictions in the order of the targets, and the targets.

    Images are matched by key and labels by name, never by position.

    Args:
        predictions: The predictions as read from a file.
        truth: The images with their targets.
        common: Whether to keep only the images that both have, if the images differ.

    Raises:
        DataError: The label sets differ; or the images differ and `common` is false; or there is no
            common image.
    """
    _require_labels(predictions, truth)
    row_of = {key: row for row, key in enumerate(predictions.keys)}
    missing = [key for key in truth.keys if key not in row_of]
    known = set(truth.keys)
    foreign = [key for key in predictions.keys if key not in known]
    if (missing or foreign) and not common:
        raise _other_images(predictions, truth, missing, foreign)
    kept = truth.select_keys(row_of)
    if not len(kept):
        raise _other_images(predictions, truth, missing, foreign)
    rows = [row_of[key] for key in kept.keys]
    columns = [predictions.labels.index(name) for name in truth.labels]
    if missing or foreign:
        left_out = len(missing) + len(foreign)
        kept = kept.with_notes(f"Images left out because only one side has them: {left_out:,}")
    scores = _chosen(predictions.scores, rows, columns)
    found = Predictions(kept.keys, truth.labels, scores, predictions.source, predictions.notes)
    return found, kept


def _chosen(
    scores: NDArray[np.floating[Any]], rows: list[int], columns: list[int]
) -> NDArray[np.floating[Any]]:
    """Some rows and columns of the scores. They are not copied if the order is already right."""
    same = rows == list(range(scores.shape[0])) and columns == list(range(scores.shape[1]))
    return scores if same else scores[np.ix_(rows, columns)]


def _key(name: str) -> str:
    """An image's key in the form that the readers of data sets use."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _require_once(keys: Sequence[str], path: Path) -> None:
    seen: set[str] = set()
    twice = list(dict.fromkeys(key for key in keys if key in seen or seen.add(key)))
    if twice:
        raise DataError(
            f"{counted(len(twice), 'image')} occur{'s' if len(twice) == 1 else ''} more than once: "
            f"{some_names(twice)}.",
            where=str(path),
            fix="Keep one row for each image.",
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
            f"{int(outside.sum()):,} of {scores.size:,} scores are outside 0..1; the range is "
            f"{scores.min():.4g} to {scores.max():.4g}.",
            where=str(path),
            fix="If they are logits, add --logits.",
        )


def _require_labels(predictions: Predictions, truth: Records) -> None:
    missing = [name for name in truth.labels if name not in predictions.labels]
    extra = [name for name in predictions.labels if name not in truth.labels]
    if not (missing or extra):
        return
    parts = []
    if missing:
        parts.append(f"{len(missing):,} without predictions ({some_names(missing)})")
    if extra:
        parts.append(f"{len(extra):,} without targets ({some_names(extra)})")
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
        parts.append(f"{len(missing):,} have targets but no predictions ({some_names(missing)})")
    if foreign:
        parts.append(f"{len(foreign):,} have predictions but no targets ({some_names(foreign)})")
    return DataError(
        f"The images differ: {' and '.join(parts)}.",
        where=f"{predictions.source} and {truth.source}",
        fix="Give both for the same images, choose a --split of the targets, or add --common.",
    )


def some_names(names: Iterable[str]) -> str:
    """The first names of a list, as text for a message."""
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
