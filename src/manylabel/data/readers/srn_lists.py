"""The lists that SRN's authors published: images in one text file, their labels in another.

    nus_wide/
        nus_wide_train_imglist.txt      actor/0001_2124494179.jpg 3
        nus_wide_train_label.txt        0 1 0 0 1 0 1 ...
        nus_wide_test_imglist.txt
        nus_wide_test_label.txt
        nus_test_accessible.mat         idx_final_test: the test images that are measured

Source: the evaluation and the tools in the repository zhufengx/SRN_multilabel, which say what the
files are called and hold. The order of the label columns is stated nowhere.
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
    """`path`, if it is an image list of the authors' or a folder of such; else None."""
    if path.is_dir():
        return path if any(_split_of(file) for file in path.glob(f"*{_IMAGES_END}")) else None
    return path if _split_of(path) else None


def read_srn_lists(
    path: Path, *, images: Path | None = None, label_names: Path | None = None
) -> Records:
    """The images of the lists `<name>_{train,val,test}_imglist.txt`, in their order.

    A label file of 0 and 1 says absent and present. One in which -1 occurs says present (1),
    absent (-1) and unspecified (0), and what is unspecified is unknown. Labels are called by the
    numbers of their columns, from 1, unless their names are given. Test images that
    `nus_test_accessible.mat` leaves out are dropped.

    Args:
        path: The folder of the lists, or one image list.
        images: The folder that the lists' paths start from, if it is not beside the lists.
        label_names: A text file with the name of each column, a line each.

    Raises:
        DataError: No lists, or those of several data sets; a label file is missing, malformed or
            of another length; an image has another number of positives than its list says; an
            image twice; none of the images is found.
        MissingExtraError: There is a mask, and scipy is not installed.
    """
    files = _find_lists(path)
    notes = [f"Splits: {', '.join(f'{_split_of(file)} from {file.name}' for file in files)}"]
    listings = [_read_list(file, images, notes) for file in files]
    first = listings[0]
    for other in listings[1:]:
        if other.targets.shape[1] != first.targets.shape[1]:
            raise DataError(
                f"The lists have {first.targets.shape[1]} and {other.targets.shape[1]} labels.",
                where=f"{_labels_of(first.file)} and {_labels_of(other.file)}",
                fix="Give lists of one data set.",
            )
    labels = name_labels(first.targets.shape[1], label_names, start=1)
    if label_names is None:
        notes.append("Labels are the numbers of their columns: the lists do not name them")
    records = Records.of(labels, join(listings), str(path))
    repeats = count_lines(listings) - len(records)
    empty = int((~(records.targets == PRESENT).any(axis=1)).sum())
    notes += [
        *note("Images that are listed again with equal labels, left out", repeats),
        *note("Images without a present label, kept", empty),
    ]
    return records.with_notes(*notes)


def _split_of(file: Path) -> Split | None:
    """The split of an image list, by its name; None if it is none."""
    name = file.name.removesuffix(_IMAGES_END)
    if name == file.name:
        return None
    found: list[Split] = [split for split in SPLITS if name.endswith(f"_{split}")]
    return found[0] if found else None


def _labels_of(file: Path) -> Path:
    """The label file of an image list."""
    return file.with_name(file.name.removesuffix(_IMAGES_END) + _LABELS_END)


def _find_lists(path: Path) -> list[Path]:
    """The image lists in the order train, val, test."""
    if not path.is_dir():
        if _split_of(path) is None:
            raise DataError(
                f"The file is not called <name>_train{_IMAGES_END}, nor val or test.",
                where=str(path),
                fix="Give an image list, or the folder that it lies in.",
            )
        return [path]
    files = sorted(file for file in path.glob(f"*{_IMAGES_END}") if _split_of(file))
    if not files:
        raise DataError(
            f"The folder holds no image lists <name>_train{_IMAGES_END}.",
            where=str(path),
            fix="Give the folder of the lists, one for each data set.",
        )
    names = sorted({file.name.rsplit("_", 2)[0] for file in files})
    if len(names) > 1:
        raise DataError(
            f"The folder holds the lists of several data sets: {', '.join(names)}.",
            where=str(path),
            fix="Put those of each into a folder of its own.",
        )
    return sorted(files, key=lambda file: SPLITS.index(_split_of(file) or "train"))


