"""How much memory and time `manylabel score` takes for a large CSV table.

python -m benchmarks.score_table --out score_table.json
python -m benchmarks.score_table --images 1000 --labels 500

Scores and targets are invented once, and each way to read them is a process of its own. The peak is
that of the whole process. Seconds are those of the processor, so that neighbours on the machine do
not count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import processor, versions, write

MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024

SHARE_PRESENT = 0.01

WAYS = {
    "with pyarrow": "",
    "without pyarrow": "import sys; sys.modules['pyarrow'] = None; ",
}

MEASURED = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=9_605)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores, targets = _invent(Path(folder), given.images, given.labels)
        size = scores.stat().st_size / 1e9
        print(f"{given.images:,} images, {given.labels:,} labels: {size:.2f} GB of scores")
        found = {name: _measure(before, scores, targets) for name, before in WAYS.items()}
    for name, figures in found.items():
        print(f"{name:16} {figures['seconds']:7.1f} s {figures['peak_gb']:7.2f} GB")
    about = {"processor": processor(), "versions": versions("numpy", "pyarrow", "manylabel")}
    sizes = {"images": given.images, "labels": given.labels, "gb_of_scores": size}
    write({**sizes, "ways": found, **about}, given.out)


def _invent(folder: Path, images: int, labels: int) -> tuple[Path, Path]:
    """Write both tables, and return their paths."""
    rng = np.random.default_rng(0)
    scores, targets = folder / "scores.csv", folder / "targets.csv"
    header = ",".join(["image", *(f"label {number}" for number in range(labels))])
    with scores.open("w") as score_file, targets.open("w") as target_file:
        for file in (score_file, target_file):
            file.write(f"{header}\n")
        for number in range(images):
            row = ",".join(f"{score:.8f}" for score in (rng.random(labels) ** 4).tolist())
            score_file.write(f"{number}.jpg,{row}\n")
            present = (rng.random(labels) < SHARE_PRESENT).astype(int).tolist()
            target_file.write(f"{number}.jpg,{','.join(map(str, present))}\n")
    return scores, targets


def _measure(before: str, scores: Path, targets: Path) -> dict[str, Any]:
    """Seconds of the processor, and the peak memory in GB."""
    code = f"{before}from manylabel.cli.main import main; main()"
    words = ["score", "--predictions", str(scores), "--targets", str(targets)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, code, *words], check=True, capture_output=True, text=True
    )
    seconds, peak = map(float, done.stdout.split())
    return {"seconds": seconds, "peak_gb": peak * MAX_RSS_UNIT / 1e9}


if __name__ == "__main__":
    main()
