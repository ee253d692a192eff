"""The lists that the authors of SRN published: images in one text file, their labels in another.

    nus_wide/
        nus_wide_train_imglist.txt      actor/0001_2124494179.jpg 3
        nus_wide_train_label.txt        0 1 0 0 1 0 1 ...
        nus_wide_test_imglist.txt
        nus_wide_test_label.txt
        nus_test_accessible.mat         idx_final_test: the test images that are evaluated

Source: the evaluation and the tools in the repository zhufengx/SRN_multilabel. They give the names
and the contents of the files. They do not give the order of the label columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import (
    Listing,
    as_key,
    choose_folder,
    count_lines,
    join,
    name_labels,
    note,
    read_integers,
    require_equal_counts,
    shorten,
)
from manylabel.data.formats.matlab import load_mat
from manylabel.data.records import SPLITS, Records, Split
from manylabel.errors import DataError
from manylabel.files import read_lines
from manylabel.labels import PRESENT, UNKNOWN

_IMAGES_END: Final = "_imglist.txt"
_LABELS_END: Final = "_label.txt"
_MASK: Final = "nus_test_accessible.mat"
_MASK_VARIABLE: Final = "idx_final_test"
_LINE: Final = re.compile(r"(?P<key>\S.*?)\s+(?P<count>-?\d{1,6})", re.ASCII)


def find_srn_lists(path: Path) -> Path | None:
    """`path`, if it is an image list of the authors or a folder of such lists; else None."""
    if path.is_dir():
        return path if any(_split_of(file) for file in path.glob(f"*{_IMAGES_END}")) else None
    return path if _split_of(path) else None


def read_srn_lists(
    path: Path, *, images: Path | None = None, label_names: Path | None = None
) -> Records:
    """The images of the lists `<name>_{train,val,test}_imglist.txt`, in their order.

    In a label file with only 0 and 1, 0 is absent and 1 is present. If -1 occurs in a file, 1 is
    present, -1 is absent, and 0 is unspecified, which is read as unknown. The names of the labels
    are the numbers of their columns, from 1, unless `label_names` is given. Test images that are
    not in `nus_test_accessible.mat` are dropped.

    Args:
        path: The folder of the lists, or one image list.
        images: The folder that the paths in the lists are relative to, if it is not beside the
            lists.
        label_names: A text file with the name of each column, one per line.

    Raises:
        DataError: There are no lists, or lists of several data sets; a label file is missing,
            malformed or of another length; the positives of an image are not as many as its list
            says; an image is listed twice; none of the images is found.
        MissingExtraError: There is a MATLAB file, but scipy is not installed.
    """
    files = _find_lists(path)
    notes = [f"Splits: {', '.join(f'{_split_of(file)} from {file.name}' for file in files)}"]
    listings = [_read_list(file, images, notes) for file in files]
    first = listings[0]
    for other in listings[1:]:
        if other.targets.shape[1] != first.targets.shape[1]:
            raise DataError(
                "The lists have different numbers of labels, "
                f"{first.targets.shape[1]} and {other.targets.shape[1]}.",
                where=f"{_label_file(first.file)} and {_label_file(other.file)}",
                fix="Give the lists of a single data set.",
            )
    labels = name_labels(first.targets.shape[1], label_names, start=1)
    if label_names is None:
        notes.append("Labels are the numbers of their columns, because the lists have no names")
    records = Records.of(labels, join(listings), str(path))
    repeats = count_lines(listings) - len(records)
    empty = int((~(records.targets == PRESENT).any(axis=1)).sum())
    notes += [
        *note("Images that are listed again with the same labels, left out", repeats),
        *note("Images without a present label, kept", empty),
    ]
    return records.with_notes(*notes)


def _split_of(file: Path) -> Split | None:
    """The split of an image list, by its name; None if the file is not an image list."""
    name = file.name.removesuffix(_IMAGES_END)
    if name == file.name:
        return None
    found: list[Split] = [split for split in SPLITS if name.endswith(f"_{split}")]
    return found[0] if found else None


def _label_file(file: Path) -> Path:
    """The label file of an image list."""
    return file.with_name(file.name.removesuffix(_IMAGES_END) + _LABELS_END)


def _find_lists(path: Path) -> list[Path]:
    """The image lists in the order train, val, test."""
    if not path.is_dir():
        if _split_of(path) is None:
            raise DataError(
                f"The name of the file is not <name>_train{_IMAGES_END}, nor with val or test.",
                where=str(path),
                fix="Give an image list, or the folder of the lists.",
            )
        return [path]
    files = sorted(file for file in path.glob(f"*{_IMAGES_END}") if _split_of(file))
    if not files:
        raise DataError(
            f"The folder has no image lists <name>_train{_IMAGES_END}.",
            where=str(path),
            fix="Give the folder of the lists.",
        )
    names = sorted({file.name.rsplit("_", 2)[0] for file in files})
    if len(names) > 1:
        raise DataError(
            f"The folder has the lists of several data sets: {', '.join(names)}.",
            where=str(path),
            fix="Put the lists of each data set into a separate folder.",
        )
    return sorted(files, key=lambda file: SPLITS.index(_split_of(file) or "train"))


def _read_list(file: Path, images: Path | None, notes: list[str]) -> Listing:
    """The images of one split, without those that the mask excludes."""
    lines, keys, counts = _read_images(file)
    values = read_integers(_label_file(file))
    require_equal_counts({file: len(keys), _label_file(file): len(values)})
    _require_positives(file, lines, counts, values)
    if (values < 0).any():
        notes.append(
            f"{_label_file(file).name} contains -1, so 1 is present, -1 is absent and 0 is "
            f"unknown: {(values == 0).sum():,} of {values.size:,} targets"
        )
        values = np.choose(values + 1, (0, UNKNOWN, PRESENT)).astype(np.int8)
    split = _split_of(file)
    kept = np.flatnonzero(_mask(file, len(keys), notes))
    keys = [keys[i] for i in kept]
    folder = choose_folder([images] if images else _places(file.parent), keys, file)
    return Listing(
        file=file,
        lines=[lines[i] for i in kept],
        keys=keys,
        images=[folder / key for key in keys],
        splits=[split for _ in keys],
        targets=values[kept],
    )


def _places(home: Path) -> list[Path]:
    """The folders that may have the images, if the lists are in the folder `home`."""
    return [
        base / name for base in (home, home.parent) for name in ("", "images", "Flickr", "Image")
    ]


def _read_images(file: Path) -> tuple[list[int], list[str], NDArray[np.int64]]:
    """For each line, its number, the path of the image, and its number of labels."""
    lines, keys, counts = [], [], []
    for number, line in read_lines(file):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(
                f"The line is {shorten(line)}, not a path and a number of labels.",
                where=f"{file}, line {number}",
                fix="Write it like this: actor/0001_2124494179.jpg 3",
            )
        lines.append(number)
        keys.append(as_key(match["key"]))
        counts.append(int(match["count"]))
    return lines, keys, np.array(counts, dtype=np.int64)


def _require_positives(
    file: Path, lines: Sequence[int], counts: NDArray[np.int64], values: NDArray[np.int8]
) -> None:
    """Refuse lists that do not agree in each line. So a list with a lost line is found.

    The image list has a number for each image. The check of the authors compares it with the sum
    of the line of labels. In a file with -1, this sum is not the number of positives. It is not
    known which of the two the list has, so both are accepted.
    """
    positives = (values > 0).sum(axis=1)
    if np.array_equal(counts, positives) or np.array_equal(counts, values.sum(axis=1)):
        return
    at = int(np.flatnonzero(counts != positives)[0])
    raise DataError(
        f"The image has {counts[at]} labels in the image list, but {positives[at]} in the label "
        "file.",
        where=f"{file}, line {lines[at]}, and {_label_file(file)}, line {_line_of_row(file, at)}",
        fix="Download both files again: they do not belong together, or one has lost a line.",
    )


def _line_of_row(file: Path, row: int) -> int:
    return read_lines(_label_file(file))[row][0]


def _mask(file: Path, count: int, notes: list[str]) -> NDArray[np.bool_]:
    """Which images of the list are kept, bool [N]. Without a mask, all are."""
    mask_file = file.with_name(_MASK)
    if _split_of(file) != "test" or not mask_file.exists():
        return np.ones(count, dtype=bool)
    mask, kind = _as_mask(_load_variable(mask_file), count, mask_file, file)
    if not mask.any():
        raise _mask_error(mask_file, "keeps no image")
    notes.append(f"{_MASK} ({kind}) keeps {mask.sum():,} of {count:,} test images")
    return mask


def _load_variable(file: Path) -> NDArray[Any]:
    """The variable of the mask, from a MATLAB file."""
    variables = load_mat(file, [_MASK_VARIABLE])
    if _MASK_VARIABLE not in variables:
        raise _mask_error(file, "is not in the file")
    try:
        return np.array(variables[_MASK_VARIABLE])
    except ValueError:  # The cells have different shapes.
        raise _mask_error(file, "does not contain numbers") from None


def _as_mask(value: Any, count: int, file: Path, listed: Path) -> tuple[NDArray[np.bool_], str]:
    """The mask, bool [N], and the form that it has in the file, in words.

    MATLAB selects rows by a logical vector or by indices from 1. Both forms are read.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif" or not value.size:
        raise _mask_error(file, "does not contain numbers")
    flat = value.ravel()
    # scipy returns a logical vector as uint8. Two or more values of 0 and 1 cannot be indices.
    if np.isin(flat, (0, 1)).all() and (flat.size > 1 or count == 1):
        require_equal_counts({file: flat.size, listed: count})
        return flat.astype(bool), "a vector of 0 and 1"
    if not (np.isin(flat, np.arange(1, count + 1)).all() and np.unique(flat).size == flat.size):
        raise _mask_error(file, f"is neither indices nor a 0 or 1 for each of {count:,} images")
    mask = np.zeros(count, dtype=bool)
    mask[flat.astype(np.int64) - 1] = True
    return mask, "indices from 1"


def _mask_error(file: Path, what: str) -> DataError:
    return DataError(
        f"The variable {_MASK_VARIABLE!r} {what}.",
        where=str(file),
        fix="Use the file and the list of the authors together. If the list has only images that "
        "are to be evaluated, move the file to another folder.",
    )
