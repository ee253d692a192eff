"""NUS-WIDE in its original files: image lists, and a text file of 0 and 1 for each concept.

    NUS-WIDE/
        Concepts81.txt                      also found in ConceptsList
        Flickr/actor/0001_2124494179.jpg
        ImageList/Imagelist.txt             TrainImagelist.txt, TestImagelist.txt
        Groundtruth/AllLabels/Labels_airport.txt
        Groundtruth/TrainTestLabels/Labels_airport_Train.txt
        NUS_WID_Tags/AllTags81.txt          Train_Tags81.txt, Test_Tags81.txt

Source: T.-S. Chua et al., "NUS-WIDE: A Real-World Web Image Database from National University of
Singapore", CIVR 2009, and the release of the data set.
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
    """The images of NUS-WIDE in the order of its lists. The labels are in that of Concepts81.txt.

    The ground truth comes from annotators: 1 is present and 0 is absent. The tags are words that
    the owners of the photographs chose. A label that is not among the tags is absent. No target is
    unknown.

    The splits are train and test. If train and test have files of their own, these are read.
    Otherwise the files of all images are read, and the two image lists give the splits. The number
    of a photograph at Flickr is in its file name. If a photograph is listed under several paths,
    these images are one group.

    Args:
        path: The folder of the release, which contains ImageList.
        images: The folder that the paths in the lists are relative to, if it is not `Flickr` or
            `images`.
        truth: The files that give the labels: Groundtruth, or NUS_WID_Tags.
        unlabelled: "keep" keeps images without any of the 81 labels, with all labels absent. "drop"
            drops them.

    Raises:
        DataError: Files are missing or malformed; files that belong together differ in length;
            an image is listed twice with different labels; none of the images is found; no image
            remains.
    """
    release = _Release(path, truth)
    names = release.concepts()
    labels = LabelSpace(names, where=str(path))
    listings = release.listings(names)
    folder = _images_folder(listings, images, path)
    listings = [
        replace(listing, images=[folder / key for key in listing.keys]) for listing in listings
    ]
    joined = Records.of(labels, join(listings, group=_flickr_number), str(path))
    labelled = (joined.targets == PRESENT).any(axis=1)
    records = joined if unlabelled == "keep" else joined.select(labelled)
    if not len(records):
        raise DataError(
            "No image has a label, and images without a label are dropped.",
            where=str(path),
            fix="Set unlabelled to keep, or give the complete files.",
        )
    repeats = count_lines(listings) - len(joined)
    result = "kept with all labels absent" if unlabelled == "keep" else "dropped"
    notes = (
        f"Labels are from {release.describe(listings)}",
        *note(f"Images without any of the labels, {result}", int((~labelled).sum())),
        *note("Images that are listed again with the same labels, left out", repeats),
        *note("Images in neither the train list nor the test list", _count_without_split(records)),
        *note("Photographs under several paths, each one group", _count_repeated(records)),
    )
    return records.with_notes(*notes)


@final
@dataclass(frozen=True)
class _Release:
    """The files of the release. Some of them may be missing."""

    path: Path
    truth: Truth

    def concepts(self) -> list[str]:
        """The names of the labels, in order."""
        for folder in (self.path, self.path / "ConceptsList"):
            if (file := _find_file(folder, "Concepts81.txt")) is not None:
                return [name for _, name in read_lines(file)]
        raise DataError(
            "The file with the names of the labels, Concepts81.txt, does not exist.",
            where=str(self.path),
            fix="Put it into this folder or its folder ConceptsList.",
        )

    def listings(self, names: list[str]) -> list[Listing]:
        """The images with their truth. The places of their files are not filled in yet."""
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
            f"ImageList and {self._folder().name} do not have all files that are needed, neither "
            "for train and test nor for all images.",
            where=str(self.path),
            fix=self._describe_needed(),
        )

    def describe(self, listings: list[Listing]) -> str:
        """The files that were read, for the notes."""
        files = " and ".join(listing.file.name for listing in listings)
        return f"{self._folder().name}, images from {files}"

    def _folder(self) -> Path:
        return self.path / ("Groundtruth" if self.truth == "groundtruth" else "NUS_WID_Tags")

    def _list(self, name: str) -> Path | None:
        return _find_file(self.path / "ImageList", name)

    def _tags(self, split: Split | None) -> Path | None:
        name = "AllTags81.txt" if split is None else f"{split.title()}_Tags81.txt"
        return _find_file(self._folder(), name)

    def _label_files(self, split: Split | None) -> dict[str, Path]:
        """The files of the ground truth by concept. Empty if there are none."""
        folder = self._folder() / ("AllLabels" if split is None else "TrainTestLabels")
        ending = ".txt" if split is None else f"_{split.title()}.txt"
        files = sorted(folder.glob(f"Labels_*{ending}"))
        return {file.name.removeprefix("Labels_").removesuffix(ending): file for file in files}

    def _has_truth(self, split: Split | None) -> bool:
        if self.truth == "tags":
            return self._tags(split) is not None
        return bool(self._label_files(split))

    def _listing(self, file: Path, names: list[str], split: Split | None) -> Listing:
        """The images of one list with their truth. Split None stands for all images."""
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
        assert file is not None, "called only if the file exists"
        values = _read_flags(file)
        if values.shape[1] != len(names):
            raise DataError(
                f"Each line has {values.shape[1]} numbers, but there are {len(names)} labels.",
                where=f"{file} and Concepts81.txt",
                fix="Download both files again.",
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
                    f"Each line has {values.shape[1]} numbers instead of one.",
                    where=str(files[name]),
                    fix="Download the file again.",
                )
            require_equal_counts({listed: count, files[name]: len(values)})
            targets[:, column] = values[:, 0]
        return targets

    def _describe_needed(self) -> str:
        if self.truth == "tags":
            truth = ("Train_Tags81.txt and Test_Tags81.txt", "AllTags81.txt")
        else:
            truth = ("the folder TrainTestLabels", "the folder AllLabels")
        return (
            f"Give {' and '.join(_LISTS.values())} with {truth[0]}, or Imagelist.txt with "
            f"{truth[1]}."
        )


def _find_file(folder: Path, name: str) -> Path | None:
    """The file with this name; None if there is none.

    Upper and lower case are the same, because copies of the release differ in case.
    """
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
            "The line contains -1, but NUS-WIDE has only 0 and 1.",
            where=f"{file}, line {read_lines(file)[line][0]}",
            fix="Download the file again.",
        )
    return values


def _require_same_concepts(names: list[str], files: Mapping[str, Path], path: Path) -> None:
    missing = [name for name in names if name not in files]
    extra = [name for name in files if name not in set(names)]
    if not missing and not extra:
        return
    what = [f"has no file for {', '.join(missing[:5])}"] if missing else []
    what += [f"has files for {', '.join(extra[:5])}, which are not in the list"] if extra else []
    raise DataError(
        f"Groundtruth does not fit the list of {len(names)} concepts: it {' and '.join(what)}.",
        where=f"{path}, Concepts81.txt and Groundtruth",
        fix="Give one file Labels_<concept> for each line of Concepts81.txt, and no other files.",
    )


def _splits(lists: Mapping[Split, Path]) -> dict[str, tuple[str, Split]]:
    """For each image of the train and test lists: its file and line, and its split."""
    splits: dict[str, tuple[str, Split]] = {}
    for split, file in lists.items():
        for number, line in read_lines(file):
            here = f"{file}, line {number}"
            where, earlier = splits.setdefault(as_key(line), (here, split))
            if earlier != split:
                raise DataError(
                    f"The image {as_key(line)!r} is in two splits, {earlier} and {split}.",
                    where=f"{where} and {here}",
                    fix="Remove it from one list.",
                )
    return splits


def _require_listed(
    splits: Mapping[str, tuple[str, Split]], whole: Path, keys: Iterable[str]
) -> None:
    missing = splits.keys() - set(keys)
    if missing:
        key = min(missing)
        raise DataError(
            f"{len(missing):,} images are in the list of a split but not in the list of all "
            f"images, for example {key!r}.",
            where=f"{splits[key][0]} and {whole}",
            fix="Download the lists again: one may be incomplete.",
        )


def _require_sum(whole: Path, listings: list[Listing]) -> None:
    """Refuse a list of all images whose length is not that of train and test together.

    The list is not needed. A wrong length shows that a file is incomplete.
    """
    total, parts = len(read_lines(whole)), [len(listing.keys) for listing in listings]
    if total != sum(parts):
        raise DataError(
            f"The list of all images has {total:,} images, but the other lists have "
            f"{' + '.join(map(str, parts))}.",
            where=" and ".join(map(str, (whole, *(listing.file for listing in listings)))),
            fix="Download the lists again, or remove the list of all images.",
        )


def _images_folder(listings: list[Listing], images: Path | None, path: Path) -> Path:
    keys = [key for listing in listings for key in listing.keys]
    places = [path / name for name in _IMAGES] if images is None else [images]
    return choose_folder(places, keys, listings[0].file)


def _flickr_number(key: str) -> str | None:
    """The number of the photograph at Flickr, if the file name has it; else None."""
    match = _PHOTO.fullmatch(key)
    return match[1] if match else None


def _count_without_split(records: Records) -> int:
    """The number of images without a split; 0 if no image has a split."""
    count = int((records.splits == NO_SPLIT).sum())
    return count if count < len(records) else 0


def _count_repeated(records: Records) -> int:
    """The number of photographs that are listed under several paths."""
    counts = Counter(group for group in records.groups or () if group is not None)
    return sum(count > 1 for count in counts.values())
