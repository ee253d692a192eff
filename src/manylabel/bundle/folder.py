"""A bundle's two files: read with every fault told, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from safetensors import SafetensorError, deserialize

from manylabel.bundle.info import FORMAT_VERSION, BundleInfo
from manylabel.config import parse
from manylabel.decide import Decision
from manylabel.errors import BundleError, ConfigError, RunError
from manylabel.version import __version__

WEIGHTS_FILE: Final = "model.safetensors"
INFO_FILE: Final = "bundle.json"

_DECISION_KEYS: Final = ("calibration", "thresholds", "at_least", "at_most")


@final
class BundleFiles(NamedTuple):
    """What the two files hold."""

    info: BundleInfo
    """What `bundle.json` says."""
    weights: bytes
    """The file of weights, as it is."""
    weights_sha256: str
    """Its SHA-256, which tells models apart."""


def read_bundle(folder: Path) -> BundleFiles:
    """The bundle in `folder`; nothing is built from it.

    Raises:
        BundleError: There is none, it was saved by a newer version, or it is damaged.
    """
    tables = _read_tables(folder / INFO_FILE)
    digest = tables.pop("weights_sha256", None)
    info = _parse(tables, folder / INFO_FILE)
    weights = _read_file(folder / WEIGHTS_FILE)
    if hashlib.sha256(weights).hexdigest() != digest:
        raise damaged(_fault_of(weights), folder / WEIGHTS_FILE)
    return BundleFiles(info, weights, str(digest))


def write_bundle(folder: Path, weights: bytes, info: BundleInfo) -> Path:
    """Save a bundle and return its folder.

    It is written whole beside `folder` and then renamed: whatever happens, a bundle that lies
    there already stays until the new one is complete.

    Args:
        folder: Where it goes. A link stays a link, and what it names is replaced.
        weights: A safetensors file.
        info: What `bundle.json` is to say.

    Raises:
        BundleError: Something that is not a bundle lies there.
        RunError: It cannot be written, for instance because the disk is full.
    """
    target = folder.resolve()
    tables = {**info.model_dump(mode="json"), "weights_sha256": hashlib.sha256(weights).hexdigest()}
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        _refuse_foreign(target)
        temporary.mkdir(parents=True)
        _write(temporary / WEIGHTS_FILE, weights)
        _write(temporary / INFO_FILE, (json.dumps(tables, indent=2) + "\n").encode())
        _replace(temporary, target)
    except OSError as error:
        raise RunError(
            f"The bundle could not be saved: {error.strerror or error}.",
            where=str(folder),
            fix="Make room or name another folder; what lay there before is untouched.",
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # there after a fault only
    return folder


def with_decision(
    folder: Path, out: Path, decision: Decision, *, tuned: Mapping[str, Any] | None = None
) -> Path:
    """Save the bundle in `folder` as `out` with another decision, and return `out`.

    The weights stay as they are, bit by bit, and so does their SHA-256.

    Args:
        folder: A bundle.
        out: Where the new one is saved; `folder` itself is replaced when the new one is whole.
        decision: What is to turn its logits into labels.
        tuned: How the decision was found.

    Raises:
        BundleError: There is no bundle, it is damaged, or something else lies at `out`.
        ConfigError: The decision does not fit the bundle.
        RunError: The new one cannot be written.
    """
    found = read_bundle(folder)
    parts = {name: getattr(decision, name) for name in _DECISION_KEYS}
    tables = {**dict(found.info), **parts, "tuned": dict(tuned or {})}
    return write_bundle(out, found.weights, parse(BundleInfo, tables, where="the new decision"))


def damaged(reason: str, path: Path) -> BundleError:
    """The error for a file of a bundle that is not what it was when it was saved."""
    return BundleError(
        f"The bundle is damaged: {reason}.",
        where=str(path),
        fix="Copy or fetch the whole bundle again, or save it anew.",
    )


def _refuse_foreign(target: Path) -> None:
    """A folder of other things is not replaced: that would delete them."""
    if not target.exists():
        return
    known = {WEIGHTS_FILE, INFO_FILE}
    foreign = sorted({p.name for p in target.iterdir()} - known) if target.is_dir() else [""]
    if foreign:
        holds = f"a folder that holds {foreign[0]!r}" if target.is_dir() else "a file"
        raise BundleError(
            f"There is {holds}, which is no part of a bundle.",
            where=str(target),
            fix="Name another folder, or move that away: a bundle has its folder to itself.",
        )


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`, or leave both as they are."""
    if not target.exists():
        new.rename(target)
        return
    old = new.with_name(f"{new.name}.old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)  # the new one is in place: too late to fail


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
    """What is wrong with weights whose SHA-256 is not the one that they were saved with."""
    try:
        deserialize(weights)
    except SafetensorError as error:
        return f"it is cut short or no safetensors file ({error})"
    return f"its SHA-256 is not the one that {INFO_FILE} gives"


def _missing(folder: Path, name: str) -> BundleError:
    if not folder.exists():
        return BundleError("The bundle does not exist.", where=str(folder), fix="Check the path.")
    inner = sorted(path.parent for path in folder.glob(f"*/{INFO_FILE}"))
    fix = f"Did you mean {inner[0]}?" if inner else "Give the folder that training wrote it to."
    return BundleError(f"There is no bundle: {name} is missing.", where=str(folder), fix=fix)


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError(
        f"The bundle cannot be read: {error.strerror or error}.",
        where=str(path),
        fix="Check its permissions.",
    )
