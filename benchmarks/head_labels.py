"""How heads grow with the number of labels: parameters, arithmetic, time and memory of each alone.

    python -m benchmarks.head_labels [--labels 80 1000 9605] [--heads srn csra ...] [--out FILE]

Each head at its defaults, over the maps that ResNet-101 gives at 224x224 (1024x14x14, 2048x7x7),
one thread, fp32. Each is measured in a process of its own, so that its peak memory is its own; a
head that would take more than `--limit` GFLOPs an image is counted, not run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import processor, versions, write
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads import HEADS, Head

SHAPES = MapShapes(mid_channels=1024, final_channels=2048, grid=(14, 14))
ROUNDS = 3


def measure(name: str, labels: int, images: int, limit: float) -> dict[str, float | None]:
    """The figures of one head; seconds and memory are None where it was not run."""
    torch.set_num_threads(1)
    with torch.device("meta"):
        flops = _flops(_build(name, labels).eval().requires_grad_(False), images)
    parameters = sum(p.numel() for p in _on_meta(name, labels).parameters())
    found: dict[str, float | None] = {
        "parameters_M": parameters / 1e6,
        "GFLOPs": flops / images,
        "forward_ms": None,
        "train_ms": None,
        "peak_MiB": None,
    }
    if flops / images > limit:
        return found
    head = _build(name, labels)
    maps = _maps(images, "cpu")
    found["forward_ms"] = 1000 * _best(lambda: _forward(head, maps)) / images
    found["train_ms"] = 1000 * _best(lambda: _train(head, maps)) / images
    found["peak_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def _on_meta(name: str, labels: int) -> Head:
    with torch.device("meta"):
        return _build(name, labels)


def _build(name: str, labels: int) -> Head:
    build = HEADS[name]
    return build(build.Config.model_validate({}), SHAPES, LabelSpace.numbered(labels))


def _maps(images: int, device: str) -> FeatureMaps:
    sizes = ((SHAPES.mid_channels, *SHAPES.grid), (SHAPES.final_channels, 7, 7))
    mid, final = (torch.rand(images, *size, device=device) for size in sizes)
    return FeatureMaps(mid, final)


def _flops(head: Head, images: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head(_maps(images, "meta"))
    return counter.get_total_flops() / 1e9


def _best(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


@torch.no_grad()
def _forward(head: Head, maps: FeatureMaps) -> None:
    head.eval()
    head(maps)


def _train(head: Head, maps: FeatureMaps) -> None:
    head.train()
    head.zero_grad()
    head(maps).logits.sum().backward()


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| head | labels | parameters, M | GFLOPs | forward, ms | and backward, ms | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, by_labels in found.items():
        for labels, row in by_labels.items():
            cells = [f"{row['parameters_M']:.1f}", f"{row['GFLOPs']:.2f}"]
            for key in ("forward_ms", "train_ms", "peak_MiB"):
                cells.append("not run" if row[key] is None else f"{row[key]:,.1f}")
            lines.append(f"| {name} | {int(labels):,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[80, 1000, 9605])
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--limit", type=float, default=200, help="GFLOPs an image")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.labels[0], args.images, args.limit)))
        return
    found = {name: {str(c): _apart(name, c, args) for c in args.labels} for name in args.heads}
    print(table(found))
    headline = {
        f"{name}_{labels}_train_ms": row["train_ms"]
        for name, by_labels in found.items()
        for labels, row in by_labels.items()
    }
    about = {"images": args.images, "versions": versions("torch"), "processor": processor()}
    write({"headline": headline, "heads": found, **about}, args.out)


def _apart(name: str, labels: int, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one head, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.head_labels", "--one", name]
    command += ["--labels", str(labels), "--images", str(args.images), "--limit", str(args.limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
