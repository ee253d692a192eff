"""NUS-WIDE as its makers release it: image lists, and a text file of 0 and 1 for each concept.

    NUS-WIDE/
        Concepts81.txt                      also found in ConceptsList
        Flickr/actor/0001_2124494179.jpg
        ImageList/Imagelist.txt             TrainImagelist.txt, TestImagelist.txt
        Groundtruth/AllLabels/Labels_airport.txt
        Groundtruth/TrainTestLabels/Labels_airport_Train.txt
        NUS_WID_Tags/AllTags81.txt          Train_Tags81.txt, Test_Tags81.txt

Source: T.-S. Chua et al., "NUS-WIDE: A Real-World Web Image Database from National University of
Singapore", CIVR 2009, and the release that goes with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import (
    Listing,
    as_key,
    choose_folder,
    count_lines,
    join,
    note,
    read_integers,
    require_equal_counts,
)
from manylabel.data.readers.coco import Unlabelled
from manylabel.data.records import NO_SPLIT, Records, Split
from manylabel.errors import DataError
from manylabel.files import read_lines
from manylabel.labels import PRESENT, LabelSpace

Truth = Literal["groundtruth", "tags"]

_LISTS: Final[Mapping[Split, str]] = {"train": "TrainImagelist.txt", "test": "TestImagelist.txt"}
_IMAGES: Final = ("Flickr", "images", "image", "")
_PHOTO: Final = re.compile(r".*?\d+_(\d+)\.\w+", re.ASCII)


def find_nus_wide(path: Path) -> Path | None:
    """`path`, if it is a folder with NUS-WIDE's image lists and truth; else None."""
    truths = (path / "Groundtruth", path / "NUS_WID_Tags")
    return path if (path / "ImageList").is_dir() and any(map(Path.is_dir, truths)) else None


def read_nus_wide(
    path: Path,
    *,
    images: Path | None = None,
    truth: Truth = "groundtruth",
    unlabelled: Unlabelled = "keep",
) -> Records:
    """The images of NUS-WIDE's lists, in their order; labels in that of Concepts81.txt.

    The ground truth is what people decided on: 1 present, 0 absent, nothing unknown. The tags
    are words that the photographs' owners chose; what they did not write counts as absent.
    Splits are train and test. Images with a split's own files are read from these; without them,
    from the lists of all images, and the two lists say the splits. Photographs that are listed
    under several paths are one group, by the Flickr number in their names.

    Args:
        path: The folder of the release, which holds ImageList.
        images: The folder that the lists' paths start from, if it is not `Flickr` or `images`.
        truth: Which files say what is present: Groundtruth, or NUS_WID_Tags.
        unlabelled: What becomes of images that carry none of the 81 labels: kept with every label
            absent, or dropped.

    Raises:
        DataError: Files are missing or malformed; files that belong together differ in length;
            an image twice with different labels; none of the images is found; no image left.
    """
    release = _Release(path, truth)
    names = release.concepts()
    labels = LabelSpace(names, where=str(path))
    listings = release.listings(names)
    folder = _images_folder(listings, images, path)
    listings = [
        replace(listing, images=[folder / key for key in listing.keys]) for listing in listings
    ]
    joined = Records.of(labels, join(listings, group=_photo), str(path))
    labelled = (joined.targets == PRESENT).any(axis=1)
    records = joined if unlabelled == "keep" else joined.select(labelled)
    if not len(records):
        raise DataError(
            "No image has a label, and such images are dropped.",
            where=str(path),
            fix="Give unlabelled=keep, or the whole of the files.",
        )
    repeats = count_lines(listings) - len(joined)
    fate = "kept, all labels absent" if unlabelled == "keep" else "dropped"
    notes = (
        f"Labels are from {release.said(listings)}",
        *note(f"Images without any of the labels, {fate}", int((~labelled).sum())),
        *note("Images that are listed again with equal labels, left out", repeats),
        *note("Images on neither the train list nor the test list", _unsplit(records)),
        *note("Photographs under several paths, one group each", _several(records)),
    )
    return records.with_notes(*notes)


