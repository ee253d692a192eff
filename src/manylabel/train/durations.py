"""Durations in words, as rough as an estimate is."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """A duration in words: `40 s`, `14 min`, `3 h 20 min` or `2 days`."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 10:
        return f"{hours} h {minutes % 60} min"
    return f"{hours} h" if hours < 72 else f"{round(hours / 24)} days"
