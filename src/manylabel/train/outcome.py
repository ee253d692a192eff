"""The outcome of a run: its bundles, its figures and their receipts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from manylabel.bundle.folder import read_bundle
from manylabel.data.records import Records
from manylabel.evaluate.receipt import Receipt, package_versions
from manylabel.files import write_errors, write_text
from manylabel.train.config import RunConfig
from manylabel.train.run_folder import METRICS


@final
@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Args:
        folder: The run's folder.
        bundle: The bundle of the step that is handed over, in that folder.
        steps: The bundle of each step, in the order of the steps.
        results: The figures of each step, as in `metrics.json`.
        history: The figures of each epoch.
        held_out: The split that steps were measured on.
        val: The split that epochs were measured on, if there is one.
        chosen: The position of the step that is handed over, from 0; None: the last one.
        notes: What is said of the choice, in sentences.
    """

    folder: Path
    bundle: Path
    steps: tuple[Path, ...]
    results: list[dict[str, Any]]
    history: list[dict[str, Any]]
    held_out: Records
    val: Records | None = None
    chosen: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def handed_over(self) -> dict[str, Any]:
        """The figures of the step that is handed over."""
        return self.results[-1 if self.chosen is None else self.chosen]


def metrics_of(outcome: Outcome, config: RunConfig, *, seconds: float) -> dict[str, Any]:
    """The content of `metrics.json`: figures of the steps, numbered from 1, and their receipts."""
    metrics = {
        "steps": {str(position): each for position, each in enumerate(outcome.results, start=1)},
        "handed_over": {
            "step": 1 + (len(outcome.results) - 1 if outcome.chosen is None else outcome.chosen),
            "by": config.hand_over,
            "notes": list(outcome.notes),
        },
        "history": outcome.history,
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "data": {
            "source": outcome.held_out.source,
            "split": outcome.handed_over["split"],
            "images": len(outcome.held_out),
            "fingerprint": outcome.held_out.fingerprint(),
        },
        "versions": package_versions(),
    }
    if outcome.val is not None:
        receipt = _history_receipt(outcome.val, config)
        metrics["history_receipt"] = receipt.model_dump(mode="json", exclude_none=True)
    return metrics


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write `metrics.json`. If this fails, the previous file is kept.

    Raises:
        RunError: It cannot be written.
    """
    path = folder / METRICS
    fix = "Make room on the disk. The bundle is saved: `manylabel evaluate` gives the same figures."
    with write_errors(path, "The metrics", fix=fix):
        write_text(path, json.dumps(metrics, indent=2) + "\n")


def receipt_of_step(bundle: Path, records: Records, profile: str) -> Receipt:
    """The receipt of a step's figures: it names the weights and the images."""
    saved = read_bundle(bundle)
    return Receipt(
        profile=profile,
        data=records.source,
        images=len(records),
        labels=len(records.labels),
        data_sha256=records.fingerprint(),
        bundle_sha256=saved.weights_sha256,
        scores_from=saved.info.scores_from,
        input=saved.info.input,
        ema=bool(saved.info.provenance.get("ema", False)),
        calibrated=False,
        thresholds="the profile's own, 0.5 for all",
        versions=package_versions(),
    )


def _history_receipt(val: Records, config: RunConfig) -> Receipt:
    """The receipt of the history's figures. It names no weights, since they are not kept."""
    return Receipt(
        profile="manylabel",
        data=val.source,
        images=len(val),
        labels=len(val.labels),
        data_sha256=val.fingerprint(),
        input=config.input,
        calibrated=False,
        thresholds="none",
        versions=package_versions(),
    )
