"""What a run reports: a progress bar or lines of text for people, and lines of JSON for tools."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
)

from manylabel.files import append_line, mend_last_line, write_errors
from manylabel.processes import processes
from manylabel.text import visible
from manylabel.train.durations import in_words

LINE_EVERY: Final = 25.0
"""Where there is no terminal, a line follows the one before it after so many seconds of work."""

_SURE_AFTER: Final = 2.0
"""The time left is estimated from at least so many seconds of work."""
_FIX: Final = "Make room on the disk, then continue the run with --resume."


@final
@dataclass
class _Work:
    """Work of a known size: a task, or all of a run. Its unit is an image, or what counts as one.

    Args:
        total: The size.
        done: What is done.
    """

    total: float
    done: float = 0.0
    began: float = field(default_factory=lambda: time.monotonic())

    def rate(self) -> float:
        """What is done in a second."""
        return self.done / max(1e-9, time.monotonic() - self.began)

    def left(self) -> str:
        """The time left in words; empty as long as it is not known."""
        if not self.done or time.monotonic() - self.began < _SURE_AFTER:
            return ""
        return f"about {in_words(max(0.0, self.total - self.done) / self.rate())} left"


@final
@dataclass
class _Task:
    id: TaskID
    title: str
    work: _Work
    weight: float


@final
class Reporter:
    """Shows progress on stderr and appends events to a log.

    On a terminal, a progress bar shows step, epoch, loss, images/s and the time left: that of the
    whole run, if its size is known (`whole`). Elsewhere there is a line for each epoch, and one at
    least every half minute. If there are several processes, only the leading one shows and writes
    anything.
    """

    def __init__(self, *, console: Console | None = None) -> None:
        self._whole: _Work | None = None
        self._scale = self._share = 1.0
        self._said = time.monotonic()
        self.console = console or Console(stderr=True)
        self._leads = processes().leads
        self._log: Path | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
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
        self._said = time.monotonic()
        if self._leads:
            self.console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def whole(self, size: float) -> Iterator[None]:
        """A context in which the time left is that of all its work.

        Such a context may lie within another one. It then takes `share` of that one's work.

        Args:
            size: The number of images of all tasks in the context, each times its task's weight.
        """
        if self._whole is None:
            self._whole = _Work(size)
            try:
                yield
            finally:
                self._whole = None
            return
        before, after = self._scale, self._whole.done + self._share
        self._scale = self._share / max(1.0, size)
        try:
            yield
        finally:
            self._scale = before
        self._whole.done = after

    def share(self, size: float) -> None:
        """Set what the next part of the whole work takes of it."""
        self._share = size

    def begin(self, title: str, images: int, *, weight: float = 1.0) -> None:
        """Begin a task that counts images. Tasks may be nested.

        Args:
            title: What is done.
            images: The number of images.
            weight: How much of the whole work an image is.
        """
        bar = self._bar.add_task(title, total=images, figures="")
        self._tasks.append(_Task(bar, title, _Work(images), weight))

    def rename(self, title: str) -> None:
        """Change the title of the current task."""
        self._tasks[-1].title = title
        self._bar.update(self._tasks[-1].id, description=title)

    def advance(self, images: int, *, loss: float | None = None) -> None:
        """Add to the number of images that are done.

        Args:
            images: The number of images to add.
            loss: The mean loss so far in the epoch, if there is one.
        """
        task = self._tasks[-1]
        task.work.done += images
        if self._whole is not None:
            self._whole.done += images * task.weight * self._scale
        figures = [f"{task.work.rate():,.0f} images/s", (self._whole or task.work).left()]
        if loss is not None:
            figures.insert(0, f"loss {loss:.3f}")
        text = "  ".join(filter(None, figures))
        self._bar.update(task.id, advance=images, figures=text)
        if not self.console.is_terminal and time.monotonic() - self._said >= LINE_EVERY:
            self.say(
                f"{task.title}  {task.work.done:,.0f} of {task.work.total:,.0f} images  {text}"
            )

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
