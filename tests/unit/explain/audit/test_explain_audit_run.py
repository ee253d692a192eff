"""The whole audit, with an engine that has, or has not, a planted shortcut."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from toy_shortcut import make_toys, scored, toy_predictor

from manylabel.data.records import Records
from manylabel.errors import ConfigError, DataError
from manylabel.explain.audit.examples import EXAMPLES
from manylabel.explain.audit.findings import Audit, Finding
from manylabel.explain.audit.page import render
from manylabel.explain.audit.run import AuditSettings, audit, require_auditable
from manylabel.explain.audit.tables import write_csv, write_json
from manylabel.labels import LabelSpace

SETTINGS = AuditSettings(images_per_pair=40, resamples=200)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Records:
    return make_toys(tmp_path_factory.mktemp("toys"))


def audited(records: Records, shortcut: float, settings: AuditSettings = SETTINGS) -> Audit:
    predictor = toy_predictor(shortcut)
    return audit(predictor, records, scored(predictor, records), settings)


def pair(found: Audit, label: str, companion: str) -> Finding:
    return next(f for f in found.findings if (f.label, f.companion) == (label, companion))


@pytest.fixture(scope="module")
def planted(records) -> Audit:
    return audited(records, 3.0)


def test_the_planted_shortcut_is_first_and_the_only_one(planted):
    first, *others = planted.findings
    assert (first.label, first.companion, first.verdict) == ("fork", "table", "rests on")
    assert first.words == "Scores of 'fork' rest partly on 'table'."
    # Half of the images have a fork: (0.9933 - 0.8808 + 0.7311 - 0.1192) / 2.
    assert first.hidden.effect.value == pytest.approx(0.362, abs=0.01)
    assert first.hidden.effect.low <= first.hidden.effect.value <= first.hidden.effect.high
    assert first.hidden.with_label.value == pytest.approx(0.1125, abs=0.01)
    assert first.hidden.q < 1e-6
    assert first.contrasts.false_positives is not None
    assert first.contrasts.false_positives.beside.value == 1
    assert first.contrasts.false_positives.alone.value == 0
    assert "rests on" not in [each.verdict for each in others]
    # A table's score does not rest on a fork, although the two are as often together.
    assert pair(planted, "table", "fork").verdict == "no sign"


def test_without_the_shortcut_no_pair_is_named(records):
    found = audited(records, 0.0)
    assert {each.verdict for each in found.findings} == {"no sign"}
    assert pair(found, "fork", "table").hidden.effect.value == pytest.approx(0, abs=0.01)
    assert "For no label was it shown" in render(found, {"bundle": "b"})


def test_a_companion_that_lowers_a_score_speaks_against_it(records):
    found = pair(audited(records, -3.0), "fork", "table")
    assert found.verdict == "speaks against"
    assert found.words == "Scores of 'fork' rise if 'table' is hidden."
    assert "rises by 0." in found.details[0]


def test_what_only_goes_with_a_companion_is_not_said_to_rest_on_it(records):
    """Scores that follow the target of the table, whatever the pixels of the image are."""
    predictor = toy_predictor(0.0)
    scores = scored(predictor, records)
    scores[:, 0] = np.clip(scores[:, 0] + 0.3 * (records.targets[:, 1] == 1), 0, 1)
    found = pair(audit(predictor, records, scores, SETTINGS), "fork", "table")
    assert found.verdict == "goes with"
    assert "but hiding 'table' is not shown to lower them" in found.words
    assert found.advice


def test_too_few_images_are_listed_and_said(records):
    found = audited(records, 3.0, replace(SETTINGS, fewest=40))
    few = audited(records.select(np.arange(30)), 3.0)
    assert pair(found, "fork", "table").verdict == "rests on"
    assert {each.verdict for each in few.findings} == {"not enough images"}
    assert "20 are needed" in few.findings[0].details[0]
    assert np.isnan(few.findings[0].hidden.q)


def test_the_result_is_the_same_again_and_in_another_order_of_labels(records, planted):
    assert audited(records, 3.0).as_dict() == planted.as_dict()
    turned = records.relabelled(LabelSpace(["plate", "table", "fork"]))
    assert audited(turned, 3.0).as_dict() == planted.as_dict()


def test_labels_and_companions_are_chosen(records):
    found = audited(records, 3.0, replace(SETTINGS, labels=("table", "table"), companions=1))
    assert [(each.label, each.companion) for each in found.findings] == [("table", "fork")]


def test_data_without_boxes_says_so(records):
    found = audited(replace(records, boxes=None), 3.0)
    assert (found.findings[0].label, found.findings[0].verdict) == ("fork", "rests on")
    assert found.findings[0].hidden.source == "map"
    assert np.isnan(found.findings[0].hidden.with_label.value)
    assert "has no boxes of the companions of all pairs" in found.notes[-1]
    assert "evidence map 'cam'" in found.notes[-1]


def test_errors_come_before_the_work(records):
    predictor = toy_predictor(3.0)
    with pytest.raises(DataError, match="Unknown label 'frok'") as raised:
        require_auditable(predictor, records, AuditSettings(labels=("frok",)))
    assert "'fork'" in raised.value.fix
    with pytest.raises(ConfigError, match="no method of evidence maps 'attention'"):
        require_auditable(predictor, records, AuditSettings(method="attention"))
    with pytest.raises(DataError, match="No label has a usual companion"):
        require_auditable(predictor, records.select([0]), AuditSettings())


@pytest.mark.parametrize(
    "wrong", [{"companions": 0}, {"seed": -1}, {"fewest": 2}, {"images_per_pair": 10}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError):
        AuditSettings(**wrong)


# Output


def test_json_holds_all_figures_and_no_nan(planted, records, tmp_path):
    write_json(tmp_path / "audit.json", planted, {"bundle": "b"})
    found = json.loads((tmp_path / "audit.json").read_text(), parse_constant=pytest.fail)
    assert found["bundle"] == "b"
    assert found["settings"]["seed"] == 0
    first = found["pairs"][0]
    assert (first["rank"], first["label"], first["companion"]) == (1, "fork", "table")
    assert first["hidden"]["effect"]["value"] == planted.findings[0].hidden.effect.value
    assert set(first["hidden"]["predicted_because_of_companion"]) <= set(records.keys)
    write_json(tmp_path / "few.json", audited(records.select(np.arange(30)), 3.0), {})
    few = json.loads((tmp_path / "few.json").read_text(), parse_constant=pytest.fail)
    assert few["pairs"][0]["hidden"]["effect"]["value"] is None


def test_csv_has_a_row_for_each_pair_and_runs_no_formula(planted, tmp_path):
    hostile = replace(planted.findings[0], label="=1+1")
    write_csv(tmp_path / "audit.csv", replace(planted, findings=(hostile, *planted.findings[1:])))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "audit.csv").read_text())))
    assert len(rows) == len(planted.findings)
    assert rows[0]["label"] == "'=1+1"
    assert float(rows[0]["effect"]) == pytest.approx(planted.findings[0].hidden.effect.value)
    assert [row["rank"] for row in rows] == [str(i + 1) for i in range(len(rows))]


class _Text(HTMLParser):
    """Collects the text of a page, and the addresses that it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.sources = "", []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_loads_nothing_and_shows_the_pair(planted):
    page = _Text()
    page.feed(render(planted, {"bundle": "runs/b"}))
    assert all(source.startswith("data:") for source in page.sources)
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 3 * EXAMPLES
    assert "Scores of 'fork' rest partly on 'table'." in page.text
    assert "Collect images of 'fork' without 'table'" in page.text
    assert page.text.count("beside table") >= 2


def test_names_from_data_cannot_become_a_part_of_the_page(planted):
    name = "<script>alert(1)</script>\x1b[2J\u202e"
    hostile = replace(planted.findings[0], label=name, companion=name)
    page = render(replace(planted, findings=(hostile,), alone=(name,)), {"bundle": name})
    assert "<script>" not in page
    assert not re.search("[\x1b\u202e]", page)
    assert "&lt;script&gt;" in page
