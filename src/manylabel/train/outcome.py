"""What a run leaves behind: its bundles and figures, and the receipts of these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from manylabel.bundle.folder import read_bundle
from manylabel.data.records import Records
from manylabel.errors import RunError
from manylabel.evaluate.receipt import Receipt, package_versions
from manylabel.train.config import RunConfig

METRICS: Final = "metrics.json"


@final
@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Args:
        folder: The run's folder.
        bundle: The last step's bundle in it.
        steps: The bundle of each step, by its position.
        results: What each step brought, as `metrics.json` has it.
        history: What each epoch brought.
        held_out: The split that steps were measured on.
        val: The split that epochs were measured on, if there is one.
    """

    folder: Path
    bundle: Path
    steps: tuple[Path, ...]
    results: list[dict[str, Any]]
    history: list[dict[str, Any]]
    held_out: Records
    val: Records | None = None


def metrics_of(outcome: Outcome, config: RunConfig, *, seconds: float) -> dict[str, Any]:
    """What `metrics.json` holds: measures of each step, by position from 1, and their receipts."""
    metrics = {
        "steps": {str(position): each for position, each in enumerate(outcome.results, start=1)},
        "history": outcome.history,
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "data": {
            "source": outcome.held_out.source,
            "split": outcome.results[-1]["split"],
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
    """Write `metrics.json`, whole or not at all."""
    path = folder / METRICS
    unfinished = path.with_suffix(".tmp")
    try:
        unfinished.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise RunError(
            f"The metrics cannot be written: {error.strerror}.",
            where=str(path),
            fix="Make room; the bundle is saved, `manylabel evaluate` gives the same figures.",
        ) from error


def receipt_of_step(bundle: Path, records: Records, profile: str) -> Receipt:
    """What the figures of a step are of, whose bundle was just saved."""
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
    """What the history's figures are of: weights that changed with each epoch and are not kept."""
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
