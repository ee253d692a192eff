"""A run's page: it shows all figures, loads nothing, and escapes text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from manylabel.errors import RunError
from manylabel.labels import LabelSpace
from manylabel.metrics.profiles import measure
from manylabel.train.page.charts import Chart, Line
from manylabel.train.page.content import (
    Grid,
    Headline,
    Picture,
    Result,
    RunPage,
    write_run_page,
)

LABELS = LabelSpace(["cat", "<script>alert('dog')</script>", "owl & eagle", "never"])
TARGETS = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0]], dtype=np.int8)


class Page(HTMLParser):
    """A page's tags with their attributes, its texts, and its tables as lists of rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.stack: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.stack.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data):
        if {"script", "style"} & set(self.stack):
            return
        self.text += data
        if {"td", "th"} & set(self.stack):
            self.tables[-1][-1][-1] += data

    def rows(self, first_heading: str) -> list[list[str]]:
        """The body of the table with this first heading; each cell has single spaces only."""
        table = next(t for t in self.tables if t[0][0].split()[0] == first_heading)
        return [[" ".join(cell.split()) for cell in row] for row in table[1:]]


def measured(seed: int) -> dict:
    noise = np.random.default_rng(seed).random(TARGETS.shape)
    return measure(np.clip(TARGETS * 0.3 + noise * 0.6, 0, 1), TARGETS, LABELS).as_dict()


@pytest.fixture
def report() -> RunPage:
    steps = [Result(f"step {i}", measured(i), "a <b>note</b>") for i in range(1, 5)]
    return RunPage(
        title="A run & more",
        summary="What was run.",
        headlines=[Headline("mAP", "77.1", "of SRN")],
        facts={"data": "<img src=x>"},
        steps=steps,
        results=[Result("baseline", measured(5)), Result("SRN", measured(6))],
        pointing={"U": {"share": 0.713, "chance": 0.174, "hits": 1713, "misses": 2}},
        charts=[
            Chart("Loss", "epoch", "loss", [Line("train", [(1, 3.0), (2, 1.0)])], [(1, "one")])
        ],
        pictures=[Picture(b"\x89PNG not really", 'A "caption"')],
        recipe='name = "srn"\n',
        definitions={"U": "weighted attention"},
        versions={"torch": "2.9"},
    )


@pytest.fixture
def page(report, tmp_path) -> Page:
    return Page(write_run_page(tmp_path / "new" / "report.html", report).read_text("utf-8"))


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f}"


def test_the_tables_hold_the_figures(page, report):
    for row, result in zip(page.rows("model"), report.results, strict=True):
        m = result.measures
        names = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")
        top3 = (m["top3"]["CF1"], m["top3"]["OF1"])
        assert row == [result.name, *(percent(m[name]) for name in names), *map(percent, top3)]
    for row, step in zip(page.rows("after"), report.steps, strict=True):
        assert row[0] == f"{step.name} a <b>note</b>"
        assert row[1:4] == [percent(step.measures[name]) for name in ("mAP", "CF1", "OF1")]
    assert page.rows("map") == [["U", "71.3", "17.4", "1,713", "2"]]


def test_each_step_is_compared_with_the_one_before(page, report):
    changes = [row[4] for row in page.rows("after")]
    gains = np.diff([step.measures["mAP"] for step in report.steps])
    assert changes == ["–", *(f"{100 * gain:+.1f}".replace("-", "−") for gain in gains)]


def test_every_label_has_its_row(page, report):
    before, after = (result.measures["labels"] for result in report.results)
    for row, old, new in zip(page.rows("label"), before, after, strict=True):
        assert row[:4] == [
            old["label"],
            str(old["positives"]),
            percent(old["AP"]),
            percent(new["AP"]),
        ]
    assert page.rows("label")[3] == ["never", "0", "–", "–", "–"]
    change = 100 * (after[0]["AP"] - before[0]["AP"])
    assert page.rows("label")[0][4] == f"{change:+.1f}".replace("-", "−")


def test_the_best_of_a_column_is_marked(tmp_path):
    figures = {"num_images": 4, "top3": {}}
    results = [
        Result("a", {**figures, "mAP": 0.5, "CF1": 0.7}),
        Result("b", {**figures, "mAP": 0.6, "CF1": 0.7}),
    ]
    html = write_run_page(tmp_path / "r.html", RunPage(title="t", results=results)).read_text(
        "utf-8"
    )
    assert re.findall(r'class="best">([\d.]+)', html) == ["70.0", "60.0", "70.0"]


def test_a_grid_is_a_table_with_the_best_of_each_column_marked(tmp_path):
    grid = Grid(
        title="By <group>",
        note="What it is.",
        corner="head",
        columns=["near & far", "all"],
        rows={"<one>": [0.25, None], "two": [0.125, 0.5]},
    )
    page = RunPage(title="t", in_words="One gains <much>.", grids=[grid])
    html = write_run_page(tmp_path / "g.html", page).read_text("utf-8")
    shown = Page(html)
    assert shown.rows("head") == [["<one>", "25.0", "–"], ["two", "12.5", "50.0"]]
    assert re.findall(r'class="best">([\d.]+)', html) == ["25.0", "50.0"]
    for words in ("By <group>", "What it is.", "near & far", "One gains <much>."):
        assert words in shown.text


