"""What commands share: groups of options, a progress bar, and atomic output files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar, final

import click

from manylabel.cli.streams import write_as_utf8
from manylabel.files import replaced_file, write_errors
from manylabel.text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from manylabel.data.read import DataSource
    from manylabel.data.records import Records
    from manylabel.predict import Predictor

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

DATA_FORMATS: Final = (
    "auto",
    "nus-wide",
    "srn-lists",
    "wider-attribute",
    "visual-genome-500",
    "openimages",
    "celeba",
    "pa100k",
    "label-studio",
    "voc",
    "fiftyone",
    "imagefolder",
    "roboflow",
    "coco",
    "table",
    "parquet",
    "huggingface",
    "webdataset",
    "folder",
)
"""The values of `--format` for a data set, as in `DataSource`; importing that would be slow."""


@final
@dataclass(frozen=True, slots=True)
class DataOptions:
    """The options of a command that describe the data set; an option that was not given is None.

    The fields are those of `manylabel.data.read.DataSource`.
    """

    path: Path | None
    format: str | None
    images: Path | None
    image_column: str | None
    label_column: str | None
    label_delimiter: str | None
    split_column: str | None
    options: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """The given options in the form of a recipe's table `data`, with paths as text.

        Raises:
            ConfigError: A value of `--option` is not KEY=VALUE.
        """
        from manylabel.config import override

        named = {name: value for name, value in asdict(self).items() if name != "options"}
        given = {name: str(value) for name, value in named.items() if value is not None}
        return override(given, self.options, option="--option")


def data_options(*, required: bool, argument: bool = False) -> Decorator:
    """Adds --data and its related options; the command gets `data`, a `DataOptions`.

    Args:
        required: Whether the command needs --data.
        argument: Whether the data set is the argument DATA instead of the option --data.
    """
    path = click.Path(path_type=Path)
    what = "The data set: a table, a JSON file or a folder. docs/data.md lists all kinds."
    options = (
        click.argument("path", metavar="DATA", type=path)
        if argument
        else click.option("--data", "path", type=path, required=required, help=what),
        click.option(
            "--format",
            type=click.Choice(DATA_FORMATS),
            metavar="KIND",
            help="The kind of data set: table, coco, voc, folder, ...; docs/data.md lists all.  "
            "[default: auto: recognised by its files]",
        ),
        click.option(
            "--images",
            type=path,
            help="The folder of the images.  [default: beside the table or JSON file]",
        ),
        click.option("--image-column", help="Table: the column of image paths."),
        click.option("--label-column", help="Table: the column that holds all labels of an image."),
        click.option(
            "--label-delimiter", help="Table: the text between two labels of this column."
        ),
        click.option("--split-column", help="Table: the column of splits."),
        click.option(
            "--option",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="Another setting of the data set, such as difficult=present. Can be repeated.",
        ),
    )
    return grouped("data", DataOptions, options)


def data_source(options: DataOptions) -> DataSource:
    """The data set to read.

    Raises:
        ConfigError: An option is not valid.
    """
    from manylabel.config import parse
    from manylabel.data.read import DataSource

    return parse(DataSource, options.settings(), where="the options of the data set")


@final
@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The bundle of a command, and how to run it."""

    bundle: Path
    device: str
    batch_size: int
    max_memory: str | None = None


def model_options(command: Command) -> Command:
    """Adds BUNDLE and how to run it; the command gets `model`, a `ModelOptions`."""
    options = (
        click.argument("bundle", type=click.Path(path_type=Path)),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="The device: auto (a GPU if there is one), cpu, cuda, ...",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="The number of images in a batch.",
        ),
        click.option(
            "--max-memory",
            metavar="SIZE",
            help="The most memory that the model and the images of a process may take, such as "
            "4GB, 512MiB or 50%. Small batches are run first to learn what the model takes; images "
            "share the rest, and one that needs more is an error of its own. The memory of a GPU "
            "and that of a data set do not count.  [default: images share 80% of the free memory]",
        ),
    )
    return grouped("model", ModelOptions, options)(command)


def keep_trained_option(command: Command) -> Command:
    """Adds --keep-trained, for commands that leave out images that the bundle was trained on."""
    return click.option(
        "--keep-trained",
        is_flag=True,
        help="Keep images that the bundle was trained on. Otherwise they are left out, whatever "
        "their paths and formats.",
    )(command)


