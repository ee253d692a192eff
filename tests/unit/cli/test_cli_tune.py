from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from held import held_elsewhere

from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.folder import sealed, with_decision
from manylabel.cli.tune import KINDS, RULES, tune
from manylabel.data.read import DataSource, read
from manylabel.decide import Decision
from manylabel.errors import ConfigError, DataError, RunError
from manylabel.evaluate import tuning
from manylabel.evaluate.tuning import TuningPlan
from manylabel.evaluate.tuning import tune as run_tune
from manylabel.locks import lock_beside
from manylabel.metrics import calibration, precision_recall_f1
from manylabel.metrics.threshold_rules import Rule
from manylabel.metrics.thresholds import decide, tune_thresholds
from manylabel.predict import Predictor

COUNT = 60


@pytest.fixture(scope="module")
def photos(make_image, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of train and val images, with labels that the tiny model's scores tell of."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [make_image(folder / f"{i}.png", i) for i in range(COUNT)]
    predictor = Predictor.load(tiny_bundle, device="cpu")
    scores = np.stack([predictor.predict(path).scores for path in paths])
    noise = np.random.default_rng(0).normal(0, 0.3 * scores.std(axis=0), scores.shape)
    labels = (scores + noise > np.quantile(scores, 0.6, axis=0)).astype(int)
    with (folder / "photos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "cat", "dog", "owl", "split"])
        for i, row in enumerate(labels):
            writer.writerow([f"{i}.png", *row, "train" if i % 4 == 0 else "val"])
    return folder / "photos.csv"


def run(*arguments: object) -> None:
    tune.main([str(argument) for argument in arguments], standalone_mode=False)


def trained_on(bundle: Path, photos: Path, out: Path) -> Path:
    """The bundle, as if it were trained on the table's training split."""
    copy = shutil.copytree(bundle, out)
    path = copy / "bundle.json"
    tables = json.loads(path.read_text())
    tables["provenance"]["trained_on"] = read(DataSource(path=photos)).split("train").fingerprint()
    path.write_text(json.dumps(sealed(tables)))
    return copy


def test_the_new_bundle_has_the_thresholds_of_the_split(tiny_bundle, photos, tmp_path, capsys):
    run(tiny_bundle, "--data", photos, "--out", tmp_path / "tuned")
    val = read(DataSource(path=photos)).split("val")
    predictor = Predictor.load(tiny_bundle, device="cpu")
    scores = np.stack([predictor.predict(record.image).scores for record in val])
    expected = tune_thresholds(scores, val.targets)
    new = load_bundle(tmp_path / "tuned")
    np.testing.assert_allclose(new.info.thresholds, expected.thresholds, atol=1e-5)
    assert new.info.calibration is None
    assert new.weights_sha256 == load_bundle(tiny_bundle).weights_sha256
    assert new.info.tuned["data_sha256"] == val.fingerprint()
    assert new.info.tuned["images"] == len(val) == 45
    printed = capsys.readouterr().out
    assert "highest F1" in printed
    assert f"Saved: {tmp_path / 'tuned'}" in printed
    before = precision_recall_f1(scores >= 0.5, val.targets)
    assert f"{100 * before.OF1:.2f}" in printed
    assert new.info.tuned["out_of_fold"]["as it was"]["OF1"] == pytest.approx(before.OF1)
    assert new.info.tuned["out_of_fold"]["tuned"]["CF1"] > before.CF1


def test_figures_are_of_decisions_that_saw_nothing_of_the_image(tiny_bundle, photos) -> None:
    """Changing one image's truth changes nothing of what is decided on it."""
    val = read(DataSource(path=photos)).split("val")
    predictor = Predictor.load(tiny_bundle, device="cpu")
    plan = TuningPlan(calibrate="platt", at_least=1)
    found = run_tune(predictor, val, plan)
    scores, targets = found.evaluation.scores, found.evaluation.targets
    parts = np.random.default_rng([0, 1]).permutation(len(scores)) % 5
    decided = np.zeros(scores.shape, bool)
    for part in range(5):
        out = parts == part
        curve = calibration.fit_calibration(scores[~out], targets[~out], "platt")
        tuned = tune_thresholds(curve.apply(scores[~out]), targets[~out])
        decided[out] = decide(curve.apply(scores[out]), tuned.thresholds, at_least=1)
    assert found.figures["tuned"].as_dict() == precision_recall_f1(decided, targets).as_dict()


@pytest.mark.parametrize("kind", ["platt", "beta", "isotonic"])
def test_calibration_is_saved_used_and_said(tiny_bundle, photos, tmp_path, capsys, kind) -> None:
    run(tiny_bundle, "--data", photos, "--calibrate", kind, "--out", tmp_path / "tuned")
    printed = capsys.readouterr().out
    assert f"Scores are now calibrated ({kind}" in printed
    assert "Class-wise ECE" in printed
    info = load_bundle(tmp_path / "tuned").info
    assert info.calibration is not None
    assert info.calibration.kind == kind
    run(tmp_path / "tuned", "--data", photos, "--out", tmp_path / "plain")
    assert "no longer calibrated" in capsys.readouterr().out
    run(tiny_bundle, "--data", photos, "--out", tmp_path / "straight")
    plain, straight = (load_bundle(tmp_path / name).info for name in ("plain", "straight"))
    assert plain.calibration is None
    assert plain.thresholds == straight.thresholds, "what was tuned before has no part in it"


def test_limits_are_saved_and_said(tiny_bundle, photos, tmp_path, capsys) -> None:
    limits = ("--at-least", 1, "--at-most", 2)
    run(tiny_bundle, "--data", photos, *limits, "--out", tmp_path / "tuned")
    info = load_bundle(tmp_path / "tuned").info
    assert (info.at_least, info.at_most) == (1, 2)
    assert "at least 1 and at most 2 labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--rule", "precision", "--at", 0.8), Rule(kind="precision", at=0.8)),
        (("--rule", "recall", "--at", 0.8), Rule(kind="recall", at=0.8)),
        (("--rule", "cost", "--costs", 1, 5), Rule(kind="cost", costs=(1, 5))),
    ],
)
def test_rules(tiny_bundle, photos, tmp_path, options: tuple, rule: Rule) -> None:
    run(tiny_bundle, "--data", photos, *options, "--out", tmp_path / "tuned")
    info = load_bundle(tmp_path / "tuned").info
    assert info.tuned["sought"] == rule.words
    expected = run_tune(
        Predictor.load(tiny_bundle),
        read(DataSource(path=photos)).split("val"),
        TuningPlan(rule=rule),
    )
    assert info.thresholds == tuple(expected.tuned.thresholds.tolist())


