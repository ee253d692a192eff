"""Tunes the thresholds of the bundle that a run hands over, on the images that chose it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from manylabel.data.records import Records
from manylabel.evaluate.run import evaluate
from manylabel.evaluate.tuning import Tuning, TuningPlan, tune
from manylabel.labels import ABSENT, PRESENT
from manylabel.locks import held, lock_beside
from manylabel.metrics.profiles import Measures
from manylabel.predict import Predictor
from manylabel.train.logs import Reporter
from manylabel.train.outcome import Outcome, write_metrics
from manylabel.train.run_folder import METRICS

FEWEST: Final = 20
"""The fewest images on which thresholds are tuned: fewer say too little of new ones."""


@final
@dataclass(frozen=True)
class TunedRun:
    """What tuning gave.

    Args:
        tuning: Thresholds, and the figures out of fold on the validation split.
        held_out: The figures of the tuned bundle on the test split; None if there is none.
    """

    tuning: Tuning
    held_out: Measures | None

    def as_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        thresholds = self.tuning.tuned.thresholds
        return {
            "images": len(self.tuning.evaluation.keys),
            "thresholds": [float(thresholds.min()), float(thresholds.max())],
            "out_of_fold": {k: v.as_dict() for k, v in self.tuning.figures.items()},
            "test": None if self.held_out is None else self.held_out.all.as_dict(),
        }

    def in_words(self) -> str:
        """What changed, in a sentence or two."""
        before, after = (self.tuning.figures[row] for row in ("as it was", "tuned"))
        text = (
            f"Thresholds were tuned on the {len(self.tuning.evaluation.keys):,} images of val. "
            f"There, CF1 changed from {_pair(before.CF1, after.CF1)} and OF1 from "
            f"{_pair(before.OF1, after.OF1)}, out of fold; before, every threshold was 0.5."
        )
        if self.held_out is not None:
            found = self.held_out.all
            text += f" On test: CF1 {100 * found.CF1:.1f}, OF1 {100 * found.OF1:.1f}."
        return text


def tune_run(outcome: Outcome, reporter: Reporter, *, device: str = "auto") -> TunedRun | None:
    """Tune the thresholds of the run's bundle, which is replaced by the tuned one.

    It is what `manylabel tune` does by default, on the validation split. Nothing is tuned if that
    split is too small (`FEWEST`), or if out of fold the thresholds are no better than 0.5 for all.
    Then a line says so.

    Args:
        outcome: The run.
        reporter: Reports the progress.
        device: Where the bundle runs.

    Raises:
        RunError: The bundle cannot be written, or another process changed it.
    """
    val = outcome.val
    if val is None or not _is_enough(val):
        images = 0 if val is None else len(val)
        reporter.say(
            f"Thresholds stay at 0.5: val has {images:,} images. At least {FEWEST} are needed to "
            "tune them, and labels that are present in some and absent in others."
        )
        return None
    predictor = Predictor.load(outcome.bundle, device=device)
    with _task(reporter, "tuning thresholds on val", val) as advance:
        found = tune(predictor, val, TuningPlan(), on_progress=advance)
    if found.figures["tuned"].CF1 < found.figures["as it was"].CF1:
        reporter.say("Thresholds stay at 0.5: tuned ones are no better, out of fold, on val.")
        return None
    waiting = f"Waiting for another process that writes {outcome.bundle}."
    with held(lock_beside(outcome.bundle), on_wait=lambda: reporter.say(waiting)):
        found.save(outcome.bundle, outcome.bundle)
    result = TunedRun(found, _tested(predictor.deciding(found.decision), outcome, reporter))
    reporter.say(result.in_words())
    return result


def record_tuning(folder: Path, tuned: TunedRun | None) -> None:
    """Add the figures of tuning to the `metrics.json` of a run, as `tuned`.

    Raises:
        RunError: The file cannot be written.
    """
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    write_metrics(folder, {**metrics, "tuned": None if tuned is None else tuned.as_dict()})


def _tested(predictor: Predictor, outcome: Outcome, reporter: Reporter) -> Measures | None:
    """The figures of the tuned model on the test split; None if the run has only val."""
    test, val = outcome.held_out, outcome.val
    if val is not None and test.fingerprint() == val.fingerprint():
        return None
    with _task(reporter, "measuring on test", test) as advance:
        return evaluate(predictor, test, on_progress=advance).measures


@contextmanager
def _task(reporter: Reporter, title: str, images: Records) -> Iterator[Callable[[int], None]]:
    """A task of the reporter, as a function that is called with the number of images done."""
    done = 0

    def advance(now: int) -> None:
        nonlocal done
        reporter.advance(now - done)
        done = now

    reporter.begin(title, len(images))
    yield advance
    reporter.end()


def _is_enough(val: Records) -> bool:
    present, absent = val.targets == PRESENT, val.targets == ABSENT
    return len(val) >= FEWEST and bool((present.any(0) & absent.any(0)).any())


def _pair(before: float, after: float) -> str:
    return f"{100 * before:.1f} to {100 * after:.1f}"
