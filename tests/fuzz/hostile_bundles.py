"""Bundles that are hostile on purpose: `make fuzz`, or `python tests/fuzz/hostile_bundles.py`.

`run.py` damages the bytes of a bundle at random, and its SHA-256 finds that. Here somebody who
knows the format has made a bundle whose digests are right: its settings reach for files and
downloads, its sizes are absurd, its headers lie. Each must be refused with a `BundleError`, or be
equal in content to the valid one. Each is loaded in a forked child with limits. The exit code is 1
if one fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import samples
from forked import Verdict, tried
from hostile_settings import (
    BACKBONE,
    GIANTS,
    HEAD_SIZES,
    OPTION_SIZES,
    OPTIONS,
    REACHING,
    REACHING_TOGETHER,
    REPLACED,
    VALUES,
)
from hostile_weights import WEIGHTS, with_more
from safetensors.torch import save

from manylabel.bundle import folder as folders
from manylabel.bundle.classifier import Bundle, load_bundle
from manylabel.bundle.folder import INFO_FILE, WEIGHTS_FILE
from manylabel.errors import BundleError, ManylabelError

Change = Callable[[Path], None]
"""Makes the valid bundle in a folder a hostile one."""


@final
@dataclass(frozen=True)
class Case:
    """A hostile bundle.

    Args:
        kind: What is hostile about it.
        name: What is changed.
        change: Makes the change.
    """

    kind: str
    name: str
    change: Change


def _settings() -> Iterator[Case]:
    for kind, table in (("reaches out", REACHING), ("values", VALUES)):
        for key, values in table.items():
            yield from (_set(kind, {key: value}) for value in values)
    yield from (_set("reaches out", changes) for changes in REACHING_TOGETHER)
    yield from (_set("backbone sizes", {f"{BACKBONE}.name": name}) for name in GIANTS)
    for backbone, sizes in OPTION_SIZES.items():
        for option, value in _pairs(sizes):
            made = {f"{BACKBONE}.name": backbone, f"{OPTIONS}.{option}": value}
            yield _set("backbone sizes", made)
    for head, sizes in HEAD_SIZES.items():
        for key, value in _pairs(sizes):
            yield _set("head sizes", {"model.head": {"name": head, key: value}})
    for count in (100_001, 10**6):
        yield Case("values", f"{count:,} labels", partial(_set_many_labels, count=count))


def _pairs(table: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, values in table.items() for value in values)


def _set(kind: str, changes: Mapping[str, Any]) -> Case:
    return Case(kind, _shown(changes), partial(_set_keys, changes=changes))


def _shown(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key:.60} = {_short(repr(value))}" for key, value in changes.items())


def _short(text: str) -> str:
    return text if len(text) < 100 else f"{text[:60]}... ({len(text):,} characters)"


def _set_keys(folder: Path, changes: Mapping[str, Any]) -> None:
    tables = _tables(folder)
    for path, value in changes.items():
        *outer, key = path.split(".")
        table = tables
        for name in outer:
            table = table[name]
        table[key] = value
    _write(folder, tables)


def _set_many_labels(folder: Path, count: int) -> None:
    labels = [str(number) for number in range(count)]
    _set_keys(folder, {"labels": labels, "thresholds": [0.5] * count})


def _tables(folder: Path) -> dict[str, Any]:
    return json.loads((folder / INFO_FILE).read_bytes())


def _write(folder: Path, tables: Mapping[str, Any]) -> None:
    (folder / INFO_FILE).write_text(json.dumps(_sealed(tables)), encoding="utf-8")


def _sealed(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tables with a digest of their own, if this version of manylabel has one."""
    return getattr(folders, "sealed", dict)(tables)


# Text of bundle.json

TEXTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "empty": lambda text: b"",
    **{f"only {text.decode()}": lambda _, text=text: text for text in (b"[]", b"null", b"1")},
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "no UTF-8": lambda text: b"\xff" * 1_000,
    "zeros": lambda text: bytes(10**6),
    "half": lambda text: text[: len(text) // 2],
    "twice": lambda text: text * 2,
    "more after it": lambda text: text + b" x",
    "deep lists": lambda text: b"[" * 10**7,
    "deep objects": lambda text: b'{"a":' * 10**6,
    "many lists": lambda text: b"[" + b"[]," * 2 * 10**7 + b"1]",
    "many objects": lambda text: b"[" + b"{}," * 10**7 + b"1]",
    "many keys": lambda text: json.dumps(dict.fromkeys(map(str, range(10**6)))).encode(),
    "many spaces": lambda text: b" " * 10**8 + text,
    "one long text": lambda text: b'{"format_version": 1, "a": "' + b"x" * 3 * 10**8 + b'"}',
    "digits": lambda text: b"1" * 10**7,
    "exponent": lambda text: b"1e" + b"9" * 10**6,
    "fraction": lambda text: b"0." + b"9" * 10**7,
}


def _texts() -> Iterator[Case]:
    for old, new in REPLACED:
        name = f"{old} -> {_short(new)}"
        yield Case("text", name, partial(_replace_text, old=old, new=new))
    for name, change in TEXTS.items():
        yield Case("text", name, partial(_change_bytes, name=INFO_FILE, change=change))


