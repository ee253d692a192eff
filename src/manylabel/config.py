"""Recipes: TOML files that become frozen, checked settings.

Each part of manylabel declares its settings as a `Config` in the same file as the code that uses
them. This module reads, overrides, checks and writes settings, and formulates the errors.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, TypeVar, final, get_args

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from manylabel.errors import ConfigError
from manylabel.files import open_regular, write_text
from manylabel.plain_json import MAX_DEPTH, require_depth


class Config(BaseModel):
    """Base class of all settings. They are frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


AnyConfig = TypeVar("AnyConfig", bound=Config)


@final
@dataclass(frozen=True)
class OneOf:
    """Marks a setting that holds one of several tables of settings; their key `name` says which.

    The tables are looked up each time settings are checked. So a table that is added while the
    program runs is accepted. Errors are those of a tagged union of pydantic.

    Args:
        kinds: Returns the tables, two or more. Each has a different default for `name`.

    Example:
        `head: Annotated[HeadConfig, OneOf(head_configs)]`
    """

    kinds: Callable[[], tuple[type[Config], ...]]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: _union(self.kinds()).validate_python(value),
            serialization=core_schema.simple_ser_schema("any"),
        )


def tables_of(field: FieldInfo) -> tuple[type[Config], ...]:
    """The tables of settings that a field can hold: one table, one of several, or a list."""
    marked = [kind for mark in field.metadata if isinstance(mark, OneOf) for kind in mark.kinds()]
    return tuple(marked or _configs(field.annotation))


def default_name(name: str) -> BeforeValidator:
    """The part of a tagged union's annotation that names a table which has no `name`.

    A tagged union is a choice among several `Config` classes that are told apart by `name`.

    Example:
        `Annotated[Round | Square, Field(discriminator="name"), default_name("round")]`
    """

    def add_name(tables: Any) -> Any:
        return {"name": name, **tables} if isinstance(tables, dict) else tables

    return BeforeValidator(add_name)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: The file is missing or is not TOML.
    """
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "The recipe does not exist.", where=str(path), fix="Check the path."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The recipe cannot be read: {error}.", where=str(path), fix="Give a TOML text file."
        ) from None
    try:
        return parse_toml(text)
    except ValueError as error:
        raise ConfigError(
            f"The recipe is not valid TOML: {error}.", where=str(path), fix="Correct that line."
        ) from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: The text is not TOML, is nested more than 32 deep, or has a number with
            thousands of digits.
    """
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    require_depth(tables)  # dots in keys nest without recursion
    return tables


def override(
    tables: Mapping[str, Any], settings: Iterable[str], *, option: str = "--set"
) -> dict[str, Any]:
    """A copy of `tables` with changes such as `optim.lr=0.01`.

    A value is read as TOML, or as text if it is not TOML. A step of a run is named by its position:
    `steps.2.epochs=3` is the third step.

    Args:
        tables: The settings before the changes.
        settings: The changes, as key=value.
        option: The command-line option with which they were given, for messages.

    Raises:
        ConfigError: A setting has no `=`, has too many dots, or its path leads through a value.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        keys = [part.strip() for part in path.split(".")]
        if not equals or not all(keys) or len(keys) > MAX_DEPTH:
            raise ConfigError(
                f"Cannot read the setting {_shown(setting)}.",
                where=option,
                fix="Write it as key=value, with dots for keys inside tables: optim.lr=0.01.",
            )
        values[".".join(keys)] = _value(text)
    return put(tables, values)


def put(tables: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tables` with new values for full keys, such as `backbone.weights`.

    Raises:
        ConfigError: A part of a key is a value, not a table, or a position is not in its list.
    """
    result = _copy(tables)
    for path, value in values.items():
        *parents, key = path.split(".")
        table: Any = result
        for parent in parents:
            table = _enter(table, parent, path)
        table[_position(table, key, path) if isinstance(table, list) else key] = value
    return result


def parse(kind: type[AnyConfig], tables: Mapping[str, Any], *, where: str) -> AnyConfig:
    """Checks settings and returns them as an instance of `kind`.

    Raises:
        ConfigError: A key is unknown or missing, or its value is not valid. The error gives the
            full name of the first such key, and for an unknown key the closest known one.
    """
    try:
        return kind.model_validate(tables)
    except ValidationError as error:
        raise _worded(error, kind, where) from None


def to_tables(config: Config) -> dict[str, Any]:
    """The settings as plain tables, including all defaults; unset values (None) are left out."""
    return _without_none(config.model_dump(mode="json"))


def write_toml(config: Config, path: Path) -> None:
    """Write all settings, including defaults, so that the file alone describes the run.

    Raises:
        OSError: The file cannot be written.
    """
    write_text(path, tomli_w.dumps(to_tables(config)))


@cache
def _union(kinds: tuple[type[Config], ...]) -> TypeAdapter[Config]:
    # No type checker can read a union that is made while the program runs.
    choice = Annotated[reduce(or_, kinds), Field(discriminator="name")]  # pyright: ignore
    return TypeAdapter(choice)  # pyright: ignore[reportArgumentType]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value


def _value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


def _position(items: list[Any], key: str, path: str) -> int:
    if key.isdecimal() and int(key) < len(items):
        return int(key)
    raise ConfigError(
        f"There is no entry {key!r}: the list has {len(items)}, counted from 0.",
        where=f"--set {path}",
        fix="Give the position of an entry in the list.",
    )


