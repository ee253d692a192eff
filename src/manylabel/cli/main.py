"""The `manylabel` command: its subcommands by name, and the only place that catches errors.

A subcommand is imported when it is called, and it imports torch when it runs. So `--help` is fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NoReturn

import click

from manylabel.cli.lazy import CommandEntry, LazyGroup
from manylabel.cli.streams import guard_streams
from manylabel.cli.warned import counted_warnings
from manylabel.errors import ManylabelError, RunError
from manylabel.text import visible
from manylabel.version import __version__

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C: 128 plus the number of SIGINT, as in shells."""

_NO_MEMORY: Final = RunError(
    "There is not enough memory for this.",
    where="the command",
    fix="Close other programs, use fewer images or labels, or a machine with more memory.",
)

COMMANDS: Final[dict[str, CommandEntry]] = {
    "demo": CommandEntry(
        "manylabel.cli.demo:demo",
        "Show what relations between labels bring: draw scenes, train SRN and three baselines.",
        alone=True,
    ),
    "label": CommandEntry(
        "manylabel.cli.label:label",
        "Label a folder of photographs from some examples.",
        alone=True,
    ),
    "train": CommandEntry(
        "manylabel.cli.train:train", "Train a model, and measure it.", alone=True
    ),
    "evaluate": CommandEntry("manylabel.cli.evaluate:evaluate", "Measure a bundle on a data set."),
    "score": CommandEntry("manylabel.cli.score:score", "Measure a file of predictions."),
    "compare": CommandEntry("manylabel.cli.compare:compare", "Compare profiles, or two models."),
    "tune": CommandEntry(
        "manylabel.cli.tune:tune",
        "Fit a bundle's thresholds and calibration to a data set.",
        alone=True,
    ),
    "report": CommandEntry(
        "manylabel.cli.report:report",
        "Write a report of one model or two as one HTML file.",
        alone=True,
    ),
    "predict": CommandEntry(
        "manylabel.cli.predict:predict", "Label images with a bundle.", alone=True
    ),
    "explain": CommandEntry(
        "manylabel.cli.explain:explain", "Draw the evidence for the labels of images.", alone=True
    ),
    "audit": CommandEntry(
        "manylabel.cli.audit:audit", "Find labels whose scores rest on other labels.", alone=True
    ),
    "relations": CommandEntry(
        "manylabel.cli.relations:relations",
        "Measure what a bundle learned about labels that go together.",
        alone=True,
    ),
    "models": CommandEntry(
        "manylabel.cli.models:models", "List backbones and heads with their costs."
    ),
    "data": CommandEntry(
        "manylabel.cli.data.group:data", "Inspect, check, convert, split or draw data sets."
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

    Exit codes: 0: done. 1: the work started, but an error ended it. 2: the work cannot start as
    requested. 130: interrupted. 141: the reader of the output has left.
    """
    guard_streams()
    try:
        with counted_warnings():
            code = _run(arguments)
        sys.stdout.flush()
    except ManylabelError as error:
        code = error.exit_code
        _tell(f"Error: {error}")
    except MemoryError:
        code = RunError.exit_code
        _tell(f"Error: {_NO_MEMORY}")
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line, and return the exit code."""
    try:
        return cli.main(arguments, prog_name="manylabel", standalone_mode=False)
    except click.ClickException as error:
        vars(error)["message"] = visible(error.message)  # it may quote an argument
        with suppress(ManylabelError):
            error.show()
        return error.exit_code
    except click.Abort as abort:
        # click raises it for Ctrl-C, and also for an EOFError, which would be a fault of ours.
        if not isinstance(abort.__cause__, KeyboardInterrupt):
            raise
        _tell("Interrupted.")
        return INTERRUPTED


def _tell(line: str) -> None:
    """Print a line on stderr. If that cannot be written, the exit code says enough."""
    with suppress(ManylabelError):
        click.echo(line, err=True)
