"""SRN at input sizes other than the one it was trained at: two ways to adapt conv4.

    python -m benchmarks.any_resolution --data SET --bundles DIR... --sizes 224 320 256x320

The kernels of conv4 cover the grid that the head was built for. On a map of another size, there are
two ways: U is pooled to that grid, as `SRNHead` does, or the kernels are resampled to the map, as
is done with position embeddings. Both are measured on the same backbone maps, without any further
training. The main net alone, which has no grid, is measured for comparison. Figures are means over
the bundles of several seeds.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import versions, write
from manylabel.bundle.classifier import load_bundle
from manylabel.data.read import DataSource, read
from manylabel.data.records import Records
from manylabel.data.splits.split import with_splits
from manylabel.feed.loaders import ImageDataset, InOrder, batches
from manylabel.metrics.ranking import average_precision, mean_of_defined
from manylabel.models.heads.srn import SRNHead, WholeMapConv2d
from manylabel.pixels import normalise
from manylabel.preprocess import InputSpec

WAYS: Final = ("pool U", "resample kernels", "main net")
"""How conv4 meets a map of another size; the last is the main net alone, for comparison."""


def with_kernels_for(head: SRNHead, grid: tuple[int, int]) -> SRNHead:
    """A copy of a head whose conv4 covers `grid`: its kernels are resampled, their sums kept.

    U's entries are shares of an attention that sums to 1: on a larger map each is smaller. They
    are scaled to the size that conv2 was trained on, unless the head does so itself.
    """
    head = copy.deepcopy(head)
    part = head.regularisation
    old, part.grid = part.grid, grid
    scale = (grid[0] * grid[1]) / (old[0] * old[1])
    part.conv4.weight = nn.Parameter(_resized(part.conv4, grid) / scale)
    if not part.scale_weighted:
        first = part.semantic[0]
        assert isinstance(first, nn.Conv2d)
        first.weight = nn.Parameter(first.weight * scale)
    return head


def _resized(conv4: WholeMapConv2d, grid: tuple[int, int]) -> Tensor:
    return functional.interpolate(
        conv4.weight, size=grid, mode="bicubic", antialias=True, align_corners=False
    )


@torch.no_grad()
def measure(folder: Path, records: Records, size: tuple[int, int]) -> dict[str, float]:
    """Test mAP of one bundle at one input size, by way."""
    bundle = load_bundle(folder)
    classifier, head = bundle.classifier.eval(), bundle.classifier.head
    assert isinstance(head, SRNHead), folder
    spec = bundle.info.input.model_copy(update={"height": size[0], "width": size[1]})
    records = records.relabelled(bundle.labels)
    shapes = classifier.backbone.shapes(*size)
    resampled = with_kernels_for(head, shapes.grid).eval()
    found: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    for images in _images(records, spec):
        maps = classifier.backbone(images)
        pooled = head(maps)
        found["pool U"].append(pooled.logits)
        found["main net"].append(pooled.select("cls"))
        found["resample kernels"].append(resampled(maps).logits)
    return {way: _mean_ap(torch.cat(logits), records) for way, logits in found.items()}


def _images(records: Records, spec: InputSpec) -> Iterator[Tensor]:
    source = ImageDataset(records, spec)
    for batch in batches(source, InOrder(len(source)), batch_size=16, workers=0):
        assert isinstance(batch.inputs, Tensor)
        yield normalise(batch.inputs, spec).to(memory_format=torch.channels_last)


def _mean_ap(logits: Tensor, records: Records) -> float:
    scores = logits.double().sigmoid().numpy()
    return mean_of_defined(average_precision(scores, records.targets))


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data set")
    parser.add_argument("--bundles", type=Path, nargs="+", required=True, help="SRN bundles")
    parser.add_argument("--sizes", type=_size, nargs="+", required=True, metavar="HEIGHT[xWIDTH]")
    parser.add_argument("--images", type=int, help="use only this many test images")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    records = with_splits(read(DataSource(path=args.data))).split("test")
    records = records.select(range(len(records))[: args.images])
    table: dict[str, dict[str, float]] = {}
    print(f"test mAP in percent, {len(records):,} images, {len(args.bundles)} bundles")
    print(f"  {'size':<10}" + "".join(f"{way:>18}" for way in WAYS))
    for size in args.sizes:
        each = [measure(folder, records, size) for folder in args.bundles]
        name = f"{size[0]}x{size[1]}"
        table[name] = {way: mean(row[way] for row in each) for way in WAYS}
        print(f"  {name:<10}" + "".join(f"{100 * table[name][way]:>18.1f}" for way in WAYS))
    write(_figures(table, args, len(records)), args.out)


def _figures(
    table: dict[str, dict[str, float]], args: argparse.Namespace, images: int
) -> dict[str, Any]:
    headline = {
        f"{size}_{way.replace(' ', '_')}": value
        for size, row in table.items()
        for way, value in row.items()
    }
    return {
        "headline": headline,
        "images": images,
        "bundles": len(args.bundles),
        "versions": versions("torch", "timm"),
    }


if __name__ == "__main__":
    main()
