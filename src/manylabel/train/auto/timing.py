"""What each part of training takes on this machine, from a few batches."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from manylabel.data.records import Records
from manylabel.devices import choose_device
from manylabel.errors import ImageError
from manylabel.feed.loaders import ImageDataset, InOrder, batches
from manylabel.labels import LabelSpace
from manylabel.losses import LOSSES, LabelCounts
from manylabel.models.backbones import Backbone, FeatureMaps, MapShapes
from manylabel.models.classifier import Classifier, module_of_step
from manylabel.models.heads import HEADS
from manylabel.pixels import normalise
from manylabel.train.auto.ways import Way
from manylabel.train.config import RunConfig
from manylabel.train.steps import train_only

READ: Final = 16
"""The number of images that are read to learn how long that takes."""
_ROUNDS: Final = 2
_LONGEST: Final = 3.0
"""A batch that took so many seconds is not repeated."""


@final
@dataclass(frozen=True)
class Timings:
    """Seconds for one image, on this machine, and the size of its maps.

    Args:
        reading: To read an image and resize it, by one processor.
        forward: To compute its maps.
        training: To train on it once, by the name of each way. With a frozen backbone the maps are
            given; else it includes the backbone, but not reading.
        map_bytes: The maps of one image in half precision, in bytes.
        pooled_bytes: The pooled maps of one image.
    """

    reading: float
    forward: float
    training: Mapping[str, float]
    map_bytes: int
    pooled_bytes: int


def measure_timings(
    records: Records, recipes: Mapping[Way, RunConfig], backbone: Backbone
) -> Timings:
    """Time a few batches of each part of training.

    Args:
        records: Some of its images are read. Those that cannot be used are left out.
        recipes: The recipe of each way. All have the same backbone.
        backbone: The backbone, on its device.
    """
    backbone.eval()  # otherwise its batch statistics would change
    config = next(iter(recipes.values()))
    device = choose_device(config.device)
    shapes = backbone.shapes(config.input.height, config.input.width)
    reading, pixels = _read(records, config)
    many = pixels[torch.arange(config.batch_size) % len(pixels)]
    images = normalise(many.to(device), config.input).to(memory_format=torch.channels_last)
    with torch.no_grad():
        forward = _seconds(lambda: backbone(images), device) / len(images)
        maps = FeatureMaps(*(part.float() for part in backbone(images)))
    training = {}
    for way, recipe in recipes.items():
        inputs = maps if way.frozen else images
        # Training changes batch statistics, so it gets a copy of the backbone.
        own = backbone if way.frozen else copy.deepcopy(backbone)
        once = _iteration(recipe, own, shapes, records.labels, inputs, device)
        training[way.name] = _seconds(once, device) / len(images)
    backbone.eval().requires_grad_(False)
    return Timings(
        reading=reading,
        forward=forward,
        training=training,
        map_bytes=2 * sum(part[0].numel() for part in maps),
        pooled_bytes=2 * (maps.final.shape[1] + 1),
    )


def _read(records: Records, config: RunConfig) -> tuple[float, Tensor]:
    """The seconds for an image, and the pixels [N, 3, H, W] of some that are spread evenly."""
    step = max(1, len(records) // READ)
    some = records.select(range(0, len(records), step)[:READ])
    found: list[Tensor] = []
    began = time.monotonic()
    for i in range(len(some)):
        try:
            (batch,) = batches(
                ImageDataset(some.select([i]), config.input), InOrder(1), batch_size=1
            )
        except ImageError:
            continue
        assert isinstance(batch.inputs, Tensor)
        found.append(batch.inputs)
    seconds = (time.monotonic() - began) / max(1, len(some))
    blank = torch.zeros(1, 3, config.input.height, config.input.width, dtype=torch.uint8)
    return seconds, torch.cat(found or [blank])


def _iteration(
    config: RunConfig,
    backbone: Backbone,
    shapes: MapShapes,
    labels: LabelSpace,
    inputs: FeatureMaps | Tensor,
    device: torch.device,
) -> Callable[[], object]:
    """A function that does one iteration of training, without the optimiser's part."""
    head = HEADS[config.head.name](config.head, shapes, labels).to(device)
    classifier = Classifier(backbone, head)
    step = config.steps[0]
    plan = config.plan_of(step.kind)
    train_only(classifier, config.parts_of(step), step.freeze_stages)
    module = module_of_step(classifier, plan, from_maps=isinstance(inputs, FeatureMaps))
    size = len(inputs[0]) if isinstance(inputs, FeatureMaps) else len(inputs)
    targets = torch.zeros(size, len(labels), dtype=torch.int8, device=device)
    counts = LabelCounts.of(targets.cpu().numpy())
    loss = LOSSES[config.loss.name][1](config.loss, counts)

    def once() -> None:
        output = module(inputs)
        total = torch.stack([loss(output.select(name), targets) for name in plan.losses]).sum()
        classifier.zero_grad()
        total.backward()

    return once


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The seconds that the fastest of a few rounds took. The first one warms up."""
    fastest = float("inf")
    for _ in range(1 + _ROUNDS):
        began = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        fastest = min(fastest, time.monotonic() - began)
        if fastest > _LONGEST:
            break
    return fastest
