"""The receipts of a run's figures."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from manylabel.bundle.classifier import load_bundle
from manylabel.data.read import DataSource
from manylabel.data.synthetic import draw_scenes
from manylabel.evaluate.receipt import package_versions
from manylabel.evaluate.run import evaluate
from manylabel.predict import Predictor
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.outcome import Outcome
from manylabel.train.run import load_records, run


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Outcome:
    folder = tmp_path_factory.mktemp("run")
    scenes = draw_scenes(folder / "scenes", counts={"train": 40, "val": 12, "test": 16}, workers=1)
    tables = {
        "seed": 3,
        "batch_size": 8,
        "workers": 0,
        "device": "cpu",
        "data": {"path": str(scenes)},
        "input": {"height": 64, "width": 64},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {"name": "linear"},
        "steps": [{"kind": "main", "epochs": 1}, {"kind": "whole", "epochs": 1}],
    }
    reporter = Reporter(console=Console(file=io.StringIO(), width=200))
    records = load_records(DataSource(path=scenes), reporter)
    return run(resolve(tables, where="test"), records, folder / "run", reporter)


def metrics_of(outcome: Outcome) -> dict:
    return json.loads((outcome.folder / "metrics.json").read_text())


def test_a_steps_receipt_is_that_of_evaluating_its_bundle(outcome: Outcome) -> None:
    """Both steps have the number 1, since each trains the whole net, but each has its receipt."""
    steps = metrics_of(outcome)["steps"]
    assert [(key, step["kind"]) for key, step in steps.items()] == [("1", "main"), ("2", "whole")]
    for result, bundle in zip(steps.values(), outcome.steps, strict=True):
        found = evaluate(Predictor.load(bundle, device="cpu"), outcome.held_out)
        assert result["receipt"] == found.receipt.model_dump(mode="json", exclude_none=True)
        assert result["receipt"]["images"] == result["num_images"] == 16
        assert result["receipt"]["bundle_sha256"] == load_bundle(bundle).weights_sha256


def test_the_historys_receipt_is_of_val(outcome: Outcome) -> None:
    receipt = metrics_of(outcome)["history_receipt"]
    assert outcome.val is not None
    assert receipt["data_sha256"] == outcome.val.fingerprint() != outcome.held_out.fingerprint()
    assert (receipt["images"], receipt["profile"]) == (12, "manylabel")
    assert (receipt["input"]["height"], receipt["thresholds"]) == (64, "none")
    assert "bundle_sha256" not in receipt


def test_versions_are_the_same_everywhere(outcome: Outcome) -> None:
    assert metrics_of(outcome)["versions"] == package_versions()
    assert load_bundle(outcome.bundle).info.provenance["versions"] == package_versions()
