"""The tables and the page: they say what was measured, escape names, and are complete."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from observed import HEAD, NAMES, drawn_records
from planted import APPLE, BRANCH, CELLAR, DOG, LABELS, PlantedProbe, planted_sample

from manylabel.explain.relations import page as pages
from manylabel.explain.relations.cooccurrence import together_in_data
from manylabel.explain.relations.interventions import move, put_in, put_out
from manylabel.explain.relations.measure import Relations, measure_relations
from manylabel.explain.relations.page import (
    around,
    make_page,
    relations_section,
    render_relations,
    write_relations,
)
from manylabel.explain.relations.stream import Observed
from manylabel.explain.relations.table import (
    PAIR_COLUMNS,
    UNIT_COLUMNS,
    notes,
    pair_lines,
    unit_lines,
    write_pairs,
    write_units,
)
from manylabel.explain.relations.units import follow
from manylabel.labels import LabelSpace
from manylabel.predict import Predictor


@pytest.fixture(scope="module")
def predictor(make_bundle, tmp_path_factory) -> Predictor:
    folder = make_bundle(tmp_path_factory.mktemp("b") / "bundle", head=HEAD, labels=NAMES)
    return Predictor.load(folder, device="cpu")


@pytest.fixture(scope="module")
def found(predictor, make_image, tmp_path_factory) -> Relations:
    records = drawn_records(tmp_path_factory.mktemp("images"), make_image)
    return measure_relations(predictor, records)


@pytest.fixture(scope="module")
def planted() -> Relations:
    """The planted branch's relations; there are no images."""
    probe, sample = PlantedProbe(), planted_sample()
    count = sample.units.shape[1]
    records = drawn_of(sample)
    top = np.full((count, 6), -1)
    observed = Observed(
        records, sample, top, np.zeros((count, 6), np.float32), np.zeros((count, 4)), ()
    )
    pairs = [(BRANCH, APPLE), (CELLAR, DOG)]
    return Relations(
        labels=LabelSpace(LABELS),
        observed=observed,
        data=together_in_data(sample.present.astype(np.int8)),
        places=None,
        without=put_out(probe, sample),
        with_=put_in(probe, sample),
        placed=tuple(move(probe, sample, pairs)),
        follows=follow(sample),
        weights=probe.weights(),
        share=probe.share,
        seed=0,
    )


def drawn_of(sample):
    from manylabel.data.records import Record, Records

    items = (
        Record(f"{i}.png", Path(f"{i}.png"), row.astype(np.int8))
        for i, row in enumerate(sample.present)
    )
    return Records.of(LabelSpace(LABELS), items, source="planted")


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_the_planted_pairs_come_first_and_are_the_only_sure_ones(planted, tmp_path):
    write_pairs(tmp_path / "new" / "relations.csv", planted)
    rows = rows_of(tmp_path / "new" / "relations.csv")
    assert len(rows) == 12
    sure = {(row["other"], row["label"]): row for row in rows if row["sure"] == "yes"}
    assert list(sure) == [(rows[i]["other"], rows[i]["label"]) for i in range(2)]
    assert set(sure) == {("branch", "apple"), ("cellar", "dog")}
    assert float(sure["branch", "apple"]["support"]) > 1
    assert float(sure["cellar", "dog"]["support"]) < -1
    assert sure["branch", "apple"]["best_place"] == "above, not below"
    assert sure["cellar", "dog"]["best_place"] == ""
    assert rows[-1]["moved_images"] == rows[-1]["boxes_above"] == ""


def test_support_is_the_mean_of_both_changes_or_the_one_that_is_there(planted):
    lost, gained = planted.without.mean, planted.with_.mean
    expected = (gained[BRANCH, APPLE] - lost[BRANCH, APPLE]) / 2
    assert planted.support[BRANCH, APPLE] == pytest.approx(expected)
    nothing = replace(planted.with_, mean=np.full((4, 4), np.nan))
    one = replace(planted, with_=nothing)
    assert one.support[BRANCH, APPLE] == pytest.approx(-lost[BRANCH, APPLE])
    assert not one.sure.any()


def test_lines_for_the_terminal(planted):
    first, second, third = pair_lines(planted, 5)
    assert " ".join(first.split()) == "other label label adds put out put in best place lift boxes"
    assert {second.split()[0], third.split()[0]} == {"branch", "cellar"}
    assert len(pair_lines(planted, 1)) == 2
    assert "No label's evidence" in pair_lines(replace(planted, without=nothing(planted)), 5)[0]
    assert sum(int(line.split()[0]) for line in unit_lines(planted)) == 4


def nothing(found: Relations):
    return replace(found.without, p=np.full((4, 4), np.nan))


