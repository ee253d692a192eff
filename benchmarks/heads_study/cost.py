"""What a head costs on ResNet-101 at 224x224: parameters, arithmetic, time, memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any, Final

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.heads_study.contenders import ALL
from manylabel.config import parse
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.preprocess import InputSpec

LABELS: Final = 80
IMAGES: Final = 8
ROUNDS: Final = 5


def cost_of(head: str) -> dict[str, float]:
    """The cost of a contender, measured in a process of its own so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.heads_study.cost", head]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(head: str) -> dict[str, float]:
    """Parameters (M), GFLOPs an image, ms an image (best of rounds) and peak memory (MiB)."""
    classifier = _classifier(head)
    images = torch.randn(IMAGES, 3, 224, 224).to(memory_format=torch.channels_last)
    seconds = min(_seconds(classifier, images) for _ in range(ROUNDS))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        classifier(images[:1])
    _train_once(classifier, images)
    return {
        "parameters_M": sum(p.numel() for p in classifier.parameters()) / 1e6,
        "GFLOPs": counter.get_total_flops() / 1e9,
        "ms_per_image": 1000 * seconds / IMAGES,
        "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _classifier(head: str) -> Classifier:
    tables: dict[str, Any] = {
        "backbone": {"name": "resnet101", "pretrained": False},
        "head": dict(ALL[head].head),
    }
    config = parse(ModelConfig, tables, where=head)
    built = build_classifier(config, LABELS, InputSpec())
    return built.to(memory_format=torch.channels_last)


@torch.no_grad()
def _seconds(classifier: nn.Module, images: torch.Tensor) -> float:
    classifier.eval()
    began = time.perf_counter()
    classifier(images)
    return time.perf_counter() - began


def _train_once(classifier: Classifier, images: torch.Tensor) -> None:
    classifier.train()
    classifier(images).logits.sum().backward()


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
