"""WebDataset shards: tar archives in which files with the same name are one sample.

    scenes/
        labels.json               ["cat", "dog"]: all labels in order; optional
        train-000000.tar          0001.jpg  0001.json  0002.jpg  0002.json ...
        test-000000.tar

The labels of a sample are in one of three kinds of members: `.json` as in
`manylabel.data.formats.truth`, `.cls` with indexes of labels, or `.txt` with one label per line.
Images are read from the archives, which are not unpacked. They can be read in any order.

Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from manylabel.data.formats.lists import require_distinct
from manylabel.data.formats.parsing import JsonEntry, load_json
from manylabel.data.formats.shards import Member, members
from manylabel.data.formats.truth import boxes_in, names_of, split_in, text_of
from manylabel.data.records import SPLITS, Record, Records, Split, split_of
from manylabel.errors import DataError
from manylabel.files import open_regular, read_errors, read_lines
from manylabel.images import FilePart, has_image_ending
from manylabel.labels import LabelSpace

SIDECAR: Final = "labels.json"
_SIDECARS: Final = (SIDECAR, "labels.txt")
_TRUTHS: Final = ("json", "cls", "txt")
_NAME: Final = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
"""The name of a sample, and the ending of the member, which is everything after the first dot."""
_META: Final = re.compile(r"__[^/]*__(/|$)")
"""Names that the library of this format skips."""
_COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def find_webdataset(path: Path) -> Path | None:
    """`path`, if it is a tar archive, or a folder that has some but no folders; else None.

    Compressed archives are recognised too, so that the reader can say how to unpack them.
    """
    if not path.is_dir():
        return path if _is_archive(path) else None
    entries = list(path.iterdir())
    shards = any(_is_archive(entry) for entry in entries)
    # A data set of label folders may still have its downloaded archive beside these folders.
    return path if shards and not any(entry.is_dir() for entry in entries) else None


def read_webdataset(path: Path) -> Records:
    """The samples of a tar archive, or of all in a folder: first train, then val, then test.

    The labels that a sample lists are present, those in `unknown` of its JSON are unknown, and all
    others are absent. The labels are in the order of `labels.json` or `labels.txt` beside the
    archives, else by name. The split is that in the JSON, else the word in the name of the archive.
    The key is that in the JSON, else the archive and the member: `train-000000.tar/0001.jpg`.
    A member is skipped if its name begins with a dot, if it is named `__like_this__` or is in a
    folder of such a name, or if it is neither an image nor labels.

    Raises:
        DataError: There are no archives; an archive is compressed, incomplete or damaged; a sample
            has no image, several images or no labels; two members have the same name; labels
            cannot be read; an image occurs twice.
    """
    shards = _shards(path)
    counts: Counter[str] = Counter()
    samples = [sample for shard in shards for sample in _samples(shard, counts)]
    if not samples:
        raise DataError(
            "The archives contain no samples.",
            where=str(path),
            fix="Pack an image and its labels with the same name: 0001.jpg and 0001.json.",
        )
    sidecar = _find_sidecar(shards[0].parent)
    labels = _label_space(samples, sidecar, path)
    require_distinct((sample.key, sample.place) for sample in samples)
    items = (_record(sample, labels, sidecar is not None) for sample in samples)
    records = Records.of(labels, items, str(path))
    order = f"Labels are ordered by {sidecar.name}" if sidecar else "Labels are ordered by name"
    notes = [f"Archives: {len(shards):,}", order]
    notes += [f"{what}: {count:,}" for what, count in counts.items() if count]
    return replace(records, absent_if_unnamed=True).with_notes(*notes)


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sample in its archive. `present` has names of labels, or indexes if they are from .cls."""

    key: str
    image: FilePart
    place: str
    present: list[str] | list[int]
    split: Split | None
    entry: JsonEntry | None


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith((".tar", *_COMPRESSED))


def _shards(path: Path) -> list[Path]:
    """The archives: first train, then val, test and those without a split, each sorted by name."""
    files = sorted(filter(_is_archive, path.iterdir())) if path.is_dir() else [path]
    if not files:
        raise DataError(
            "The folder has no tar archives.", where=str(path), fix="Give a folder of .tar files."
        )
    for file in files:
        if file.name.lower().endswith(_COMPRESSED):
            raise DataError(
                "The archive is compressed, so an image cannot be read without all before it.",
                where=str(file),
                fix="Decompress it to a .tar file. Compression makes images hardly smaller. For "
                f"example: gunzip {file.name}",
            )
    return sorted(files, key=lambda file: _rank(_split(file)))


def _split(shard: Path) -> Split | None:
    """The split that the words in the name of the archive give, if it is exactly one."""
    words = re.findall("[A-Za-z]+", shard.stem)
    splits: list[Split] = list({split for word in words if (split := split_of(word))})
    return splits[0] if len(splits) == 1 else None


def _rank(split: Split | None) -> int:
    return len(SPLITS) if split is None else SPLITS.index(split)


def _samples(shard: Path, counts: Counter[str]) -> Iterator[_Sample]:
    """The samples of an archive, in the order of their first members."""
    groups: dict[str, dict[str, Member]] = {}
    for member in members(shard):
        matched = None if _META.match(member.name) else _NAME.fullmatch(member.name)
        if matched is None:
            counts["Members whose names do not fit the format, left out"] += 1
            continue
        group = groups.setdefault(matched[1], {})
        if group.setdefault(matched[2].lower(), member) is not member:
            raise DataError(
                "The archive has two members with this name.",
                where=f"{shard}, {member.name}",
                fix="Give each sample a unique name.",
            )
    split = _split(shard)
    with read_errors(shard), open_regular(shard) as file:
        for name, group in groups.items():
            image = _image(group, f"{shard}, {name}")
            counts["Members that are neither images nor labels, left out"] += (
                sum(ending not in _TRUTHS for ending in group) - 1
            )
            yield _sample(group, image, file, shard, split)