def load_predictor(options: ModelOptions) -> Predictor:
    """The predictor of the bundle.

    Raises:
        BundleError: There is no bundle, or it cannot be used.
        ConfigError: The device cannot be used, or the model takes more memory than is allowed.
    """
    from manylabel.predict import Predictor

    return Predictor.load(
        options.bundle,
        device=options.device,
        batch_size=options.batch_size,
        max_memory=options.max_memory,
    )


def say(line: str) -> None:
    """Print a line for people on stdout. Characters that a terminal would obey are escaped."""
    click.echo(visible(line))


def terminal(stream: TextIO | None = None) -> Console:
    """A rich console on `stream`, stdout by default, that shows names as they are."""
    from manylabel.cli.console import PlainConsole

    return PlainConsole(stream)


@final
class Bar:
    """The progress bar and messages of a command on stderr."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def doing(self, what: str) -> None:
        """Name the current work, in a word or two."""
        self._bar.update(self._task, description=what)

    def done(self, count: int) -> None:
        """Set the number of images done."""
        self._bar.update(self._task, completed=count)

    def done_of(self, count: int, total: int) -> None:
        """Set the number of images done, and the number of all of them."""
        self._bar.update(self._task, completed=count, total=total)

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        self._bar.console.print(line, soft_wrap=True)


@contextmanager
def progress(doing: str, total: int, *, bar: bool = True) -> Iterator[Bar]:
    """A progress bar on stderr, if that is a terminal.

    Args:
        doing: The current work, in a word or two.
        total: The number of images.
        bar: False for no bar, if other output would be mixed with it.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = terminal(sys.stderr)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (bar and console.is_terminal),
        transient=True,
        redirect_stdout=False,  # otherwise rich sends stdout to stderr
    ) as shown:
        yield Bar(shown, shown.add_task(doing, total=total))


@contextmanager
def output(path: Path | None, *, data: bool = True) -> Iterator[TextIO]:
    """A text stream to write to: stdout, or the file at `path`, which appears when it is complete.

    Args:
        path: The file; None: stdout.
        data: Whether data is written, which is always UTF-8; False for text that people read.

    Raises:
        RunError: The file cannot be written. An earlier file at `path` is unchanged.
    """
    if path is None:
        if data:
            write_as_utf8(sys.stdout)
        yield sys.stdout
        sys.stdout.flush()
        return
    with (
        write_errors(path),
        replaced_file(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream


def grouped(name: str, kind: type[Any], options: Sequence[Callable[[Any], Any]]) -> Decorator[Any]:
    """Adds options to a command, which gets them as one argument.

    Args:
        name: The name of the argument.
        kind: Its dataclass, with a field for each option.
        options: The options, in the order of the help.
    """

    def decorate(command: Any) -> Any:
        @wraps(command)
        def call(*arguments: Any, **named: Any) -> Any:
            parts = {field.name: named.pop(field.name) for field in fields(kind)}
            return command(*arguments, **{name: kind(**parts)}, **named)

        for option in reversed(options):
            option(call)
        return call

    return decorate


def split_option(
    what: str = "The images to use.",
    default: str = "test if the data set has it, else val, else all",
) -> Decorator[Any]:
    """Adds --split; the command gets `split`, a word or None, for `part_to_use`.

    Args:
        what: The help.
        default: What is used if it is not given, in words.
    """
    return click.option(
        "--split",
        type=click.Choice(("test", "val", "train", "all")),
        help=f"{what}  [default: {default}]",
    )


def part_to_use(
    records: Records,
    split: str | None,
    trained_on: str | None = None,
    *,
    default: str | None = None,
    images_known: bool = False,
) -> tuple[Records, str]:
    """The images to use, and the name of this part of the data set.

    Args:
        records: The data set.
        split: The value of --split; None: it was not given.
        trained_on: The fingerprint of the images that the model was trained on; None: not known.
        default: The part if --split was not given; None: what the model is measured on.
        images_known: Whether images that the model was trained on are left out later.

    Raises:
        DataError: The split has no image.
    """
    from manylabel.data.records import SPLITS
    from manylabel.evaluate.run import held_out, take_split

    wanted = split or default
    if wanted is None:
        return held_out(records, trained_on=trained_on, images_known=images_known)
    for name in SPLITS:
        if name == wanted:
            return take_split(records, name), name
    return records, "all"
