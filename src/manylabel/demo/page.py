"""What the demo adds to the page of SRN's run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manylabel.demo.figures import CHANCE, MAPS
from manylabel.demo.heads import CONTENDERS, SRN
from manylabel.train.page.build import PageAdditions
from manylabel.train.page.content import Grid, Result


def page_additions(metrics: Mapping[str, Any]) -> PageAdditions:
    """The other heads, the tables by group of labels, and what is true of them in words.

    Args:
        metrics: The content of the demo's `metrics.json`.
    """
    baselines = [each for each in CONTENDERS if each is not SRN]
    return PageAdditions(
        results=[Result(each.title, metrics["heads"][each.name]) for each in baselines],
        name=SRN.title,
        in_words=metrics["in_words"],
        grids=[average_precision_grid(metrics), pointing_grid(metrics)],
    )


def average_precision_grid(metrics: Mapping[str, Any]) -> Grid:
    """The AP of each group of labels, one row a head."""
    found = metrics["average_precision"]
    return Grid(
        title="By group of labels",
        note=f"The mean average precision of each group's labels on {_images(metrics)} test "
        f"scenes, in percent; over all labels it is mAP. {_members(metrics)}",
        corner="head",
        columns=tuple(metrics["groups"]),
        rows={each.title: tuple(found[each.name].values()) for each in CONTENDERS},
    )


def pointing_grid(metrics: Mapping[str, Any]) -> Grid:
    """The share of hits of each group of labels, one row a kind of map."""
    found = metrics["pointing_game"]["groups"]
    titles = {**MAPS, "chance": CHANCE}
    return Grid(
        title="Does the model look at the right place?",
        note="The pointing game: how many present labels, in percent, have the highest point of "
        "their map inside a box of that label. Training did not use boxes.",
        corner="map",
        columns=tuple(metrics["groups"]),
        rows={title: tuple(found[name].values()) for name, title in titles.items()},
    )


def _images(metrics: Mapping[str, Any]) -> str:
    return f"{metrics['data']['images']:,}"


def _members(metrics: Mapping[str, Any]) -> str:
    *groups, _ = metrics["groups"].items()  # the last one is all labels
    return " ".join(f"{group.capitalize()}: {', '.join(names)}." for group, names in groups)
