"""The study of heads is fair: the same epochs, views and rates for all, and no look at the test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.heads_study import cells, cost, tables
from benchmarks.heads_study.cells import Cell, Ground, figures_of, recipe_of, tuned
from benchmarks.heads_study.contenders import ALL, CONTENDERS
from manylabel.models.backbones import BackboneConfig
from manylabel.models.heads import HEADS
from manylabel.train.logs import Reporter

GROUNDS = {
    "frozen": Ground("frozen.toml", {"backbone.name": "resnet18"}, lambda seed: None, features={}),  # type: ignore[arg-type]
    "tuned": Ground("tuned.toml", {"backbone.name": "resnet18"}, lambda seed: None),  # type: ignore[arg-type]
    "scenes": Ground("scratch.toml", {}, lambda seed: None, small=True),  # type: ignore[arg-type]
}
CELL = Cell("set", "srn", seed=1, lr=1e-3, epochs=10)


def test_every_head_is_compared():
    assert {str(contender.head["name"]) for contender in CONTENDERS.values()} == set(HEADS)


@pytest.mark.parametrize("ground", GROUNDS)
def test_all_that_is_not_the_head_is_the_same(ground: str):
    """The recipes differ in head and steps alone, and all steps together last as long."""
    seen = set()
    for head in ALL:
        run = recipe_of(Cell("set", head, seed=1, lr=1e-3, epochs=10), GROUNDS[ground])
        assert sum(step.epochs for step in run.steps) == 10, head
        assert not any(step.optim for step in run.steps), head
        if head in CONTENDERS:
            seen.add(run.model_dump_json(exclude={"head", "steps"}))
    assert len(seen) == 1


def test_the_backbone_is_held_where_its_maps_are_computed_once():
    for head in CONTENDERS:
        frozen = recipe_of(Cell("set", head, seed=1, lr=1e-3, epochs=10), GROUNDS["frozen"])
        assert frozen.features == "cached"  # which refuses a step that trains the backbone
        tuned = recipe_of(Cell("set", head, seed=1, lr=1e-3, epochs=10), GROUNDS["tuned"])
        assert not any(step.freeze for step in tuned.steps)


@pytest.mark.parametrize(
    ("val_mAPs", "best", "tried"),
    [
        ([0, 0, 0.5, 0.6, 0.4, 0, 0], 3, [2, 3, 4]),  # inside the first three
        ([0, 0.7, 0.6, 0.5, 0.4, 0.9, 0], 1, [0, 1, 2, 3, 4]),  # on, until it gets worse
        ([0, 0, 0.4, 0.5, 0.6, 0.7, 0.8], 6, [2, 3, 4, 5, 6]),  # to the end of the rates
    ],
)
def test_the_rate_is_chosen_on_the_validation_split(val_mAPs, best, tried):
    """The test split, here the other way round, has no say."""
    rates = [10.0**place for place in range(7)]

    def measure(lr: float) -> dict[str, float]:
        return {"lr": lr, "val_mAP": val_mAPs[rates.index(lr)], "mAP": -val_mAPs[rates.index(lr)]}

    lr, found = tuned(rates, measure)
    assert lr == rates[best]
    assert [row["lr"] for row in found] == [rates[place] for place in tried]


def test_a_run_that_is_done_is_not_made_again(tmp_path: Path, monkeypatch):
    made = []
    results = [{"mAP": 0.5, "CF1": 0.4, "OF1": 0.3, "branches": {}, "seconds": 2.0}] * 2
    history = [
        {"step": 1, "val_mAP": 0.9},
        {"step": 2, "val_mAP": 0.6},
        {"step": 2, "val_mAP": None},
    ]

    def fake_run(config, records, folder, reporter, features=None):
        folder.mkdir(parents=True)
        made.append(config.seed)
        return type("Outcome", (), {"results": results, "history": history})

    monkeypatch.setattr(cells, "run", fake_run)
    with Reporter() as reporter:
        found = [figures_of(CELL, GROUNDS["scenes"], tmp_path, reporter) for _ in range(2)]
    assert made == [1]
    assert found[0] == found[1]
    assert (found[0]["val_mAP"], found[0]["seconds"]) == (0.6, 4.0)  # of the last step; of both
    assert json.loads(CELL.path(tmp_path).read_text()) == found[0]
    assert replace(CELL, lr=3e-3).path(tmp_path) != CELL.path(tmp_path)


def test_cost_of_every_contender(monkeypatch):
    """Also of those whose parameters are queries, which the counter of operations falls over."""
    small = BackboneConfig(name="test_resnet", pretrained=False)
    monkeypatch.setattr(cost, "BACKBONE", small)
    monkeypatch.setattr(cost, "IMAGES", 2)
    monkeypatch.setattr(cost, "ROUNDS", 1)
    found = {head: cost.measure(head) for head in CONTENDERS}
    assert all(value > 0 for row in found.values() for value in row.values())
    assert found["linear"]["GFLOPs"] == min(row["GFLOPs"] for row in found.values())
    assert found["csra"]["parameters_M"] > found["linear"]["parameters_M"]
    assert set(cost.times_of(["linear", "csra"])) == {"linear", "csra"}


def test_tables_and_picture(tmp_path: Path):
    cell = {"CF1": 0.25, "OF1": 0.5}
    rows = {"linear": {"lr": 0.001, "cells": [{**cell, "mAP": 0.3}, {**cell, "mAP": 0.32}]}}
    last = tables.accuracy("fashion", rows).splitlines()[-1]
    assert last == "| linear | 31.0 | 30.0 32.0 | 25.0 | 50.0 | 0.001 |"
    cost = {"parameters_M": 42.7, "GFLOPs": 15.6, "ms_per_image": 35.5, "peak_MiB": 2141.2}
    assert (
        tables.costs({"linear": cost}).splitlines()[-1] == "| linear | 42.7 | 15.6 | 35.5 | 2141 |"
    )
    tables.draw({"fashion": rows}, {"linear": cost}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
