"""The memory needed to collect scores and to measure them, at the size of a large vocabulary.

    python -m benchmarks.metrics_memory --out metrics_memory.json
    python -m benchmarks.metrics_memory --on-disk --out metrics_memory_disk.json

Scores come in batches, as from a model. For each image, C scores of 4 bytes and C targets of 1 byte
are held once. The peak memory of the process includes pages of files that are in memory; the system
takes these back when it needs them. The memory that Python itself allocated is counted separately.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import processor, versions, write
from manylabel.labels import LabelSpace
from manylabel.metrics import ScoreTable, measure
from manylabel.metrics.accumulate import IN_MEMORY

BATCH = 32

MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="number of images")
    parser.add_argument("--labels", type=int, default=9_605, help="number of labels")
    parser.add_argument("--on-disk", action="store_true", help="hold the scores in a file")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    stages = {
        stage: {"allocated_MB": allocated, "process_peak_MB": process}
        for stage, allocated, process in follow(given.images, given.labels, given.on_disk)
    }
    held = given.images * given.labels * 5 / 1e6
    print(f"{given.images:,} images, {given.labels:,} labels: {held:,.0f} MB to hold")
    print(f"{'':24}{'allocated, peak':>18}{'process, peak':>16}")
    for stage, peaks in stages.items():
        allocated, process = peaks.values()
        print(f"{stage:24}{allocated:>15,.0f} MB{process:>13,.0f} MB")
    figures = {"images": given.images, "labels": given.labels, "on_disk": given.on_disk}
    about = {"processor": processor(), "versions": versions("numpy", "manylabel")}
    write({**figures, "held_MB": held, "stages": stages, **about}, given.out)


def follow(images: int, labels: int, on_disk: bool) -> Iterator[tuple[str, float, float]]:
    """Each stage with what was allocated at its peak, and the process's peak until then, in MB."""
    yield "before", 0.0, _process_peak()
    tracemalloc.start()
    keys = [f"{i}.jpg" for i in range(images)]
    table = ScoreTable(images, repeats="refuse", in_memory=0 if on_disk else IN_MEMORY)
    rng = np.random.default_rng(0)
    for start in range(0, images, BATCH):
        part = keys[start : start + BATCH]
        scores = rng.random((len(part), labels), dtype=np.float32)
        table.add(part, scores, (scores > 0.999).astype(np.int8))
    scores, targets = table.finish(keys)
    yield "collected", tracemalloc.get_traced_memory()[1] / 1e6, _process_peak()
    tracemalloc.reset_peak()
    measure(scores, targets, LabelSpace(f"label {i}" for i in range(labels)))
    yield "measured", tracemalloc.get_traced_memory()[1] / 1e6, _process_peak()


def _process_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAX_RSS_UNIT / 1e6


if __name__ == "__main__":
    main()
