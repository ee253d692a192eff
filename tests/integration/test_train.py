"""Training as a user does it, on a handful of drawn scenes."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from held import held_elsewhere
from rich.console import Console
from sklearn.metrics import average_precision_score

from manylabel.bundle.classifier import load_bundle
from manylabel.cli.train import train as train_command
from manylabel.config import read_toml, to_tables
from manylabel.data.read import DataSource
from manylabel.data.records import Records
from manylabel.data.synthetic import draw_scenes
from manylabel.errors import CheckpointError, ConfigError, DataError, RunError
from manylabel.evaluate.run import evaluate
from manylabel.locks import LOCK
from manylabel.predict import Predictor
from manylabel.train import step_state
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.optim import Schedule
from manylabel.train.page.build import build_run_page
from manylabel.train.run import load_records, run

COUNTS = {"train": 160, "val": 40, "test": 60}

pytestmark = pytest.mark.xdist_group("train")  # its tests share one trained run


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "drawn"
    return draw_scenes(folder, counts=COUNTS, workers=1)


@pytest.fixture(scope="session")
def records(scenes):
    return load_records(DataSource(path=scenes), quiet())


def quiet():
    return Reporter(console=Console(file=io.StringIO(), width=200))


def recipe(scenes, **changes):
    tables = {
        "seed": 3,
        "batch_size": 16,
        "workers": 0,
        "device": "cpu",
        "data": {"path": str(scenes)},
        "input": {"height": 64, "width": 64},
        "augment": {"name": "crop"},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {
            "name": "srn",
            "topology": "released",
            "attention_channels": 16,
            "relation_channels": 16,
            "scale_weighted": True,
        },
        "optim": {"name": "adamw", "lr": 2e-3, "schedule": {"name": "one-cycle"}},
        "steps": [
            {"kind": kind, "epochs": 2}
            for kind in ("main", "attention", "regularisation", "joint-released")
        ],
    }
    return resolve({**tables, **changes}, where="test")


@pytest.fixture(scope="session")
def trained(scenes, records, tmp_path_factory):
    config = recipe(scenes)
    return config, run(config, records, tmp_path_factory.mktemp("runs") / "whole", quiet())


def weights(folder):
    return load_bundle(folder).classifier.state_dict()


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_writes_all_its_files(trained):
    config, outcome = trained
    names = {path.name for path in outcome.folder.iterdir()}
    assert names >= {"bundle", "steps", "metrics.json", "recipe.toml", "log.jsonl", "checkpoint.pt"}
    assert resolve(read_toml(outcome.folder / "recipe.toml"), where="x") == config
    metrics = json.loads((outcome.folder / "metrics.json").read_text())
    assert list(metrics["steps"]) == ["1", "2", "3", "4"]
    for result in metrics["steps"].values():
        assert {"mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "top3"} <= set(result)
    events = [json.loads(line) for line in (outcome.folder / "log.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["epoch", "epoch", "step"] * 4


def test_each_step_trains_its_parts_and_no_other(trained):
    _, outcome = trained
    before, *after = [weights(folder) for folder in outcome.steps]
    trains = (("head.attention",), ("head.regularisation",), ("backbone", "head"))
    for parts, state in zip(trains, after, strict=True):
        for key in state:
            moved = not torch.equal(before[key], state[key])
            allowed = any(key.startswith(part + ".") for part in parts)
            assert not moved or allowed, f"{key} moved"
        for part in parts:
            assert any(
                not torch.equal(before[key], state[key]) for key in state if key.startswith(part)
            )
        before = state


def test_the_figures_are_those_that_evaluating_the_bundle_gives(trained, records):
    """Against scikit-learn, through another path: the saved bundle and the Predictor."""
    _, outcome = trained
    held_out = records.split("test")
    for folder, result in zip(outcome.steps, outcome.results, strict=True):
        found = evaluate(Predictor.load(folder, device="cpu"), held_out)
        targets = held_out.targets
        present = targets.any(0)
        wanted = average_precision_score(
            targets[:, present], found.scores[:, present], average="macro"
        )
        assert result["mAP"] == pytest.approx(wanted, abs=1e-4)
        assert result["num_images"] == COUNTS["test"]


def test_the_same_seed_gives_the_same_run_and_another_does_not(scenes, records, trained, tmp_path):
    _, outcome = trained
    again = run(recipe(scenes), records, tmp_path / "again", quiet())
    assert same(weights(outcome.bundle), weights(again.bundle))
    other = run(recipe(scenes, seed=4), records, tmp_path / "other", quiet())
    assert not same(weights(outcome.bundle), weights(other.bundle))


@pytest.mark.parametrize("batches_before_stop", [3, 20, 25, 61])
def test_a_stopped_run_resumes_to_the_same_result(
    scenes, records, trained, tmp_path, monkeypatch, batches_before_stop
):
    """Stopped in steps 1, 2 and 4, once after an epoch's last batch; 10 batches an epoch."""
    _, outcome = trained
    seen = 0
    original = Schedule.after_iteration

    def count(schedule):
        nonlocal seen
        seen += 1
        if seen == batches_before_stop:
            os.kill(os.getpid(), signal.SIGTERM)
        original(schedule)

    monkeypatch.setattr(Schedule, "after_iteration", count)
    folder = tmp_path / "stopped"
    with pytest.raises(RunError) as error:
        run(recipe(scenes), records, folder, quiet())
    assert "SIGTERM" in error.value.what
    assert f"--resume {folder}" in error.value.fix
    assert not (folder / "bundle").exists()
    resumed = run(recipe(scenes), records, folder, quiet(), resume=True)
    assert same(weights(outcome.bundle), weights(resumed.bundle))
    assert [r["mAP"] for r in resumed.results] == [r["mAP"] for r in outcome.results]
    assert resumed.history == outcome.history


