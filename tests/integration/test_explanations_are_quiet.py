"""Audit, relations and explain give no warning of numpy or torch, whatever head and data they get.

Warnings are errors in the tests, so a command that gives one ends with a traceback here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manylabel.cli.main import main
from manylabel.models.heads import LinearConfig, SRNConfig, SRNModernConfig

LABELS = ("cat", "dog", "owl", "fox", "elk")
SMALL = {"relation_channels": 8, "units_per_channel": 1}
HEADS = {
    "linear": LinearConfig(),
    "srn": SRNConfig(attention_channels=8, **SMALL),
    "relative": SRNModernConfig(channels=8, **SMALL),
    "absolute": SRNModernConfig(channels=8, relations="absolute", **SMALL),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """40 scenes: cat and dog together, owls half the time, one fox, never an elk, some nothing."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    images, boxes = [], []
    for i in range(40):
        blocks = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        blocks.resize((48, 40), Image.Resampling.NEAREST).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 48, "height": 40})
        there = [0, 1] if i % 2 else [2] if i % 4 else []
        for label in there + [3] * (i == 7):
            left, top = (int(each) for each in random.integers(0, (36, 30)))
            box = {"bbox": [left, top, 12, 10], "area": 120, "iscrowd": 0}
            boxes.append({"id": len(boxes), "image_id": i, "category_id": label, **box})
    categories = [{"id": i, "name": name} for i, name in enumerate(LABELS)]
    written = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances_test.json").write_text(json.dumps(written))
    return folder / "instances_test.json"


@pytest.mark.parametrize("head", HEADS)
def test_no_head_warns(head, make_bundle, data, tmp_path, capsys):
    bundle = make_bundle(tmp_path / "bundle", head=HEADS[head], labels=LABELS)
    given, out = (bundle, "--data", data), tmp_path / "out"
    few = ("--fewest", 3, "--images-per-pair", 4, "--resamples", 20)
    calls = [
        ("audit", *given, *few, "--out", out),
        ("explain", *given, "--score", "--deletion-pairs", 2, "--resamples", 100),
        ("explain", *given, "--limit", 1, "--out", out),
    ]
    if head != "linear":
        calls.append(("relations", *given, "--out", out))
    for call in calls:
        with pytest.raises(SystemExit) as ended:
            main([str(part) for part in call])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == 0, said.err
        assert "Warning" not in said.err + said.out
