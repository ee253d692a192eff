"""Keeps the warnings of libraries few: a thousand images may give the same warning each."""

from __future__ import annotations

import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from manylabel.text import visible

_MOST: Final = 20
"""At most so many different warnings are shown."""


@contextmanager
def counted_warnings() -> Iterator[None]:
    """Within the block, each warning is printed once on stderr; at its end, how often it was given.

    Warnings that differ only in their numbers are the same, and the first of them is printed.
    """
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = visible(f"{category.__name__}: {message}")
        with lock:
            kind = re.sub(r"\d+", "0", text)
            counts[kind] += 1
            if counts[kind] == 1 and len(first) < _MOST:
                first[kind] = text
                click.echo(text, err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            yield
        finally:
            for line in _summary(first, counts):
                click.echo(line, err=True)


def _summary(first: dict[str, str], counts: Counter[str]) -> Iterator[str]:
    for kind, text in first.items():
        if counts[kind] > 1:
            yield f"{text} ({counts[kind]:,} such warnings)"
    if rest := sum(count for kind, count in counts.items() if kind not in first):
        yield f"Other warnings, not shown: {rest:,}"
