"""How long calibration curves take to fit beside scikit-learn's, and whether they are equal.

OMP_NUM_THREADS=1 python -m benchmarks.calibration_fits
OMP_NUM_THREADS=1 python -m benchmarks.calibration_fits --images 10000 --labels 1000 --rounds 3

Each side fits one curve for each label. scikit-learn's are `IsotonicRegression` and, for platt and
beta, `LogisticRegression` without a penalty on the features that the kind has; of its solvers the
fastest for many images and few features is taken, `newton-cholesky`, and `lbfgs`, its default, is
timed beside it. `LogisticRegression` gets the default tolerance for the time, and a small one where
the curves are compared. All targets are known and every label has a curve of its own; for platt and
beta ours fits the curve of all pairs in addition. Last, each side gets a label that its scores tell
apart without a fault: there the steepest curve is the best one, so that a fit without a penalty has
no end.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from benchmarks.common import arguments, processor, time_interleaved, versions, write
from manylabel.metrics.calibration import Kind, SmoothCalibration, fit_calibration

Array = NDArray[np.float64]
Targets = NDArray[np.int8]

KINDS: Final[tuple[Kind, ...]] = ("isotonic", "platt", "beta")
SOLVERS: Final = ("newton-cholesky", "lbfgs")


def draw(images: int, labels: int, seed: int = 0) -> tuple[Array, Targets]:
    """Scores and targets [N, C]; scores are too sure and shifted, labels from common to rare."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (images, labels)) - np.linspace(0, 3, labels)
    chance = 1 / (1 + np.exp(-(0.6 * logits - 0.5)))
    targets = (rng.random(chance.shape) < chance).astype(np.int8)
    return 1 / (1 + np.exp(-logits)), targets


def isotonic(scores: Array, targets: Targets) -> Array:
    """Calibrated scores [N, C] by scikit-learn's isotonic regression."""
    found = np.empty_like(scores)
    for label in range(scores.shape[1]):
        model = IsotonicRegression(out_of_bounds="clip")
        found[:, label] = model.fit_transform(scores[:, label], targets[:, label])
    return found


def logistic(scores: Array, targets: Targets, kind: Kind, solver: str, tol: float) -> Array:
    """Calibrated scores [N, C] by scikit-learn's logistic regression."""
    up, down = np.log(scores), -np.log1p(-scores)
    found = np.empty_like(scores)
    for label in range(scores.shape[1]):
        columns = [up[:, label], down[:, label]] if kind == "beta" else [(up + down)[:, label]]
        features = np.stack(columns, axis=1)
        model = LogisticRegression(C=math.inf, solver=solver, tol=tol, max_iter=1000)
        model.fit(features, targets[:, label])
        found[:, label] = model.predict_proba(features)[:, 1]
    return found


def ours(scores: Array, targets: Targets, kind: Kind) -> Array:
    """Calibrated scores [N, C] by manylabel."""
    return fit_calibration(scores, targets, kind).apply(scores).astype(np.float64)


def separable_slopes() -> dict[str, float]:
    """The slopes of platt for a label that scores tell apart without a fault."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.uniform(0.02, 0.3, 900), rng.uniform(0.6, 0.9, 100)])[:, None]
    targets = (np.arange(1000) >= 900).astype(np.int8)
    logits = np.log(scores) - np.log1p(-scores)
    curve = fit_calibration(scores, targets[:, None], "platt")
    assert isinstance(curve, SmoothCalibration)
    found = {"manylabel": curve.rise[0]}
    for solver in SOLVERS:
        model = LogisticRegression(C=math.inf, solver=solver, max_iter=1000).fit(logits, targets)
        found[f"scikit_learn_{solver.replace('-', '_')}"] = float(model.coef_[0, 0])
    return found


def log_loss(scores: Array, targets: Targets) -> float:
    """Mean of all pairs, in nats."""
    likely = np.where(targets == 1, scores, 1 - scores)
    return float(-np.log(np.clip(likely, 1e-15, 1)).mean())


def report(images: int, labels: int, rounds: int, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Seconds of each side and how far their calibrated scores are apart."""
    scores, targets = draw(images, labels)
    headline: dict[str, float] = {}
    for kind in kinds:
        theirs: dict[str, Callable[[], Array]] = {
            f"scikit_learn_{solver.replace('-', '_')}": partial(
                logistic, scores, targets, kind, solver, 1e-4
            )
            for solver in SOLVERS
        }
        if kind == "isotonic":
            theirs = {"scikit_learn": partial(isotonic, scores, targets)}
        timed = {"manylabel": partial(ours, scores, targets, kind), **theirs}
        seconds = {name: median(all_) for name, all_ in time_interleaved(timed, rounds).items()}
        headline |= {f"{kind}_{name}_s": value for name, value in seconds.items()}
        best = min(seconds[name] for name in theirs)
        headline[f"{kind}_best_scikit_learn_over_manylabel"] = best / seconds["manylabel"]
        found = ours(scores, targets, kind)
        expected = isotonic(scores, targets)
        if kind != "isotonic":
            expected = logistic(scores, targets, kind, "newton-cholesky", 1e-10)
        headline[f"{kind}_largest_difference"] = float(np.abs(found - expected).max())
        headline[f"{kind}_log_loss_less_theirs"] = log_loss(found, targets) - log_loss(
            expected, targets
        )
    headline |= {f"separable_slope_{name}": slope for name, slope in separable_slopes().items()}
    return {
        "headline": headline,
        "images": images,
        "labels": labels,
        "rounds": rounds,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": versions("numpy", "scikit-learn"),
        "machine": processor(),
    }


def table(figures: dict[str, Any]) -> str:
    """The headline as text."""
    lines = [f"{figures['images']:,} x {figures['labels']:,}, {figures['rounds']} rounds"]
    lines += [f"  {name:<46} {value:12.4g}" for name, value in figures["headline"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    figures = report(args.images, args.labels, args.rounds, args.kinds)
    print(table(figures))
    write(figures, args.out)


if __name__ == "__main__":
    main()
