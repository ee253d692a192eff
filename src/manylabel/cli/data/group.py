"""`manylabel data`: its subcommands by name, imported when they are called."""

from __future__ import annotations

from typing import Final

from manylabel.cli.lazy import CommandEntry, LazyGroup

COMMANDS: Final[dict[str, CommandEntry]] = {
    "show": CommandEntry(
        "manylabel.cli.data.show:show", "Say what a data set was understood to be."
    ),
    "check": CommandEntry("manylabel.cli.data.check:check", "Find what is wrong with a data set."),
    "convert": CommandEntry(
        "manylabel.cli.data.convert:convert", "Write a data set in another format, losing nothing."
    ),
    "split": CommandEntry(
        "manylabel.cli.data.split:split", "Draw splits in which every label has its share."
    ),
    "draw": CommandEntry("manylabel.cli.data.draw:draw", "Draw a data set of scenes to learn on."),
}

data = LazyGroup(
    name="data",
    entries=COMMANDS,
    help="Look at data sets, or draw one to learn on.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
