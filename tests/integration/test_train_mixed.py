"""Training on mixed images: stopped runs resume exactly; a kept fraction of 1 is no mixing."""

from __future__ import annotations

import io
import os
import signal

import pytest
import torch
from rich.console import Console

from manylabel.bundle.classifier import load_bundle
from manylabel.data.read import DataSource
from manylabel.data.synthetic import draw_scenes
from manylabel.errors import RunError
from manylabel.train import epoch_batches
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.mixing import Mixture
from manylabel.train.optim import Schedule
from manylabel.train.run import load_records, run


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed") / "drawn"
    scenes = draw_scenes(folder, counts={"train": 48, "val": 16, "test": 16}, workers=1)
    return load_records(DataSource(path=scenes), quiet())


def quiet():
    return Reporter(console=Console(file=io.StringIO(), width=200))


def recipe(mixing):
    tables = {
        "seed": 3,
        "batch_size": 16,
        "workers": 0,
        "device": "cpu",
        "validate_every": 0,
        "input": {"height": 64, "width": 64},
        "augment": {"name": "flip"},
        "mixing": {"name": mixing} if mixing == "none" else {"name": mixing, "alpha": 1.0},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {
            "name": "srn",
            "topology": "released",
            "attention_channels": 16,
            "relation_channels": 16,
        },
        "optim": {"name": "adamw", "lr": 2e-3},
        "steps": [{"kind": "main", "epochs": 2}, {"kind": "joint-released", "epochs": 2}],
    }
    return resolve(tables, where="test")


def trained(mixing, records, folder, **options):
    outcome = run(recipe(mixing), records, folder, quiet(), **options)
    return load_bundle(outcome.bundle).classifier.state_dict(), outcome.history


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    """Weights and history of a run that was not stopped."""
    return trained("either", records, tmp_path_factory.mktemp("runs") / "whole")


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("batches_before_stop", [2, 8, 10])
def test_a_stopped_run_resumes_to_the_same_result(
    records, whole, tmp_path, monkeypatch, batches_before_stop
):
    """Three batches an epoch: stopped in the first and in the second step, in mid-epoch."""
    weights, history = whole
    original, seen = Schedule.after_iteration, 0

    def count(schedule):
        nonlocal seen
        seen += 1
        if seen == batches_before_stop:
            os.kill(os.getpid(), signal.SIGTERM)
        original(schedule)

    monkeypatch.setattr(Schedule, "after_iteration", count)
    with pytest.raises(RunError, match="SIGTERM"):
        trained("either", records, tmp_path / "stopped")
    resumed, resumed_history = trained("either", records, tmp_path / "stopped", resume=True)
    assert same(weights, resumed)
    assert resumed_history == history


def test_a_kept_fraction_of_one_trains_the_same_weights_as_no_mixing(
    records, tmp_path, monkeypatch
):
    plain, history = trained("none", records, tmp_path / "plain")
    mixed, _ = trained("cutmix", records, tmp_path / "mixed")
    assert not same(plain, mixed)

    def whole(_config, *, images, **_):
        return Mixture(kept=1.0, partners=tuple(reversed(range(images))))

    monkeypatch.setattr(epoch_batches, "draw_mixture", whole)
    unmixed, unmixed_history = trained("cutmix", records, tmp_path / "unmixed")
    assert same(plain, unmixed)
    assert unmixed_history == history


def test_each_batch_of_a_run_has_its_own_mixture(records, tmp_path, monkeypatch):
    """Epochs are counted over the whole run, so two steps do not have the same mixtures."""
    original, places, mixtures = epoch_batches.draw_mixture, [], []

    def note(config, **place):
        places.append((place["epoch"], place["batch"]))
        mixtures.append(original(config, **place))
        return mixtures[-1]

    monkeypatch.setattr(epoch_batches, "draw_mixture", note)
    trained("mixup", records, tmp_path / "run")
    assert places == [(epoch, batch) for epoch in range(4) for batch in range(3)]
    assert len(set(mixtures)) == 12
