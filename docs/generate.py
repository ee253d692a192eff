"""Writes the pages that are made from the code: the command line's, and the recipe's keys.

python -m docs.generate
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from manylabel import errors
from manylabel.cli.main import cli
from manylabel.config import Config, tables_of
from manylabel.train.config import RunConfig

DOCS = Path(__file__).parent


def command_line() -> str:
    """The page of all commands: each one's `--help`."""
    parts = ["# The command line\n", "Made from the code by `make docs`.\n"]
    root = click.Context(cli, info_name="manylabel", terminal_width=100, **cli.context_settings)
    for context in _contexts(root):
        page = context.command.get_help(context)
        parts.append(f"## {context.command_path}\n\n```\n{page}\n```\n")
    parts.append(_exit_codes())
    return "\n".join(parts)


def recipe_keys() -> str:
    """The page of all keys of a recipe, with their defaults."""
    parts = [
        "# Recipe keys\n",
        "A recipe is one TOML file that describes a whole run; `recipes/` holds some. Made from "
        "the code by `make docs`. Any key can be set on the command line: `--set optim.lr=0.01`; "
        "a step is named by its position: `--set steps.0.epochs=3`.\n",
    ]
    for name, kind, is_default in _tables("", [RunConfig]):
        assert kind.__doc__ is not None
        default = " The default." if is_default else ""
        parts.append(f"## {name or 'top level'}\n\n{kind.__doc__.splitlines()[0]}{default}\n")
        parts.append("| key | default | meaning |\n| --- | --- | --- |")
        for key, field in kind.model_fields.items():
            if not tables_of(field):
                value = _OF_BACKBONE.get((name, key)) or _default(field)
                parts.append(f"| `{key}` | {value} | {_cell(field.description)}{_values(field)} |")
        parts.append("")
    return "\n".join(parts)


_OF_BACKBONE = {("input", key): "the backbone's" for key in ("mean", "std", "resize")}
"""Keys whose default is the value that the backbone's weights were trained with."""


def _values(field: FieldInfo) -> str:
    """The values that a key allows, as far as its description does not name them."""
    choices = [field.annotation, *get_args(field.annotation)]
    allowed = [value for each in choices if get_origin(each) is Literal for value in get_args(each)]
    if len(allowed) < 2 or all(f"`{value}`" in (field.description or "") for value in allowed):
        return ""
    return f" One of {', '.join(f'`{value}`' if value else 'nothing' for value in allowed)}."


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """A command as it is called, and all those below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            yield from _contexts(
                click.Context(command, info_name=name, parent=context, terminal_width=100)
            )


def _exit_codes() -> str:
    rows = ["## Exit codes\n", "| code | when |\n| --- | --- |", "| 0 | done |"]
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ManylabelError)
    ]
    for kind in sorted(kinds[1:], key=lambda kind: (kind.exit_code, kind.__name__)):
        assert kind.__doc__ is not None
        rows.append(f"| {kind.exit_code} | `{kind.__name__}`: {_cell(kind.__doc__)} |")
    rows.append("| 1 | `manylabel data check` found errors, or warnings under `--strict` |")
    rows.append("| 130 | interrupted |")
    rows.append("| 141 | the reader of the output has left, as `head` does |\n")
    return "\n".join(rows)


def _tables(
    name: str, kinds: list[type[Config]], default: object = None
) -> Iterator[tuple[str, type[Config], bool]]:
    """A table of a recipe and those within it, by name; of a choice, each one.

    The last of the three says whether the table is what a choice is if a recipe does not say.
    """
    inner: dict[str, list[type[Config]]] = {}
    defaults: dict[str, object] = {}
    for kind in kinds:
        choice = f', name = "{kind.model_fields["name"].default}"' if len(kinds) > 1 else ""
        yield name + choice, kind, bool(choice) and type(default) is kind
        for key, field in kind.model_fields.items():
            known = inner.setdefault(key, [])
            known += [choice for choice in tables_of(field) if choice not in known]
            defaults[key] = field.default
    for key, choices in inner.items():
        if choices and (name, key) != ("steps", "optim"):  # a step's is as the run's
            path = f"{name}.{key}" if name else key
            yield from _tables(path, choices, defaults[key])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "unset"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _cell(text: str | None) -> str:
    assert text, "every field has a line of its own"
    return " ".join(text.split()).replace("|", "\\|")


def profiles() -> str:
    """The page about the definitions of each project."""
    from manylabel.metrics import PROFILES

    parts = [
        "# Profiles: whose definitions",
        "A profile is a named set of definitions of the figures. For the same scores, the "
        "definitions of two projects can give figures that differ by as much as a paper gains. "
        "`--profile` chooses the profile. Each was taken from the project's own code. All figures "
        "are fractions. [Metrics](metrics.md) has the formulas.",
    ]
    for profile in PROFILES.values():
        rows = [f"| {name} | {_cell(words)} |" for name, words in profile.aspects.items()]
        remark = [f"{profile.remark[0].upper()}{profile.remark[1:]}."] if profile.remark else []
        parts += [
            f"## {profile.name}",
            f"{profile.source}.",
            "\n".join(["| | |", "| --- | --- |", *rows]),
            *remark,
        ]
    return "\n\n".join(parts) + "\n"


PAGES = {"cli.md": command_line, "recipe.md": recipe_keys, "profiles.md": profiles}


def main() -> None:
    """Write the pages."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
