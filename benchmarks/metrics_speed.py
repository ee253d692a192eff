"""How long mAP takes at the size of MS-COCO, beside scikit-learn and torchmetrics, on one thread.

python -m benchmarks.metrics_speed --out metrics_speed.json
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multilabel_average_precision

from benchmarks.common import arguments, time_interleaved, versions, write
from manylabel.labels import LabelSpace
from manylabel.metrics import average_precision, average_precision_interpolated, measure

POSITIVES_AN_IMAGE = 2.9
"""As in MS-COCO."""

Timed = dict[str, Callable[[], float]]


def draw(images: int, labels: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Scores and targets [N, C] with a long tail: the k-th label has a share like 1 / (k + 5)."""
    rng = np.random.default_rng(seed)
    share = 1 / (np.arange(labels) + 5)
    rate = np.minimum(share * POSITIVES_AN_IMAGE / share.sum(), 0.5)
    targets = (rng.random((images, labels)) < rate).astype(np.int8)
    logits = rng.normal(size=targets.shape) - 3 + 3 * targets
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


def contenders(scores: NDArray[np.float32], targets: NDArray[np.int8]) -> Timed:
    """What is timed, by name: each gives mAP from arrays in its own library's type."""
    num_labels = targets.shape[1]
    labels = LabelSpace(f"label {i}" for i in range(num_labels))
    preds, truth = torch.from_numpy(scores), torch.from_numpy(targets).long()

    def torchmetrics_exact() -> float:
        per_label = multilabel_average_precision(
            preds, truth, num_labels, average="none", thresholds=None, validate_args=False
        )
        return float(per_label.mean())

    return {
        "manylabel": lambda: float(average_precision(scores, targets).mean()),
        "scikit_learn": lambda: float(average_precision_score(targets, scores, average="macro")),
        "torchmetrics_exact": torchmetrics_exact,
        "manylabel_interpolated": lambda: float(
            average_precision_interpolated(scores, targets).mean()
        ),
        "measure_manylabel": lambda: measure(scores, targets, labels).mAP,
        "measure_srn": lambda: measure(scores, targets, labels, profile="srn").mAP,
    }


def report(images: int, labels: int, rounds: int) -> dict:
    """The figures, after one untimed run of each to see that they agree."""
    torch.set_num_threads(1)
    timed = contenders(*draw(images, labels))
    found = {name: run() for name, run in timed.items()}
    for name in ("scikit_learn", "torchmetrics_exact", "measure_manylabel"):
        assert abs(found[name] - found["manylabel"]) < 1e-5, found
    seconds = {name: median(taken) for name, taken in time_interleaved(timed, rounds).items()}
    ratios = {
        f"{name}_over_manylabel": seconds[name] / seconds["manylabel"]
        for name in ("scikit_learn", "torchmetrics_exact")
    }
    return {
        "headline": {**{f"{name}_s": value for name, value in seconds.items()}, **ratios},
        "mAP": found,
        "images": images,
        "labels": labels,
        "rounds": rounds,
        "versions": versions("numpy", "scikit-learn", "torch", "torchmetrics"),
        "machine": platform.machine(),
    }


def table(figures: dict) -> str:
    """The headline as text."""
    lines = [
        f"{figures['images']:,} x {figures['labels']:,}, one thread, {figures['rounds']} rounds"
    ]
    for name, value in figures["headline"].items():
        unit = "s" if name.endswith("_s") else "x"
        lines.append(f"  {name:<36} {value:8.3f} {unit}")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=40_504)
    parser.add_argument("--labels", type=int, default=80)
    args = parser.parse_args()
    figures = report(args.images, args.labels, args.rounds)
    print(table(figures))
    write(figures, args.out)


if __name__ == "__main__":
    main()
