"""Settings from tables and files, and what a user is told about those that do not fit."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from cases import case
from pydantic import Field, model_validator

from manylabel.config import (
    Config,
    default_name,
    override,
    parse,
    read_toml,
    to_tables,
    write_toml,
)
from manylabel.errors import ConfigError

# A recipe to check


class Round(Config):
    name: Literal["round"] = "round"
    radius: float = Field(default=1.0, gt=0)
    colour: str = "red"


class Square(Config):
    name: Literal["square"] = "square"
    side: float = 1.0


class Still(Config):
    name: Literal["still"] = "still"


class Falling(Config):
    name: Literal["falling"] = "falling"
    factor: float = 0.1
    patience: int = 2


class Stepping(Config):
    name: Literal["stepping"] = "stepping"
    factor: float = 0.1


Schedule = Annotated[Still | Falling | Stepping, Field(discriminator="name"), default_name("still")]


class Layer(Config):
    kind: str
    epochs: int = Field(default=1, ge=1)
    schedule: Schedule | None = None


class Optim(Config):
    lr: float = 0.1
    milestones: tuple[int, ...] = ()
    schedule: Schedule = Still()


class Recipe(Config):
    seed: int = 0
    head: Annotated[Round | Square, Field(discriminator="name")] = Round()
    optim: Optim = Optim()
    steps: tuple[Layer, ...] = ()
    folder: Path | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.seed == 13:
            raise ValueError("the seed is unlucky")
        return self


# Parsing


def test_defaults_fill_what_is_not_given() -> None:
    recipe = parse(Recipe, {"head": {"name": "square"}, "steps": [{"kind": "main"}]}, where="x")
    assert recipe == Recipe(head=Square(side=1.0), steps=(Layer(kind="main", epochs=1),))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("tables", "what", "fix"),
    [
        ({"sed": 1}, "Unknown key 'sed'.", "Did you mean 'seed'?"),
        ({"optim": {"l": 1}}, "Unknown key 'optim.l'.", "Did you mean 'optim.lr'?"),
        (
            {"head": {"name": "round", "radios": 1}},
            "Unknown key 'head.radios'.",
            "Did you mean 'head.radius'?",
        ),
        (  # known keys are those of the head that is named, not of another
            {"head": {"name": "square", "xyzzy": 1}},
            "Unknown key 'head.xyzzy'.",
            "Known keys: name, side.",
        ),
        (
            {"head": {"name": "square", "radius": 1}},
            "Unknown key 'head.radius'.",
            "It belongs to head.name = 'round', but head.name is 'square': leave the key out, or "
            "change 'head.name'.",
        ),
        (  # the closest key of this kind would be 'name'
            {"head": {"name": "round", "side": 1}},
            "Unknown key 'head.side'.",
            "It belongs to head.name = 'square', but head.name is 'round'",
        ),
        (
            {"optim": {"schedule": {"name": "still", "factor": 0.5}}},
            "Unknown key 'optim.schedule.factor'.",
            "It belongs to schedule.name = 'falling' or 'stepping', but schedule.name is 'still': "
            "leave the key out, or change 'optim.schedule.name'.",
        ),
        (  # a table without a name is of the default's kind
            {"steps": [{"kind": "a", "schedule": {"patience": 1}}]},
            "Unknown key 'steps.0.schedule.patience'.",
            "It belongs to schedule.name = 'falling', but schedule.name is 'still'",
        ),
        (
            {"optim": {"schedule": {"name": "falling", "patiense": 1}}},
            "Unknown key 'optim.schedule.patiense'.",
            "Did you mean 'optim.schedule.patience'?",
        ),
        (
            {"optim": {"schedule": {"name": "fallin"}}},
            "'optim.schedule.name' does not fit: there is no schedule 'fallin'.",
            "Did you mean 'falling'?",
        ),
        (
            {"head": {"name": "xyz"}},
            "'head.name' does not fit: there is no head 'xyz'.",
            "Known names: round, square.",
        ),
        ({"head": {}}, "The key 'head.name' is missing.", "Add it; known names: round, square."),
        (
            {"steps": [{"kind": "main"}, {"kind": "joint", "epoch": 3}]},
            "Unknown key 'steps.1.epoch'.",
            "Did you mean 'steps.1.epochs'?",
        ),
        ({"steps": [{"epochs": 2}]}, "The key 'steps.0.kind' is missing.", "Add it."),
        ({"xyzzy": 1}, "Unknown key 'xyzzy'.", "Known keys: seed, head, optim, steps, folder"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_key_that_does_not_fit(tables: dict[str, Any], what: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, tables, where="my.toml")
    assert caught.value.what == what
    assert caught.value.where == "my.toml"
    assert caught.value.fix.startswith(fix)


@pytest.mark.parametrize(
    ("tables", "name", "given"),
    [
        ({"seed": "x"}, "'seed' does not fit", "'x'"),
        ({"head": {"name": "round", "radius": -1}}, "'head.radius' does not fit", "-1"),
        ({"steps": [{"kind": "a", "epochs": 0}]}, "'steps.0.epochs' does not fit", "0"),
        ({"optim": {"milestones": [1, "b"]}}, "'optim.milestones.1' does not fit", "'b'"),
        ({"seed": 13}, "The settings do not fit: the seed is unlucky", "the settings"),
        ({"folder": 3}, "'folder' does not fit", "3"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_that_does_not_fit(tables: dict[str, Any], name: str, given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, tables, where="my.toml")
    assert name in caught.value.what
    assert given in caught.value.fix
    assert not caught.value.what.endswith("..")


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, {"seed": "x" * 1000}, where="my.toml")
    assert len(caught.value.fix) < 120


# --set


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("seed=3", {"seed": 3}),
        ("seed = 3", {"seed": 3}),
        ("optim.lr=1e-3", {"optim": {"lr": 1e-3}}),
        ("head.name=square", {"head": {"name": "square"}}),
        ('head.name="square"', {"head": {"name": "square"}}),
        ("options.fast=true", {"options": {"fast": True}}),
        ("optim.milestones=[1, 2]", {"optim": {"milestones": [1, 2]}}),
        ("folder=a=b", {"folder": "a=b"}),
        ("folder=/data/my photos", {"folder": "/data/my photos"}),
        ("head={name = 'square', side = 2}", {"head": {"name": "square", "side": 2}}),
    ],
)
def test_a_value_is_read_as_toml_else_as_text(setting: str, expected: dict[str, Any]) -> None:
    assert override({}, [setting]) == expected


def test_an_entry_of_a_list_is_named_by_its_position() -> None:
    tables = {"steps": [{"kind": "main"}, {"kind": "joint", "epochs": 2}]}
    result = override(tables, ["steps.1.epochs=5", "steps.0.kind=other"])
    assert result == {"steps": [{"kind": "other"}, {"kind": "joint", "epochs": 5}]}
    assert override({"a": [1, 2, 3]}, ["a.2=9"]) == {"a": [1, 2, 9]}
    assert override({"a": [[1], [2]]}, ["a.1.0=9"]) == {"a": [[1], [9]]}


def test_settings_come_one_after_another() -> None:
    assert override({"seed": 1}, ["seed=2", "seed=3"]) == {"seed": 3}
    assert override({}, ["optim={}", "optim.lr=1"]) == {"optim": {"lr": 1}}


def test_the_tables_that_are_overridden_stay_as_they_were() -> None:
    tables = {"optim": {"lr": 1}, "steps": [{"kind": "main"}]}
    before = copy.deepcopy(tables)
    override(tables, ["optim.lr=2", "steps.0.kind=x", "new.key=1"])
    assert tables == before


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("seed", "Cannot read the setting 'seed'"),
        ("=3", "Cannot read the setting '=3'"),
        ("steps.2.kind=x", "no entry '2': the list has 2"),
        ("steps.-1.kind=x", "no entry '-1'"),
        ("steps.first=x", "no entry 'first'"),
        ("seed.x=1", "'seed' is a value, not a table"),
        ("steps.0.kind.x=1", "'kind' is a value, not a table"),
        ("values.0.x=1", "'0' is a value, not a table"),
        ("optim..lr=1", "Cannot read the setting"),
        ("optim.=1", "Cannot read the setting"),
    ],
)
def test_a_setting_that_leads_nowhere_is_refused(setting: str, what: str) -> None:
    tables = {"seed": 1, "steps": [{"kind": "a"}, {"kind": "b"}], "values": [1]}
    with pytest.raises(ConfigError) as caught:
        override(tables, [setting])
    assert what in caught.value.what
    assert "--set" in caught.value.where


def test_a_mistaken_value_is_met_when_it_is_parsed() -> None:
    with pytest.raises(ConfigError, match=r"'optim\.lr' does not fit"):
        parse(Recipe, override({}, ["optim.lr=fast"]), where="my.toml")


# Files


def test_a_recipe_survives_the_way_to_a_file_and_back(tmp_path: Path) -> None:
    recipe = Recipe(
        seed=3,
        head=Square(side=1 / 3),
        optim=Optim(lr=1e-4, milestones=(1, 2)),
        steps=(Layer(kind='with "quotes"'), Layer(kind="ünïcode", epochs=2)),
        folder=Path("photos/train"),
        options={"channels": [1, 2], "nested": {"x": True}},
    )
    write_toml(recipe, tmp_path / "recipe.toml")
    assert parse(Recipe, read_toml(tmp_path / "recipe.toml"), where="x") == recipe


def test_a_written_recipe_has_every_default(tmp_path: Path) -> None:
    write_toml(Recipe(), tmp_path / "recipe.toml")
    assert tomllib.loads((tmp_path / "recipe.toml").read_text()) == {
        "seed": 0,
        "head": {"name": "round", "radius": 1.0, "colour": "red"},
        "optim": {"lr": 0.1, "milestones": [], "schedule": {"name": "still"}},
        "steps": [],
        "options": {},
    }


def test_what_is_unset_is_left_out_however_deep() -> None:
    assert to_tables(Recipe(options={"a": None, "b": [{"c": None, "d": 1}]}))["options"] == {
        "b": [{"d": 1}]
    }


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (None, "does not exist"),
        (b"seed = ", "not valid TOML"),
        (b"seed = 1\nseed = 2\n", "line 2"),
        (b"\xff\xfe", "cannot be read"),
        (b"seed = " + b"9" * 5_000, "not valid TOML"),
        (b"seed = " + b"[" * 20_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, data: bytes | None, what: str) -> None:
    path = tmp_path / "recipe.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=what) as caught:
        read_toml(path)
    assert caught.value.where == str(path)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path)


def test_keys_with_thousands_of_dots_are_refused(tmp_path: Path) -> None:
    """Python's reader of TOML builds these tables without recursion; nothing else would."""
    path, key = tmp_path / "recipe.toml", ".".join(["a"] * 3000)
    for text in (
        f"{key} = 1",
        f"[{key}]",
        f"[[{key}]]",
        f"x = {{ {key} = 1 }}",
        f"x = [{{{key}=1}}]",
    ):
        path.write_text(text)
        with case(text=text[:8]), pytest.raises(ConfigError, match="nested more than 32 deep"):
            read_toml(path)
    with pytest.raises(ConfigError, match=r"Cannot read the setting 'a\.a\.a.*\.\.\.\."):
        override({}, [f"{key}=1"])
    assert override({}, [f"x={{ {key} = 1 }}"]) == {"x": f"{{ {key} = 1 }}"}  # as text


def test_tables_may_be_nested_as_deep_as_any_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(".".join(["a"] * 32) + " = 1")
    assert read_toml(path)["a"]["a"]
    path.write_text(".".join(["a"] * 33) + " = 1")
    with pytest.raises(ConfigError, match="nested more than 32 deep"):
        read_toml(path)


# Tables in tables


class Pair(Config):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _check(self) -> Pair:
        if self.low > self.high:
            raise ValueError("low is over high")
        return self


class Pairs(Config):
    first: Pair = Pair()


def test_a_table_that_does_not_fit_is_not_written_out() -> None:
    with pytest.raises(ConfigError, match="'first' does not fit: low is over high") as caught:
        parse(Pairs, {"first": {"low": 2}}, where="x")
    assert "{" not in caught.value.fix