@final
@dataclass(frozen=True)
class _Release:
    """The files of the release, whichever of them are there."""

    path: Path
    truth: Truth

    def concepts(self) -> list[str]:
        """The names of the labels, in order."""
        for folder in (self.path, self.path / "ConceptsList"):
            if (file := _file(folder, "Concepts81.txt")) is not None:
                return [name for _, name in read_lines(file)]
        raise DataError(
            "There is no Concepts81.txt, which names the labels.",
            where=str(self.path),
            fix="Put it there, or into the folder ConceptsList.",
        )

    def listings(self, names: list[str]) -> list[Listing]:
        """The images with their truth, as yet without their files."""
        whole = self._list("Imagelist.txt")
        lists: dict[Split, Path] = {
            split: file for split, name in _LISTS.items() if (file := self._list(name))
        }
        if len(lists) == len(_LISTS) and all(self._has_truth(split) for split in lists):
            listings = [self._listing(file, names, split) for split, file in lists.items()]
            if whole is not None:
                _require_sum(whole, listings)
            return listings
        if whole is not None and self._has_truth(None):
            splits = _splits(lists)
            listing = self._listing(whole, names, None)
            _require_listed(splits, whole, listing.keys)
            found = [splits[key][1] if key in splits else None for key in listing.keys]
            return [replace(listing, splits=found)]
        raise DataError(
            f"The lists and the files of {self._folder().name} are not complete, neither for train "
            "and test nor for all images.",
            where=str(self.path),
            fix=self._wanted(),
        )

    def said(self, listings: list[Listing]) -> str:
        """What was read, for the notes."""
        files = " and ".join(listing.file.name for listing in listings)
        return f"{self._folder().name}, images from {files}"

    def _folder(self) -> Path:
        return self.path / ("Groundtruth" if self.truth == "groundtruth" else "NUS_WID_Tags")

    def _list(self, name: str) -> Path | None:
        return _file(self.path / "ImageList", name)

    def _tags(self, split: Split | None) -> Path | None:
        name = "AllTags81.txt" if split is None else f"{split.title()}_Tags81.txt"
        return _file(self._folder(), name)

    def _label_files(self, split: Split | None) -> dict[str, Path]:
        """The files of the ground truth by concept; none, if there are none."""
        folder = self._folder() / ("AllLabels" if split is None else "TrainTestLabels")
        ending = ".txt" if split is None else f"_{split.title()}.txt"
        files = sorted(folder.glob(f"Labels_*{ending}"))
        return {file.name.removeprefix("Labels_").removesuffix(ending): file for file in files}

    def _has_truth(self, split: Split | None) -> bool:
        if self.truth == "tags":
            return self._tags(split) is not None
        return bool(self._label_files(split))

    def _listing(self, file: Path, names: list[str], split: Split | None) -> Listing:
        """The images of one list, with the truth of the same split; None: of all images."""
        lines = read_lines(file)
        keys = [as_key(line) for _, line in lines]
        if self.truth == "tags":
            targets = self._read_tags(file, len(keys), names, split)
        else:
            targets = self._read_groundtruth(file, len(keys), names, split)
        return Listing(
            file=file,
            lines=[number for number, _ in lines],
            keys=keys,
            images=(),
            splits=[split for _ in keys],
            targets=targets,
        )

    def _read_tags(
        self, listed: Path, count: int, names: list[str], split: Split | None
    ) -> NDArray[np.int8]:
        file = self._tags(split)
        assert file is not None, "asked for only where it is there"
        values = _read_flags(file)
        if values.shape[1] != len(names):
            raise DataError(
                f"The lines have {values.shape[1]} numbers, and there are {len(names)} labels.",
                where=f"{file} and Concepts81.txt",
                fix="Fetch both files again.",
            )
        require_equal_counts({listed: count, file: len(values)})
        return values

    def _read_groundtruth(
        self, listed: Path, count: int, names: list[str], split: Split | None
    ) -> NDArray[np.int8]:
        files = self._label_files(split)
        _require_same_concepts(names, files, self.path)
        targets = np.empty((count, len(names)), dtype=np.int8)
        for column, name in enumerate(names):
            values = _read_flags(files[name])
            if values.shape[1] != 1:
                raise DataError(
                    f"The lines have {values.shape[1]} numbers, not one.",
                    where=str(files[name]),
                    fix="Fetch the file again.",
                )
            require_equal_counts({listed: count, files[name]: len(values)})
            targets[:, column] = values[:, 0]
        return targets

    def _wanted(self) -> str:
        if self.truth == "tags":
            truth = ("Train_Tags81.txt and Test_Tags81.txt", "AllTags81.txt")
        else:
            truth = ("the folder TrainTestLabels", "the folder AllLabels")
        return (
            f"Give {' and '.join(_LISTS.values())} with {truth[0]}, or Imagelist.txt with "
            f"{truth[1]}."
        )


