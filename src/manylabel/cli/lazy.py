"""Groups of commands that import a command only when it is called, so that `--help` is fast."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import wraps
from importlib import import_module
from typing import Any, NamedTuple, final

import click

from manylabel.cli.streams import READER_LEFT
from manylabel.processes import require_one_process


class CommandEntry(NamedTuple):
    """A subcommand in the list of commands."""

    home: str
    """Where the command is, as `module:attribute`."""
    help: str
    """Its line in the list of commands."""
    alone: bool = False
    """Whether it is refused in several processes at once, because it writes files."""


def _alone(command: click.Command) -> click.Command:
    """The command, which is refused if it is run in several processes at once.

    Its help is shown in any case.
    """
    work = command.callback
    assert work is not None

    @wraps(work)
    def run(*arguments: Any, **options: Any) -> Any:
        path = click.get_current_context().command_path
        require_one_process(path.partition(" ")[2] or path)
        return work(*arguments, **options)

    guarded = copy(command)
    guarded.callback = run
    return guarded


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
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.home.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return _alone(command) if entry.alone else command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])
