"""Reads and writes the files of a bundle. A bundle is replaced only by a complete one.

A bundle may come from a stranger. So all files are bounded before they are read: `bundle.json` by
its size, the weights by what their header says, which must agree with the size of the file, and the
list of seen images by what `bundle.json` says.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from manylabel.atomic.reading import read_whole
from manylabel.bundle.bounds import require_bounds
from manylabel.bundle.info import FORMAT_VERSION, MAX_WORD, BundleInfo, ModelInfo
from manylabel.bundle.seen import SEEN_FILE, SeenImages, SeenTable, read_seen
from manylabel.bundle.tensors import TensorSpec, read_tensor_specs
from manylabel.config import parse
from manylabel.decide import Decision
from manylabel.errors import BundleError, ConfigError, RunError
from manylabel.files import open_regular, replaced_folder, write_errors
from manylabel.locks import held, lock_beside
from manylabel.plain_json import parse_json
from manylabel.version import __version__

WEIGHTS_FILE: Final = "model.safetensors"
INFO_FILE: Final = "bundle.json"
MAX_INFO: Final = 64 << 20
"""The largest size of `bundle.json` in bytes."""
MAX_WEIGHTS: Final = 32 << 30
"""The largest size of the file of weights in bytes."""

_DIGEST: Final = "sha256"
"""The key of `bundle.json` that holds the SHA-256 of all other keys."""
_SEEN: Final = "seen"
"""The key of `bundle.json` that describes the file of seen images."""
_DECISION_KEYS: Final = ("calibration", "thresholds", "at_least", "at_most")


@final
class BundleFiles(NamedTuple):
    """The content of the files."""

    info: BundleInfo
    """The content of `bundle.json`, and the seen images."""
    weights: bytes
    """The bytes of the file of weights."""
    weights_sha256: str
    """The SHA-256 of these bytes. It identifies the model."""


@final
@dataclass(frozen=True)
class OpenBundle:
    """A bundle whose weights are described, but not read.

    Args:
        info: The content of `bundle.json`.
        tensors: The tensors of the file of weights, by name, as its header describes them.
        weights_sha256: The SHA-256 that the weights must have.
        path: The file of weights.
        file: The same file, open for reading.
    """

    info: BundleInfo
    tensors: Mapping[str, TensorSpec]
    weights_sha256: str
    path: Path
    file: BufferedReader

    def read_weights(self) -> bytes:
        """The bytes of the file of weights.

        Raises:
            BundleError: They cannot be read, or their SHA-256 is another one.
        """
        try:
            self.file.seek(0)
            weights = self.file.read()
        except OSError as error:
            raise _unreadable(self.path, error) from None
        if hashlib.sha256(weights).hexdigest() != self.weights_sha256:
            raise damaged(f"its SHA-256 differs from the one in {INFO_FILE}", self.path)
        return weights


@contextmanager
def open_bundle(folder: Path) -> Iterator[OpenBundle]:
    """Open the bundle in `folder`. Its weights are read when they are asked for.

    Raises:
        BundleError: There is no bundle, it was saved by a newer version, or it is damaged.
    """
    tables = _read_tables(folder / INFO_FILE)
    digest = str(tables.pop("weights_sha256", None))
    tables[_SEEN] = _seen(tables.pop(_SEEN, None), folder)
    info = _parse(tables, folder / INFO_FILE)
    path = folder / WEIGHTS_FILE
    with _open(path) as file:
        yield OpenBundle(info, _tensors(file, path), digest, path, file)


def read_bundle(folder: Path) -> BundleFiles:
    """Read the bundle in `folder`, without building the network.

    If another process replaces the bundle meanwhile, the old or the new one is read, never a mix.

    Raises:
        BundleError: There is no bundle, it was saved by a newer version, or it is damaged.
    """
    return read_whole(folder, lambda: _read_once(folder))


def _read_once(folder: Path) -> BundleFiles:
    with open_bundle(folder) as found:
        return BundleFiles(found.info, found.read_weights(), found.weights_sha256)


def write_bundle(folder: Path, weights: bytes, info: BundleInfo) -> Path:
    """Save a bundle and return its folder.

    The new bundle is written beside `folder` and then takes its place in one step. So an existing
    bundle is kept until the new one is complete, whatever happens.

    Args:
        folder: The folder of the bundle. If it is a link, the folder that it points to is replaced.
        weights: The bytes of a safetensors file.
        info: The content of `bundle.json`, and the seen images.

    Raises:
        BundleError: `folder` exists and is not a bundle, or `info` is too large to be read again.
        RunError: The bundle cannot be written, for instance because the disk is full.
    """
    data = _to_json(info, hashlib.sha256(weights).hexdigest())
    _require_readable(data, folder / INFO_FILE)
    with write_errors(folder, "The bundle"):
        _refuse_foreign(folder)
        with replaced_folder(folder) as new:
            (new / WEIGHTS_FILE).write_bytes(weights)
            if info.seen is not None:
                (new / SEEN_FILE).write_bytes(info.seen.to_bytes())
            (new / INFO_FILE).write_bytes(data)
    return folder


def with_decision(
    folder: Path,
    out: Path,
    decision: Decision,
    *,
    tuned: Mapping[str, Any] | None = None,
    found_for: tuple[ModelInfo, str] | None = None,
    tuned_on: NDArray[np.uint64] | None = None,
) -> Path:
    """Save the bundle in `folder` as `out` with another decision, and return `out`.

    The weights are the same bytes, so their SHA-256 is the same.

    Args:
        folder: A bundle.
        out: The folder of the new bundle. It may be `folder`, which is then replaced.
        decision: The new decision.
        tuned: How the decision was found.
        found_for: The model that it was found for, and the SHA-256 of its weights. If the bundle in
            `folder` is another one by now, nothing is saved.
        tuned_on: uint64 [N], the hashes of the images that the decision was fitted to.

    Raises:
        BundleError: There is no bundle, it is damaged, or `out` exists and is not a bundle.
        ConfigError: The decision does not fit the bundle.
        RunError: The new bundle cannot be written, or the bundle is not the one of `found_for`.
    """
    with held(lock_beside(out)):
        found = read_bundle(folder)
        if found_for not in (None, (found.info, found.weights_sha256)):
            raise RunError(
                "The bundle was changed by another process after it was read. Nothing is saved.",
                where=str(folder),
                fix="Repeat the command.",
            )
        parts = {name: getattr(decision, name) for name in _DECISION_KEYS}
        tables = {**dict(found.info), **parts, "tuned": dict(tuned or {})}
        if found.info.seen is not None:
            tables[_SEEN] = found.info.seen.tuned_on(() if tuned_on is None else tuned_on)
        return write_bundle(out, found.weights, parse(BundleInfo, tables, where="the new decision"))


def sealed(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a `bundle.json` with their own SHA-256, by which damage to them is found.

    Args:
        tables: The tables; an SHA-256 of other content is replaced.
    """
    content = {key: value for key, value in tables.items() if key != _DIGEST}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return {**content, _DIGEST: hashlib.sha256(text.encode()).hexdigest()}