@pytest.mark.parametrize(
    "options",
    [
        ("--rule", "precision"),
        ("--at", 0.5),
        ("--rule", "recall", "--at", 2),
        ("--rule", "cost", "--costs", 0, 1),
        ("--at-least", 3, "--at-most", 1),
    ],
)
def test_options_that_do_not_go_together(tiny_bundle, photos, tmp_path, options: tuple) -> None:
    with pytest.raises(ConfigError):
        run(tiny_bundle, "--data", photos, *options, "--out", tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_the_training_images_are_refused_unless_named(tiny_bundle, photos, tmp_path) -> None:
    bundle = trained_on(tiny_bundle, photos, tmp_path / "trained")
    for split in ("val", "train"):
        run(bundle, "--data", photos, "--split", split, "--out", tmp_path / split)
    with pytest.raises(DataError, match="trained on these images"):
        run(bundle, "--data", photos, "--split", "all", "--out", tmp_path / "all")
    rows = photos.read_text().splitlines()
    only = photos.with_name("only.csv")
    marked = [row.replace("train", "val") for row in rows[1:] if row.endswith("train")]
    only.write_text("\n".join([rows[0], *marked]) + "\n")
    with pytest.raises(DataError, match="trained on these images"):
        run(bundle, "--data", only, "--out", tmp_path / "renamed")
    assert not (tmp_path / "all").exists()
    assert not (tmp_path / "renamed").exists()


def test_two_tunings_of_one_bundle_are_refused(tiny_bundle, photos, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    with (
        held_elsewhere(lock_beside(out)),
        pytest.raises(ConfigError, match="Another process is writing here: process 7"),
    ):
        run(tiny_bundle, "--data", photos, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("change", ["decision", "weights"])
def test_a_bundle_that_was_changed_meanwhile_is_kept(
    tiny_bundle, make_bundle, photos, tmp_path: Path, monkeypatch, change: str
) -> None:
    """Another process changes the bundle after it was read."""
    own = shutil.copytree(tiny_bundle, tmp_path / "own")
    score = tuning.evaluate

    def changed_after(*arguments, **options):
        if change == "weights":
            make_bundle(own, seed=1)
        else:
            with_decision(own, own, Decision(thresholds=(0.1, 0.2, 0.3)))
        return score(*arguments, **options)

    monkeypatch.setattr(tuning, "evaluate", changed_after)
    with pytest.raises(RunError, match="changed by another process"):
        run(own, "--data", photos, "--out", own)
    thresholds = (0.5,) * 3 if change == "weights" else (0.1, 0.2, 0.3)
    assert load_bundle(own).info.thresholds == thresholds


def test_the_choices_are_those_of_the_library() -> None:
    assert KINDS == calibration.KINDS
    assert set(RULES) == set(Rule.model_fields["kind"].annotation.__args__)