def _read_list(file: Path, images: Path | None, notes: list[str]) -> Listing:
    """One split: its images, without those that a mask leaves out."""
    lines, keys, counts = _read_images(file)
    values = read_integers(_labels_of(file))
    require_equal_counts({file: len(keys), _labels_of(file): len(values)})
    _require_positives(file, lines, counts, values)
    if (values < 0).any():
        notes.append(
            f"{_labels_of(file).name} holds -1, so that 1 is present, -1 absent, and 0 unspecified "
            f"and thus unknown: {(values == 0).sum():,} of {values.size:,} targets"
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
    """Where the images of lists in the folder `home` may lie."""
    return [
        base / name for base in (home, home.parent) for name in ("", "images", "Flickr", "Image")
    ]


def _read_images(file: Path) -> tuple[list[int], list[str], NDArray[np.int64]]:
    """Line numbers, paths, and how many labels each line says that its image has."""
    lines, keys, counts = [], [], []
    for number, line in read_lines(file):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(
                f"The line is {shorten(line)}, not a path and a number of labels.",
                where=f"{file}, line {number}",
                fix="Write, for instance: actor/0001_2124494179.jpg 3",
            )
        lines.append(number)
        keys.append(as_key(match["key"]))
        counts.append(int(match["count"]))
    return lines, keys, np.array(counts, dtype=np.int64)


def _require_positives(
    file: Path, lines: Sequence[int], counts: NDArray[np.int64], values: NDArray[np.int8]
) -> None:
    """The lists agree line by line, which they do only if neither is shifted.

    The authors' own check is of the line's sum. In a file with -1 that is another number than
    that of the positives, and it is not known which of them stands there: either is taken.
    """
    positives = (values > 0).sum(axis=1)
    if np.array_equal(counts, positives) or np.array_equal(counts, values.sum(axis=1)):
        return
    at = int(np.flatnonzero(counts != positives)[0])
    raise DataError(
        f"The image has {counts[at]} labels by its list, and {positives[at]} by its label file.",
        where=f"{file}, line {lines[at]}, and {_labels_of(file)}, line {_line_of_row(file, at)}",
        fix="Fetch both files again: they do not belong together, or one has lost a line.",
    )


def _line_of_row(file: Path, row: int) -> int:
    return read_lines(_labels_of(file))[row][0]


def _mask(file: Path, count: int, notes: list[str]) -> NDArray[np.bool_]:
    """Which of the list's images are taken, bool [N]: all, if there is no mask."""
    mask_file = file.with_name(_MASK)
    if _split_of(file) != "test" or not mask_file.exists():
        return np.ones(count, dtype=bool)
    mask, kind = _as_mask(_load_variable(mask_file), count, mask_file, file)
    if not mask.any():
        raise _unfit_mask(mask_file, "leaves no image")
    notes.append(f"{_MASK}, {kind}, keeps {mask.sum():,} of {count:,} test images")
    return mask


def _load_variable(file: Path) -> NDArray[Any]:
    """The variable of the mask in a MATLAB file."""
    variables = load_mat(file, [_MASK_VARIABLE])
    if _MASK_VARIABLE not in variables:
        raise _unfit_mask(file, "is not in the file")
    try:
        return np.array(variables[_MASK_VARIABLE])
    except ValueError:  # cells of different shapes
        raise _unfit_mask(file, "holds no numbers") from None


def _as_mask(value: Any, count: int, file: Path, listed: Path) -> tuple[NDArray[np.bool_], str]:
    """The mask, bool [N], and how the file tells it.

    MATLAB takes rows by a logical vector or by indices from 1; both are taken here.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif" or not value.size:
        raise _unfit_mask(file, "holds no numbers")
    flat = value.ravel()
    # scipy gives a logical vector as uint8; two or more of 0 and 1 are no indices.
    if np.isin(flat, (0, 1)).all() and (flat.size > 1 or count == 1):
        require_equal_counts({file: flat.size, listed: count})
        return flat.astype(bool), "a vector of 0 and 1"
    if not (np.isin(flat, np.arange(1, count + 1)).all() and np.unique(flat).size == flat.size):
        raise _unfit_mask(file, f"is neither a 0 or 1 for each of {count:,} images nor indices")
    mask = np.zeros(count, dtype=bool)
    mask[flat.astype(np.int64) - 1] = True
    return mask, "indices from 1"


def _unfit_mask(file: Path, what: str) -> DataError:
    return DataError(
        f"The variable {_MASK_VARIABLE!r} {what}.",
        where=str(file),
        fix="Give the authors' file with the authors' list, or move it away if the list holds "
        "only images that are to be measured.",
    )
