"""What commands have in common: options that go together, a progress bar, a file in place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar, final

import click

from manylabel.files import replaced_file, write_errors

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from manylabel.data.read import DataSource
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
    "coco",
    "table",
    "parquet",
    "huggingface",
    "webdataset",
    "folder",
)
"""What `--format` of a data set can be; those of `DataSource`, which would import too much."""


@final
@dataclass(frozen=True, slots=True)
class DataOptions:
    """The data set that a command was given; an option that was not is None.

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
        """The options that were given, as a recipe's table `data` has them: paths as text.

        Raises:
            ConfigError: One of `--option` is no KEY=VALUE.
        """
        from manylabel.config import override

        named = {name: value for name, value in asdict(self).items() if name != "options"}
        given = {name: str(value) for name, value in named.items() if value is not None}
        return override(given, self.options, option="--option")


def data_options(*, required: bool, argument: bool = False) -> Decorator:
    """Adds --data and what goes with it; the command gets `data`, a `DataOptions`.

    Args:
        required: The command cannot do without --data.
        argument: The data set is given as the argument DATA instead of --data.
    """
    path = click.Path(path_type=Path)
    what = "The data set: a table, a JSON file or a folder; docs/data.md lists the kinds."
    options = (
        click.argument("path", metavar="DATA", type=path)
        if argument
        else click.option("--data", "path", type=path, required=required, help=what),
        click.option(
            "--format",
            type=click.Choice(DATA_FORMATS),
            metavar="KIND",
            help="table, coco, voc, folder, ...: docs/data.md has all.  [default: auto: by what "
            "lies there]",
        ),
        click.option(
            "--images",
            type=path,
            help="The folder of the images.  [default: beside the table or JSON file]",
        ),
        click.option("--image-column", help="Table: the column of image paths."),
        click.option("--label-column", help="Table: the column that holds all labels of an image."),
        click.option("--label-delimiter", help="Table: what stands between two of these labels."),
        click.option("--split-column", help="Table: the column of splits."),
        click.option(
            "--option",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="Any other setting of the data set: difficult=present. May be repeated.",
        ),
    )
    return _gathered("data", DataOptions, options)


def data_source(options: DataOptions) -> DataSource:
    """The data set to read.

    Raises:
        ConfigError: An option does not fit.
    """
    from manylabel.config import parse
    from manylabel.data.read import DataSource

    return parse(DataSource, options.settings(), where="the options of the data set")


@final
@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The bundle that a command was given, and how to run it."""

    bundle: Path
    device: str
    batch_size: int


def model_options(command: Command) -> Command:
    """Adds BUNDLE, --device and --batch-size; the command gets `model`, a `ModelOptions`."""
    options = (
        click.argument("bundle", type=click.Path(path_type=Path)),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto (a GPU if there is one), cpu, cuda, ...",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            default=32,
            show_default=True,
            help="Images scored at once.",
        ),
    )
    return _gathered("model", ModelOptions, options)(command)


def load_predictor(options: ModelOptions) -> Predictor:
    """The predictor of the bundle.

    Raises:
        BundleError: There is no bundle, or it cannot be used.
        ConfigError: The device cannot be used.
    """
    from manylabel.predict import Predictor

    return Predictor.load(options.bundle, device=options.device, batch_size=options.batch_size)


def terminal(stream: TextIO | None = None) -> Console:
    """A rich console on `stream`, stdout by default, that prints names as they are.

    Where no terminal is, lines are as long as they need to be.
    """
    from rich.console import Console

    file = stream or sys.stdout
    width = None if file.isatty() else 10_000
    return Console(
        file=file, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False
    )


@final
class Bar:
    """What a command says on stderr while it works."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def done(self, count: int) -> None:
        """So many images are done."""
        self._bar.update(self._task, completed=count)

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        self._bar.console.print(line, soft_wrap=True)


@contextmanager
def progress(doing: str, total: int, *, bar: bool = True) -> Iterator[Bar]:
    """A progress bar on stderr where that is a terminal.

    Args:
        doing: What is going on, in a word or two.
        total: The number of images.
        bar: False leaves the bar out, where it would tear what is printed meanwhile.
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
        redirect_stdout=False,  # rich would send it to stderr
    ) as shown:
        yield Bar(shown, shown.add_task(doing, total=total))


@contextmanager
def output(path: Path | None) -> Iterator[TextIO]:
    """A text stream to write to: stdout, or the file at `path`, which appears when it is whole.

    Raises:
        RunError: The file cannot be written; what lay there before is untouched.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with (
        write_errors(path),
        replaced_file(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream


def _gathered(
    name: str, kind: type[Any], options: Sequence[Callable[[Any], Any]]
) -> Decorator[Any]:
    """Adds `options`, which the command gets as one argument: `name`, of the dataclass `kind`."""

    def decorate(command: Any) -> Any:
        @wraps(command)
        def gathering(*arguments: Any, **named: Any) -> Any:
            parts = {field.name: named.pop(field.name) for field in fields(kind)}
            return command(*arguments, **{name: kind(**parts)}, **named)

        for option in reversed(options):
            option(gathering)
        return gathering

    return decorate