def _image(group: Mapping[str, Member], where: str) -> Member:
    """The image of a sample. An ending without dots goes first: `.jpg` before `.depth.png`."""
    found = [ending for ending in group if has_image_ending(f"name.{ending}")]
    plain = [ending for ending in found if "." not in ending] or found
    if len(plain) != 1:
        raise DataError(
            f"The sample has {len(plain) or 'no'} images among its members: {', '.join(group)}.",
            where=where,
            fix="Pack one image, and its labels with the same name: 0001.jpg and 0001.json.",
        )
    return group[plain[0]]


def _sample(
    group: Mapping[str, Member], image: Member, file: BinaryIO, shard: Path, split: Split | None
) -> _Sample:
    name = PurePosixPath(image.name).as_posix()
    key, place = f"{shard.name}/{name}", f"{shard}, {name}"
    part = FilePart(shard, image.offset, image.size, name)
    entry = _entry(group["json"], file, shard) if "json" in group else None
    if entry is not None and "labels" in entry.values:
        key = text_of(entry, "key") or key
        return _Sample(key, part, place, names_of(entry, "labels"), split_in(entry, split), entry)
    if "cls" in group:
        return _Sample(key, part, place, _indexes(group["cls"], file, shard), split, None)
    if "txt" in group:
        lines = _text(group["txt"], file, shard).splitlines()
        present = [line.strip() for line in lines if line.strip()]
        return _Sample(key, part, place, present, split, None)
    raise DataError(
        f"The sample has no labels among its members: {', '.join(group)}.",
        where=place,
        fix="Pack the labels with the same name as the image: .json with the key 'labels', or "
        ".cls, or .txt.",
    )


def _entry(member: Member, file: BinaryIO, shard: Path) -> JsonEntry:
    try:
        values = json.loads(_text(member, file, shard))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The member is not valid JSON: {error}.",
            where=f"{shard}, {member.name}",
            fix="Pack it again.",
        ) from None
    if not isinstance(values, dict):
        raise DataError(
            "The member is not a JSON object.",
            where=f"{shard}, {member.name}",
            fix='Write {"labels": ["cat", "dog"]}.',
        )
    return JsonEntry(values, shard, member.name)


def _indexes(member: Member, file: BinaryIO, shard: Path) -> list[int]:
    words = re.split(r"[\s,]+", _text(member, file, shard).strip())
    try:
        indexes = [int(word) for word in words if word]
    except ValueError:
        indexes = [-1]
    if any(index < 0 for index in indexes):
        raise DataError(
            "The member does not contain indexes of labels.",
            where=f"{shard}, {member.name}",
            fix="Write whole numbers from 0, separated by blanks.",
        )
    return indexes


def _text(member: Member, file: BinaryIO, shard: Path) -> str:
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(
            "The member is not UTF-8 text.", where=f"{shard}, {member.name}", fix="Pack it again."
        ) from None


def _find_sidecar(folder: Path) -> Path | None:
    """The file beside the archives that lists all labels; None if there is none."""
    return next((folder / name for name in _SIDECARS if (folder / name).is_file()), None)


def _read_sidecar(sidecar: Path) -> list[str]:
    """The labels that a file lists, in its order."""
    if sidecar.suffix == ".txt":
        return [line for _, line in read_lines(sidecar)]
    names = load_json(sidecar)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            "The file does not contain a list of names.",
            where=str(sidecar),
            fix='Write ["cat", "dog"].',
        )
    return names


def _label_space(samples: Sequence[_Sample], sidecar: Path | None, path: Path) -> LabelSpace:
    if sidecar is not None:
        return LabelSpace(_read_sidecar(sidecar), where=str(sidecar))
    seen = {label for sample in samples for label in sample.present}
    seen |= {
        name for sample in samples if sample.entry for name in names_of(sample.entry, "unknown")
    }
    indexes = sorted(label for label in seen if isinstance(label, int))
    names = sorted(label for label in seen if isinstance(label, str))
    if indexes and names:
        raise DataError(
            "Some samples have indexes of labels, but others have names.",
            where=str(path),
            fix=f"Put {SIDECAR} beside the archives: a list of the names in the order of the "
            "indexes.",
        )
    return LabelSpace(names or map(str, indexes), where=str(path))


def _record(sample: _Sample, labels: LabelSpace, declared: bool) -> Record:
    entry = sample.entry
    unknown = [] if entry is None else names_of(entry, "unknown")
    present = {_name(label, labels, declared, sample) for label in sample.present}
    for name in unknown:
        if _name(name, labels, declared, sample) in present:
            raise DataError(
                f"The label {name!r} is both present and unknown.",
                where=sample.place,
                fix="Keep it only in 'labels' or only in 'unknown'.",
            )
    return Record(
        sample.key,
        sample.image,
        labels.encode(present, unknown),
        sample.split,
        () if entry is None else boxes_in(entry, labels),
        group=None if entry is None else text_of(entry, "group"),
    )


def _name(label: str | int, labels: LabelSpace, declared: bool, sample: _Sample) -> str:
    """The name of a label. If no names are declared, the name of an index is its number."""
    if isinstance(label, int) and declared:
        name = labels[label] if label < len(labels) else ""
    else:
        name = str(label)
    if name not in labels:
        raise DataError(
            f"The label {label!r} is not one of the {len(labels)} declared labels.",
            where=sample.place,
            fix="Correct the label, or the list of labels beside the archives.",
        )
    return name
