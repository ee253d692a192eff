"""The time for a stratified split, and how even it is, compared with iterative-stratification.

    python -m benchmarks.splits --out splits.json

Both split the same long-tailed targets into train, val and test at once. The other package has no
public class for three shares, so its inner function is called, in the way its own classes call it.
"""

from __future__ import annotations

import platform
import time
from statistics import median

import numpy as np
from iterstrat.ml_stratifiers import IterativeStratification
from numpy.typing import NDArray

from benchmarks.common import arguments, processor, time_interleaved, versions, write
from manylabel.data.records import Split
from manylabel.data.splits.drift import Drift, drift
from manylabel.data.splits.stratify import stratify

SHARES: dict[Split, float] = {"train": 0.7, "val": 0.1, "test": 0.2}

POSITIVES_AN_IMAGE = 2.9
"""As in MS-COCO."""


def draw(images: int, labels: int, seed: int = 0) -> NDArray[np.int8]:
    """Targets [N, C] with a long tail, whose labels come together in scenes of six kinds."""
    rng = np.random.default_rng(seed)
    share = (np.arange(labels) + 5) ** -1.5
    rate = np.minimum(share * POSITIVES_AN_IMAGE / share.sum(), 0.5)
    liking = 0.5 * rng.normal(size=(6, labels))
    targets = np.empty((images, labels), dtype=np.int8)
    for part in np.array_split(targets, max(1, images // 50_000)):
        odds = rng.normal(size=(len(part), 6)) @ liking + np.log(rate / (1 - rate))
        part[:] = rng.random(part.shape) < 1 / (1 + np.exp(-odds))
    return targets


def ours(targets: NDArray[np.int8], seed: int = 0) -> NDArray[np.int64]:
    return stratify(targets, SHARES, seed=seed)


def theirs(targets: NDArray[np.int8], seed: int = 0) -> NDArray[np.int64]:
    shares = np.array([*SHARES.values()])
    random = np.random.RandomState(seed)
    return IterativeStratification(labels=targets.astype(bool), r=shares, random_state=random)


def evenness(targets: NDArray[np.int8], splits: NDArray[np.int64]) -> dict:
    """Mean and worst drift of the labels, and labels that a split has no positive of."""
    labels = [f"label {i}" for i in range(targets.shape[1])]
    found: Drift = drift(targets, splits, labels=labels, splits=[*SHARES])
    images = dict(zip(SHARES, found.images.tolist(), strict=True))
    return {
        "mean_drift": found.mean,
        "worst_drift": found.worst,
        "missing": len(found.missing()),
        "images": images,
    }


def compare(images: int, labels: int, rounds: int) -> dict:
    """Both on the same targets; seconds are medians of runs that take turns."""
    targets = draw(images, labels)
    runs = {"ours": ours, "theirs": theirs}
    timed = {name: lambda run=run: run(targets) for name, run in runs.items()}
    seconds = {name: median(taken) for name, taken in time_interleaved(timed, rounds).items()}
    even = {name: evenness(targets, run(targets)) for name, run in runs.items()}
    return {
        "size": f"{images} x {labels}",
        "seconds": seconds,
        "ratio": seconds["theirs"] / seconds["ours"],
        "evenness": even,
        "drift_ratio": even["theirs"]["mean_drift"] / max(even["ours"]["mean_drift"], 1e-12),
    }


def alone(images: int, labels: int) -> dict:
    """Ours where the other would take too long."""
    targets = draw(images, labels)
    start = time.perf_counter()
    splits = ours(targets)
    seconds = time.perf_counter() - start
    return {
        "size": f"{images} x {labels}",
        "seconds": seconds,
        "evenness": evenness(targets, splits),
    }


def report(sizes: list[tuple[int, int]], large: tuple[int, int], rounds: int) -> dict:
    """The figures of all sizes."""
    compared = [compare(images, labels, rounds) for images, labels in sizes]
    last, million = compared[-1], alone(*large)
    return {
        "headline": {
            "ours_s": last["seconds"]["ours"],
            "iterative_stratification_s": last["seconds"]["theirs"],
            "iterative_stratification_over_ours": last["ratio"],
            "drift_iterative_stratification_over_ours": last["drift_ratio"],
            "ours_large_s": million["seconds"],
        },
        "compared": compared,
        "large": million,
        "rounds": rounds,
        "versions": versions("numpy", "iterative-stratification"),
        "machine": platform.machine(),
        "processor": processor(),
    }


def table(figures: dict) -> str:
    """A line a size and a contender."""
    lines = [f"{'':<16}{'':<8}{'seconds':>9}{'mean drift':>12}{'worst':>9}{'missing':>9}"]
    for part in figures["compared"]:
        for name in ("ours", "theirs"):
            even = part["evenness"][name]
            lines.append(_line(part["size"], name, part["seconds"][name], even))
    large = figures["large"]
    lines.append(_line(large["size"], "ours", large["seconds"], large["evenness"]))
    ratios = ", ".join(f"{part['size']}: {part['ratio']:.1f}x" for part in figures["compared"])
    return "\n".join([*lines, f"theirs over ours, seconds: {ratios}"])


def _line(size: str, name: str, seconds: float, even: dict) -> str:
    drifts = f"{even['mean_drift']:>12.4%}{even['worst_drift']:>9.3%}{even['missing']:>9}"
    return f"{size:<16}{name:<8}{seconds:>9.3f}{drifts}"


def _size(text: str) -> tuple[int, int]:
    images, labels = text.split("x")
    return int(images), int(labels)


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        default=[(5_000, 100), (20_000, 40), (100_000, 80), (400_000, 100)],
        metavar="IMAGESxLABELS",
    )
    parser.add_argument("--large", type=_size, default=(1_000_000, 100), metavar="IMAGESxLABELS")
    args = parser.parse_args()
    figures = report(args.sizes, args.large, args.rounds)
    print(table(figures))
    write(figures, args.out)


if __name__ == "__main__":
    main()
