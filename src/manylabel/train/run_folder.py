"""A run's folder: its files, and whether a run can begin or resume there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from manylabel.config import write_toml
from manylabel.errors import CheckpointError, ConfigError
from manylabel.files import write_errors
from manylabel.locks import LOCK, held
from manylabel.processes import agreed, processes
from manylabel.train.checkpoint import CHECKPOINT, load_checkpoint, require_checkpoint
from manylabel.train.config import RunConfig
from manylabel.train.job import Job

RECIPE: Final = "recipe.toml"
LOG: Final = "log.jsonl"
BUNDLE: Final = "bundle"
METRICS: Final = "metrics.json"
PAGE: Final = "run.html"
PLAN: Final = "plan.json"
"""The plan of a run without a recipe."""

_OTHER: Final = "Wait until it ends, or give another folder with --out."


def step_folder(job: Job, number: int) -> Path:
    """The folder of a step's bundle.

    Args:
        job: The run.
        number: The step's position in the run, from 0.
    """
    return job.folder / "steps" / f"{number + 1}-{job.step(number).kind}"


def recipe_of(folder: Path) -> Path:
    """The recipe of the run in `folder`, which can be resumed.

    Raises:
        CheckpointError: The folder holds no run, or one of another version of manylabel.
    """
    path = folder / RECIPE
    if not path.exists():
        raise CheckpointError(
            "There is no run to resume.",
            where=str(folder),
            fix="Give the folder of a run that was stopped; it holds a recipe and a checkpoint.",
        )
    require_checkpoint(folder / CHECKPOINT)  # before the recipe, which may be as old
    return path


@contextmanager
def claimed(folder: Path, *, resume: bool = False) -> Iterator[None]:
    """A context in which no other process works in the folder of a run. It may be nested.

    If there are several processes that work together, the leading one holds the lock for all.

    Args:
        folder: The folder of the run.
        resume: Whether a run resumes there. Then another folder is of no use.

    Raises:
        ConfigError: Another process works in the folder.
        RunError: The folder cannot be written.
    """
    fix = "Wait until it ends, then resume." if resume else _OTHER
    with ExitStack() as stack:

        def claim() -> None:
            if processes().leads:
                stack.enter_context(held(folder / LOCK, fix=fix))

        agreed(claim)
        yield


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` is finished: its bundle, metrics and page are there."""
    return all((folder / name).exists() for name in (BUNDLE, METRICS, PAGE))


def require_free(folder: Path) -> None:
    """Check that `folder` holds no run, which a new run would overwrite.

    Raises:
        ConfigError: It holds a run.
    """
    if (folder / CHECKPOINT).exists() or (folder / PLAN).exists():
        raise ConfigError(
            "The folder already holds a run.",
            where=str(folder),
            fix=f"Resume it with --resume {folder}, or give another folder with --out.",
        )


def open_folder(folder: Path, identity: str, *, resume: bool) -> dict[str, Any] | None:
    """Look into the folder of a run that begins or resumes. Nothing is written.

    Args:
        folder: The folder of the run.
        identity: The identity of recipe and data.
        resume: Whether the run resumes.

    Returns:
        The checkpoint to resume from, or None for a new run.

    Raises:
        ConfigError: The run is new, and the folder already holds a run.
        CheckpointError: There is no checkpoint to resume from, or it belongs to another run.
    """
    if resume:
        return load_checkpoint(folder / CHECKPOINT, identity=identity)
    require_free(folder)
    return None


def write_recipe(folder: Path, config: RunConfig) -> None:
    """Write the recipe into the folder of a new run.

    If there are several processes, only the leading one makes the folder and the file.

    Raises:
        RunError: The folder cannot be written.
    """
    if not processes().leads:
        return
    fix = "Use --out to give a folder that you may write to."
    with write_errors(folder, "The run's folder", fix=fix):
        write_toml(config, folder / RECIPE)
