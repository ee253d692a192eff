"""Line charts for a report, as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, final

Point = tuple[float, float]

_INCHES: Final = (5.0, 2.7)
_STYLES: Final = ("-", "--", ":", "-.", (0, (8, 2)), (0, (3, 1, 1, 1)))


@final
@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points (x, y) in the data's units; points that are no number break it.

    Args:
        name: What the legend calls it.
        points: In rising order of x.
    """

    name: str
    points: Sequence[Point]


@final
@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one pair of axes.

    Args:
        title: The heading.
        x_label: What runs to the right, for instance "epoch".
        y_label: What runs upwards, for instance "loss".
        lines: At most six, so that they can be told apart.
        marks: Where something begins, as (x, name): SRN's steps.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = field(default=())


def draw(chart: Chart) -> str:
    """An `<svg>` element without a heading; line i has the id `line-<i>`.

    Its words are text in the page's font; greys read on light and dark, and the page's style sheet
    may colour anything by id.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    assert len(chart.lines) <= len(_STYLES), len(chart.lines)
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": chart.title, "axes.edgecolor": "#888"}
    ):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel(chart.x_label, color="#888")
        axes.set_ylabel(chart.y_label, color="#888")
        axes.tick_params(colors="#888")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#888", alpha=0.25)
        for i, (line, style) in enumerate(zip(chart.lines, _STYLES, strict=False)):
            xs, ys = [x for x, _ in line.points], [y for _, y in line.points]
            axes.plot(xs, ys, style, marker=".", label=line.name, gid=f"line-{i}")
        for x, name in chart.marks:
            axes.axvline(x, color="#888", linestyle=":", linewidth=1)
            axes.annotate(
                name, (x, 1.02), xycoords=("data", "axes fraction"), color="#888", fontsize=8
            )
        if len(chart.lines) > 1:
            axes.legend(frameon=False, labelcolor="#888")
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _bare(buffer.getvalue(), label=f"{chart.title}: {chart.y_label} over {chart.x_label}")


def _bare(document: str, *, label: str) -> str:
    """The element alone, as HTML takes it: scaled to its place, without addresses of standards."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", element, count=5)
    return element.replace("<svg", f'<svg role="img" aria-label="{_escaped(label)}"', 1)


def _escaped(text: str) -> str:
    from html import escape

    return escape(text, quote=True)
