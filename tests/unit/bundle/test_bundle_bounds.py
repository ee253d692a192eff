"""What a `bundle.json` may hold: lists of all labels, and little else. Too much is refused fast."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from cases import case

from manylabel.bundle.bounds import MAX_OTHERS, require_bounds
from manylabel.bundle.folder import read_bundle, sealed
from manylabel.bundle.info import BundleInfo
from manylabel.config import parse
from manylabel.errors import BundleError, ConfigError
from manylabel.labels import MAX_LABELS

SECONDS = 0.5
"""The longest time of a refusal, of the processor. It takes milliseconds."""


def keys(count: int) -> dict[str, int]:
    return {f"key {number}": number for number in range(count)}


def test_as_many_labels_as_there_may_be_are_allowed() -> None:
    of_labels = [0.5] * MAX_LABELS
    require_bounds(
        {
            "labels": of_labels,
            "thresholds": of_labels,
            "calibration": {"kind": "beta", "rise": of_labels, "at": [[0.5]] * MAX_LABELS},
            "provenance": {"recipe": keys(MAX_OTHERS // 2 - 10)},
        }
    )


def test_more_is_refused() -> None:
    for tables, fault in [
        ({"labels": [0] * (MAX_LABELS + 1)}, "'labels' has 200,001 entries, more than 200,000"),
        ({"calibration": {"rise": [0] * (MAX_LABELS + 1)}}, "'rise' has 200,001 entries"),
        ({"calibration": keys(MAX_OTHERS)}, "more than 20,000 keys and values"),
        ({"labels": keys(MAX_OTHERS)}, "more than 20,000 keys and values"),
        ({"input": {"mean": [0] * MAX_OTHERS}}, "more than 20,000 keys and values"),
        ({"tuned": {"figures": [[[]]] * MAX_OTHERS}}, "more than 20,000 keys and values"),
        (keys(MAX_OTHERS), "more than 20,000 keys and values"),
    ]:
        with case(keys=list(tables)[:3]), pytest.raises(ValueError, match=fault):
            require_bounds(tables)


def test_other_values_are_left_to_the_check_of_the_format() -> None:
    for value in (None, 1, "labels", [1] * (MAX_OTHERS + 1)):
        require_bounds(value)


def changes() -> dict[str, dict[str, Any]]:
    wrong, few = ["x"] * MAX_LABELS, [0.5] * 3
    steps = {"kind": "isotonic", "at": [few], "value": [few], "pooled": [True]}
    smooth = {"kind": "platt", "rise": few, "fall": few, "offset": few, "pooled": [True] * 3}
    return {
        "labels": {"labels": [1] * MAX_LABELS},
        "thresholds": {"thresholds": wrong},
        **{key: {"calibration": smooth | {key: wrong}} for key in ("rise", "fall", "offset")},
        "pooled": {"calibration": smooth | {"pooled": wrong}},
        "knots": {"calibration": steps | {"at": [wrong]}},
        "values": {"calibration": steps | {"value": [wrong]}},
        "lists of knots": {"calibration": steps | {"at": wrong}},
    }


def test_values_that_are_all_wrong_are_refused_fast(tiny_bundle: Path) -> None:
    tables = json.loads((tiny_bundle / "bundle.json").read_text())
    known = {key: value for key, value in tables.items() if "sha256" not in key}
    for name, change in changes().items():
        begin = time.process_time()
        with case(name=name), pytest.raises(ConfigError):
            parse(BundleInfo, {**known, **change}, where="bundle.json")
        assert time.process_time() - begin < SECONDS, name


def test_a_file_that_holds_too_much_is_damaged(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    tables = json.loads((folder / "bundle.json").read_text())
    text = json.dumps(sealed({**tables, "provenance": keys(MAX_OTHERS)}))
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match="The bundle is damaged: it holds more than 20,000 keys"):
        read_bundle(folder)
