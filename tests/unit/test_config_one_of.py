"""A setting whose kinds are in a table says what a union of the same kinds says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from manylabel.config import Config, OneOf, override, parse, read_toml, tables_of, write_toml
from manylabel.errors import ConfigError


class Shape(Config):
    name: Any


class Round(Shape):
    name: Literal["round"] = "round"
    radius: float = Field(default=1.0, gt=0)


class Square(Shape):
    name: Literal["square"] = "square"
    side: float | None = None


class Star(Shape):
    name: Literal["star"] = "star"
    points: tuple[int, int] = (5, 6)


TABLE: dict[str, type[Shape]] = {"round": Round, "square": Square}


class ByTable(Config):
    shape: Annotated[Shape, OneOf(lambda: tuple(TABLE.values()))] = Round()


class ByUnion(Config):
    shape: Annotated[Round | Square, Field(discriminator="name")] = Round()


@pytest.mark.parametrize(
    "given",
    [
        {"name": "round", "radios": 2},
        {"name": "square", "radius": 2},
        {"name": "round", "radius": -1},
        {"name": "round", "radius": "wide"},
        {"name": "rond"},
        {"radius": 2},
        {},
        3,
        None,
        Star(),
    ],
    ids=str,
)
def test_errors_are_those_of_the_union(given: object) -> None:
    said = []
    for kind in (ByTable, ByUnion):
        with pytest.raises(ConfigError) as caught:
            parse(kind, {"shape": given}, where="my.toml")
        said.append((caught.value.what, caught.value.where, caught.value.fix))
    assert said[0] == said[1]


def test_an_unknown_key_is_told_by_its_full_name_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"Unknown key 'shape\.radios'") as caught:
        parse(ByTable, {"shape": {"name": "round", "radios": 2}}, where="my.toml")
    assert caught.value.fix == "Did you mean 'shape.radius'?"


@pytest.mark.parametrize("shape", [Round(radius=2), Square(), Square(side=3)], ids=str)
def test_the_way_to_a_file_and_back(shape: Shape, tmp_path: Path) -> None:
    one, other = ByTable(shape=shape), ByUnion(shape=shape)
    assert one.model_dump(mode="json") == other.model_dump(mode="json")
    write_toml(one, tmp_path / "recipe.toml")
    assert parse(ByTable, read_toml(tmp_path / "recipe.toml"), where="x") == one


def test_a_table_that_is_added_later_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = override({}, ["shape.name=star", "shape.points=[7, 8]"])
    with pytest.raises(ConfigError, match="there is no shape 'star'"):
        parse(ByTable, tables, where="x")
    monkeypatch.setitem(TABLE, "star", Star)
    found = parse(ByTable, tables, where="x")
    assert found.shape == Star(points=(7, 8))
    assert parse(ByTable, found.model_dump(mode="json"), where="x") == found
    with pytest.raises(ConfigError, match=r"Unknown key 'shape\.pionts'"):
        parse(ByTable, {"shape": {"name": "star", "pionts": [1, 2]}}, where="x")


def test_what_a_field_can_hold_is_listed() -> None:
    assert tables_of(ByTable.model_fields["shape"]) == (Round, Square)
    assert tables_of(ByUnion.model_fields["shape"]) == (Round, Square)
    assert tables_of(Round.model_fields["radius"]) == ()