def _replace_text(folder: Path, old: str, new: str) -> None:
    """Replace a part of bundle.json. The digest is the right one, if the text can be read."""
    text = json.dumps(_tables(folder))
    assert old in text
    changed = text.replace(old, new, 1)
    try:
        tables = json.loads(changed)
        changed = changed.replace(tables["sha256"], _sealed(tables)["sha256"])
    except (KeyError, ValueError, RecursionError):
        pass
    (folder / INFO_FILE).write_text(changed, encoding="utf-8")


def _change_bytes(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


# Files that are no files, and files of any size

SPECIAL: Final[Mapping[str, Change]] = {
    "missing": lambda path: None,
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": lambda path: _make_socket(path),
    **{
        f"a link to {target}": lambda path, target=target: path.symlink_to(target)
        for target in ("/dev/zero", "/dev/random", "/dev/null", "/dev/stdin", "/proc/self/mem")
    },
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    **{
        f"{gigabytes} GiB of zeros": lambda path, gigabytes=gigabytes: _make_zeros(path, gigabytes)
        for gigabytes in (1, 100)
    },
}


def _files() -> Iterator[Case]:
    for name in (INFO_FILE, WEIGHTS_FILE):
        for what, make in SPECIAL.items():
            yield Case("files", f"{name}: {what}", partial(_make_anew, name=name, make=make))
        for size in (1 << 30, 100 << 30):
            yield Case(
                "files", f"{name}: grown to {size:,}", partial(_resize, name=name, size=size)
            )


def _make_anew(folder: Path, name: str, make: Change) -> None:
    (folder / name).unlink()
    make(folder / name)


def _make_socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as made:  # its path has to be short
        made.bind(path.name)


def _make_zeros(path: Path, gigabytes: int) -> None:
    path.touch()
    os.truncate(path, gigabytes << 30)


def _resize(folder: Path, name: str, size: int) -> None:
    os.truncate(folder / name, size)


# Weights: the digest in bundle.json is always the right one


def _weights() -> Iterator[Case]:
    for name, change in WEIGHTS.items():
        yield Case("weights", name, partial(_change_weights, change=change))
    yield Case("weights", "a sparse file of 60 GiB that adds up", _grow_weights)


def _change_weights(folder: Path, change: Callable[[bytes], bytes]) -> None:
    _change_bytes(folder, WEIGHTS_FILE, change)
    digest = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    _set_keys(folder, {"weights_sha256": digest})


def _grow_weights(folder: Path) -> None:
    """A header that describes one more tensor, and a file of the size that it says."""
    path, more = folder / WEIGHTS_FILE, 60 << 30
    path.write_bytes(with_more(path.read_bytes(), more))
    os.truncate(path, path.stat().st_size + more)


CASES: Final = (*_settings(), *_texts(), *_files(), *_weights())


@final
class Attack:
    """Loads hostile bundles that are made from one valid bundle.

    Args:
        folder: An empty folder for the bundles.
    """

    def __init__(self, folder: Path) -> None:
        self._valid = samples.bundle(folder / "valid")
        self._folder = folder / "hostile"
        self._content = _content(load_bundle(self._valid))  # this imports what is imported late

    def try_one(self, case: Case) -> Verdict:
        """Make the hostile bundle, load it in a child, and remove it."""
        shutil.copytree(self._valid, self._folder)
        try:
            case.change(self._folder)
            return tried(self._load, self._folder)
        finally:
            shutil.rmtree(self._folder)

    def _load(self, folder: Path) -> None:
        try:
            found = load_bundle(folder)
        except BundleError:
            raise
        except ManylabelError as error:
            raise AssertionError(f"{type(error).__name__} is no BundleError") from error
        assert _content(found) == self._content, "accepted with other content"


def _content(found: Bundle) -> tuple[str, str, bytes]:
    """All that a loaded bundle is."""
    state = found.classifier.state_dict()
    tensors = save({key: state[key].contiguous() for key in sorted(state)})
    return repr(found.info), found.weights_sha256, tensors


def main() -> int:
    """Try all bundles, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description="Load bundles that are hostile on purpose.")
    parser.add_argument("names", nargs="*", help="only cases whose names contain one of these")
    parser.add_argument("--verbose", action="store_true", help="print all verdicts")
    options = parser.parse_args()
    if sys.platform != "linux":
        print("Hostile bundles are not tried: the limits of memory need Linux.")
        return 0
    counts: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(Path(folder))
        for case in CASES:
            if options.names and not any(name in case.name for name in options.names):
                continue
            found = attack.try_one(case)
            counts[case.kind, found.outcome] += 1
            line = f"{found.outcome}: {case.kind}: {case.name}: {found.reason}"
            if found.outcome == "failed":
                failures.append(line)
            elif options.verbose:
                print(f"{line} ({found.seconds:.2f} s)")
    _print_table(counts)
    print(*failures, sep="\n", end="\n" if failures else "")
    print(f"{counts.total()} hostile bundles in {time.monotonic() - began:.0f} s.")
    return 1 if failures else 0


def _print_table(counts: Mapping[tuple[str, str], int]) -> None:
    outcomes = ("accepted", "refused", "failed")
    print(f"{'hostile':<16}{'tries':>9}{''.join(f'{outcome:>10}' for outcome in outcomes)}")
    for kind in dict.fromkeys(kind for kind, _ in counts):
        found = [counts[kind, outcome] for outcome in outcomes]
        print(f"{kind:<16}{sum(found):>9}{''.join(f'{count:>10}' for count in found)}")


if __name__ == "__main__":
    sys.exit(main())
