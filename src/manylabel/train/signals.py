"""Stopping a run by a signal, so that it can be resumed."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, final


@final
class StopRequest:
    """A context in which the first SIGINT or SIGTERM does not end the process.

    `received` then holds the name of the signal. The training loop reads it after each iteration;
    if it is set, the loop saves a checkpoint and ends. A second SIGINT interrupts at once.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