def test_a_foreign_or_missing_checkpoint_is_refused(scenes, records, trained, tmp_path):
    config, outcome = trained
    # The same images and targets in other splits are other data: test images may have trained.
    resplit = records.with_splits(np.roll(records.splits, 1))
    assert resplit.fingerprint() == records.fingerprint()
    with pytest.raises(CheckpointError, match="other data"):
        run(config, resplit, outcome.folder, quiet(), resume=True)
    with pytest.raises(CheckpointError, match="another recipe"):
        run(recipe(scenes, seed=9), records, outcome.folder, quiet(), resume=True)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        run(recipe(scenes), records, tmp_path, quiet(), resume=True)


def test_a_folder_that_holds_a_run_is_not_overwritten(scenes, records, trained):
    _, outcome = trained
    before = (outcome.folder / "checkpoint.pt").read_bytes()
    with pytest.raises(ConfigError, match="already holds a run"):
        run(recipe(scenes), records, outcome.folder, quiet())
    assert (outcome.folder / "checkpoint.pt").read_bytes() == before


def test_two_runs_in_one_folder_are_refused(scenes, records, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setattr("manylabel.train.run.load_records", lambda *_: pytest.fail("too late"))
    with held_elsewhere(folder / LOCK):
        with pytest.raises(ConfigError, match="Another process is writing here: process 7"):
            run(recipe(scenes), records, folder, quiet())
        done = CliRunner().invoke(train_command, ["--data", str(scenes), "--out", str(folder)])
        assert isinstance(done.exception, ConfigError)
        assert "--out" in done.exception.fix
        assert [path.name for path in folder.iterdir()] == [LOCK]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(
    scenes, records, tmp_path, monkeypatch
):
    config = recipe(scenes)
    original, calls = step_state.build_optimizer, 0

    def poisoned(optim, parameters):
        optimizer = original(optim, parameters)

        def poison(*_):
            nonlocal calls
            calls += 1
            if calls == 14:  # after the fourth batch of the second epoch
                optimizer.param_groups[0]["params"][0].data.fill_(float("nan"))

        optimizer.register_step_post_hook(poison)
        return optimizer

    monkeypatch.setattr(step_state, "build_optimizer", poisoned)
    with pytest.raises(RunError) as error:
        run(config, records, tmp_path / "nan", quiet())
    assert "since batch 5 of epoch 2, step 1 main net" in error.value.what
    assert "is kept" in error.value.what
    _, _, payload = (tmp_path / "nan" / "checkpoint.pt").read_bytes().partition(b"\n")
    saved = torch.load(io.BytesIO(payload), weights_only=True)
    assert saved["position"] == [0, 1, 0]
    assert all(torch.isfinite(t).all() for t in saved["parts"]["classifier"].values())


def test_keep_best_keeps_the_epoch_with_the_best_validation_map(scenes, records, tmp_path):
    steps = [{"kind": "main", "epochs": 4}]
    config = recipe(scenes, keep="best", head={"name": "linear"}, steps=steps)
    outcome = run(config, records, tmp_path / "best", quiet())
    by_epoch = [entry["val_mAP"] for entry in outcome.history]
    assert outcome.results[0]["best_epoch"] == 1 + int(np.argmax(by_epoch))
    found = evaluate(Predictor.load(outcome.bundle, device="cpu"), records.split("val"))
    assert found.measures.mAP == pytest.approx(max(by_epoch), abs=1e-4)


def test_without_validation_positives_the_last_epoch_is_kept(scenes, records, tmp_path):
    items = tuple(
        replace(item, targets=np.zeros_like(item.targets)) if item.split == "val" else item
        for item in records
    )
    steps = [{"kind": "main", "epochs": 2}]
    config = recipe(scenes, keep="best", head={"name": "linear"}, steps=steps)
    outcome = run(
        config,
        Records.of(records.labels, items, records.source, records.notes),
        tmp_path / "none",
        quiet(),
    )
    assert [entry["val_mAP"] for entry in outcome.history] == [None, None]
    assert outcome.results[0]["best_epoch"] == 2, "the last"
    json.loads((outcome.folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert build_run_page(outcome, config).exists()


@pytest.mark.parametrize(
    ("kept", "what"),
    [({"train"}, "no val split and no test split"), ({"val", "test"}, "too few images")],
)
def test_too_few_images_are_refused_before_work_begins(scenes, records, tmp_path, kept, what):
    items = tuple(item for item in records if item.split in kept)
    with pytest.raises(DataError, match=what):
        run(
            recipe(scenes),
            Records.of(records.labels, items, records.source, records.notes),
            tmp_path / "few",
            quiet(),
        )
    assert not (tmp_path / "few").exists()


def test_cached_features_train_as_a_frozen_backbone_does(scenes, records, tmp_path):
    steps = [{"kind": "main", "epochs": 2, "freeze": ["backbone"]}]
    common = {"augment": {"name": "none"}, "steps": steps}
    live = run(recipe(scenes, **common), records, tmp_path / "live", quiet())
    cached = run(recipe(scenes, features="cached", **common), records, tmp_path / "cached", quiet())
    losses = [[entry["loss"] for entry in o.history] for o in (live, cached)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert live.results[0]["mAP"] == pytest.approx(cached.results[0]["mAP"], abs=0.02)


def test_the_report_of_a_run_opens_and_names_its_figures(trained):
    config, outcome = trained
    page = build_run_page(outcome, config).read_text(encoding="utf-8")
    assert f"{100 * outcome.results[-1]['mAP']:.1f}" in page
    assert (outcome.folder / "attention" / "gallery.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_killed_command_can_be_resumed(scenes, tmp_path):
    """The command line in processes of its own: SIGINT, its exit code and words, then --resume."""
    import tomli_w

    config = recipe(scenes, steps=[{"kind": "main", "epochs": 15}], head={"name": "linear"})
    path = tmp_path / "own.toml"
    path.write_text(tomli_w.dumps(to_tables(config)))
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "manylabel", "train"]
    first = subprocess.Popen(
        [*command, "--recipe", str(path), "--out", str(folder)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 130, said
    assert "stopped by SIGINT" in said
    assert "Traceback" not in said
    second = subprocess.run(
        [*command, "--resume", str(folder)], capture_output=True, text=True, timeout=300
    )
    assert second.returncode == 0, second.stderr
    assert "Resuming from" in second.stderr
    assert Path(folder, "bundle", "model.safetensors").exists()
    third = subprocess.run(
        [*command, "--resume", str(tmp_path / "nowhere")], capture_output=True, text=True
    )
    assert third.returncode == 2
    assert "There is no run to resume" in third.stderr
