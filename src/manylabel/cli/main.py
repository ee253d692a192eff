"""The `manylabel` command: its subcommands by name, and the one place where errors are caught.

Subcommands are imported when they are called, and they import torch when they run: `--help`
answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, NamedTuple, NoReturn, final

import click

from manylabel.errors import ManylabelError
from manylabel.version import __version__

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""


class Entry(NamedTuple):
    """Where a subcommand lies, as `module:attribute`, and what the list of commands says of it."""

    home: str
    help: str


COMMANDS: Final[dict[str, Entry]] = {
    "demo": Entry(
        "manylabel.cli.demo:demo",
        "Draw a data set, train SRN in its four steps and its baseline, measure, explain, report.",
    ),
    "train": Entry(
        "manylabel.cli.train:train", "Train a model and measure what each step brought."
    ),
    "evaluate": Entry("manylabel.cli.evaluate:evaluate", "Measure a bundle on a data set."),
    "predict": Entry("manylabel.cli.predict:predict", "Label images with a bundle."),
    "explain": Entry(
        "manylabel.cli.explain:explain", "Draw where a bundle saw the labels of one image."
    ),
    "data": Entry("manylabel.cli.data:data", "Draw a data set to learn on."),
}
"""The subcommands, in the order of the work."""


@final
class LazyGroup(click.Group):
    """A group that knows its subcommands' names and one-line helps, and imports one to run it.

    Args:
        entries: Name to entry, in the order of the list of commands.
    """

    def __init__(self, *, entries: Mapping[str, Entry], **settings: object) -> None:
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


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="manylabel")
def cli() -> None:
    """Multi-label image classification around the Spatial Regularization Network (SRN).

    \b
    Example:
      manylabel demo
      manylabel predict runs/demo/bundle photo.jpg
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process.

    Exit codes: 0 done; 1 begun, but it did not end well; 2 it cannot be begun as asked for;
    130 interrupted.
    """
    try:
        code = cli.main(arguments, prog_name="manylabel", standalone_mode=False)
    except ManylabelError as error:
        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort as abort:
        # click makes this of Ctrl-C, and of an EOFError, which would be a fault of ours.
        if not isinstance(abort.__cause__, KeyboardInterrupt):
            raise
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    sys.exit(code)
