"""The files of a Hugging Face data set in a folder on disk.

The library `datasets` obeys what such a folder says about itself: a README.md can name files
elsewhere on the disk or in the network. So the files are found here, and only their names are given
to the library.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from manylabel.data.formats.parsing import entries, load_object
from manylabel.errors import DataError

_PARTS: Final = "dataset_dict.json"
_STATE: Final = "state.json"
_INFO: Final = "dataset_info.json"
_SHARD: Final = re.compile(r"(.+)-\d{5,}-of-\d{5,}", re.DOTALL)
"""The name of a file that the library writes: the split, and its number among the files."""
_WORDS: Final = {
    **{word: "train" for word in ("train", "training")},
    **{word: "validation" for word in ("validation", "valid", "val", "dev")},
    **{word: "test" for word in ("test", "testing", "eval", "evaluation")},
}
"""The words in names of files that mean a split to the library."""


def is_saved(path: Path) -> bool:
    """Whether a folder was written by save_to_disk."""
    return any((path / name).is_file() for name in (_PARTS, _STATE))


def load_saved(datasets: Any, path: Path) -> dict[str, Any]:
    """The data sets of a folder that save_to_disk has written, by split.

    Raises:
        DataError: A file that the folder names is not an ordinary file in it.
        Exception: The library cannot read a file.
    """
    if not (path / _PARTS).is_file():
        loaded = _load_split(datasets, path)
        return {str(loaded.split or "all"): loaded}
    names = load_object(path / _PARTS, "the file that save_to_disk wrote").get("splits")
    if not isinstance(names, list) or not names:
        raise _elsewhere(path / _PARTS, names)
    folders = [_plain(name, path / _PARTS) for name in names]
    return {name: _load_split(datasets, path / name) for name in folders}


def load_parquet_files(datasets: Any, path: Path, subset: str | None) -> dict[str, Any]:
    """The data sets of a Parquet file, or of all such files below a folder, by split.

    Args:
        datasets: The library.
        path: The file or folder.
        subset: The folder in `path` that is read; None: all of `path`.

    Raises:
        DataError: There is no Parquet file.
        Exception: The library cannot read a file.
    """
    splits = {"all": [path]} if path.is_file() else _files_by_split(path, subset)
    return {name: _load_files(datasets, files) for name, files in splits.items()}


def _load_split(datasets: Any, folder: Path) -> Any:
    state = load_object(folder / _STATE, "the file that save_to_disk wrote")
    if not (folder / _INFO).is_file():
        raise _elsewhere(folder / _STATE, _INFO)
    for list_name in ("_data_files", "_indices_data_files"):
        if state.get(list_name) is None:
            continue
        for entry in entries(state, list_name, folder / _STATE):
            name = _plain(entry.text("filename"), folder / _STATE)
            if not (folder / name).is_file():
                raise _elsewhere(folder / _STATE, name)
    with _offline(datasets):
        return datasets.Dataset.load_from_disk(str(folder))


def _plain(name: Any, file: Path) -> str:
    """A name of a file or folder that is directly beside `file`."""
    if not isinstance(name, str) or re.search(r"[/\\]|::|^\.*$", name):
        raise _elsewhere(file, name)
    return name


def _elsewhere(file: Path, name: object) -> DataError:
    return DataError(
        f"The file names {str(name)[:60]!r}, which is not an ordinary file or folder beside it.",
        where=str(file),
        fix="Save the data set again with save_to_disk, and keep all of its files.",
    )


def _files_by_split(path: Path, subset: str | None) -> Mapping[str, list[Path]]:
    """The Parquet files below a folder by the split that their paths name."""
    folder = path if subset is None else path / subset
    files = sorted(_parquet_files(folder))
    if not files:
        raise DataError(
            f"There is no Parquet file in {folder}.",
            where=str(path),
            fix="Give a folder that holds Parquet files or that save_to_disk wrote. A subset is "
            "the name of a folder in it.",
        )
    named = {file: _split_name(file.relative_to(folder)) for file in files}
    # As in the library: files that name no split are train, if that is true of all.
    rest = "other" if any(named.values()) else "train"
    splits: dict[str, list[Path]] = {}
    for file, name in named.items():
        splits.setdefault(name or rest, []).append(file)
    order = list(dict.fromkeys(_WORDS.values()))
    known = [name for name in order if name in splits]
    return {name: splits[name] for name in dict.fromkeys((*known, *splits))}


def _parquet_files(folder: Path) -> Iterator[Path]:
    """The Parquet files below a folder, without those that the library skips too."""
    for file in folder.rglob("*.parquet"):
        parts = file.relative_to(folder).parts
        if file.is_file() and not any(part.startswith((".", "__")) for part in parts):
            yield file


def _split_name(file: Path) -> str | None:
    """The split that a path names: before the number of the file, or as a word of the path."""
    if numbered := _SHARD.fullmatch(file.stem):
        return _WORDS.get(numbered[1], numbered[1])
    for part in (file.stem, *reversed(file.parts[:-1])):
        for word in re.split(r"[ ._-]+", part.lower()):
            if word in _WORDS:
                return _WORDS[word]
    return None


def _load_files(datasets: Any, files: list[Path]) -> Any:
    for file in files:
        if "::" in str(file):
            raise DataError(
                "The library datasets cannot read a path with '::'.",
                where=str(file),
                fix="Rename the file or folder.",
            )
    names = [glob.escape(str(file.absolute())) for file in files]
    with _offline(datasets):
        return datasets.load_dataset("parquet", data_files=names, split="train")


@contextmanager
def _offline(datasets: Any) -> Iterator[None]:
    """Tell the library that there is no network. Nothing here needs one."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