def _file(folder: Path, name: str) -> Path | None:
    """The file of that name, in capitals or not: copies of the release differ in them."""
    if not folder.is_dir():
        return None
    found = sorted(file for file in folder.iterdir() if file.name.lower() == name.lower())
    return found[0] if found else None


def _read_flags(file: Path) -> NDArray[np.int8]:
    """The numbers of a file of 0 and 1, int8 [N, C]."""
    values = read_integers(file)
    if (values < 0).any():
        line = int(np.flatnonzero((values < 0).any(axis=1))[0])
        raise DataError(
            "The file holds -1, and NUS-WIDE knows 0 and 1 only.",
            where=f"{file}, line {read_lines(file)[line][0]}",
            fix="Fetch the file again.",
        )
    return values


def _require_same_concepts(names: list[str], files: Mapping[str, Path], path: Path) -> None:
    missing = [name for name in names if name not in files]
    extra = [name for name in files if name not in set(names)]
    if not missing and not extra:
        return
    what = [f"has no file for {', '.join(missing[:5])}"] if missing else []
    what += [f"has files for {', '.join(extra[:5])}, which the list does not name"] if extra else []
    raise DataError(
        f"Of {len(names)} concepts, Groundtruth {' and '.join(what)}.",
        where=f"{path}, Concepts81.txt and Groundtruth",
        fix="Give a file Labels_<concept> for each line of Concepts81.txt, and no others.",
    )


def _splits(lists: Mapping[Split, Path]) -> dict[str, tuple[str, Split]]:
    """For each image of the train and test lists: where it stands, and its split."""
    splits: dict[str, tuple[str, Split]] = {}
    for split, file in lists.items():
        for number, line in read_lines(file):
            here = f"{file}, line {number}"
            where, earlier = splits.setdefault(as_key(line), (here, split))
            if earlier != split:
                raise DataError(
                    f"The image {as_key(line)!r} is in two splits, {earlier} and {split}.",
                    where=f"{where} and {here}",
                    fix="Take it off one list.",
                )
    return splits


def _require_listed(
    splits: Mapping[str, tuple[str, Split]], whole: Path, keys: Iterable[str]
) -> None:
    missing = splits.keys() - set(keys)
    if missing:
        key = min(missing)
        raise DataError(
            f"{len(missing):,} images are on the list of a split and not on that of all images, "
            f"{key!r} among them.",
            where=f"{splits[key][0]} and {whole}",
            fix="Fetch the lists again; one may have been cut short.",
        )


def _require_sum(whole: Path, listings: list[Listing]) -> None:
    """The list of all images, which is not needed, has as many as train and test together."""
    total, parts = len(read_lines(whole)), [len(listing.keys) for listing in listings]
    if total != sum(parts):
        raise DataError(
            f"The list of all images has {total:,} and the others {' + '.join(map(str, parts))}.",
            where=" and ".join(map(str, (whole, *(listing.file for listing in listings)))),
            fix="Fetch the lists again, or remove that of all images.",
        )


def _images_folder(listings: list[Listing], images: Path | None, path: Path) -> Path:
    keys = [key for listing in listings for key in listing.keys]
    places = [path / name for name in _IMAGES] if images is None else [images]
    return choose_folder(places, keys, listings[0].file)


def _photo(key: str) -> str | None:
    """The photograph's number at Flickr, where the file's name has it."""
    match = _PHOTO.fullmatch(key)
    return match[1] if match else None


def _unsplit(records: Records) -> int:
    """How many images have no split, where others have."""
    count = int((records.splits == NO_SPLIT).sum())
    return count if count < len(records) else 0


def _several(records: Records) -> int:
    """How many photographs lie under several paths."""
    counts = Counter(group for group in records.groups or () if group is not None)
    return sum(count > 1 for count in counts.values())
