"""Groups of commands that import a command only when it is called, so that `--help` is fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, final

import click

from manylabel.cli.streams import READER_LEFT


class CommandEntry(NamedTuple):
    """A subcommand in the list of commands."""

    home: str
    """Where the command is, as `module:attribute`."""
    help: str
    """Its line in the list of commands."""


@final
class LazyGroup(click.Group):
    """A group that knows the names and help lines of its subcommands, and imports one to run it.

    Args:
        entries: The entries by name, in the order of the list of commands.
    """

    def __init__(self, *, entries: Mapping[str, CommandEntry], **settings: object) -> None:
        super().__init__(**settings)  # pyright: ignore[reportArgumentType]
        self.entries = entries

    def invoke(self, ctx: click.Context) -> None:
        """Run the subcommand. Its return value is not used as the exit code.

        Raises:
            SystemExit: The reader of a pipe has left, such as that of `--out /dev/stdout`.
        """
        try:
            super().invoke(ctx)
        except BrokenPipeError:
            raise SystemExit(READER_LEFT) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the subcommands."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand with this name, which is imported now."""
        if cmd_name not in self.entries:
            return None
        module, _, attribute = self.entries[cmd_name].home.partition(":")
        return getattr(import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])
