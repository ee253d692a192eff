"""Resuming a stopped run: what is restored besides the weights, and mixed precision."""

from __future__ import annotations

import io
import os
import random
import signal

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from rich.console import Console

from manylabel.bundle.classifier import load_bundle
from manylabel.data.read import DataSource
from manylabel.data.synthetic import draw_scenes
from manylabel.errors import CheckpointError, RunError
from manylabel.train import run as run_module
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.optim import Schedule
from manylabel.train.run import load_records, run

STEPS = [{"kind": "main", "epochs": 2}, {"kind": "joint-released", "epochs": 1}]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume") / "drawn"
    scenes = draw_scenes(folder, counts={"train": 48, "val": 16, "test": 16}, workers=1)
    return load_records(DataSource(path=scenes), quiet())


def quiet():
    return Reporter(console=Console(file=io.StringIO(), width=200))


def recipe(**changes):
    """Four batches an epoch."""
    tables = {
        "seed": 3,
        "batch_size": 12,
        "workers": 0,
        "device": "cpu",
        "validate_every": 0,
        "input": {"height": 64, "width": 64},
        "augment": {"name": "crop"},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {
            "name": "srn",
            "topology": "released",
            "attention_channels": 16,
            "relation_channels": 16,
        },
        "optim": {"name": "adamw", "lr": 2e-3},
        "steps": STEPS,
    }
    return resolve({**tables, **changes}, where="test")


def end_after(monkeypatch, iterations, end):
    """Call `end` after this many iterations."""
    original, seen = Schedule.after_iteration, 0

    def count(schedule):
        nonlocal seen
        seen += 1
        original(schedule)
        if seen == iterations:
            end()

    monkeypatch.setattr(Schedule, "after_iteration", count)


def stop(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def weights(outcome):
    return load_bundle(outcome.bundle).classifier.state_dict()


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    ("workers", "number", "iterations"),
    [(0, signal.SIGINT, 3), (2, signal.SIGTERM, 6), (2, signal.SIGINT, 10)],
)
def test_a_run_stopped_in_an_epoch_ends_with_the_same_bits(
    records, tmp_path, monkeypatch, workers, number, iterations
):
    whole = run(recipe(), records, tmp_path / "whole", quiet())
    config = recipe(workers=workers)
    end_after(monkeypatch, iterations, lambda: stop(number))
    with pytest.raises(RunError, match=number.name):
        run(config, records, tmp_path / "run", quiet())
    resumed = run(config, records, tmp_path / "run", quiet(), resume=True)
    assert same(weights(whole), weights(resumed))
    assert resumed.history == whole.history
    for one, other in zip(whole.steps, resumed.steps, strict=True):
        assert (one / "model.safetensors").read_bytes() == (
            other / "model.safetensors"
        ).read_bytes()


def test_after_a_resume_every_generator_draws_the_same_numbers(records, tmp_path, monkeypatch):
    """The generators of Python, numpy and torch; each draws a number after each iteration."""
    drawn, original = [], Schedule.after_iteration

    def draw(schedule):
        drawn.append((random.random(), np.random.normal(), float(torch.rand(()))))
        original(schedule)

    monkeypatch.setattr(Schedule, "after_iteration", draw)
    run(recipe(), records, tmp_path / "whole", quiet())
    whole = drawn.copy()
    assert len(set(whole)) == 12
    drawn.clear()
    end_after(monkeypatch, 6, stop)
    with pytest.raises(RunError, match="SIGTERM"):
        run(recipe(), records, tmp_path / "run", quiet())
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    run(recipe(), records, tmp_path / "run", quiet(), resume=True)
    assert drawn == whole


def fail():
    raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("iterations", "end", "error"),
    [(2, stop, RunError), (5, fail, RuntimeError)],
    ids=["stopped within step 1", "killed after step 1"],
)
def test_the_loss_scale_of_fp16_is_resumed(records, tmp_path, monkeypatch, iterations, end, error):
    """Four iterations a step. fp16 overflows at first, so the scale falls in each step.

    Fabric trains in fp16 on accelerators alone; here it is given the precision of the CPU.
    """
    fabrics = []

    def fp16(_):
        precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", 2.0**18))
        fabrics.append(Fabric(accelerator="cpu", devices=1, plugins=[precision]))
        return fabrics[-1]

    monkeypatch.setattr(run_module, "_fabric", fp16)
    config = recipe(
        input={"height": 32, "width": 32},
        head={"name": "linear"},
        steps=[{"kind": "main", "epochs": 1}] * 2,
    )
    whole = run(config, records, tmp_path / "whole", quiet())
    end_after(monkeypatch, iterations, end)
    with pytest.raises(error):
        run(config, records, tmp_path / "run", quiet())
    resumed = run(config, records, tmp_path / "run", quiet(), resume=True)
    first, _, last = (fabric.strategy.precision.state_dict() for fabric in fabrics)
    assert 2.0**12 < first["scale"] < 2.0**18, "some iterations overflowed, and some did not"
    assert last == first
    assert same(weights(whole), weights(resumed))
    assert resumed.history == whole.history


def test_a_checkpoint_of_another_version_is_refused_before_work_begins(records, tmp_path):
    folder = tmp_path / "run"
    outcome = run(recipe(steps=STEPS[:1]), records, folder, quiet())
    torch.save({"format": 2, "position": [0, 1, 0]}, folder / "checkpoint.pt")
    before = outcome.bundle.joinpath("model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="another version"):
        run(recipe(steps=STEPS[:1]), records, folder, quiet(), resume=True)
    assert outcome.bundle.joinpath("model.safetensors").read_bytes() == before
