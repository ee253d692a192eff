"""What heads cost: ResNet-101 with each over ResNet-101 with the linear head, on a CPU.

python -m benchmarks.head_overhead --out head_overhead.json

Images of 224x224, 8 at a time, 80 labels, fp32, channels_last as training has it; untrained
weights, which cost what trained ones do. All sides run in one process and take turns; a ratio is
one of medians. On a shared machine ratios of whole models vary by about 5 %, so a second one is
derived: the linear model's best time, with its head's own best time exchanged for that of the
other head alone, over the linear model's best time.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.common import arguments, processor, time_interleaved, versions, write
from manylabel.labels import LabelSpace
from manylabel.losses import BCE, BCEConfig
from manylabel.models.backbones import Backbone, BackboneConfig, FeatureMaps
from manylabel.models.classifier import Classifier
from manylabel.models.heads import HEADS
from manylabel.models.heads.base import HeadOutput

BACKBONE = "resnet101"
SIDES = {
    "linear": ("linear", {}),
    "srn": ("srn", {"topology": "paper"}),
    "srn_released": ("srn", {"topology": "released"}),
    "srn_modern": ("srn-modern", {}),
    "srn_att": ("srn-att", {}),
    "semantic": ("semantic", {}),
    "csra_1": ("csra", {"temperatures": [1]}),
    "csra_6": ("csra", {}),
    "ml_decoder": ("ml-decoder", {}),
    "query2label": ("query2label", {}),
    "ml_gcn": ("ml-gcn", {}),
}
"""Name to (head, settings); `linear` is what the others are measured over."""
LOSSES = {
    "srn": ("final", "att"),
    "srn_att": ("final", "att"),
    "srn_released": ("cls", "att", "sr"),
    "srn_modern": ("final", "cls", "att", "sr"),
}
"""The branches that a side's last training step looks at, where it is not the answer alone."""
AIMS = {"srn": 1.06, "srn_modern": 1.04}
"""Highest ratios that are wanted, in both modes."""

Loss = Callable[[HeadOutput], Tensor]


def build(names: Sequence[str], labels: int, size: int) -> dict[str, Classifier]:
    """The sides by name, over one backbone: its memory is paid for once."""
    backbone = Backbone(BackboneConfig(name=BACKBONE, pretrained=False))
    shapes = backbone.shapes(size, size)
    sides = {}
    for side in names:
        name, settings = SIDES[side]
        build_head = HEADS[name]
        config = build_head.Config.model_validate(settings)
        head = build_head(config, shapes, LabelSpace.numbered(labels))
        sides[side] = Classifier(backbone, head).to(memory_format=torch.channels_last)
    return sides


def loss_of(side: str, targets: Tensor) -> Loss:
    """The loss that a side trains with."""
    loss, branches = BCE(BCEConfig()), LOSSES.get(side, ("final",))

    def total(output: HeadOutput) -> Tensor:
        return torch.stack([loss(output.select(name), targets) for name in branches]).sum()

    return total


def forward(model: nn.Module, inputs: object) -> None:
    """Evaluate, without gradients."""
    model.eval()
    with torch.no_grad():
        model(inputs)


def forward_backward(model: nn.Module, inputs: object, loss: Loss) -> None:
    """Train on a batch, short of the optimiser."""
    model.train()
    model.zero_grad()
    loss(model(inputs)).backward()


def measure(
    names: Sequence[str], images: int, labels: int, size: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of every round, by what ran: `forward.srn`, `train.srn`, `head_train.srn` ..."""
    torch.manual_seed(0)
    pixels = torch.randn(images, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.randint(0, 2, (images, labels))
    sides = build(names, labels, size)
    maps = features(sides["linear"].backbone, pixels)
    losses = {side: loss_of(side, targets) for side in sides}
    timed = {
        **{f"forward.{side}": partial(forward, sides[side], pixels) for side in sides},
        **{
            f"train.{side}": partial(forward_backward, sides[side], pixels, losses[side])
            for side in sides
        },
        **{f"head_forward.{side}": partial(forward, sides[side].head, maps) for side in sides},
        **{
            f"head_train.{side}": partial(forward_backward, sides[side].head, maps, losses[side])
            for side in sides
        },
    }
    time_interleaved(timed, 1)  # memory, and the choice of kernels
    return time_interleaved(timed, rounds)


def features(backbone: Backbone, pixels: Tensor) -> FeatureMaps:
    """A batch's maps as a head meets them in training, its input's gradient wanted."""
    with torch.no_grad():
        maps = backbone.eval()(pixels)
    return FeatureMaps(*(part.requires_grad_() for part in maps))


def ratios(names: Sequence[str], seconds: dict[str, list[float]]) -> dict[str, float]:
    """The headline: each side over the linear head, of medians and derived of best times."""
    headline = {}
    for side in names[1:]:
        for mode in ("forward", "train"):
            whole, linear = seconds[f"{mode}.{side}"], seconds[f"{mode}.linear"]
            heads = [min(seconds[f"head_{mode}.{name}"]) for name in (side, "linear")]
            headline[f"{side}_{mode}_ratio"] = median(whole) / median(linear)
            headline[f"{side}_{mode}_ratio_derived"] = 1 + (heads[0] - heads[1]) / min(linear)
    return headline


def report(args: argparse.Namespace) -> dict:
    """The figures, and all that they depend on."""
    load = os.getloadavg()[0]  # of others: figures from a busy machine should say so
    names = ["linear", *(name for name in args.heads if name != "linear")]
    seconds = measure(names, args.images, args.labels, args.size, args.rounds)
    return {
        "headline": ratios(names, seconds),
        "aims": AIMS,
        "median_s": {name: median(values) for name, values in seconds.items()},
        "best_s": {name: min(values) for name, values in seconds.items()},
        "seconds": seconds,
        "backbone": BACKBONE,
        "sides": {name: {"head": SIDES[name][0], **SIDES[name][1]} for name in names},
        "images": args.images,
        "labels": args.labels,
        "size": args.size,
        "rounds": args.rounds,
        "threads": torch.get_num_threads(),
        "load_at_start": load,
        "versions": versions("torch", "timm"),
        "processor": processor(),
    }


def table(figures: dict) -> str:
    """The figures as text."""
    size, headline = figures["size"], figures["headline"]
    lines = [
        f"{figures['backbone']}, {figures['images']} images of {size}x{size}, "
        f"{figures['labels']} labels, fp32, channels_last, {figures['threads']} threads, "
        f"{figures['rounds']} rounds, {figures['processor']}",
        f"  {'':<14}{'forward':>10}{'ratio':>8}{'derived':>9}"
        f"{'fwd+bwd':>12}{'ratio':>8}{'derived':>9}",
    ]
    for side in figures["sides"]:
        cells = f"  {side:<14}"
        for mode, width in (("forward", 8), ("train", 10)):
            ratio = headline.get(f"{side}_{mode}_ratio", 1.0)
            derived = headline.get(f"{side}_{mode}_ratio_derived", 1.0)
            cells += f"{figures['median_s'][f'{mode}.{side}']:>{width}.3f} s"
            cells += f"{ratio:>8.3f}{derived:>9.3f}"
        lines.append(cells)
    aims = ", ".join(f"{side} at most {aim}" for side, aim in figures["aims"].items())
    lines.append(f"  aims: {aims}; load average at the start {figures['load_at_start']:.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--heads", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    args = parser.parse_args()
    figures = report(args)
    print(table(figures))
    write(figures, args.out)


if __name__ == "__main__":
    main()
