"""The demo as a whole, with fewer scenes and epochs."""

import io
import json
import math

import pytest
from click.testing import CliRunner
from rich.console import Console

from manylabel import demo as module
from manylabel.cli.demo import demo as command
from manylabel.config import to_tables
from manylabel.errors import RunError
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.loss_monitor import LossMonitor

COUNTS = {"train": 96, "val": 16, "test": 48}


pytestmark = pytest.mark.xdist_group("demo")  # its tests share one whole demo


@pytest.fixture(scope="module", autouse=True)
def small():
    full_recipe, draw = module._recipe, module.draw_scenes

    def recipe(seed, folder):
        tables = to_tables(full_recipe(seed, folder))
        tables["input"] |= {"height": 64, "width": 64}
        tables["head"] |= {"attention_channels": 16, "relation_channels": 16}
        tables["steps"] = [{**step, "epochs": 1} for step in tables["steps"]]
        return resolve(tables | {"device": "cpu"}, where="test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_recipe", recipe)
        patch.setattr(
            module, "draw_scenes", lambda *a, **k: draw(*a, **k, counts=COUNTS, workers=1)
        )
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
    assert list(metrics["steps"]) == ["1", "2", "3", "4"]
    assert metrics["baseline"] == metrics["steps"]["1"]
    assert metrics["srn"] == metrics["steps"]["4"]
    assert metrics["seed"] == 0
    assert metrics["seconds"] > 0
    # As many epochs as steps 2 to 4 took together, from the weights of step 1.
    assert metrics["baseline_long"]["epochs"] == sum(
        metrics["steps"][number]["epochs"] for number in "234"
    )
    for name in ("baseline", "baseline_long", "srn"):
        assert metrics[name]["num_images"] == COUNTS["test"]
        assert 0 < metrics[name]["mAP"] < 1
    game = metrics["pointing_game"]
    assert {"srn", "cam", "chance"} <= set(game)
    assert 0 < game["chance"] < 0.2
    assert all(math.isfinite(game[name]) and 0 <= game[name] <= 1 for name in ("srn", "cam"))
    for name in ("bundle/bundle.json", "recipe.toml", "run.html", "attention/gallery.png"):
        assert (folder / name).exists(), name

    again = CliRunner().invoke(command, ["--out", str(folder)])
    assert again.exit_code == 0, again.output
    assert "already holds this demo" in again.stderr
    assert f"{100 * metrics['srn']['mAP']:.1f}" in again.stdout


@pytest.mark.parametrize("batches_before_stop", [5, 13])
def test_a_stopped_demo_resumes_when_it_is_called_again(
    whole, tmp_path, monkeypatch, batches_before_stop
):
    """It is stopped within SRN's steps (four of 3 batches), and within the baseline after them."""
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
    for name in ("srn", "baseline_long"):
        assert metrics[name]["mAP"] == whole[1][name]["mAP"]
