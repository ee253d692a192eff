"""`manylabel label`: labels a folder of photographs from some examples."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import click

from manylabel.cli.shared import grouped, say
from manylabel.text import counted, visible

if TYPE_CHECKING:
    from manylabel.data.read import DataSource
    from manylabel.labelling.run import Labelled, Task
    from manylabel.train.auto.ways import Choices

_TO_SHOW: Final = 40


@final
@dataclass(frozen=True, slots=True)
class ExampleOptions:
    """The tables of examples, and their columns. What was not given is None."""

    tables: tuple[Path, ...]
    image_column: str | None
    label_column: str | None
    label_delimiter: str | None

    def sources(self) -> list[DataSource]:
        """The tables as data sets.

        Raises:
            ConfigError: An option is not valid.
        """
        from manylabel.config import parse
        from manylabel.data.read import DataSource

        named: dict[str, Any] = {
            "image_column": self.image_column,
            "label_column": self.label_column,
            "label_delimiter": self.label_delimiter,
        }
        given = {name: value for name, value in named.items() if value is not None}
        return [
            parse(DataSource, {"path": str(path), **given}, where="the options of the examples")
            for path in self.tables
        ]


@final
@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How the model is trained. What was not given is None or empty."""

    minutes: float | None
    backbone_weights: str | None
    device: str
    seed: int
    settings: tuple[str, ...]

    def choices(self) -> Choices:
        """The choices of a training without a recipe."""
        from manylabel.train.auto.ways import Choices

        return Choices(self.seed, self.device, self.backbone_weights, self.settings)


_EXAMPLES = (
    click.option(
        "--examples",
        "tables",
        type=click.Path(path_type=Path),
        multiple=True,
        required=True,
        metavar="TABLE",
        help="A table with the labels of some of the photographs: columns image and labels, such "
        "as a.jpg,heron|water. Can be repeated; of a photograph that is in several tables, the "
        "last one counts.",
    ),
    click.option("--image-column", help="The column of image paths."),
    click.option("--label-column", help="The column that holds all labels of an image."),
    click.option("--label-delimiter", help="The text between two labels of this column."),
)

_TRAINING = (
    click.option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        help="The minutes that training may take.  [default: 5, or 60 with a GPU]",
    ),
    click.option(
        "--backbone-weights",
        metavar="FILE|BUNDLE|package",
        help="Pre-trained weights of the backbone, as for train.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="The device: auto (a GPU if there is one), cpu, cuda, ...",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed."
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="A key of the recipe, such as input.width=320. Can be repeated.",
    ),
)


@click.command(short_help="Label a folder of photographs from some examples.")
@click.argument("photos", type=click.Path(path_type=Path))
@grouped("examples", ExampleOptions, _EXAMPLES)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of the results.  [default: runs/ and the name of PHOTOS and '-labels']",
)
@grouped("training", TrainOptions, _TRAINING)
@click.option(
    "--check",
    "to_show",
    type=click.IntRange(min=0),
    default=_TO_SHOW,
    show_default=True,
    metavar="N",
    help="The number of photographs to check on the page.",
)
def label(
    photos: Path,
    examples: ExampleOptions,
    out: Path | None,
    training: TrainOptions,
    to_show: int,
) -> None:
    """Label the photographs in the folder PHOTOS from some examples, in one go.

    It trains a model on the examples, tunes it, and labels all other photographs. The folder of the
    results then has labels.csv, a table for people; check.html, a page to correct the photographs
    that are least sure; check.csv, the same ones as a table; examples.csv, all examples; and run/,
    with the bundle. Give corrections as further examples, and run it again into the same folder.

    A photograph that cannot be read is reported and skipped, and the exit code is then 1.

    \b
    Examples:
      manylabel label photos/ --examples labels.csv --out labelled
      manylabel label photos/ --examples labelled/examples.csv --examples checked.csv --out labelled
    """
    from manylabel.cli.image_files import find_images
    from manylabel.labelling.examples import read_examples
    from manylabel.labelling.run import Task, label_folder
    from manylabel.processes import require_one_process
    from manylabel.train.logs import Reporter

    require_one_process("label")
    _require_folder(photos)
    files = find_images([str(photos)])
    files.require_all()
    task = Task(
        photos,
        files.images,
        read_examples(examples.sources(), photos),
        out or Path("runs") / f"{photos.absolute().name}-labels",
        training.minutes,
        training.choices(),
        to_show=to_show,
    )
    with Reporter() as reporter:
        found = label_folder(task, reporter)
    files.tell()
    _tell(task, found)
    if found.bad:
        click.get_current_context().exit(1)


def _require_folder(photos: Path) -> None:
    if not photos.is_dir():
        from manylabel.errors import DataError

        raise DataError(
            "It is not a folder." if photos.exists() else "There is no such folder.",
            where=str(photos),
            fix="Give the folder of photographs. For a trained bundle and single files there is "
            "manylabel predict.",
        )


def _tell(task: Task, found: Labelled) -> None:
    """Print what was done, and what to do next. Photographs that cannot be read go to stderr."""
    from manylabel.labelling.run import next_command
    from manylabel.train.durations import in_words

    for error in found.bad:
        click.echo(visible(f"Skipped {error.where}: {error.what} {error.fix}"), err=True)
    if found.bad:
        click.echo(f"{counted(len(found.bad), 'photograph')} cannot be read.", err=True)
    say(
        f"{counted(found.examples, 'example')}, {counted(len(found.labels), 'label')}, "
        f"{in_words(found.seconds)}. {found.way.capitalize()}."
    )
    say(f"Measured: {found.figures}.")
    say(
        f"Labelled: {counted(found.predicted, 'photograph')}, {found.empty:,} of them without any "
        f"label. The table: {found.out / 'labels.csv'}"
    )
    for name in found.copies:
        say(f"A table that you had changed was kept as {found.out / name}")
    say("Next:")
    say(f"  1. Correct the {found.shown} least sure ones: open {found.out / 'check.html'}")
    say(f"  2. Train again: {next_command(task)}")
    bundle = shlex.quote(str(found.out / "run" / "bundle"))
    say(f"  3. Label other folders: manylabel predict {bundle} FOLDER --format spreadsheet")
