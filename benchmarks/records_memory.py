"""How much memory and time the records of a large data set take, from the file to the splits.

python -m benchmarks.records_memory --out records_memory.json
python -m benchmarks.records_memory --images 100000 --kinds openimages

Each kind of data set is invented once and then read in a process of its own, so that one reading
does not hide in the memory of another. No image is opened. The peak is that of the whole process,
with Python and the imported packages (`start`); `held` is what the process takes once the data set
is read and nothing else is left. Seconds are those of the processor, so that neighbours on the
machine do not count.
"""

from __future__ import annotations

import argparse
import csv
import gc
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import processor, versions, write
from manylabel.data.read import DataSource, read
from manylabel.data.splits.split import with_splits

MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024

SHARE_PRESENT = 0.036
"""Share of targets that are present: 2.9 of 80 labels, as in COCO."""

CHUNK = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=sorted(KINDS))
    parser.add_argument("--work", type=Path, help="keep the invented files in this folder")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        found = {kind: _measure(kind, work, given.images, given.labels) for kind in given.kinds}
    print(f"{given.images:,} images, {given.labels:,} labels: the targets alone take ", end="")
    print(f"{given.images * given.labels / 1e6:,.0f} MB")
    names = next(iter(found.values())).keys()
    print("".join([f"{'':12}", *(f"{name:>17}" for name in names)]))
    for kind, figures in found.items():
        print("".join([f"{kind:12}", *(f"{value:>17,.1f}" for value in figures.values())]))
    headline = {
        f"{kind}_{name}": figures[name]
        for kind, figures in found.items()
        for name in ("read_peak_MB", "held_MB", "read_s")
    }
    about = {"processor": processor(), "versions": versions("numpy", "manylabel")}
    sizes = {"images": given.images, "labels": given.labels}
    write({"headline": headline, **sizes, "kinds": found, **about}, given.out)


def _measure(kind: str, work: Path, images: int, labels: int) -> dict[str, float]:
    """The figures of one kind of data set, invented and read in processes of their own."""
    context = multiprocessing.get_context("spawn")
    folder = work / f"{kind}-{images}-{labels}"
    if not folder.exists():
        folder.mkdir(parents=True)
        inventing = context.Process(target=KINDS[kind], args=(folder, images, labels))
        inventing.start()
        inventing.join()
        assert inventing.exitcode == 0, f"{folder} is not whole"
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_follow, args=(folder, there))
    process.start()
    there.close()
    figures = here.recv()
    process.join()
    return figures


def _follow(folder: Path, answer: Connection) -> None:
    """Read the data set, hash it and split it, and send what each took."""
    figures: dict[str, float] = {"start_MB": _peak()}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = work()
        figures[f"{name}_s"] = time.process_time() - start
        return result

    file = folder / "table.csv"
    records = timed("read", lambda: read(DataSource(path=file if file.exists() else folder)))
    figures["read_peak_MB"] = _peak()
    gc.collect()
    figures["held_MB"] = _held()
    timed("hash", records.fingerprint)
    timed("split", lambda: with_splits(records).split("train").fingerprint())
    figures["whole_peak_MB"] = _peak()
    answer.send(figures)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAX_RSS_UNIT / 1e6


def _held() -> float:
    """The memory that the process takes now; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except OSError:
        return _peak()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _table(folder: Path, images: int, labels: int) -> None:
    """A column for each label, a split for each image; a target in fifty is unknown."""
    rng = np.random.default_rng(0)
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "split", *(f"label {i}" for i in range(labels))])
        for start in range(0, images, CHUNK):
            size = min(CHUNK, images - start)
            targets = (rng.random((size, labels)) < SHARE_PRESENT).astype(np.int8)
            targets[rng.random((size, labels)) < 0.02] = -1
            for i, row in enumerate(targets.tolist(), start=start):
                split = "train" if i % 10 else "val"
                writer.writerow([f"images/{i % 1000:03d}/{i:08d}.jpg", split, *row])


def _openimages(folder: Path, images: int, labels: int) -> None:
    """Eight verified labels for each image of train, a third of them present."""
    rng = np.random.default_rng(0)
    name = "oidv6-train-annotations-human-imagelabels.csv"
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ImageID", "Source", "LabelName", "Confidence"])
        for image in range(images):
            verified = rng.permutation(labels)[:8].tolist()
            present = rng.random(8) < 1 / 3
            for label, confidence in zip(verified, present.tolist(), strict=True):
                row = [f"{image:016x}", "verification", f"/m/{label:05d}", int(confidence)]
                writer.writerow(row)
    (folder / "train").mkdir()
    (folder / "train" / f"{0:016x}.jpg").touch()


def _parquet(folder: Path, images: int, labels: int) -> None:
    """A list of labels for each image, and its split."""
    import pyarrow
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    names = pyarrow.array([f"label {i}" for i in range(labels)])
    counts = rng.binomial(labels, SHARE_PRESENT, size=images)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    chosen = pyarrow.array(rng.integers(0, labels, size=int(ends[-1])))
    table = pyarrow.table(
        {
            "image": [f"images/{i % 1000:03d}/{i:08d}.jpg" for i in range(images)],
            "labels": pyarrow.ListArray.from_arrays(ends, names.take(chosen)),
            "split": ["train" if i % 10 else "val" for i in range(images)],
        }
    )
    parquet.write_table(table, folder / "table.parquet")
    (folder / "images" / "000").mkdir(parents=True)
    (folder / "images" / "000" / f"{0:08d}.jpg").touch()


KINDS: dict[str, Callable[[Path, int, int], None]] = {
    "openimages": _openimages,
    "parquet": _parquet,
    "table": _table,
}
"""What invents each kind of data set in a folder."""


if __name__ == "__main__":
    main()
