"""The change that makes a mistake is named."""

from typing import Any, Literal

import pytest
from pydantic import Field, model_validator

from manylabel.config import Config, parse
from manylabel.errors import ConfigError
from manylabel.train.changes import check_changed


class Round(Config):
    name: Literal["round"] = "round"
    radius: float = 1.0


class Square(Config):
    name: Literal["square"] = "square"
    side: float = 1.0


class Optim(Config):
    lr: float = 0.1


class Recipe(Config):
    seed: int = 0
    head: Round | Square = Field(default=Round(), discriminator="name")
    optim: Optim = Optim()

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        if self.seed == 13:
            raise ValueError("the seed is unlucky")
        return self


def changed(tables: dict[str, Any], *settings: str) -> Recipe:
    return check_changed(lambda given: parse(Recipe, given, where="a.toml"), tables, settings)


@pytest.mark.parametrize(
    ("tables", "settings", "where"),
    [
        ({}, ["sed=1"], "--set sed=1"),
        ({}, ["optim.lr=0.2", "seed=many"], "--set seed=many"),
        ({}, ["seed=13", "optim.lr=0.2"], "--set seed=13"),
        ({"head": {"name": "round", "radius": 2}}, ["head.name=square"], "--set head.name=square"),
        ({"seed": "many"}, ["optim.lr=0.2"], "a.toml"),
        ({"seed": "many"}, [], "a.toml"),
        ({"seed": 13}, ["seed=13"], "a.toml"),
    ],
)
def test_who_made_a_mistake(tables: dict[str, Any], settings: list[str], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(tables, *settings)
    assert caught.value.where == where


def test_changes_that_fit() -> None:
    assert changed({"seed": 1}, "seed=2", "optim.lr=0.5") == Recipe(seed=2, optim=Optim(lr=0.5))


def test_a_change_may_mend_the_recipe() -> None:
    assert changed({"seed": 13}, "seed=2").seed == 2
