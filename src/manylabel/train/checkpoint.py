"""Checkpoints: one file with all that a run needs to resume. It is complete or does not exist."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch

from manylabel.errors import CheckpointError, reason
from manylabel.files import replaced_file, write_errors

CHECKPOINT: Final = "checkpoint.pt"

_FORMAT: Final = 2
"""The format of a checkpoint. Other formats are refused. The first format had no number."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`. If this fails, the previous checkpoint is kept.

    Raises:
        RunError: It cannot be written, for instance because the disk is full.
    """
    fix = "Make room on the disk, then train again: there is no earlier checkpoint."
    if path.exists():
        fix = (
            "Make room on the disk. The previous checkpoint is kept: "
            f"manylabel train --resume {path.parent}"
        )
    with (
        write_errors(path, "The checkpoint", fix=fix),
        replaced_file(path) as unfinished,
        unfinished.open("wb") as file,
    ):
        _write({"format": _FORMAT, **state}, file)


def load_checkpoint(path: Path, *, identity: str) -> dict[str, Any]:
    """The state in the checkpoint at `path`.

    Args:
        path: The checkpoint.
        identity: The identity of the run that is resumed: of its recipe and data.

    Raises:
        CheckpointError: The checkpoint is missing or damaged, was written by another version of
            manylabel, or belongs to another recipe or data set.
    """
    state = _read(path, mmap=False)
    if state.get("identity") != identity:
        raise CheckpointError(
            "The checkpoint belongs to another recipe or to other data.",
            where=str(path),
            fix="Resume with the recipe and data set that the run began with, or start a new run "
            "in another folder.",
        )
    return state


def require_checkpoint(path: Path) -> None:
    """Check that there is a checkpoint at `path` and that this version of manylabel can read it.

    Raises:
        CheckpointError: The checkpoint is missing or damaged, or was written by another version of
            manylabel.
    """
    _read(path, mmap=True)


def _read(path: Path, *, mmap: bool) -> dict[str, Any]:
    """The state in a file; with `mmap`, its tensors are not read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise CheckpointError(
            "There is no checkpoint to resume from.",
            where=str(path),
            fix="Give the folder of a run that was stopped, or train without --resume.",
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"The checkpoint is damaged: {reason(error)}.",
            where=str(path),
            fix="Start a new run in another folder.",
        ) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(
            "The checkpoint was written by another version of manylabel.",
            where=str(path),
            fix="Resume with the version that began the run, or start a new run in another folder.",
        )
    return state


def _write(state: dict[str, Any], file: BinaryIO) -> None:
    """Save as `torch.save` does, but raise an `OSError` if the system reports one."""
    try:
        torch.save(state, file)
    except RuntimeError as error:  # torch replaces the system's error by its own
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