def _enter(table: Any, key: str, path: str) -> Any:
    if isinstance(table, list):
        inner = table[_position(table, key, path)]
    else:
        inner = table.setdefault(key, {})
    if not isinstance(inner, dict | list):
        raise ConfigError(
            f"{key!r} is a value, not a table.",
            where=f"--set {path}",
            fix="Set the key itself.",
        )
    return inner


def _worded(error: ValidationError, kind: type[Config], where: str) -> ConfigError:
    first = error.errors()[0]
    place = _follow(kind, first["loc"])
    name = _short(".".join(place.keys))
    if first["type"] == "extra_forbidden":
        return ConfigError(f"Unknown key '{name}'.", where=where, fix=_suggestion(place))
    if first["type"] == "missing":
        return ConfigError(f"The key '{name}' is missing.", where=where, fix="Add it.")
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return _unknown_choice(place, first.get("ctx", {}), where)
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not name:
        fix = "Change one of the settings that this names."
        return ConfigError(f"The settings do not fit: {message}.", where=where, fix=fix)
    if place.inner and first["type"] in ("model_type", "model_attributes_type"):
        return _no_table(place, first.get("input"), where)
    given = first.get("input")
    fix = f"It was given as {_shown(given)}; correct it."
    if isinstance(given, Mapping):  # a table is too long to show, and the message names its keys
        fix = f"Change one of the settings of '{name}' that this names."
    return ConfigError(f"'{name}' does not fit: {message}.", where=where, fix=fix)


def _shown(value: object) -> str:
    """A value in a message."""
    try:
        return _short(repr(value))
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number that is too long"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_choice(place: _Place, context: Mapping[str, Any], where: str) -> ConfigError:
    """The error for a table that names none of those that it can be, or names none at all."""
    name = ".".join(place.keys)
    key = str(context["discriminator"]).strip("'")
    if "tag" not in context:
        known = ", ".join(_tag(kind) for kind in place.inner if "name" in kind.model_fields)
        fix = f"Add it; known names: {known}." if known else "Add it."
        return ConfigError(f"The key '{name}.{key}' is missing.", where=where, fix=fix)
    tag, known = _short(str(context["tag"])), re.findall(r"'([^']*)'", context["expected_tags"])
    what = f"'{name}.{key}' does not fit: there is no {place.keys[-1]} '{tag}'."
    fix = _closest(tag, known) or f"Known names: {', '.join(known)}."
    return ConfigError(what, where=where, fix=fix)


def _no_table(place: _Place, given: object, where: str) -> ConfigError:
    """The error for a value where a table of settings is needed."""
    name = ".".join(place.keys)
    fix = f"Set the keys of {name}."
    if isinstance(given, str) and all("name" in kind.model_fields for kind in place.inner):
        fix = f"Write {name}.name = '{_short(given)}'."
    what = f"'{name}' is a table of settings, not {_shown(given)}."
    return ConfigError(what, where=where, fix=fix)


@final
@dataclass(frozen=True)
class _Place:
    """Where in a recipe an error is.

    Args:
        keys: The recipe's keys that lead there.
        kinds: What the table that holds the last key may be; one, once its `name` is known.
        others: The kinds that the same table would be with another `name`.
        inner: What the last key may hold, if it holds a table.
    """

    keys: list[str]
    kinds: list[type[Config]]
    others: list[type[Config]]
    inner: list[type[Config]]


def _suggestion(place: _Place) -> str:
    """What to do about an unknown key: where it belongs, the closest known key, or all of them."""
    *parents, key = place.keys
    owners = [_tag(kind) for kind in place.others if key in kind.model_fields]
    if owners:
        table, own = parents[-1], _tag(place.kinds[0])
        belongs = " or ".join(f"'{owner}'" for owner in owners)
        return (
            f"It belongs to {table}.name = {belongs}, but {table}.name is '{own}': leave the key "
            f"out, or change '{'.'.join(parents)}.name'."
        )
    known = [name for kind in place.kinds for name in kind.model_fields]
    closest = _closest(key, known, parents)
    return closest or f"Known keys: {', '.join(known)}."


def _closest(given: str, known: list[str], parents: list[str] | None = None) -> str | None:
    """The question whether the closest of the known names was meant; None if none is close."""
    close = get_close_matches(_short(given), known, n=1, cutoff=0.5)
    return f"Did you mean '{'.'.join([*(parents or []), *close])}'?" if close else None


def _follow(kind: type[Config], location: tuple[int | str, ...]) -> _Place:
    """The place in a recipe of a location that pydantic gives.

    pydantic includes the tag of a tagged union in a location (`head.srn.alpha`). The tag is not a
    key of the recipe.
    """
    place = _Place([], [kind], [], [kind])
    others = list[type[Config]]()
    kinds = [kind]
    for part in location:
        tagged = [k for k in kinds if "name" in k.model_fields and _tag(k) == part]
        if tagged and len(kinds) > 1:
            others = [k for k in kinds if k not in tagged]
            kinds = tagged
        elif isinstance(part, int):
            place = replace(place, keys=[*place.keys, str(part)])
        else:
            fields = [k.model_fields[part] for k in kinds if part in k.model_fields]
            inner = [inner for field in fields for inner in tables_of(field)]
            place = _Place([*place.keys, part], kinds, others, inner)
            kinds, others = inner, []
    return place


def _tag(kind: type[Config]) -> str:
    tag = kind.model_fields["name"].default
    assert isinstance(tag, str), f"{kind.__name__}.name needs a default"
    return tag


def _configs(annotation: Any) -> list[type[Config]]:
    """The `Config` classes in an annotation, also inside unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in _configs(inner)]