def damaged(reason: str, path: Path) -> BundleError:
    """The error for a damaged file of a bundle."""
    return BundleError(
        f"The bundle is damaged: {reason}.",
        where=str(path),
        fix="Copy or download the whole bundle again, or save it again.",
    )


def unfit(reason: str, path: Path) -> BundleError:
    """The error for a bundle that is as it was saved, but holds what no bundle may hold."""
    return BundleError(
        f"The bundle cannot be used: {reason}.",
        where=str(path),
        fix="Ask for a bundle that this version of manylabel saved. Do not use this one if you do "
        "not know who made it.",
    )


def _to_json(info: BundleInfo, digest: str) -> bytes:
    tables = json.loads(info.model_dump_json())  # pydantic writes null for NaN, as JSON has none
    if info.seen is not None:
        tables[_SEEN] = info.seen.table().model_dump()
    return (json.dumps(sealed({**tables, "weights_sha256": digest}), indent=2) + "\n").encode()


def _require_readable(data: bytes, path: Path) -> None:
    """Check that what is written can be read again."""
    try:
        _parse_info(data)
    except ValueError as error:
        raise BundleError(
            f"The bundle cannot be saved: {error}.",
            where=str(path),
            fix="Use fewer labels, a calibration with fewer numbers than isotonic, or a shorter "
            "provenance.",
        ) from None


