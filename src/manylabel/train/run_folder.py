"""A run's folder: what lies where in it, and whether a run may begin or go on there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from manylabel.config import write_toml
from manylabel.errors import CheckpointError, ConfigError
from manylabel.files import write_errors
from manylabel.processes import processes
from manylabel.train.checkpoint import CHECKPOINT, load_checkpoint
from manylabel.train.config import RunConfig
from manylabel.train.job import Job

RECIPE: Final = "recipe.toml"
LOG: Final = "log.jsonl"
BUNDLE: Final = "bundle"


def step_folder(job: Job, number: int) -> Path:
    """Where the bundle of a step goes, by the step's position in the run."""
    return job.folder / "steps" / f"{number + 1}-{job.step(number).kind}"


def recipe_of(folder: Path) -> Path:
    """The recipe of the run in `folder`.

    Raises:
        CheckpointError: There is no run.
    """
    path = folder / RECIPE
    if not path.exists():
        raise CheckpointError(
            "There is no run to go on with.",
            where=str(folder),
            fix="Give the folder of a run that was stopped; it holds a recipe and a checkpoint.",
        )
    return path


def require_free(folder: Path) -> None:
    """Returns if `folder` holds no run that would be written over.

    Raises:
        ConfigError: It holds a run.
    """
    if (folder / CHECKPOINT).exists():
        raise ConfigError(
            "The folder holds a run already.",
            where=str(folder),
            fix=f"Go on with it by --resume {folder}, or give another folder with --out.",
        )


def open_folder(
    folder: Path, config: RunConfig, identity: str, *, resume: bool
) -> dict[str, Any] | None:
    """Make the run's folder and give None, or give the checkpoint to resume from.

    Of several processes the leading one makes the folder.

    Raises:
        ConfigError: A new run is to begin, and the folder holds a run.
        CheckpointError: There is no checkpoint to resume from, or it is of another run.
        RunError: The folder cannot be written.
    """
    if resume:
        return load_checkpoint(folder / CHECKPOINT, identity=identity)
    require_free(folder)
    if not processes().leads:
        return None
    fix = "Give a folder that you may write to with --out."
    with write_errors(folder, "The run's folder", fix=fix):
        write_toml(config, folder / RECIPE)
    return None
