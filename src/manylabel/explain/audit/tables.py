"""Writes an audit as JSON and as a CSV table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from manylabel.explain.audit.findings import Audit, Finding
from manylabel.files import write_errors, write_text
from manylabel.metrics.bootstrap import Interval
from manylabel.text import for_spreadsheet


def write_json(path: Path, found: Audit, about: Mapping[str, Any]) -> None:
    """Write all figures as JSON.

    Args:
        path: The file.
        found: The audit.
        about: What was audited: the bundle, the data set, the split.

    Raises:
        RunError: The file cannot be written.
    """
    text = json.dumps({**about, **found.as_dict()}, indent=2, allow_nan=False, ensure_ascii=False)
    with write_errors(path, "The audit"):
        write_text(path, text + "\n")


def write_csv(path: Path, found: Audit) -> None:
    """Write one row for each pair, the strongest first. A figure without a value is empty.

    Raises:
        RunError: The file cannot be written.
    """
    stream = io.StringIO()
    rows = [dict(_row(rank, finding)) for rank, finding in enumerate(found.findings, start=1)]
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with write_errors(path, "The audit"):
        write_text(path, stream.getvalue())


def _row(rank: int, finding: Finding) -> Iterator[tuple[str, Any]]:
    pair, hidden, found = finding.pair, finding.hidden, finding.contrasts
    yield "rank", rank
    yield "label", for_spreadsheet(finding.label)
    yield "companion", for_spreadsheet(finding.companion)
    yield "verdict", finding.verdict
    yield "lift", f"{pair.lift:.6g}"
    yield "images_both", pair.both
    yield "images_label_only", pair.label_only
    yield "images_companion_only", pair.companion_only
    yield "images_neither", pair.neither
    yield "hidden_by", hidden.source
    yield "hidden_images", hidden.images
    yield from _interval("effect", hidden.effect)
    yield from _interval("effect_with_label", hidden.with_label)
    yield from _interval("effect_without_label", hidden.without_label)
    yield "effect_p", _text(hidden.p)
    yield "effect_p_corrected", _text(hidden.q)
    yield "false_positives", hidden.false_positives
    yield "because_of_companion", len(hidden.because)
    contrasts = {
        "AP": found.AP,
        "recall": found.recall,
        "false_positive_rate": found.false_positives,
    }
    for name, each in contrasts.items():
        yield from _interval(f"{name}_with", each and each.beside)
        yield from _interval(f"{name}_without", each and each.alone)
        yield from _interval(f"{name}_difference", each and each.difference)
    yield from _interval("negatives_AUC", found.auc)
    yield "negatives_AUC_p_corrected", _text(finding.auc_q)


def _interval(name: str, found: Interval | None) -> Iterator[tuple[str, str]]:
    for part in ("value", "low", "high"):
        ending = "" if part == "value" else f"_{part}"
        yield name + ending, "" if found is None else _text(getattr(found, part))


def _text(value: float) -> str:
    """The number with six digits; nothing for NaN."""
    return "" if value != value else f"{value:.6g}"
