"""A recipe's [loss] table: each loss by its name, and keys that do not fit."""

from __future__ import annotations

import pytest

from manylabel.config import read_toml
from manylabel.errors import ConfigError
from manylabel.losses import LOSSES, BCEConfig
from manylabel.train.config import find_recipe, recipe_folder, resolve


def tables(**loss):
    return {
        "backbone": {"name": "test_resnet", "pretrained": False},
        "steps": [{"kind": "main", "epochs": 1}],
        "loss": loss,
    }


@pytest.mark.parametrize("name", LOSSES)
def test_a_recipe_names_a_loss(name):
    run = resolve(tables(name=name), where="recipe.toml")
    assert run.loss == LOSSES[name][0]()


@pytest.mark.parametrize("recipe", sorted(path.stem for path in recipe_folder().glob("*.toml")))
def test_recipes_that_come_along_train_with_cross_entropy(recipe):
    assert isinstance(resolve(read_toml(find_recipe(recipe)), where="recipe").loss, BCEConfig)


def test_without_a_table_it_is_cross_entropy():
    run = resolve({key: value for key, value in tables().items() if key != "loss"}, where="r")
    assert run.loss == BCEConfig()


@pytest.mark.parametrize(
    ("loss", "what", "fix"),
    [
        ({"name": "focal", "gama": 1}, "Unknown key 'loss.gama'.", "Did you mean 'loss.gamma'?"),
        ({"name": "focal", "margin": 1}, "Unknown key 'loss.margin'.", ""),
        ({"name": "bce", "pos_weight": 0}, "'loss.pos_weight' does not fit: give a number", ""),
        ({"name": "asymmetric", "margin": 1}, "'loss.margin' does not fit", ""),
        ({"name": "asl"}, "'loss.name' does not fit: there is no loss 'asl'.", ""),
        (
            {"name": "two-way", "unknown": {"name": "entropy"}},
            "'loss.unknown' does not fit: 'two-way' ranks",
            "",
        ),
    ],
)
def test_what_does_not_fit_is_named(loss, what, fix):
    with pytest.raises(ConfigError) as error:
        resolve(tables(**loss), where="recipe.toml")
    assert error.value.what.startswith(what)
    assert fix in error.value.fix
