from pathlib import Path

import pytest

from manylabel.config import to_tables
from manylabel.errors import ConfigError
from manylabel.train.config import (
    RunConfig,
    find_recipe,
    load_recipe,
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
    run = load_recipe(path)
    assert [run.plan_of(step.kind).number for step in run.steps] == [1, 2, 3, 4]
    assert resolve(to_tables(run), where="again") == run


@pytest.mark.parametrize("name", ["coco", "nus-wide", "wider-attribute"])
def test_the_papers_recipes_hold_what_the_paper_says(name):
    run = load_recipe(recipe_folder() / f"{name}-resnet101-srn.toml")
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
    ],
)
def test_what_does_not_fit_is_named(changes, what):
    with pytest.raises(ConfigError) as error:
        resolve(tables(**changes), where="recipe.toml")
    assert what in error.value.what


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
