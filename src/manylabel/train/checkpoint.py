"""Checkpoints: what a run needs to go on, in one file that is either whole or not there."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, Final

import torch

from manylabel.errors import CheckpointError, RunError

CHECKPOINT: Final = "checkpoint.pt"

_FORMAT: Final = 2
"""The format of a checkpoint; one of another format is refused. The first had no number."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, then put it in its place: the one before survives any failure.

    Raises:
        RunError: It cannot be written, for instance because the disk is full.
    """
    state = {"format": _FORMAT, **state}
    unfinished = path.with_suffix(".tmp")
    try:
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer words a full disk as RuntimeError
        unfinished.unlink(missing_ok=True)
        kept = "The one before is kept." if path.exists() else "There is none before it."
        raise RunError(
            f"The checkpoint cannot be saved: {_reason(error)}. {kept}",
            where=str(path),
            fix=f"Make room, then go on with: manylabel train --resume {path.parent}",
        ) from error


def load_checkpoint(path: Path, *, identity: str) -> dict[str, Any]:
    """The state of a checkpoint of the run `identity`.

    Raises:
        CheckpointError: It is missing or damaged, was written by another version of manylabel, or
            belongs to another recipe or data set.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            "There is no checkpoint to go on from.",
            where=str(path),
            fix="Give the folder of a run that was stopped, or train without --resume.",
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"The checkpoint is damaged: {_reason(error)}.",
            where=str(path),
            fix="Train anew in another folder.",
        ) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(
            "The checkpoint was written by another version of manylabel.",
            where=str(path),
            fix="Resume with the version that the run began with, or train anew in another folder.",
        )
    if state.get("identity") != identity:
        raise CheckpointError(
            "The checkpoint belongs to another recipe or to other data.",
            where=str(path),
            fix="Resume with the recipe and data set that the run began with, or train in "
            "another folder.",
        )
    return state


def _reason(error: Exception) -> str:
    cause = error.__context__ if isinstance(error.__context__, OSError) else error
    lines = str(getattr(cause, "strerror", None) or cause).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