def _parse_info(data: bytes) -> Any:
    if len(data) > MAX_INFO:
        raise ValueError(f"it has more than {MAX_INFO:,} bytes")
    tables = parse_json(data)
    require_bounds(tables)
    return tables


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace anything that is not a bundle, since that would delete it."""
    if not folder.exists():
        return
    known = {WEIGHTS_FILE, INFO_FILE, SEEN_FILE}
    foreign = sorted({p.name for p in folder.iterdir()} - known) if folder.is_dir() else [""]
    if foreign:
        holds = f"a folder that holds {foreign[0]!r}" if folder.is_dir() else "a file"
        raise BundleError(
            f"The path is {holds}, which is not part of a bundle.",
            where=str(folder),
            fix="Give another folder, or move it away: a bundle's folder holds nothing else.",
        )


def _read_tables(path: Path) -> dict[str, Any]:
    with _open(path) as file:
        try:
            data = file.read(MAX_INFO + 1)
        except OSError as error:
            raise _unreadable(path, error) from None
    try:
        tables = _parse_info(data)
    except ValueError as error:
        raise damaged(str(error), path) from None
    _require_format(tables, path)
    if tables.get(_DIGEST) != sealed(tables)[_DIGEST]:
        raise BundleError(
            "The bundle is damaged, or was edited: its content differs from its own SHA-256.",
            where=str(path),
            fix="Copy or download the whole bundle again. To change thresholds, use "
            "`manylabel tune`, or in Python `manylabel.bundle.folder.with_decision`.",
        )
    return {key: value for key, value in tables.items() if key != _DIGEST}


def _require_format(tables: Any, path: Path) -> None:
    version = tables.get("format_version") if isinstance(tables, dict) else None
    if type(version) is not int or version < 1:
        raise damaged("it does not give its format version", path)
    if version != FORMAT_VERSION:
        saved_by = str(tables.get("manylabel_version", "another version"))[:MAX_WORD]
        newer = version > FORMAT_VERSION
        raise BundleError(
            f"The bundle has format {version}; this manylabel ({__version__}) reads format "
            f"{FORMAT_VERSION}.",
            where=str(path),
            fix=f"Update manylabel: it was saved by {saved_by}."
            if newer
            else f"Use the manylabel that saved it ({saved_by}), or train again.",
        )


def _parse(tables: dict[str, Any], path: Path) -> BundleInfo:
    try:
        return parse(BundleInfo, tables, where=str(path))
    except ConfigError as error:
        raise unfit(error.what.rstrip("."), path) from None


def _seen(table: Any, folder: Path) -> SeenImages | None:
    """The images that the model has seen; None if the bundle does not say."""
    if table is None:
        return None
    try:
        known = parse(SeenTable, table, where=str(folder / INFO_FILE))
    except ConfigError as error:
        raise unfit(f"seen: {error.what.rstrip('.')}", folder / INFO_FILE) from None
    try:
        return read_seen(folder / SEEN_FILE, known)
    except ValueError as error:
        raise damaged(str(error), folder / SEEN_FILE) from None
    except OSError as error:
        raise _unreadable(folder / SEEN_FILE, error) from None


def _open(path: Path) -> BufferedReader:
    try:
        return open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path.parent, path.name) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _tensors(file: BufferedReader, path: Path) -> dict[str, TensorSpec]:
    size = os.fstat(file.fileno()).st_size
    if size > MAX_WEIGHTS:
        raise damaged(f"it has {size:,} bytes, more than {MAX_WEIGHTS:,}", path)
    try:
        return read_tensor_specs(file, size)
    except ValueError as error:
        raise damaged(f"it is incomplete or not a safetensors file ({error})", path) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _missing(folder: Path, name: str) -> BundleError:
    if not folder.exists():
        return BundleError("The bundle does not exist.", where=str(folder), fix="Check the path.")
    inner = sorted(path.parent for path in folder.glob(f"*/{INFO_FILE}"))
    fix = f"Did you mean {inner[0]}?" if inner else "Give the bundle's folder in a run's folder."
    return BundleError(f"There is no bundle: {name} is missing.", where=str(folder), fix=fix)


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError(
        f"The bundle cannot be read: {error.strerror or error}.",
        where=str(path),
        fix="Check the file and its permissions.",
    )