def test_what_was_left_out_is_said(planted, found):
    assert notes(planted)[0].startswith("All images were run; maps of 200 of them were kept")
    assert "No image has boxes of two labels" in notes(planted)[-1]
    assert not [line for line in notes(found) if "boxes" in line]
    never = replace(found.data, both=np.zeros((3, 3), dtype=np.int64))
    text = "\n".join(notes(replace(found, data=never)))
    assert "3 pairs of labels never occur together (cat and dog" in text


def test_the_tables_have_all_pairs_and_units(found, tmp_path):
    write_pairs(tmp_path / "relations.csv", found)
    write_units(tmp_path / "units.csv", found)
    pairs, units = rows_of(tmp_path / "relations.csv"), rows_of(tmp_path / "units.csv")
    assert (len(pairs), len(units)) == (6, 12)
    assert list(pairs[0]) == list(PAIR_COLUMNS)
    assert list(units[0]) == list(UNIT_COLUMNS)
    by_pair = {(row["other"], row["label"]): row for row in pairs}
    row = by_pair["cat", "dog"]
    assert row["images_of_both"] == str(int(found.data.both[0, 1]))
    assert float(row["lift"]) == pytest.approx(found.data.lift[0, 1], rel=1e-4)
    # Seen from the dog, the cat is above.
    assert (row["boxes_above"], row["boxes_below"]) == (row["images_of_both"], "0")
    assert by_pair["dog", "cat"]["boxes_below"] == row["images_of_both"]
    assert [int(row["unit"]) for row in units] == list(range(12))


def test_names_that_a_spreadsheet_would_run_are_marked(planted, tmp_path):
    renamed = replace(planted, labels=LabelSpace(["=1+1", "branch", "cellar", "dog"]))
    write_pairs(tmp_path / "relations.csv", renamed)
    assert {row["label"] for row in rows_of(tmp_path / "relations.csv")} >= {"'=1+1"}


def payload(html: str) -> dict:
    return json.loads(re.search(r'id="relations-data">(.*?)</script>', html, re.S)[1])


def test_the_page_has_what_was_measured_and_escapes_names(predictor, found, tmp_path):
    content = make_page(predictor, found, title="Relations of <i>mine</i>")
    written = write_relations(tmp_path / "page.html", content).read_text(encoding="utf-8")
    assert written == render_relations(content)
    assert "Relations of &lt;i&gt;mine&lt;/i&gt;" in written
    assert "<b>owl</b>" not in written
    data = payload(written)
    assert data["labels"] == list(NAMES)
    assert data["share"] == pytest.approx(1 / 3)
    assert sorted(data["around"]) == [0, 1, 2]
    row = next(row for row in data["rows"] if row[:2] == [0, 1])
    assert row[6] == pytest.approx(found.data.lift[0, 1], rel=1e-2)
    assert row[9] == found.data.both[0, 1]
    assert row[13].startswith("above (")
    assert not re.search(r'(src|href)="(?!data:)', written)
    assert relations_section(content).body in written


def test_the_units_that_are_shown_have_pictures(predictor, found):
    kinds = ("layout",) * 4 + ("several",) * 4 + ("place",) * 4
    fired = np.flatnonzero((found.observed.top >= 0).any(1))
    content = make_page(
        predictor, replace(found, follows=replace(found.follows, kind=kinds)), title="t"
    )
    shown = [each for _, _, units in content.units for each in units]
    assert len(shown) == 12
    for each in shown:
        assert bool(each.look.strip) == (each.look.unit in fired)
        assert len(each.look.others) == 1
        if each.look.strip:
            assert len(each.look.keys) <= 6
            assert each.look.without_first >= 0
    html = render_relations(content)
    assert html.count('class="strip"') == len(fired)


def test_a_large_page_has_the_strongest_pairs_only(predictor, found, monkeypatch):
    monkeypatch.setattr(pages, "ROWS", 4)
    html = render_relations(make_page(predictor, found, title="t"))
    assert len(payload(html)["rows"]) == 4
    assert payload(html)["pairs"] == 6
    assert "The strongest 4 of 6 pairs are here; relations.csv has all." in html


def test_labels_that_are_related_are_neighbours_on_the_circle():
    strength = np.zeros((5, 5))
    strength[0, 3] = 5
    strength[3, 1] = 4
    strength[4, 2] = 1
    order = around(strength)
    assert order[0] == 3
    assert order[1] == 0
    assert set(order[2:]) == {1, 2, 4}
    assert abs(order.index(4) - order.index(2)) == 1


def test_the_same_seed_gives_the_same_page(predictor, found):
    again = measure_relations(predictor, found.observed.records)
    first, second = (make_page(predictor, each, title="t") for each in (found, again))
    assert render_relations(first) == render_relations(second)
