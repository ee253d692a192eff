"""The tables of the study, as Markdown, and its picture: accuracy over cost."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any, Final

Rows = Mapping[str, Mapping[str, Any]]
"""Contender to `cells` (figures of each seed), `lr`, and set name above."""

COST_COLUMNS: Final = {
    "parameters_M": ("parameters, M", ".1f"),
    "GFLOPs": ("GFLOPs", ".1f"),
    "ms_per_image": ("ms/image", ".1f"),
    "peak_MiB": ("peak MiB, training", ".0f"),
}


def accuracy(data: str, rows: Rows) -> str:
    """One set's table: test mAP with its spread over seeds, CF1, OF1, in percent."""
    lines = [
        f"| {data} | test mAP | of seeds | CF1 | OF1 | learning rate |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for head, row in rows.items():
        values = [100 * cell["mAP"] for cell in row["cells"]]
        each = " ".join(f"{value:.1f}" for value in values)
        cf1, of1 = (100 * mean(cell[key] for cell in row["cells"]) for key in ("CF1", "OF1"))
        lines.append(
            f"| {head} | {mean(values):.1f} | {each} | {cf1:.1f} | {of1:.1f} | {row['lr']:g} |"
        )
    return "\n".join(lines)


def costs(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table of what each head costs on ResNet-101."""
    titles = " | ".join(title for title, _ in COST_COLUMNS.values())
    lines = [f"| head | {titles} |", "| --- " * (1 + len(COST_COLUMNS)) + "|"]
    for head, row in found.items():
        cells = " | ".join(f"{row[key]:{form}}" for key, (_, form) in COST_COLUMNS.items())
        lines.append(f"| {head} | {cells} |")
    return "\n".join(lines)


def draw(sets: Mapping[str, Rows], found: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write the picture: for each set, mean test mAP over the head's own cost."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    base = found["linear"]["GFLOPs"]
    figure, axes = plt.subplots(1, len(sets), figsize=(4.6 * len(sets), 4.6), squeeze=False)
    colours = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for axis, (data, rows) in zip(axes[0], sets.items(), strict=True):
        for colour, (head, row) in zip(cycle(colours), rows.items(), strict=False):
            values = [100 * cell["mAP"] for cell in row["cells"]]
            x, y = 100 * (found[head]["GFLOPs"] / base - 1), mean(values)
            mark = "D" if head.startswith("srn") else "o"
            span = [[y - min(values)], [max(values) - y]]
            axis.errorbar(
                x, y, yerr=span, marker=mark, color=colour, capsize=2, linestyle="none", label=head
            )
        axis.set_title(data)
        axis.set_xlabel("arithmetic beyond the linear head's, %")
        axis.set_ylabel("test mAP, %, mean and range of seeds")
        axis.grid(alpha=0.3)
    marks, names = axes[0, 0].get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.legend(marks, names, loc="lower center", ncol=min(6, len(names)), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
