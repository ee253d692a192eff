"""Line charts for a page, as SVG whose colours the page can set."""

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
    """A named line through points (x, y) in the data's units. A NaN interrupts it.

    Args:
        name: Its name in the legend.
        points: The points, in rising order of x.
    """

    name: str
    points: Sequence[Point]


@final
@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of lines.

    Args:
        title: The heading.
        x_label: The label of the x axis, for instance "epoch".
        y_label: The label of the y axis, for instance "loss".
        lines: At most six lines, so that they can be distinguished.
        marks: Vertical lines, as (x, name), for instance where each of SRN's steps begins.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = field(default=())


def draw(chart: Chart) -> str:
    """The chart as an `<svg>` element without its heading. Line i has the id `line-<i>`.

    Its text is in the font of the page. The greys can be read on light and dark pages, and the
    page's style sheet can set the colour of anything by its id.
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
    return _without_header(
        buffer.getvalue(), label=f"{chart.title}: {chart.y_label} over {chart.x_label}"
    )


def _without_header(document: str, *, label: str) -> str:
    """The `<svg>` element for use in HTML: it has no fixed size and no addresses of standards."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", element, count=5)
    return element.replace("<svg", f'<svg role="img" aria-label="{_escaped(label)}"', 1)


def _escaped(text: str) -> str:
    from html import escape

    return escape(text, quote=True)
