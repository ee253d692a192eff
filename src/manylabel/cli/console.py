"""The rich console of the commands. It is a file of its own, because importing rich is slow."""

from __future__ import annotations

import sys
from typing import Any, TextIO, final

from rich.console import Console
from rich.text import Text

from manylabel.text import visible


@final
class PlainConsole(Console):
    """A console on `stream` that shows texts as they are: without markup, and without control.

    If `stream` is not a terminal, lines are not wrapped.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        file = stream or sys.stdout
        width = None if file.isatty() else 10_000
        super().__init__(
            file=file, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Every line and every cell of a table becomes a `Text` here."""
        return super().render_str(visible(text), **options)