def test_other_sections_are_there(page):
    for words in (
        "A run & more",
        "What was run.",
        "77.1",
        "weighted attention",
        'name = "srn"',
        "AP not interpolated",
        "1 of 4 labels have no positive image",
        "Loss",
    ):
        assert words in page.text


def test_text_is_escaped(page):
    assert "<script>alert('dog')</script>" in page.text
    assert "<img src=x>" in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1  # our own
    assert ("img", {"src": "x"}) not in page.tags


def test_nothing_is_fetched(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, attributes)
    policy = next(a["content"] for t, a in page.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")


def test_the_whole_file_names_no_address(report, tmp_path):
    html = write_run_page(tmp_path / "report.html", report).read_text("utf-8")
    assert "http:" not in html
    assert "https:" not in html
    assert not re.search(r"url\((?!#)", html), "only places within the page"
    assert "@import" not in html


def test_pictures_are_embedded(page):
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert base64.b64decode(image["src"].partition(",")[2]) == b"\x89PNG not really"
    assert image["alt"] == 'A "caption"'


def path_of(page, line=0):
    """The SVG path of a chart's line, as (command, x, y) triples."""
    tags = iter(page.tags)
    next(tag for tag in tags if tag[1].get("id") == f"line-{line}")
    path = next(attributes["d"] for tag, attributes in tags if tag == "path")
    return [(c, float(x), float(y)) for c, x, y in re.findall(r"([ML]) ([-\d.]+) ([-\d.]+)", path)]


def test_a_chart_is_drawn_to_scale(tmp_path):
    points = [(1, 3.0), (2, 1.0), (4, 2.0)]
    report = RunPage(title="t", charts=[Chart("c", "x", "y", [Line("l", points)])])
    page = Page(write_run_page(tmp_path / "r.html", report).read_text("utf-8"))
    (_, x1, y1), (_, x2, y2), (_, x3, y3) = path_of(page)
    assert (x3 - x1) / (x2 - x1) == pytest.approx(3, abs=1e-3)
    assert (y3 - y1) / (y2 - y1) == pytest.approx(0.5, abs=1e-3)
    assert y2 > y1, "SVG counts downwards"


def test_nan_interrupts_a_line(tmp_path):
    points = [(0, 1.0), (1, 2.0), (2, float("nan")), (3, 1.0), (4, 2.0)]
    report = RunPage(title="t", charts=[Chart("c", "x", "y", [Line("l", points)])])
    page = Page(write_run_page(tmp_path / "r.html", report).read_text("utf-8"))
    assert [command for command, _, _ in path_of(page)] == ["M", "L", "M", "L"]


@pytest.mark.parametrize(
    "points", [[], [(1, 0.0)], [(1, 5.0), (2, 5.0)], [(1, -3e6), (900, 2e6)], [(0, 1e-7)]]
)
def test_any_line_gives_a_chart_without_a_warning(points, tmp_path):
    chart = Chart("c", "epoch", "loss", [Line("l", points), Line("m", points)], [(1, "<b>")])
    page = Page(write_run_page(tmp_path / "r.html", RunPage(title="t", charts=[chart])).read_text())
    assert {"epoch", "loss", "<b>", "m"} <= set(page.text.split())


def test_an_empty_report_is_a_page_without_sections(tmp_path):
    page = Page(
        write_run_page(tmp_path / "r.html", RunPage(title="Only a title")).read_text("utf-8")
    )
    assert "Only a title" in page.text
    assert not {"section", "table", "script", "svg"} & {tag for tag, _ in page.tags}


def test_one_result_is_compared_with_nothing(tmp_path):
    report = RunPage(title="t", results=[Result("linear", measured(1))])
    page = Page(write_run_page(tmp_path / "r.html", report).read_text("utf-8"))
    assert [len(row) for row in page.rows("label")] == [3] * 4
    assert not any(attributes.get("class") == "best" for _, attributes in page.tags)


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="report cannot be written"):
        write_run_page(tmp_path / "file" / "report.html", RunPage(title="t"))


@pytest.mark.parametrize("unknown", [0, 1])
def test_unknown_targets_are_counted_on_the_page(tmp_path, unknown):
    targets = TARGETS.copy()
    targets[0, 1] = -unknown
    measures = measure(np.full(TARGETS.shape, 0.5), targets, LABELS).as_dict()
    path = write_run_page(
        tmp_path / "r.html", RunPage(title="r", results=[Result("model", measures)])
    )
    said = "1 targets are unknown" in Page(path.read_text(encoding="utf-8")).text
    assert said == bool(unknown)
