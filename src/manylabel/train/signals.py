"""Stopping a run from outside without losing it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, final


@final
class StopRequest:
    """Within its block the first SIGINT or SIGTERM is remembered, and does not end the process.

    The loop reads `received` after each iteration, saves and ends. A second SIGINT interrupts at
    once.
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
