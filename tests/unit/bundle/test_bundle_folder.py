from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from manylabel.bundle import folder
from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.folder import read_bundle, sealed, with_decision
from manylabel.decide import Decision
from manylabel.errors import BundleError, ConfigError
from manylabel.metrics.calibration import SmoothCalibration, StepCalibration
from manylabel.predict import Prediction, Predictor

PLATT = SmoothCalibration(
    kind="platt",
    rise=(0.5, 2.0, 1.0),
    fall=(0.5, 2.0, 1.0),
    offset=(0.0, -1.0, 3.0),
    pooled=(False, False, True),
)
STEPS = StepCalibration(at=((0.0, 1.0),) * 3, value=((0.2, 0.4),) * 3, pooled=(True,) * 3)


@pytest.fixture
def photo(make_image, tmp_path: Path) -> Path:
    return make_image(tmp_path / "photo.png")


def changed(folder: Path, key: str, value: object) -> None:
    path = folder / "bundle.json"
    tables = json.loads(path.read_text())
    tables[key] = value
    path.write_text(json.dumps(sealed(tables)))


def test_a_bundle_may_leave_out_what_has_a_default(tiny_bundle: Path, tmp_path: Path) -> None:
    old = shutil.copytree(tiny_bundle, tmp_path / "old")
    path = old / "bundle.json"
    tables = json.loads(path.read_text())
    for key in ("calibration", "at_least", "at_most", "tuned"):
        del tables[key]
    path.write_text(json.dumps(sealed(tables)))
    info = load_bundle(old).info
    assert (info.calibration, info.at_least, info.at_most, info.tuned) == (None, 0, None, {})
    assert info == load_bundle(tiny_bundle).info


@pytest.mark.parametrize("calibration", [None, PLATT, STEPS], ids=["none", "platt", "isotonic"])
def test_new_decisions_do_not_change_the_weights(
    tiny_bundle: Path, tmp_path: Path, calibration
) -> None:
    decision = Decision(thresholds=(0.1, 0.2, 0.3), calibration=calibration, at_least=1, at_most=2)
    out = with_decision(tiny_bundle, tmp_path / "new", decision, tuned={"sought": "most F1"})
    weights = "model.safetensors"
    assert (out / weights).read_bytes() == (tiny_bundle / weights).read_bytes()
    old, new = load_bundle(tiny_bundle), load_bundle(out)
    assert new.weights_sha256 == old.weights_sha256
    assert new.info.thresholds == (0.1, 0.2, 0.3)
    assert new.info.calibration == calibration
    assert (new.info.at_least, new.info.at_most) == (1, 2)
    assert new.info.tuned == {"sought": "most F1"}
    unchanged = ("model", "labels", "input", "scores_from", "provenance", "format_version")
    assert all(getattr(new.info, key) == getattr(old.info, key) for key in unchanged)


def test_a_bundle_can_replace_itself(tiny_bundle: Path, tmp_path: Path) -> None:
    own = shutil.copytree(tiny_bundle, tmp_path / "own")
    with_decision(own, own, Decision(thresholds=(0.1,) * 3, calibration=PLATT))
    with_decision(own, own, Decision(thresholds=(0.2,) * 3))
    info = load_bundle(own).info
    assert info.thresholds == (0.2, 0.2, 0.2)
    assert info.calibration is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own"]


def test_a_decision_of_other_labels_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 thresholds for 3 labels"):
        with_decision(tiny_bundle, tmp_path / "new", Decision(thresholds=(0.5,)))
    assert not (tmp_path / "new").exists()


def test_weights_of_another_hash_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="SHA-256"):
        with_decision(damaged, tmp_path / "new", Decision(thresholds=(0.5,) * 3))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("calibration", {"kind": "magic"}),
        ("calibration", {**PLATT.model_dump(), "rise": [1.0]}),
        ("at_least", -1),
        ("at_most", 0),
    ],
)
def test_damaged_decisions_are_an_error(tiny_bundle, tmp_path, key: str, value: object) -> None:
    damaged = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    changed(damaged, key, value)
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(damaged)


# What Predictor makes of it


@pytest.mark.parametrize("calibration", [PLATT, STEPS], ids=["platt", "isotonic"])
def test_scores_are_calibrated_and_predictions_say_so(
    tiny_bundle, tmp_path, photo, calibration
) -> None:
    decision = Decision(thresholds=(0.5,) * 3, calibration=calibration)
    out = with_decision(tiny_bundle, tmp_path / "new", decision)
    plain, found = (Predictor.load(f, device="cpu").predict(photo) for f in (tiny_bundle, out))
    assert found.as_dict()["calibrated"] is True
    assert "calibrated" not in plain.as_dict()
    assert found.scores.dtype == np.float32
    logits = np.log(plain.scores / (1 - plain.scores))
    by_hand = (
        1 / (1 + np.exp(-(logits * [0.5, 2, 1] + [0, -1, 3])))
        if calibration is PLATT
        else 0.2 + 0.2 * plain.scores
    )
    np.testing.assert_allclose(found.scores, by_hand, atol=1e-5)
    (many,) = Predictor.load(out, device="cpu").predict_many([("a", photo)])
    assert isinstance(many, Prediction)
    assert many.calibrated
    np.testing.assert_array_equal(many.scores, found.scores)


@pytest.mark.parametrize(("at_least", "at_most", "count"), [(0, None, 0), (2, None, 2), (1, 1, 1)])
def test_images_have_as_many_labels_as_the_limits_say(
    tiny_bundle, tmp_path, photo, at_least: int, at_most: int | None, count: int
) -> None:
    decision = Decision(thresholds=(1.0,) * 3, at_least=at_least, at_most=at_most)
    out = with_decision(tiny_bundle, tmp_path / "new", decision)
    found = Predictor.load(out, device="cpu").predict(photo)
    assert found.names == [name for name, _ in found.top(count)]


# While it is replaced


TUNER = """
import sys, time
from pathlib import Path
from manylabel.bundle.folder import with_decision
from manylabel.decide import Decision

folder = Path(sys.argv[1])
print("ready", flush=True)
end, count = time.monotonic() + 1, 0
while time.monotonic() < end:
    count += 1
    with_decision(folder, folder, Decision(thresholds=(count % 2 / 2,) * 3))
print(count)
"""


@pytest.mark.xdist_group("processes")
def test_every_read_during_replacements_finds_a_whole_bundle(tiny_bundle, tmp_path: Path) -> None:
    own = shutil.copytree(tiny_bundle, tmp_path / "own")
    command = [sys.executable, "-c", TUNER, str(own)]
    reads, seen = 0, set[float]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tuner:
        assert tuner.stdout is not None
        assert tuner.stdout.readline() == "ready\n"
        while tuner.poll() is None:
            seen.add(read_bundle(own).info.thresholds[0])
            reads += 1
        assert int(tuner.stdout.read()) > 10
    assert tuner.returncode == 0
    assert reads > 10
    assert seen == {0.0, 0.5}


def test_two_bundles_are_never_mixed(
    tiny_bundle, make_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process replaces the bundle after its first file was read."""
    own = shutil.copytree(tiny_bundle, tmp_path / "own")
    parse, calls = folder._parse, iter(range(100))

    def replaced_before(*arguments) -> object:
        if next(calls) == 0:
            make_bundle(own, seed=1, thresholds=(0.1, 0.2, 0.3))
        return parse(*arguments)

    monkeypatch.setattr(folder, "_parse", replaced_before)
    found = read_bundle(own)
    assert found.info.thresholds == (0.1, 0.2, 0.3)
    assert found.weights_sha256 != load_bundle(tiny_bundle).weights_sha256
