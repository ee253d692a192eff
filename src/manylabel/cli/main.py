"""The `manylabel` command: its subcommands by name, and the one place where errors are caught.

Subcommands are imported when they are called, and they import torch when they run: `--help`
answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from manylabel.cli.lazy import CommandEntry, LazyGroup
from manylabel.errors import ManylabelError
from manylabel.version import __version__

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""


COMMANDS: Final[dict[str, CommandEntry]] = {
    "demo": CommandEntry(
        "manylabel.cli.demo:demo",
        "Draw a data set, train SRN in its four steps and its baseline, measure, explain, report.",
    ),
    "train": CommandEntry(
        "manylabel.cli.train:train", "Train a model and measure what each step brought."
    ),
    "evaluate": CommandEntry("manylabel.cli.evaluate:evaluate", "Measure a bundle on a data set."),
    "score": CommandEntry(
        "manylabel.cli.score:score", "Measure predictions that were made anywhere."
    ),
    "compare": CommandEntry(
        "manylabel.cli.compare:compare", "Set profiles, or two models, side by side."
    ),
    "tune": CommandEntry(
        "manylabel.cli.tune:tune", "Fit a bundle's thresholds and calibration to a data set."
    ),
    "report": CommandEntry(
        "manylabel.cli.report:report",
        "Write a report of a model, or of two side by side, as one HTML file.",
    ),
    "predict": CommandEntry("manylabel.cli.predict:predict", "Label images with a bundle."),
    "explain": CommandEntry(
        "manylabel.cli.explain:explain", "Draw where a bundle saw the labels of one image."
    ),
    "models": CommandEntry(
        "manylabel.cli.models:models", "List backbones and heads with their costs."
    ),
    "data": CommandEntry(
        "manylabel.cli.data.group:data", "Look at data sets, or draw one to learn on."
    ),
}
"""The subcommands, in the order of the work."""


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
