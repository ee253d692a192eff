"""A head that is one class and one line in `HEADS` works everywhere: no other file knows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from manylabel.bundle.classifier import load_bundle
from manylabel.cli.main import main
from manylabel.data.synthetic import LABELS, draw_scenes
from manylabel.evidence import MapKind
from manylabel.images import open_image
from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads import HEADS
from manylabel.models.heads.base import Evidence, Head, HeadConfig, HeadOutput
from manylabel.models.heads.steps import WHOLE, StepPlan
from manylabel.pixels import normalise, to_pixels

SPOTS = MapKind("the score of each position", low=0, high=1)

RECIPE = """
seed = 1
batch_size = 16
workers = 0
device = "cpu"
input = { height = 64, width = 64 }
backbone = { name = "test_resnet", pretrained = false }
head = { name = "spots", strength = 0.5 }
optim = { name = "adamw", lr = 2e-3 }

[[steps]]
kind = "warm-up"
epochs = 1

[[steps]]
kind = "whole"
epochs = 1
"""


class SpotsHead(Head):
    """A label's logit is a mean over the mid map plus a term for the label's training frequency."""

    class Config(HeadConfig):
        name: Literal["spots"] = "spots"
        """Which head."""
        strength: float = 1.0
        """The weight of the label's frequency."""
        grid: tuple[int, int] | None = None
        """The size of the mid map; it is set when the head is built."""

    steps: Mapping[str, StepPlan] = {
        "warm-up": StepPlan(1, "spots", ("head.spots",), ("spots",), "spots"),
        "whole": WHOLE,
    }
    takes = ("mid",)
    prior: Tensor

    def __init__(self, config, shapes, labels):
        super().__init__(config, shapes, labels)
        self.strength = config.strength
        self.grid = config.grid or shapes.grid
        self.spots = nn.Conv2d(shapes.mid_channels, len(labels), 1)
        self.register_buffer("prior", torch.zeros(len(labels)))

    def prepare(self, targets):
        share = (targets == 1).mean(0).clip(0.01, 0.99)
        self.prior.copy_(torch.from_numpy(np.log(share / (1 - share))))

    def settled(self):
        return self.config.model_copy(update={"grid": self.grid})

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        at_each = self.spots(maps.mid)
        spots = at_each.mean((2, 3))
        logits = spots + self.strength * self.prior
        return HeadOutput(logits, branches={"spots": spots}, maps={"logits": at_each})

    def evidence(self):
        return {"spots": Evidence(SPOTS, lambda maps, output: output.maps["logits"].sigmoid())}


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., str]:
    """Run the command line with the head in the table, and return what it printed."""
    monkeypatch.setitem(HEADS, "spots", SpotsHead)

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out

    return run


def test_one_class_trains_and_is_evaluated_predicts_and_explains(call, tmp_path: Path):
    scenes = draw_scenes(
        tmp_path / "scenes", counts={"train": 64, "val": 8, "test": 16}, size=64, workers=1
    )
    recipe, out = tmp_path / "spots.toml", tmp_path / "run"
    recipe.write_text(RECIPE)
    call("train", "--recipe", recipe, "--data", scenes, "--out", out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert {path.name for path in (out / "steps").iterdir()} == {"1-warm-up", "2-whole"}

    # The bundle holds what was settled and what was prepared; each step trained its own part.
    bundle = load_bundle(out / "bundle")
    head = bundle.classifier.head
    assert isinstance(head, SpotsHead)
    assert head.config == SpotsHead.Config(strength=0.5, grid=(4, 4))
    assert head.labels.names == LABELS
    assert head.prior.unique().numel() > 3
    first = load_bundle(out / "steps" / "1-warm-up").classifier.state_dict()
    last = bundle.classifier.state_dict()
    moved = {key for key in first if not torch.equal(first[key], last[key])}
    assert "head.spots.weight" in moved
    assert "head.prior" not in moved

    found = json.loads(call("evaluate", out / "bundle", "--data", scenes, "--json"))
    assert found["num_labels"] == len(LABELS)
    assert found["mAP"] == pytest.approx(metrics["steps"]["2"]["mAP"], abs=1e-6)

    photo = sorted(scenes.rglob("*.jpg"))[0]
    predicted = json.loads(call("predict", out / "bundle", photo, "--format", "jsonl"))
    pixels = to_pixels(open_image(photo), bundle.info.input)[None]
    with torch.no_grad():
        maps = bundle.classifier.backbone(normalise(pixels, bundle.info.input))
        at_each = head.spots(maps.mid)
        scores = (at_each.mean((2, 3)) + 0.5 * head.prior).sigmoid()[0]
    assert list(predicted["scores"].values()) == pytest.approx(scores.tolist(), abs=1e-5)

    printed = call("explain", out / "bundle", photo, "--out", tmp_path / "explained", "--top", 1)
    assert printed.startswith("Maps: the score of each position (method spots).")
    row, column = divmod(int(at_each[0, scores.argmax()].argmax()), 4)
    assert f"{(column + 0.5) / 4 * 64:.0f}, {(row + 0.5) / 4 * 64:.0f}" in printed
    assert (tmp_path / "explained" / f"{photo.stem}-spots.png").exists()
