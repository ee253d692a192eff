"""Groups of commands that import a command when it is called: `--help` answers at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, final

import click


class CommandEntry(NamedTuple):
    """Where a subcommand lies, as `module:attribute`, and what the list of commands says of it."""

    home: str
    help: str


@final
class LazyGroup(click.Group):
    """A group that knows its subcommands' names and one-line helps, and imports one to run it.

    Args:
        entries: Name to entry, in the order of the list of commands.
    """

    def __init__(self, *, entries: Mapping[str, CommandEntry], **settings: object) -> None:
        super().__init__(**settings)  # pyright: ignore[reportArgumentType]
        self.entries = entries

    def invoke(self, ctx: click.Context) -> None:
        """Run the subcommand; what it returns is no exit code."""
        super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands' names."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand called `cmd_name`, imported now."""
        if cmd_name not in self.entries:
            return None
        module, _, attribute = self.entries[cmd_name].home.partition(":")
        return getattr(import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])
