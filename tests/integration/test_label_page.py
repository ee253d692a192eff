"""The page of the photographs to check, in a real browser."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manylabel.labelling.page import Content, make_card, render
from manylabel.labelling.tables import read_ours
from manylabel.labels import LabelSpace
from manylabel.predict import Prediction

pytestmark = pytest.mark.xdist_group("browser")  # its tests share one browser
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
HOSTILE = '</script><img src="x" onerror="alert(1)">'
LABELS = LabelSpace(["heron", "=water", "reeds, tall", HOSTILE, "boat", "sky", "swan", "owl"])
THRESHOLDS = (0.5, 0.5, 0.3, 0.5, 0.5, 0.9, 0.5, 0.5)
IMAGES = ("a.jpg", '<b> "quoted", 2.jpg', "gone.jpg")
SCORES = (
    (0.90, 0.60, 0.10, 0.02, 0.01, 0.95, 0.03, 0.02),
    (0.20, 0.05, 0.31, 0.49, 0.01, 0.02, 0.03, 0.02),
    (0.01, 0.02, 0.03, 0.02, 0.01, 0.02, 0.03, 0.02),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    home = tmp_path_factory.mktemp("page")
    (home / "photos").mkdir()
    cards = []
    for name, row in zip(IMAGES, SCORES, strict=True):
        if name != "gone.jpg":
            Image.new("RGB", (90, 60), "teal").save(home / "photos" / name)
        scores = np.array(row, dtype=np.float32)
        prediction = Prediction(name, LABELS, scores, scores >= np.array(THRESHOLDS))
        cards.append(make_card(prediction, home / "photos" / name, THRESHOLDS, home / "out"))
    content = Content(
        "photos", LABELS.names, cards, [("to check here", "3")], "manylabel label photos ..."
    )
    (home / "out").mkdir()
    (home / "out" / "check.html").write_text(render(content), encoding="utf-8")
    return home / "out" / "check.html"


@pytest.fixture
def page(browser, path) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(20_000)
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(path.as_uri())
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:", path.as_uri()))] == []
    page.close()


def saved(page, tmp_path):
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "checked.csv"
    target = tmp_path / "checked.csv"
    download.value.save_as(target)
    return target


def test_what_is_checked_is_saved_as_our_readers_read_it(page, tmp_path):
    cards = page.locator(".card")
    assert page.locator("#save").is_disabled()
    cards.nth(1).locator("label", has_text="reeds, tall").click()  # it was predicted
    cards.nth(1).locator("label", has_text="onerror").click()
    cards.nth(0).locator(".right").click()
    assert page.locator("#count").inner_text() == "2"
    found, guesses = read_ours(saved(page, tmp_path))
    assert guesses == 0
    wanted = {IMAGES[0]: {"sky", "heron", "=water"}, IMAGES[1]: {HOSTILE}}
    assert {image: set(labels) for image, labels in found} == wanted


def test_the_saved_table_is_as_safe_in_a_spreadsheet_as_ours(page, tmp_path):
    card = page.locator(".card").nth(2)
    card.locator(".add").fill("=water")
    card.locator(".add").press("Enter")
    with saved(page, tmp_path).open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["image", "labels", "source"], ["gone.jpg", "'=water", "to check"]]


def test_a_label_can_be_added_and_an_unknown_one_is_marked(page, tmp_path):
    card = page.locator(".card").nth(0)
    card.locator(".add").fill("hreon")
    card.locator(".add").press("Enter")
    assert "unknown" in card.locator(".add").get_attribute("class")
    assert page.locator("#count").inner_text() == "0"
    card.locator(".add").fill("owl")
    card.locator(".add").press("Enter")
    assert card.locator(".added").inner_text().strip() == "owl"
    assert card.locator(".add").input_value() == ""
    found, _ = read_ours(saved(page, tmp_path))
    assert "owl" in found[0][1]


def test_all_right_can_be_taken_back(page):
    button = page.locator(".right").nth(0)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert page.locator("#count").inner_text() == "0"
    assert page.locator("#save").is_disabled()


def test_predicted_labels_are_ticked_and_the_nearest_to_thresholds_are_there(page):
    card = page.locator(".card").nth(1)
    ticked = card.locator("label:has(:checked) .label").all_inner_texts()
    assert ticked == ["reeds, tall"]
    near = card.locator(".doubtful .label").all_inner_texts()
    assert near == [HOSTILE, "reeds, tall", "heron"]  # by falling score


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser, path, scheme):
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()
