"""Checkpoints: what a run needs to go on, in one file that is either whole or not there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch

from manylabel.errors import CheckpointError, reason
from manylabel.files import replaced_file, write_errors

CHECKPOINT: Final = "checkpoint.pt"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, whole or not at all: the checkpoint before survives any failure.

    Raises:
        RunError: It cannot be written, for instance because the disk is full.
    """
    fix = "Make room, then train again: there is no checkpoint before this one."
    if path.exists():
        fix = f"Make room. The one before is kept: manylabel train --resume {path.parent}"
    with (
        write_errors(path, "The checkpoint", fix=fix),
        replaced_file(path) as unfinished,
        unfinished.open("wb") as file,
    ):
        _write(state, file)


def load_checkpoint(path: Path, *, identity: str) -> dict[str, Any]:
    """The state of a checkpoint of the run `identity`.

    Raises:
        CheckpointError: It is missing, damaged, or belongs to another recipe or data set.
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
            f"The checkpoint is damaged: {reason(error)}.",
            where=str(path),
            fix="Train anew in another folder.",
        ) from None
    if not isinstance(state, dict) or state.get("identity") != identity:
        raise CheckpointError(
            "The checkpoint belongs to another recipe or to other data.",
            where=str(path),
            fix="Resume with the recipe and data set that the run began with, or train in "
            "another folder.",
        )
    return state


def _write(state: dict[str, Any], file: BinaryIO) -> None:
    """What `torch.save` does, but an error of the system stays an `OSError`."""
    try:
        torch.save(state, file)
    except RuntimeError as error:  # torch puts one of its own in place of the system's
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
