"""What a run says while it works: a progress bar for people, a line of JSON an epoch for tools."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Self, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


@final
class Reporter:
    """Shows progress on stderr and appends what happened to a log.

    On a terminal a bar shows step, epoch, loss, images/s and time left; elsewhere each epoch
    is a line.
    """

    def __init__(self, *, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._log: Path | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._began = 0.0
        self._done = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line for people."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, title: str, images: int) -> None:
        """Begin to count the images of one piece of work."""
        self.end()
        self._began, self._done = time.monotonic(), 0
        self._task = self._bar.add_task(title, total=images, figures="")

    def advance(self, images: int, *, title: str | None = None, loss: float | None = None) -> None:
        """So many images more; `loss` is the latest mean."""
        self._done += images
        if self._task is None:
            return
        rate = f"{self.images_per_second:,.0f} images/s"
        figures = rate if loss is None else f"loss {loss:.3f}  {rate}"
        if title is not None:
            self._bar.update(self._task, description=title)
        self._bar.update(self._task, advance=images, figures=figures)

    def end(self) -> None:
        """End the current piece of work."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    @property
    def images_per_second(self) -> float:
        """Of the current piece of work, since it began."""
        return self._done / max(1e-9, time.monotonic() - self._began)

    def log_to(self, path: Path) -> None:
        """Append events to this file from now on."""
        self._log = path

    def record(self, event: str, **values: Any) -> None:
        """Append an event to the log."""
        if self._log is None:
            return
        line = json.dumps({"event": event, "time": round(time.time(), 3), **values})
        with self._log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
