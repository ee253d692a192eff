"""The content of a run's page, and its rendering as one HTML file that needs no network.

A `RunPage` is plain data. The caller fills in what there is and leaves the rest empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from markupsafe import Markup

from manylabel.html import environment, write_html
from manylabel.train.page.charts import Chart, draw

Measured = Mapping[str, Any]
"""The figures of one model, as `Measures.as_dict()` gives them."""

STEP_COLUMNS: Final = ("mAP", "CF1", "OF1")
RESULT_COLUMNS: Final = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")
TOP3_COLUMNS: Final = ("CF1", "OF1")


@final
@dataclass(frozen=True, slots=True)
class Headline:
    """An important figure at the top of the page: its name, its value as text, and a short note."""

    name: str
    value: str
    note: str = ""


@final
@dataclass(frozen=True, slots=True)
class Result:
    """A model's figures, with the name of the model on the page and a short note."""

    name: str
    measures: Measured
    note: str = ""


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a PNG file, and its caption."""

    png: bytes
    caption: str


@final
@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of fractions, which the page shows in percent; the best of each column is marked.

    Args:
        title: The heading of its section.
        note: What the figures are.
        corner: The heading of the first column: what a row is of.
        columns: The headings of the other columns.
        rows: The figures of each row, 0..1, by the row's name; None where not defined.
    """

    title: str
    note: str
    corner: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | None]]


@final
@dataclass(frozen=True, kw_only=True)
class RunPage:
    """The content of a run's page. Empty sections are left out.

    Args:
        title: The page's title.
        summary: What was run, in one or two sentences.
        in_words: What the results show, in sentences.
        headlines: The important figures.
        facts: Facts about the run, by name, for instance data, images, seed, seconds, command.
        steps: The figures after each step, in order.
        results: The models to compare, in order. The last one is the run's own; the table of labels
            compares it with the one before it.
        grids: Further tables of figures, each a section of its own.
        pointing: The pointing games by name, as `PointingGame.as_dict()` returns them; share and
            chance are 0..1.
        charts: Charts of loss and mAP over the epochs.
        pictures: Pictures of attention over images.
        recipe: The resolved recipe as TOML.
        definitions: Explanations of words on the page. Those of the metrics are added.
        versions: The versions of manylabel, torch and other packages that results depend on.
    """

    title: str
    summary: str = ""
    in_words: str = ""
    headlines: Sequence[Headline] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Result] = ()
    results: Sequence[Result] = ()
    grids: Sequence[Grid] = ()
    pointing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
    pictures: Sequence[Picture] = ()
    recipe: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def write_run_page(path: Path, page: RunPage) -> Path:
    """Write the run page as one self-contained HTML file, and return its path.

    Raises:
        RunError: The file cannot be written.
    """
    return write_html(path, render(page))


def render(page: RunPage) -> str:
    """The run page as HTML."""
    return (
        environment()
        .get_template("run.html.j2")
        .render(
            page=page,
            steps=_table(page.steps, STEP_COLUMNS),
            gains=_gains(page.steps),
            results=_table(page.results, RESULT_COLUMNS, TOP3_COLUMNS),
            columns={"steps": STEP_COLUMNS, "results": RESULT_COLUMNS, "top3": TOP3_COLUMNS},
            grids=[(grid, _grid_rows(grid)) for grid in page.grids],
            labels=_label_rows(page.results),
            skipped=_skipped(page.results),
            unknown=_unknown(page.results),
            plots=[(chart.title, Markup(draw(chart))) for chart in page.charts],
            definitions={**page.definitions, **_metric_definitions(page)},
        )
    )


@final
@dataclass(frozen=True, slots=True)
class _Cell:
    value: float | None
    best: bool


@final
@dataclass(frozen=True, slots=True)
class _Row:
    result: Result
    cells: tuple[_Cell, ...]


@final
@dataclass(frozen=True, slots=True)
class _LabelRow:
    label: str
    positives: int
    values: tuple[float | None, ...]
    difference: float | None


def _table(
    results: Sequence[Result], columns: Sequence[str], top3: Sequence[str] = ()
) -> list[_Row]:
    """A row for each result. If there are several, the best figure of each column is marked."""
    figures = [
        [result.measures.get(name) for name in columns]
        + [result.measures.get("top3", {}).get(name) for name in top3]
        for result in results
    ]
    return [_Row(result, cells) for result, cells in zip(results, _cells(figures), strict=True)]


def _grid_rows(grid: Grid) -> list[tuple[str, tuple[_Cell, ...]]]:
    """The name and the cells of each row."""
    return list(zip(grid.rows, _cells(list(grid.rows.values())), strict=True))


def _cells(figures: Sequence[Sequence[float | None]]) -> list[tuple[_Cell, ...]]:
    """The cells of rows of figures. If there are several rows, the best of a column is marked."""
    alone = len(figures) == 1
    best = [
        None if alone else max((value for value in column if value is not None), default=None)
        for column in zip(*figures, strict=True)
    ]
    return [
        tuple(_Cell(v, v is not None and v == b) for v, b in zip(row, best, strict=True))
        for row in figures
    ]


def _gains(steps: Sequence[Result]) -> list[float | None]:
    """The difference between each step's mAP and that of the step before; None for the first."""
    values = [step.measures.get("mAP") for step in steps]
    return [None, *map(_difference, values[1:], values)] if values else []


def _label_rows(results: Sequence[Result]) -> list[_LabelRow]:
    """Each label's AP in each result, and the difference between the last two results."""
    tables = [result.measures.get("labels", []) for result in results]
    if not tables or not all(tables):
        return []
    return [_label_row(rows) for rows in zip(*tables, strict=True)]


def _label_row(rows: Sequence[Measured]) -> _LabelRow:
    assert len({row["label"] for row in rows}) == 1, "results of different labels"
    values = tuple(row["AP"] for row in rows)
    difference = _difference(values[-1], values[-2]) if len(values) > 1 else None
    return _LabelRow(rows[0]["label"], rows[0]["positives"], values, difference)


def _difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _skipped(results: Sequence[Result]) -> list[str]:
    """The labels that are left out of mAP because they have no positive image."""
    return list(results[-1].measures.get("skipped_labels", [])) if results else []


def _metric_definitions(page: RunPage) -> dict[str, str]:
    return {
        f"metrics: {result.measures['profile']}": result.measures["definition"]
        for result in [*page.steps, *page.results]
        if "definition" in result.measures
    }


def _unknown(results: Sequence[Result]) -> int:
    """The number of unknown targets in the last result."""
    return int(results[-1].measures.get("num_unknown", 0)) if results else 0
