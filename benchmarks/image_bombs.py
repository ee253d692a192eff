"""How much memory and time the worst image files of less than 10 MB take.

    python -m benchmarks.image_bombs --out image_bombs.json

Each file of `benchmarks.bomb_files` is drawn into a temporary folder. Then a process of its own
decodes it and resizes it to 224x224, with one thread. The peak is the memory above that of the same
process after it has decoded a small image. No process may take more than 12 GB of addresses, or two
minutes. Trust the seconds of the processor: those of the clock grow if the machine is busy.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.bomb_files import FILES
from benchmarks.common import arguments, processor, versions, write
from manylabel.errors import ManylabelError
from manylabel.images import load_rgb
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

MAX_FILE = 10_000_000
MAX_ADDRESSES = 12_000_000_000
MAX_SECONDS = 120
IMPORTED = ["manylabel.images", "manylabel.pixels", "benchmarks.bomb_files"]
"""What takes long to import: it is imported once, and every process begins with it."""

MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024

Row = dict[str, Any]


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES), metavar="NAME")
    given = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    print(f"{'':42}{'MB on disk':>10}{'peak MB':>9}{'CPU s':>8}{'wall s':>8}  what happens")
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        for name in given.files:
            path.write_bytes(FILES[name]())
            assert path.stat().st_size < MAX_FILE, name
            rounds = [_measure(context, path) for _ in range(given.rounds)]
            rows[name] = min(rounds, key=lambda row: row["cpu_s"])
            _print(name, rows[name])
    headline = _headline(rows)
    print(headline)
    about = {"processor": processor(), "versions": versions("pillow", "simplejpeg", "torch")}
    write({"headline": headline, "files": rows, **about}, given.out)


def _measure(context: ForkServerContext, path: Path) -> Row:
    """What the file takes in a process of its own, and what becomes of it."""
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_follow, args=(path, there))
    start = time.perf_counter()
    process.start()
    there.close()
    row: Row = {"peak_MB": np.nan, "cpu_s": np.nan, "wall_s": MAX_SECONDS}
    row["end"] = f"stopped after {MAX_SECONDS} s"
    if here.poll(MAX_SECONDS):
        try:
            row = here.recv()
        except EOFError:
            process.join()
            row["end"] = f"the process died ({process.exitcode})"
            row["wall_s"] = time.perf_counter() - start
    process.kill()
    process.join()
    return {"file_MB": path.stat().st_size / 1e6, **row}


def _follow(path: Path, answer: Connection) -> None:
    """Decode the image of the file, and send what it took."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    spec = InputSpec()
    to_pixels(load_rgb(Image.new("RGB", (300, 300))), spec)
    before = _peak()
    start, clock = time.process_time(), time.perf_counter()
    try:
        to_pixels(load_rgb(path), spec)
        end = "decoded"
    except ManylabelError as error:
        end = f"refused: {error.what}"
    except Exception as error:
        end = f"{type(error).__name__}: {error}"
    wall, cpu = time.perf_counter() - clock, time.process_time() - start
    answer.send({"peak_MB": _peak() - before, "cpu_s": cpu, "wall_s": wall, "end": end})


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAX_RSS_UNIT / 1e6


def _print(name: str, row: Mapping[str, Any]) -> None:
    figures = f"{row['peak_MB']:>9,.0f}{row['cpu_s']:>8.2f}{row['wall_s']:>8.2f}"
    print(f"{name:42}{row['file_MB']:>10.2f}{figures}  {row['end']}", flush=True)


def _headline(rows: Mapping[str, Row]) -> dict[str, float]:
    """The worst of all files, and how many were decoded or refused."""
    ends = [row["end"].partition(":")[0] for row in rows.values()]
    counts = {"decoded": ends.count("decoded"), "refused": ends.count("refused")}
    return {
        "worst_peak_MB": max(row["peak_MB"] for row in rows.values()),
        "worst_cpu_s": max(row["cpu_s"] for row in rows.values()),
        "worst_wall_s": max(row["wall_s"] for row in rows.values()),
        "files": len(rows),
        **counts,
        "failed": len(rows) - sum(counts.values()),
    }


if __name__ == "__main__":
    main()
