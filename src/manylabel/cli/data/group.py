"""`manylabel data`: its subcommands by name. They are imported when they are called."""

from __future__ import annotations

from typing import Final

from manylabel.cli.lazy import CommandEntry, LazyGroup

COMMANDS: Final[dict[str, CommandEntry]] = {
    "show": CommandEntry(
        "manylabel.cli.data.show:show", "Show how a data set is read: images, labels and splits."
    ),
    "check": CommandEntry(
        "manylabel.cli.data.check:check", "Find problems of a data set.", alone=True
    ),
    "convert": CommandEntry(
        "manylabel.cli.data.convert:convert",
        "Write a data set in another format, without loss.",
        alone=True,
    ),
    "split": CommandEntry(
        "manylabel.cli.data.split:split",
        "Draw splits with equal frequencies of every label.",
        alone=True,
    ),
    "draw": CommandEntry(
        "manylabel.cli.data.draw:draw", "Draw a data set of synthetic scenes.", alone=True
    ),
}

data = LazyGroup(
    name="data",
    entries=COMMANDS,
    help="Inspect, check, convert, split or draw data sets.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
