"""The tables of the study, as Markdown, and its plot over the dial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Final

from benchmarks.relations.contenders import ALL, CONTENDERS
from manylabel.data.synthetic.observer import GROUPS

Rows = Mapping[str, Mapping[str, Any]]
"""A head's name to its figures."""

_COLUMNS: Final = (*GROUPS, "all")


def scenes(title: str, rows: Rows) -> str:
    """One setting of the dial: AP by group of labels, and the share of what can be gained."""
    lines = [
        f"| {title} | " + " | ".join(_COLUMNS) + " |",
        "| --- " * (1 + len(_COLUMNS)) + "|",
    ]
    for name, row in rows.items():
        cells = [_cell(row["groups"][group]) for group in _COLUMNS]
        lines.append(f"| {ALL[name].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figures: Mapping[str, Any]) -> str:
    """AP with its interval; then floor and ceiling, and the share of the gain with its interval."""
    text = _interval(figures["final"], ".1f")
    bounds = f"{figures['floor']['value']:.1f} / {figures['spatial']['value']:.1f}"
    if figures["share"]["value"] != figures["share"]["value"]:  # not a number
        return f"{text}; {bounds}"
    return f"{text}; {bounds}; **{_interval(figures['share'], '.0f')} %**"


def _interval(figure: Mapping[str, float], form: str) -> str:
    return f"{figure['value']:{form}} ({figure['low']:{form}} to {figure['high']:{form}})"


def photographs(title: str, rows: Rows) -> str:
    """One set of photographs: mAP, that of its branches, and the gain over attention alone."""
    lines = [
        f"| {title} | test mAP | of seeds | over attention alone | cls | att | sr |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        seeds = " ".join(f"{value:.1f}" for value in row["seeds"])
        gain = _interval(row["gain"], "+.1f") if row["gain"] else ""
        parts = [f"{row[key]:.1f}" if key in row else "" for key in ("cls", "att", "sr")]
        lines.append(
            f"| {ALL[name].title} | {_interval(row['final'], '.1f')} | {seeds} | {gain} | "
            + " | ".join(parts)
            + " |"
        )
    return "\n".join(lines)


def from_scratch(title: str, rows: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """AP by group of labels with a backbone that was trained from scratch: mean, and each seed."""
    head = f"| {title} | " + " | ".join(_COLUMNS) + " |"
    lines = [head, "| --- " * (1 + len(_COLUMNS)) + "|"]
    for name, seeds in rows.items():
        cells = [
            f"{mean(seed[group] for seed in seeds):.1f} ("
            + " ".join(f"{seed[group]:.1f}" for seed in seeds)
            + ")"
            for group in _COLUMNS
        ]
        lines.append(f"| {ALL[name].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(settings: Mapping[str, Rows], path: Path) -> None:
    """Write the plot: the share of the attainable gain over the strength, near and far."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    groups = ("told apart by layout", "hidden or tiny")
    figure, axes = plt.subplots(len(groups), 2, figsize=(11, 7.4), sharex=True, sharey="row")
    colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
    names = [name for name in CONTENDERS if name in settings["no relations"]]
    for row, group in zip(axes, groups, strict=True):
        for axis, distance in zip(row, ("near", "far"), strict=True):
            titles = {0.0: "no relations"} | {s: f"{distance}, strength {s:g}" for s in (0.5, 1.0)}
            points = {s: settings[title] for s, title in titles.items() if title in settings}
            for i, name in enumerate(names):
                _line(axis, name, points, group, colours[i % 10])
            ceiling = [points[s][names[-1]]["groups"][group]["spatial"]["value"] for s in points]
            axis.plot(list(points), ceiling, "k--", label="ceiling")
            axis.set_title(f"{group}, {distance}")
            axis.grid(alpha=0.3)
            axis.set_xticks(list(points))
        row[0].set_ylabel("AP, %")
    for axis in axes[-1]:
        axis.set_xlabel("strength of the relations")
    marks, labels = axes[0, 0].get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    figure.legend(marks, labels, loc="lower center", ncol=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _line(axis: Any, name: str, points: Mapping[float, Rows], group: str, colour: Any) -> None:
    figures = [rows[name]["groups"][group]["final"] for rows in points.values()]
    values = [figure["value"] for figure in figures]
    span = [
        [figure["value"] - figure["low"] for figure in figures],
        [figure["high"] - figure["value"] for figure in figures],
    ]
    axis.errorbar(
        list(points), values, yerr=span, marker="o", color=colour, capsize=2, label=ALL[name].title
    )
