"""The speed of the data doctor, and whether it finds faults that are planted.

    python -m benchmarks.doctor --out doctor.json

The benchmark draws JPEGs of 500x375 that are similar to photographs into a temporary folder. Some
of them are truncated, exact copies or changed copies. For comparison, Pillow alone decodes the same
files on the same processors.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.common import arguments, processor, time_interleaved, versions, write
from manylabel.data.doctor.check import check
from manylabel.data.doctor.findings import Diagnosis
from manylabel.data.records import Record, Records
from manylabel.labels import LabelSpace

SIZE = (500, 375)
BASES = 250
"""Different pictures of full detail; all others are four quarters of these, put together anew."""

SHARE = 0.01
"""Of each planted fault, among all files."""

CHANGES: dict[str, Callable[[Image.Image], tuple[Image.Image, int]]] = {
    "re_encoded": lambda image: (image, 50),
    "resized": lambda image: (image.resize((320, 240)), 85),
    "brighter": lambda image: (ImageEnhance.Brightness(image).enhance(1.2), 85),
}
"""What makes a near duplicate: another image, and the JPEG quality to save it with."""


@dataclass
class Planted:
    """What was hidden: names of truncated files, and pairs of names that are one picture."""

    truncated: set[str] = field(default_factory=set)
    exact: set[frozenset[str]] = field(default_factory=set)
    near: dict[str, set[frozenset[str]]] = field(default_factory=dict)


def base(seed: int) -> Image.Image:
    """Layers of blobs, fainter the finer they are, and grain: some 60 KB as a JPEG."""
    rng = np.random.default_rng(seed)
    total = np.full((SIZE[1], SIZE[0], 3), 128.0)
    for cells, contrast in ((3, 60), (7, 40), (15, 25), (40, 16), (100, 12)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layer = np.asarray(noise.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
        total += (layer - 128) * (contrast / 74)
    total += rng.normal(0, 9, total.shape[:2])[..., None]
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def pictures(count: int) -> Iterator[Image.Image]:
    """Different pictures: each takes its quarters from four bases, some of them mirrored."""
    bases = [base(seed) for seed in range(min(BASES, count))]
    rng = np.random.default_rng(0)
    width, height = SIZE[0] // 2, SIZE[1] // 2
    for _ in range(count):
        image = Image.new("RGB", SIZE)
        for corner in ((0, 0), (width, 0), (0, height), (width, height)):
            source = bases[rng.integers(len(bases))]
            x, y = int(rng.integers(SIZE[0] - width)), int(rng.integers(SIZE[1] - height))
            quarter = source.crop((x, y, x + width, y + height + 1))
            if rng.random() < 0.5:
                quarter = quarter.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            image.paste(quarter, corner)
        yield image


def draw(folder: Path, count: int) -> Planted:
    """Write `count` files and say what was planted among them."""
    planted = Planted(near={name: set() for name in CHANGES})
    each = max(1, round(SHARE * count))
    copies = each * (1 + len(CHANGES))
    for i, image in enumerate(pictures(count - copies)):
        name = f"{i:06}.jpg"
        data = encoded(image, 85)
        if i < each:
            data = data[: len(data) * (i % 9 + 1) // 10]
            planted.truncated.add(name)
        elif i < 2 * each:
            (folder / f"copy-{name}").write_bytes(data)
            planted.exact.add(frozenset({name, f"copy-{name}"}))
        elif i < 2 * each + len(CHANGES) * each:
            change = list(CHANGES)[i % len(CHANGES)]
            (folder / f"{change}-{name}").write_bytes(encoded(*CHANGES[change](image)))
            planted.near[change].add(frozenset({name, f"{change}-{name}"}))
        (folder / name).write_bytes(data)
    return planted


def encoded(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def records_of(paths: Sequence[Path]) -> Records:
    targets = np.ones(1, dtype=np.int8)
    items = tuple(Record(path.name, path, targets) for path in paths)
    return Records.of(LabelSpace(["x"]), items, "drawn photographs")


def decode_all(paths: Sequence[Path], workers: int) -> None:
    """Each file through bare Pillow, in full size."""

    def job(part: Sequence[Path]) -> None:
        for path in part:
            try:
                Image.open(path).load()
            except OSError:
                continue  # truncated, as planted

    steps = [*range(0, len(paths), 32), len(paths)]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        list(pool.map(job, [paths[a:b] for a, b in pairwise(steps)]))


def judged(found: Diagnosis, planted: Planted) -> dict[str, float]:
    """The share of each planted fault that was found, and what was found besides."""
    by_kind = {finding.kind: finding for finding in found.findings}

    def pairs(kind: str) -> set[frozenset[str]]:
        sets = by_kind[kind].data["sets"] if kind in by_kind else []
        return {frozenset(each["images"]) for each in sets}

    unreadable = {row["image"] for row in by_kind["images.unreadable"].data["images"]}
    near = pairs("duplicates.near")
    planted_near = set().union(*planted.near.values())
    recalls = {
        "truncated": recall(planted.truncated, unreadable),
        "exact": recall(planted.exact, pairs("duplicates.exact")),
        **{name: recall(hidden, near) for name, hidden in planted.near.items()},
    }
    return {
        **{f"recall_{name}": value for name, value in recalls.items()},
        "false_unreadable": len(unreadable - planted.truncated),
        "false_exact": len(pairs("duplicates.exact") - planted.exact),
        "false_near": len(near - planted_near),
    }


def recall(hidden: set, found: set) -> float:
    return len(hidden & found) / len(hidden)


def report(images: int, rounds: int, workers: int) -> dict:
    """The figures."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        planted = draw(folder, images)
        paths = sorted(folder.iterdir())
        records = records_of(paths)
        found = check(records, workers=workers)  # also reads the files into memory, for both alike
        timed = {
            "doctor": partial(check, records, workers=workers),
            "pillow": partial(decode_all, paths, workers),
        }
        seconds = {name: median(taken) for name, taken in time_interleaved(timed, rounds).items()}
        kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    rate = len(paths) / seconds["doctor"]
    return {
        "headline": {
            "images_per_second": rate,
            "minutes_per_100k": 100_000 / rate / 60,
            "pillow_images_per_second": len(paths) / seconds["pillow"],
            **judged(found, planted),
        },
        "images": len(paths),
        "kilobytes_an_image": kilobytes,
        "rounds": rounds,
        "workers": workers,
        "processor": processor(),
        "versions": versions("numpy", "pillow"),
    }


def table(figures: dict) -> str:
    """The headline as text."""
    lines = [
        f"{figures['images']:,} JPEGs of {figures['kilobytes_an_image']:.0f} KB, "
        f"{figures['workers']} threads, {figures['processor']}, files in the system's cache"
    ]
    lines += [f"  {name:<28} {value:10,.3f}" for name, value in figures["headline"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=5000, help="number of images")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads")
    args = parser.parse_args()
    figures = report(args.images, args.rounds, args.workers)
    print(table(figures))
    write(figures, args.out)


if __name__ == "__main__":
    main()
