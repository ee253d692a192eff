"""What an earlier run left in the folder, and what a person changed there. Nothing is lost.

A folder is written to only if `label` wrote it, as its summary says, or if it has none of these
files. The summary has the hash of each table, so a change by a person is seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Final

from manylabel.errors import ConfigError

LABELS: Final = "labels.csv"
CHECK: Final = "check.csv"
EXAMPLES: Final = "examples.csv"
PAGE: Final = "check.html"
RUN: Final = "run"
SUMMARY: Final = "label.json"

TABLES: Final = (LABELS, CHECK, EXAMPLES)
_ALL: Final = (*TABLES, PAGE, RUN)


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each of the tables in a folder, by name."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in TABLES
        if (folder / name).is_file()
    }


def changed_since(folder: Path) -> list[str]:
    """The tables in a folder that were changed since they were written there."""
    recorded = _recorded(folder) or {}
    return [name for name, found in hashes(folder).items() if recorded.get(name) != found]


def require_replaceable(folder: Path, given: Iterable[Path]) -> None:
    """Check that new results may take the places of what is in the folder.

    Args:
        folder: The folder; it need not exist.
        given: The tables that are given as examples. Changes in them are used, so they may be
            replaced.

    Raises:
        ConfigError: The folder holds files that `label` did not write, or a table that a person
            changed and did not give.
    """
    there = [name for name in _ALL if os.path.lexists(folder / name)]
    if there and _recorded(folder) is None:
        raise ConfigError(
            f"The folder holds {there[0]!r}, which this command did not write there.",
            where=str(folder),
            fix="Give another folder with --out.",
        )
    used = {os.path.realpath(path) for path in given}
    for name in changed_since(folder):
        if os.path.realpath(folder / name) not in used:
            raise ConfigError(
                f"{name} was changed since it was written, and would be replaced.",
                where=str(folder / name),
                fix=f"Give it, too: --examples {folder / name}. Or rename it, or give another "
                "folder with --out.",
            )


def keep_changed(folder: Path, staging: Path) -> list[str]:
    """Copy the tables that a person changed into `staging`, under new names, which are returned."""
    copies = []
    for name in changed_since(folder):
        stem, suffix = os.path.splitext(name)
        names = (f"{stem}-changed-{number}{suffix}" for number in count(1))
        copy = next(each for each in names if not os.path.lexists(folder / each))
        shutil.copyfile(folder / name, staging / copy)
        copies.append(copy)
    return copies


def _recorded(folder: Path) -> Mapping[str, str] | None:
    """The hashes of the tables as they were written; None if there is no summary."""
    try:
        return dict(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["tables"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
