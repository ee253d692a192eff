"""The page as a whole: from bundles and files, with hostile names, and with parts missing."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from manylabel.data.records import Record, Records
from manylabel.decide import Decision
from manylabel.errors import MissingExtraError, RunError
from manylabel.evaluate.predictions.table import Predictions
from manylabel.evaluate.report import content
from manylabel.evaluate.report.plotly import packed_plotly
from manylabel.evaluate.report.render import render_report, write_report
from manylabel.evaluate.report.sources import report_from_bundles, report_from_predictions
from manylabel.evaluate.run import evaluate
from manylabel.labels import LabelSpace
from manylabel.predict import Predictor

HOSTILE = '</script><img src="x" onerror="alert(1)">'


@pytest.fixture
def records(make_image, tmp_path: Path) -> Records:
    random = np.random.default_rng(0)
    rows = random.integers(0, 2, (14, 3)).astype(np.int8)
    items = [
        Record(f"{i}.png", make_image(tmp_path / f"{i}.png", i), row) for i, row in enumerate(rows)
    ]
    return Records.of(LabelSpace(["owl", "cat", "dog"]), tuple(items), "photos", ("A note",))


def hostile(images: int = 20) -> tuple[Records, Predictions]:
    random = np.random.default_rng(0)
    labels = LabelSpace([HOSTILE, "dog"])
    keys = [f"{i}{HOSTILE}" for i in range(images)]
    rows = random.integers(0, 2, (images, 2)).astype(np.int8)
    items = tuple(
        Record(key, Path("missing.png"), row) for key, row in zip(keys, rows, strict=True)
    )
    truth = Records.of(labels, items, HOSTILE)
    return truth, Predictions(tuple(keys), labels, random.random((images, 2)), HOSTILE)


def payload(page: str):
    return json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])


def test_names_that_look_like_html_stay_text():
    truth, found = hostile()
    page = render_report(report_from_predictions([found], truth))
    assert HOSTILE not in page
    assert '<img src="x"' not in page
    assert payload(page)["labels"] == [HOSTILE, "dog"]


def test_images_that_cannot_be_opened_are_counted_on_the_page():
    truth, found = hostile()
    page = render_report(report_from_predictions([found], truth))
    assert "data:image" not in page
    assert re.search(r"\d+ images could not be opened", page)


def test_without_cleanlab_the_page_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    truth, found = hostile()
    page = render_report(report_from_predictions([found], truth))
    assert "pip install -e &#39;.[cleanlab]&#39;" in page


def test_the_page_may_load_nothing():
    truth, found = hostile()
    page = render_report(report_from_predictions([found], truth))
    assert "default-src 'none'" in page
    assert "sourceMappingURL" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_the_page_has_the_whole_receipt(tiny_bundle, records):
    page = report_from_bundles([("b", Predictor.load(tiny_bundle, device="cpu"))], records)
    html = render_report(page)
    receipt = page.models[0].receipt
    assert str(receipt.bundle_sha256) in html
    assert receipt.data_sha256 in html
    for name in receipt.versions:
        assert f"<dt>versions.{name}</dt>" in html
    for name in type(receipt).model_fields:
        assert re.search(rf"<dt>{name}[.<]", html), name


def test_a_bundles_page_has_the_figures_of_evaluate(tiny_bundle, records):
    predictor = Predictor.load(tiny_bundle, device="cpu")
    page = report_from_bundles([("b", predictor)], records)
    found = evaluate(predictor, records)
    assert page.models[0].measures.as_dict() == found.measures.as_dict()
    assert page.models[0].receipt == found.receipt
    assert page.truth.labels == predictor.labels


def test_two_models_are_compared_as_they_decide():
    """The same scores, decided in two ways: the intervals are of the figures that are shown."""
    random = np.random.default_rng(0)
    labels, keys = LabelSpace(["cat", "dog"]), tuple(f"{i}.png" for i in range(60))
    rows = random.integers(0, 2, (60, 2)).astype(np.int8)
    truth = Records.of(
        labels, [Record(k, Path(k), row) for k, row in zip(keys, rows, strict=True)], "truth"
    )
    scores = 0.1 + 0.3 * np.clip(rows + random.normal(0, 0.4, rows.shape), 0, 1)  # below 0.5
    plain = Predictions(keys, labels, scores, "plain.csv")
    tuned = replace(plain, source="tuned.csv", decision=Decision(thresholds=(0.25, 0.25)))
    page = report_from_predictions([plain, tuned], truth)
    found = page.comparison
    assert found is not None
    for name in ("CF1", "OF1"):
        a, b = (getattr(model.measures.all, name) for model in page.models)
        assert (found.a[name], found.b[name]) == (pytest.approx(a), pytest.approx(b))
        assert found.differences[name].value == pytest.approx(b - a)
        assert found.differences[name].low > 0.5
    html = " ".join(render_report(page).split())
    own = "A decided where score &gt;= 0.5; B decided where score &gt;= 0.25"
    assert f"{own};" in html
    assert f"each model&#39;s own decisions: {own}." in html.replace("model's", "model&#39;s")


def test_a_bundles_limits_decide_on_the_page_as_in_evaluate(make_bundle, tmp_path, records):
    bundle = make_bundle(tmp_path / "one", thresholds=(0.0, 0.0, 0.0), at_most=1)
    predictor = Predictor.load(bundle, device="cpu")
    page = report_from_bundles([("b", predictor)], records)
    assert page.models[0].measures.as_dict() == evaluate(predictor, records).measures.as_dict()
    assert (page.models[0].decided.sum(axis=1) == 1).all()  # all reach 0; the best is taken
    assert "ignore the limits of labels" in render_report(page)


def test_two_bundles_are_matched_by_label_name(make_bundle, tmp_path, records):
    one = Predictor.load(make_bundle(tmp_path / "a"), device="cpu")
    other = make_bundle(tmp_path / "b", labels=("dog", "owl", "cat"), thresholds=(0.2, 0.4, 0.6))
    other = Predictor.load(other, device="cpu")
    seen: list[tuple[int, ...]] = []

    def overlay(_, columns):
        seen.append(tuple(columns))
        return lambda image, label: image

    page = report_from_bundles([("a", one), ("b", other)], records, overlay=overlay)
    assert tuple(page.truth.labels) == ("cat", "dog", "owl")
    assert seen == [(0, 1, 2), (2, 0, 1)]
    assert page.models[1].thresholds.tolist() == [0.6, 0.2, 0.4]
    first = other.predict(records[0].image).scores
    np.testing.assert_allclose(page.models[1].scores[0], first[[2, 0, 1]], atol=1e-5)
    assert page.models[0].receipt.data_sha256 == page.models[1].receipt.data_sha256
    assert page.comparison is not None
    assert page.comparison.decided == ("score >= 0.5", "score >= the label's threshold")
    assert len(payload(render_report(page))["models"]) == 2


def test_bad_images_are_left_out_of_both(make_bundle, tmp_path, records):
    Path(str(records[3].image)).write_bytes(b"no image")
    models = [
        (name, Predictor.load(make_bundle(tmp_path / name), device="cpu")) for name in ("a", "b")
    ]
    done: list[int] = []
    page = report_from_bundles(models, records, skip_bad=True, on_progress=done.append)
    assert len(page.truth) == 13
    assert [len(model.scores) for model in page.models] == [13, 13]
    assert done == sorted(done)


def test_the_page_of_a_large_data_set_says_that_it_has_no_intervals(monkeypatch):
    monkeypatch.setattr(content, "_MAX_WORK", 1000)
    truth, found = hostile()
    page = report_from_predictions([found, found], truth)
    assert page.comparison is None
    assert "manylabel compare" in render_report(page)
    assert payload(render_report(page))["differences"] is None


def test_numbers_of_the_page_are_json_even_where_nothing_is_defined():
    truth = Records.of(
        LabelSpace(["a", "b"]),
        tuple(Record(str(i), Path("x"), np.array([0, -1], np.int8)) for i in range(3)),
        "t",
    )
    found = Predictions(("0", "1", "2"), truth.labels, np.full((3, 2), 0.5), "p")
    page = render_report(report_from_predictions([found], truth))
    assert "NaN" not in re.findall(r'id="data">(.*?)</script>', page)[0]
    assert payload(page)["models"][0]["AP"] == [None, None]


def test_a_page_that_cannot_be_written_is_an_error(tmp_path):
    truth, found = hostile()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", report_from_predictions([found], truth))


def test_the_page_carries_plotly_as_its_package_has_it():
    truth, found = hostile()
    page = render_report(report_from_predictions([found], truth))
    (packed,) = re.findall(r'id="plotly">(.*?)</script>', page)
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_a_missing_plotly_is_an_error(monkeypatch):
    packed_plotly.cache_clear()
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingExtraError, match="need plotly") as caught:
        packed_plotly()
    assert "pip install -e '.[report]'" in caught.value.fix
