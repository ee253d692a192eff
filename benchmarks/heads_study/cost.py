"""What a head costs on ResNet-101 at 224x224: parameters, arithmetic, time, memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import time_interleaved
from benchmarks.heads_study.contenders import ALL
from manylabel.config import parse
from manylabel.labels import LabelSpace
from manylabel.models.backbones import Backbone, BackboneConfig, MapShapes
from manylabel.models.classifier import Classifier, ModelConfig
from manylabel.models.heads import HEADS, Head

BACKBONE: Final = BackboneConfig(name="resnet101", pretrained=False)
LABELS: Final = 80
IMAGES: Final = 8
ROUNDS: Final = 9


def cost_of(head: str) -> dict[str, float]:
    """Parameters (M), GFLOPs an image and peak memory (MiB) of a training step's passes.

    Measured in a process of its own, so that its memory is its own.
    """
    command = [sys.executable, "-m", "benchmarks.heads_study.cost", head]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def times_of(heads: Sequence[str]) -> dict[str, float]:
    """Milliseconds an image in evaluation, the median of rounds in which the heads take turns."""
    images = _images()
    backbone = Backbone(BACKBONE)
    shapes = backbone.shapes(*images.shape[2:])
    sides = {head: Classifier(backbone, _head(head, shapes)).eval() for head in heads}
    for side in sides.values():
        side.to(memory_format=torch.channels_last)
    timed = {head: partial(_answer, side, images) for head, side in sides.items()}
    time_interleaved(timed, 1)  # memory, and the choice of kernels
    seconds = time_interleaved(timed, ROUNDS)
    return {head: 1000 * median(values) / IMAGES for head, values in seconds.items()}


def measure(head: str) -> dict[str, float]:
    """What `cost_of` gives, of this process."""
    images = _images()
    backbone = Backbone(BACKBONE)
    shapes = backbone.shapes(*images.shape[2:])
    classifier = Classifier(backbone, _head(head, shapes)).to(memory_format=torch.channels_last)
    classifier.train()(images).logits.sum().backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    classifier.eval().requires_grad_(False)  # the counter falls over parameters handed on
    with FlopCounterMode(display=False) as counter:
        _answer(classifier, images[:1])
    return {
        "parameters_M": sum(p.numel() for p in classifier.parameters()) / 1e6,
        "GFLOPs": counter.get_total_flops() / 1e9,
        "peak_MiB": peak,
    }


def _images() -> Tensor:
    return torch.randn(IMAGES, 3, 224, 224).to(memory_format=torch.channels_last)


def _head(name: str, shapes: MapShapes) -> Head:
    config = parse(ModelConfig, {"head": dict(ALL[name].head)}, where=name).head
    return HEADS[config.name](config, shapes, LabelSpace.numbered(LABELS))


@torch.no_grad()
def _answer(classifier: Classifier, images: Tensor) -> None:
    classifier(images)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
