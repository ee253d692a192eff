"""The time that metrics take, with scikit-learn and torchmetrics for comparison, on one thread.

    python -m benchmarks.metrics_speed --out metrics_speed.json
    python -m benchmarks.metrics_speed --images 10000 --labels 9605 --theirs 400 --rounds 3

The first command has the size of MS-COCO's val, the second that of a large vocabulary. In the
second, the other two libraries get only `--theirs` labels, evenly spread, because both work label
by label. Their seconds are scaled up to all labels, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multilabel_average_precision

from benchmarks.common import arguments, processor, time_interleaved, versions, write
from manylabel.labels import LabelSpace
from manylabel.metrics import PROFILES, average_precision, average_precision_interpolated, measure

POSITIVES_AN_IMAGE = 2.9
"""As in MS-COCO."""

THEIRS = ("scikit_learn", "torchmetrics_exact")

Timed = dict[str, Callable[[], float]]


def draw(images: int, labels: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Scores and targets [N, C] with a long tail: the k-th label has a share like 1 / (k + 5)."""
    rng = np.random.default_rng(seed)
    share = 1 / (np.arange(labels) + 5)
    rate = np.minimum(share * POSITIVES_AN_IMAGE / share.sum(), 0.5).astype(np.float32)
    targets = (rng.random((images, labels), dtype=np.float32) < rate).astype(np.int8)
    targets[0] = 1  # each label has a positive
    scores = rng.standard_normal((images, labels), dtype=np.float32)
    scores += 3 * targets - np.float32(3)
    return 1 / (1 + np.exp(-scores)), targets


def contenders(
    scores: NDArray[np.float32], targets: NDArray[np.int8], part: NDArray[np.intp]
) -> Timed:
    """What is timed, by name: each gives mAP, the other libraries that of the labels `part`."""
    labels = LabelSpace(f"label {i}" for i in range(targets.shape[1]))
    some, some_truth = scores[:, part], targets[:, part]
    preds, truth = torch.from_numpy(some), torch.from_numpy(some_truth).long()

    def torchmetrics_exact() -> float:
        per_label = multilabel_average_precision(
            preds, truth, len(part), average="none", thresholds=None, validate_args=False
        )
        return float(per_label.mean())

    def profile(name: str) -> Callable[[], float]:
        return lambda: measure(scores, targets, labels, profile=name).mAP

    return {
        "manylabel": lambda: float(average_precision(scores, targets).mean()),
        "scikit_learn": lambda: float(average_precision_score(some_truth, some, average="macro")),
        "torchmetrics_exact": torchmetrics_exact,
        "manylabel_interpolated": lambda: float(
            average_precision_interpolated(scores, targets).mean()
        ),
        **{f"measure_{name.replace('-', '_')}": profile(name) for name in PROFILES},
    }


def report(images: int, labels: int, theirs: int, rounds: int) -> dict[str, Any]:
    """The figures, after one untimed run of each to see that they agree."""
    torch.set_num_threads(1)
    scores, targets = draw(images, labels)
    part = np.linspace(0, labels - 1, min(theirs, labels)).astype(np.intp)
    timed = contenders(scores, targets, part)
    found = {name: run() for name, run in timed.items()}
    ours = {"manylabel": found["manylabel"]}
    ours |= dict.fromkeys(
        THEIRS, float(average_precision(scores[:, part], targets[:, part]).mean())
    )
    for name in (*THEIRS, "measure_manylabel"):
        assert abs(found[name] - ours.get(name, found["manylabel"])) < 1e-5, found
    seconds = {name: median(taken) for name, taken in time_interleaved(timed, rounds).items()}
    for name in THEIRS:
        seconds[name] *= labels / len(part)
    ratios = {f"{name}_over_manylabel": seconds[name] / seconds["manylabel"] for name in THEIRS}
    return {
        "headline": {**{f"{name}_s": value for name, value in seconds.items()}, **ratios},
        "mAP": found,
        "images": images,
        "labels": labels,
        "labels_of_theirs": len(part),
        "rounds": rounds,
        "versions": versions("numpy", "scikit-learn", "torch", "torchmetrics"),
        "machine": processor(),
    }


def table(figures: dict[str, Any]) -> str:
    """The headline as text."""
    lines = [
        f"{figures['images']:,} x {figures['labels']:,}, one thread, {figures['rounds']} rounds"
    ]
    if figures["labels_of_theirs"] < figures["labels"]:
        lines.append(
            f"scikit-learn and torchmetrics on {figures['labels_of_theirs']:,} labels, scaled up"
        )
    for name, value in figures["headline"].items():
        unit = "s" if name.endswith("_s") else "x"
        lines.append(f"  {name:<36} {value:8.3f} {unit}")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=40_504, help="number of images")
    parser.add_argument("--labels", type=int, default=80, help="number of labels")
    parser.add_argument(
        "--theirs", type=int, default=400, help="most labels for the other libraries"
    )
    args = parser.parse_args()
    figures = report(args.images, args.labels, args.theirs, args.rounds)
    print(table(figures))
    write(figures, args.out)


if __name__ == "__main__":
    main()
