"""What a run reports: a progress bar or lines of text for people, and lines of JSON for tools."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from manylabel.files import append_line, mend_last_line, write_errors
from manylabel.processes import processes
from manylabel.text import visible

_FIX: Final = "Make room on the disk, then continue the run with --resume."


@final
@dataclass
class _Task:
    id: TaskID
    began: float = field(default_factory=time.monotonic)
    done: int = 0


@final
class Reporter:
    """Shows progress on stderr and appends events to a log.

    On a terminal, a progress bar shows step, epoch, loss, images/s and the time left. Elsewhere
    there is one line per epoch. If there are several processes, only the leading one shows and
    writes anything.
    """

    def __init__(self, *, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._leads = processes().leads
        self._log: Path | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not (self._leads and self.console.is_terminal),
            transient=True,
        )
        self._tasks: list[_Task] = []

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line for people. Characters that a terminal would obey are escaped."""
        if self._leads:
            self.console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def begin(self, title: str, images: int) -> None:
        """Begin a task that counts images. Tasks may be nested."""
        self._tasks.append(_Task(self._bar.add_task(title, total=images, figures="")))

    def rename(self, title: str) -> None:
        """Change the title of the current task."""
        self._bar.update(self._tasks[-1].id, description=title)

    def advance(self, images: int, *, loss: float | None = None) -> None:
        """Add to the number of images that are done.

        Args:
            images: The number of images to add.
            loss: The mean loss so far in the epoch, if there is one.
        """
        task = self._tasks[-1]
        task.done += images
        rate = f"{task.done / max(1e-9, time.monotonic() - task.began):,.0f} images/s"
        figures = rate if loss is None else f"loss {loss:.3f}  {rate}"
        self._bar.update(task.id, advance=images, figures=figures)

    def end(self) -> None:
        """End the current task."""
        self._bar.remove_task(self._tasks.pop().id)

    def log_to(self, path: Path) -> None:
        """Append events to this file from now on.

        A last line that a full disk or a crash cut short is removed first.

        Raises:
            RunError: The file cannot be changed.
        """
        self._log = path
        if self._leads:
            with write_errors(path, "The log", fix=_FIX):
                mend_last_line(path)

    def record(self, event: str, **values: Any) -> None:
        """Append an event to the log.

        Raises:
            RunError: It cannot be written. The log is as it was before.
        """
        if self._log is None or not self._leads:
            return
        line = json.dumps({"event": event, "time": round(time.time(), 3), **values})
        with write_errors(self._log, "The log", fix=_FIX):
            append_line(self._log, line)
