"""The report of predictions in a real browser: what it shows is what scikit-learn says."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, precision_score, recall_score

from manylabel.data.records import Record, Records
from manylabel.evaluate.predictions.table import Predictions
from manylabel.evaluate.report.render import write_report
from manylabel.evaluate.report.sources import report_from_predictions
from manylabel.labels import LabelSpace

pytestmark = pytest.mark.xdist_group("browser")  # its tests share one browser
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
HOSTILE = '</script><img src="x" onerror="alert(1)">'
LABELS = ("cat", "dog", HOSTILE, "owl", "empty")
IMAGES = 240


def data(labels=LABELS, images: int = IMAGES, folder: Path = Path()) -> Records:
    random = np.random.default_rng(5)
    targets = (random.random((images, len(labels))) < 0.3).astype(np.int8)
    targets[random.random(targets.shape) < 0.05] = -1
    if "empty" in labels:
        targets[:, -1] = 0
    keys = [f"{i:04}<b>.jpg" for i in range(images)]
    items = tuple(
        Record(key, folder / "photo.jpg", row) for key, row in zip(keys, targets, strict=True)
    )
    return Records.of(LabelSpace(labels), items, "truth.csv")


def predictions(truth: Records, seed: int, noise: float) -> Predictions:
    random = np.random.default_rng(seed)
    logits = 3 * (truth.targets == 1) - 1.5 + noise * random.normal(size=truth.targets.shape)
    scores = 1 / (1 + np.exp(-logits))
    return Predictions(tuple(truth.keys), truth.labels, scores, f"{seed}.csv")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page in the browser, and everything that it complains about or asks for."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.page = browser.new_page(viewport={"width": 1300, "height": 900})
        self.page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.path = path
        self.page.goto(path.as_uri())

    def rows(self) -> list[str]:
        return self.page.locator("#table tbody th").all_inner_texts()

    def numbers(self, table: str, row: int = 0) -> list[str]:
        return self.page.locator(f"#{table} tbody tr").nth(row).locator("td").all_inner_texts()

    def foreign(self) -> list[str]:
        own = self.path.as_uri()
        return [url for url in self.requests if not url.startswith((own, "data:"))]


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> Records:
    folder = tmp_path_factory.mktemp("photos")
    Image.new("RGB", (80, 60), "teal").save(folder / "photo.jpg")
    return data(folder=folder)


@pytest.fixture(scope="module")
def one(truth) -> Predictions:
    return predictions(truth, 1, 1.5)


@pytest.fixture
def opened(browser, truth, one, tmp_path) -> Iterator[Watched]:
    found = Watched(
        browser, write_report(tmp_path / "report.html", report_from_predictions([one], truth))
    )
    yield found
    assert found.complaints == []
    assert found.foreign() == []
    found.page.close()


@pytest.fixture
def both(browser, truth, one, tmp_path) -> Iterator[Watched]:
    page = report_from_predictions([one, predictions(truth, 2, 0.5)], truth)
    found = Watched(browser, write_report(tmp_path / "report.html", page))
    yield found
    assert found.complaints == []
    assert found.foreign() == []
    found.page.close()


def figures_of(scores, targets, label: int, threshold: float) -> list[str]:
    """Precision, recall and F1 of a label as scikit-learn has them, in percent."""
    known = targets[:, label] != -1
    pair = (targets[known, label], scores[known, label] >= threshold)
    scorers = (precision_score, recall_score, f1_score)
    return [f"{100 * score(*pair, zero_division=0.0):.1f}" for score in scorers]


def pooled_of(scores, targets, thresholds) -> list[str]:
    """OP, OR and OF1 of all pairs as scikit-learn has them, in percent."""
    known = targets != -1
    pair = (targets[known], (scores >= thresholds)[known])
    return [f"{100 * score(*pair):.1f}" for score in (precision_score, recall_score, f1_score)]


@pytest.mark.parametrize("moves", [1, 12, -9])
def test_moving_a_slider_gives_what_scikit_learn_gives(opened, truth, one, moves):
    page, targets = opened.page, truth.targets
    page.locator("button.pick").nth(1).click()
    before = opened.numbers("of-label")[:3]
    assert before == figures_of(one.scores, targets, 1, 0.5)
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(abs(moves)):
        slider.press("ArrowRight" if moves > 0 else "ArrowLeft")
    place = int(slider.input_value())
    threshold = page.evaluate(f"data.models[0].curves[1][0][{place}]")
    assert (threshold > 0.5) == (moves > 0)
    assert slider.get_attribute("aria-valuetext") == page.locator(".slider .value").inner_text()
    assert opened.numbers("of-label")[:3] == figures_of(one.scores, targets, 1, threshold)
    thresholds = np.array([0.5, threshold, 0.5, 0.5, 0.5])
    assert opened.numbers("of-all")[3:] == pooled_of(one.scores, targets, thresholds)
    measured = [figures_of(one.scores, targets, label, t) for label, t in enumerate(thresholds[:4])]
    means = np.array(measured, float).mean(axis=0)
    assert np.array(opened.numbers("of-all")[:2], float) == pytest.approx(means[:2], abs=0.11)
    page.locator("#reset").click()
    assert opened.numbers("of-label")[:3] == before


def test_the_first_figures_are_those_of_the_headline(opened):
    headline = opened.page.locator("#figures ~ .scroll table tbody td").all_inner_texts()
    assert opened.numbers("of-all") == headline[1:]


def test_the_table_sorts_by_any_column(opened):
    positives = opened.page.get_by_role("button", name="positives")
    positives.click()
    heading = opened.page.locator("th[aria-sort]")
    assert heading.get_attribute("aria-sort") == "descending"
    cells = opened.page.locator("#table tbody tr td:nth-child(2)").all_inner_texts()
    assert [int(cell) for cell in cells] == sorted(map(int, cells), reverse=True)
    positives.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert opened.rows()[0] == "empty"
    opened.page.get_by_role("button", name="AP", exact=True).click()
    assert opened.rows()[-1] == "empty"  # it has no AP: gaps last
    opened.page.get_by_role("button", name="label", exact=True).click()
    assert opened.rows()[1:] == ["cat", "dog", "empty", "owl"]


def test_the_table_filters_and_says_how_many_are_left(opened):
    opened.page.get_by_role("searchbox").fill("O")
    assert opened.rows() == ["dog", HOSTILE, "owl"]
    assert opened.page.get_by_role("status").inner_text() == "3 of 3 labels shown (5 in all)"


def test_labels_and_keys_stay_text(opened):
    assert HOSTILE in opened.rows()
    opened.page.locator("button.pick").nth(2).click()
    assert opened.page.locator("#name").inner_text() == HOSTILE
    assert opened.page.locator("img[src='x']").count() == 0
    assert opened.page.locator("figcaption b").count() == len(
        opened.page.locator("figcaption").all()
    )


def test_two_models_stand_side_by_side(both, truth, one):
    assert both.page.get_by_role("slider").count() == 2
    headings = both.page.locator("#table thead th").all_inner_texts()
    assert [text.split(" ")[0] for text in headings].count("change") == 1
    targets = truth.targets
    assert both.numbers("of-label", 0)[:3] == figures_of(one.scores, targets, 0, 0.5)
    better = predictions(truth, 2, 0.5).scores
    assert both.numbers("of-label", 1)[:3] == figures_of(better, targets, 0, 0.5)
    both.page.get_by_role("button", name="change").click()
    cells = both.page.locator("#table tbody tr td:nth-child(5)").all_inner_texts()
    moved = [float(cell.replace("−", "-")) for cell in cells if cell != "–"]
    assert moved == sorted(moved, reverse=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 400])
def test_nothing_sticks_out_of_the_page(both, scheme, width):
    both.page.emulate_media(color_scheme=scheme)
    both.page.set_viewport_size({"width": width, "height": 900})
    assert both.page.evaluate("document.documentElement.scrollWidth") <= width
    picture = both.page.screenshot(full_page=True)
    assert len(picture) > 50_000


def test_ten_thousand_labels_are_drawn_a_hundred_at_a_time(browser, tmp_path):
    truth = data(tuple(f"label {i}" for i in range(9_605)), images=60)
    path = write_report(
        tmp_path / "report.html", report_from_predictions([predictions(truth, 1, 1.0)], truth)
    )
    assert path.stat().st_size < 5_000_000
    found = Watched(browser, path)
    assert len(found.rows()) == 100
    assert found.page.get_by_role("status").inner_text() == "100 of 9,605 labels shown"
    found.page.locator("#more").click()
    assert len(found.rows()) == 200
    found.page.get_by_role("searchbox").fill("label 9604")
    assert found.rows() == ["label 9604"]
    assert found.complaints == []
    found.page.close()


def test_the_report_of_coco_is_small(tmp_path):
    """80 labels x 5,000 images, with the largest pictures there can be: noise, with overlays."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.jpg")
    truth = data(tuple(f"label {i}" for i in range(80)), images=5_000, folder=tmp_path)
    page = report_from_predictions([predictions(truth, 1, 1.0)], truth)
    seen = tuple(replace(model, overlay=lambda image, _: image) for model in page.models)
    path = write_report(tmp_path / "report.html", replace(page, models=seen))
    assert path.read_text("utf-8").count("data:image/jpeg") >= 24
    assert 1_000_000 < path.stat().st_size < 5_000_000


def test_a_picture_of_the_report(opened, tmp_path):
    take_picture(opened.page, tmp_path / "report.png")
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width == 1300


def take_picture(page: Any, path: Path) -> None:
    """The part of the page with table, curve and sliders, after a label was tried out."""
    page.locator("button.pick").last.click()
    slider = page.get_by_role("slider").last
    slider.focus()
    for _ in range(15):
        slider.press("ArrowLeft")
    top = page.locator("#labels").evaluate("each => each.getBoundingClientRect().top + scrollY")
    bottom = page.locator("#calibration").evaluate(
        "each => each.getBoundingClientRect().top + scrollY"
    )
    clip = {"x": 0, "y": top - 30, "width": 1300, "height": bottom - top + 10}
    page.screenshot(path=path, full_page=True, clip=clip)


if __name__ == "__main__":  # python tests/integration/<this file> REPORT.html PICTURE.png
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        take_picture(Watched(chromium, Path(sys.argv[1]).resolve()).page, Path(sys.argv[2]))
