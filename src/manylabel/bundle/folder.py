"""Reads and writes the two files of a bundle. A bundle is replaced only by a complete one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from safetensors import SafetensorError, deserialize

from manylabel.atomic.reading import read_whole
from manylabel.bundle.info import FORMAT_VERSION, BundleInfo, ModelInfo
from manylabel.config import parse
from manylabel.decide import Decision
from manylabel.errors import BundleError, ConfigError, RunError
from manylabel.files import replaced_folder, write_errors
from manylabel.locks import held, lock_beside
from manylabel.version import __version__

WEIGHTS_FILE: Final = "model.safetensors"
INFO_FILE: Final = "bundle.json"

_DECISION_KEYS: Final = ("calibration", "thresholds", "at_least", "at_most")


@final
class BundleFiles(NamedTuple):
    """The content of the two files."""

    info: BundleInfo
    """The content of `bundle.json`."""
    weights: bytes
    """The bytes of the file of weights."""
    weights_sha256: str
    """The SHA-256 of these bytes. It identifies the model."""


def read_bundle(folder: Path) -> BundleFiles:
    """Read the bundle in `folder`, without building the network.

    If another process replaces the bundle meanwhile, the old or the new one is read, never a mix.

    Raises:
        BundleError: There is no bundle, it was saved by a newer version, or it is damaged.
    """
    return read_whole(folder, lambda: _read_once(folder))


def _read_once(folder: Path) -> BundleFiles:
    tables = _read_tables(folder / INFO_FILE)
    digest = tables.pop("weights_sha256", None)
    info = _parse(tables, folder / INFO_FILE)
    weights = _read_file(folder / WEIGHTS_FILE)
    if hashlib.sha256(weights).hexdigest() != digest:
        raise damaged(_fault_of(weights), folder / WEIGHTS_FILE)
    return BundleFiles(info, weights, str(digest))


def write_bundle(folder: Path, weights: bytes, info: BundleInfo) -> Path:
    """Save a bundle and return its folder.

    The new bundle is written beside `folder` and then takes its place in one step. So an existing
    bundle is kept until the new one is complete, whatever happens.

    Args:
        folder: The folder of the bundle. If it is a link, the folder that it points to is replaced.
        weights: The bytes of a safetensors file.
        info: The content of `bundle.json`.

    Raises:
        BundleError: `folder` exists and is not a bundle.
        RunError: The bundle cannot be written, for instance because the disk is full.
    """
    tables = {**info.model_dump(mode="json"), "weights_sha256": hashlib.sha256(weights).hexdigest()}
    with write_errors(folder, "The bundle"):
        _refuse_foreign(folder)
        with replaced_folder(folder) as new:
            (new / WEIGHTS_FILE).write_bytes(weights)
            (new / INFO_FILE).write_text(json.dumps(tables, indent=2) + "\n", encoding="utf-8")
    return folder


def with_decision(
    folder: Path,
    out: Path,
    decision: Decision,
    *,
    tuned: Mapping[str, Any] | None = None,
    found_for: tuple[ModelInfo, str] | None = None,
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
        return write_bundle(out, found.weights, parse(BundleInfo, tables, where="the new decision"))


def damaged(reason: str, path: Path) -> BundleError:
    """The error for a damaged file of a bundle."""
    return BundleError(
        f"The bundle is damaged: {reason}.",
        where=str(path),
        fix="Copy or download the whole bundle again, or save it again.",
    )


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace anything that is not a bundle, since that would delete it."""
    if not folder.exists():
        return
    known = {WEIGHTS_FILE, INFO_FILE}
    foreign = sorted({p.name for p in folder.iterdir()} - known) if folder.is_dir() else [""]
    if foreign:
        holds = f"a folder that holds {foreign[0]!r}" if folder.is_dir() else "a file"
        raise BundleError(
            f"The path is {holds}, which is not part of a bundle.",
            where=str(folder),
            fix="Give another folder, or move it away: a bundle's folder holds nothing else.",
        )


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path.parent, path.name) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise damaged(f"it is not JSON: {error}", path) from None
    version = tables.get("format_version") if isinstance(tables, dict) else None
    if type(version) is not int:
        raise damaged("it does not give its format version", path)
    if version > FORMAT_VERSION:
        raise BundleError(
            f"The bundle has format {version}; this manylabel ({__version__}) reads formats up to "
            f"{FORMAT_VERSION}.",
            where=str(path),
            fix=f"Update manylabel: it was saved by {tables.get('manylabel_version', 'a newer')}.",
        )
    return tables


def _parse(tables: dict[str, Any], path: Path) -> BundleInfo:
    try:
        return parse(BundleInfo, tables, where=str(path))
    except ConfigError as error:
        raise damaged(error.what.rstrip("."), path) from None


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _missing(path.parent, path.name) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _fault_of(weights: bytes) -> str:
    """What is wrong with weights whose SHA-256 differs from the one in `bundle.json`."""
    try:
        deserialize(weights)
    except SafetensorError as error:
        return f"it is incomplete or not a safetensors file ({error})"
    return f"its SHA-256 differs from the one in {INFO_FILE}"


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
        fix="Check its permissions.",
    )
