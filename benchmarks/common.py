"""What the benchmarks share: timing in turns, versions, arguments, output."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

Timed = Mapping[str, Callable[[], object]]


def time_interleaved(timed: Timed, rounds: int) -> dict[str, list[float]]:
    """Seconds of each run of each; they take turns, so that a busy neighbour slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, run in timed.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of packages, by name."""
    return {name: version(name) for name in packages}


def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def arguments(doc: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A parser of what every benchmark takes: `--rounds` and `--out`."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often to measure")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser


def write(figures: Mapping[str, Any], path: Path | None) -> None:
    """Write the figures as JSON, if a path was given."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
