"""The pictures of `manylabel explain`: which images and labels, and where the files go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, final

import click

from manylabel.cli.shared import Bar, Decorator, grouped, say
from manylabel.errors import ConfigError, DataError, ImageError
from manylabel.files import write_bytes, write_errors
from manylabel.text import counted, visible

if TYPE_CHECKING:
    from manylabel.data.records import Record, Records
    from manylabel.explain.attention import Explanation
    from manylabel.explain.pictures.drawing import Drawing
    from manylabel.explain.pictures.panels import Look
    from manylabel.explain.pictures.shown import About, ImageShown, Truth
    from manylabel.images import Place
    from manylabel.predict import Predictor

MOST_LABELS: Final = 100
"""The largest number of labels in one picture of one image."""
MOST_IN_A_ROW: Final = 12
"""The largest number of labels of an image in a contact sheet."""
ROWS: Final = 12
"""The largest number of images in one contact sheet; further ones begin another file."""
FROM_DATA: Final = 24
"""The number of images of a data set that are drawn if nothing is said."""

_LONGEST_NAME: Final = 80


@final
@dataclass(frozen=True, slots=True)
class PictureOptions:
    """What `manylabel explain` draws, and how."""

    folder: Path
    method: str | None
    names: tuple[str, ...]
    top: int | None
    boxes: bool
    each_label: bool
    contact_sheet: bool
    limit: int | None
    style: Literal["smooth", "grid"]
    theme: Literal["light", "dark"]
    picture_format: Literal["png", "svg"]


def picture_options() -> Decorator:
    """Adds the options of pictures; the command gets `pictures`, a `PictureOptions`."""
    count = click.IntRange(min=1)
    options = (
        click.option(
            "--out",
            "folder",
            type=click.Path(path_type=Path),
            required=True,
            metavar="DIR",
            help="The folder for the pictures. It is created if it does not exist.",
        ),
        click.option(
            "--method",
            metavar="METHOD",
            help="The method of the maps. An error lists the methods that the model has.  "
            "[default: the model's best one]",
        ),
        click.option(
            "--label",
            "names",
            multiple=True,
            metavar="NAME",
            help="Show this label. Can be repeated.",
        ),
        click.option(
            "--top", type=count, metavar="K", help="Show the K labels with the highest scores."
        ),
        click.option(
            "--boxes", is_flag=True, help="Draw the boxes of the objects that --data has."
        ),
        click.option(
            "--each-label", is_flag=True, help="Write a large picture for each label of an image."
        ),
        click.option(
            "--contact-sheet",
            is_flag=True,
            help=f"Write one picture of all images, a row for each; {ROWS} rows a file.",
        ),
        click.option(
            "--limit",
            type=count,
            metavar="N",
            help="Draw the first N images only.  "
            f"[default: all images of PATHS; {FROM_DATA} of a data set]",
        ),
        click.option(
            "--style",
            type=click.Choice(("smooth", "grid")),
            default="smooth",
            show_default=True,
            help="smooth: interpolated maps with a contour. grid: the model's own cells.",
        ),
        click.option(
            "--theme",
            type=click.Choice(("light", "dark")),
            default="light",
            show_default=True,
            help="The colours around the images.",
        ),
        click.option(
            "--picture-format",
            type=click.Choice(("png", "svg")),
            default="png",
            show_default=True,
            help="The format of the files. SVG has real text.",
        ),
    )
    return grouped("pictures", PictureOptions, options)


def check_pictures(wanted: PictureOptions) -> None:
    """Refuse options that exclude one another.

    Raises:
        UsageError: They do.
    """
    if wanted.names and wanted.top:
        raise click.UsageError("Give --label or --top, not both.")
    if wanted.each_label and wanted.contact_sheet:
        raise click.UsageError("Give --each-label or --contact-sheet, not both.")


# Which images


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """One image to explain: its place, the name to show, and its record if the truth is known."""

    name: str
    place: Place
    record: Record | None = None


def subjects_of(
    paths: Sequence[str], records: Records | None, limit: int | None
) -> tuple[list[Subject], int]:
    """The images to draw, and how many there would be without the limit.

    Args:
        paths: Images, folders and patterns; if there are none, the images of the data set.
        records: The data set; None: there is none, and the truth is not known.
        limit: The largest number of images.

    Raises:
        DataError: There is no image in a folder or for a pattern, or none in the data set.
    """
    if paths:
        found = _named_images(paths, records)
        return found[:limit], len(found)
    assert records is not None
    if not len(records):
        raise DataError(
            "The data set has no image.", where=records.source, fix="Give one that has images."
        )
    shown = range(min(len(records), limit or FROM_DATA))
    chosen = [Subject(records.keys[i], records.images[i], records[i]) for i in shown]
    return chosen, len(records)


def _named_images(paths: Sequence[str], records: Records | None) -> list[Subject]:
    from manylabel.cli.predict import find_images

    images = find_images(paths)
    if records is None:
        return [Subject(_shown_path(image), image) for image in images]
    wanted = {os.path.realpath(image) for image in images}
    known: dict[str, int] = {}
    for position, place in enumerate(records.images):
        if isinstance(place, Path) and (real := os.path.realpath(place)) in wanted:
            known.setdefault(real, position)
    found = [known.get(os.path.realpath(image)) for image in images]
    return [
        Subject(_shown_path(image), image, None if at is None else records[at])
        for image, at in zip(images, found, strict=True)
    ]


def _shown_path(path: Path) -> str:
    """The path as valid text, also if its bytes are not valid UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()


# Which files


def unique_names(names: Sequence[str]) -> list[str]:
    """A name of a file for each image, without its ending, each one different.

    It is the last part of the image's name. If several images would have the same, all but the
    first get a number. Names that differ in small and large letters only count as the same,
    because they are on some file systems.

    Example:
        >>> unique_names(["a/cat.jpg", "b/cat.png", "dog.jpg"])
        ['cat', 'cat-2', 'dog']
    """
    stems = [file_name(Path(name).stem) for name in names]
    taken = {stem.casefold() for stem in stems}
    seen: set[str] = set()
    unique = []
    for stem in stems:
        name, number = stem, 1
        while name.casefold() in seen or (number > 1 and name.casefold() in taken):
            number += 1
            name = f"{stem}-{number}"
        seen.add(name.casefold())
        unique.append(name)
    return unique


def file_name(text: str) -> str:
    """A text as a part of a file's name: at most 80 characters that every file system takes.

    Example:
        >>> file_name("traffic light/red?"), file_name("雪")
        ('traffic_light_red_', '雪')
    """
    kept = "".join(c if c.isalnum() or c in "-_. " else "_" for c in text).replace(" ", "_")
    while len(kept.encode()) > 2 * _LONGEST_NAME or len(kept) > _LONGEST_NAME:
        kept = kept[:-1]
    return kept.strip(".") or "image"


# The work


@final
@dataclass
class Pictures:
    """Draws images and writes the files. `bad` counts the images that could not be used."""

    predictor: Predictor
    wanted: PictureOptions
    report: Bar
    bad: int = 0
    _rows: list[ImageShown] = field(default_factory=list)
    _sheets: int = 0

    def __post_init__(self) -> None:
        """Find the labels and the method, so that a mistake ends the command before the work."""
        labels, names = self.predictor.labels, dict.fromkeys(self.wanted.names)
        self.method = self.predictor.engine.method(self.wanted.method)
        self.columns = [labels.index(name) for name in names]
        most = MOST_IN_A_ROW if self.wanted.contact_sheet else MOST_LABELS
        number = len(self.columns) or min(self.wanted.top or 0, len(labels))
        if number > most and not self.wanted.each_label:
            raise ConfigError(
                f"One picture cannot show {number:,} labels of an image; {most} at most.",
                where="--label" if self.columns else "--top",
                fix="Give fewer labels, or --each-label for a picture of each label.",
            )

    def draw(self, subjects: Sequence[Subject]) -> None:
        """Draw all images. One that cannot be used is reported, and the others go on.

        Raises:
            RunError: A picture cannot be written.
        """
        files = unique_names([subject.name for subject in subjects])
        for done, (subject, file) in enumerate(zip(subjects, files, strict=True), start=1):
            try:
                self._draw_one(subject, file)
            except ImageError as error:
                self.bad += 1
                self.report.say(visible(f"Skipped {error.where}: {error.what} {error.fix}"))
            self.report.done(done)
        self._write_rows()

    def _draw_one(self, subject: Subject, file: str) -> None:
        from manylabel.explain.attention import explain_image
        from manylabel.explain.pictures.shown import Source, about, image_shown
        from manylabel.images import open_image

        image = open_image(subject.place)
        found = explain_image(self.predictor, image, self.method)
        truth = _truth(subject, boxes=self.wanted.boxes)
        columns = self._columns(found, truth)
        source = Source(Path(subject.name).name, image)
        largest = 448 if self.wanted.contact_sheet else 2240
        shown = image_shown(self.predictor, source, found, columns, truth, largest=largest)
        self._about = about(self.predictor, found)
        say(f"Image: {subject.name}")
        say(shown.summary)
        for line in table(shown, found, columns):
            say(line)
        if self.wanted.contact_sheet:
            self._rows.append(shown)
            if len(self._rows) == ROWS:
                self._write_rows()
        else:
            self._write_pictures(shown, f"{file}-{file_name(self.method)}")

    def _columns(self, found: Explanation, truth: Truth | None) -> list[int]:
        """The columns of the labels to show, in the order of the picture."""
        from manylabel.explain.pictures.shown import best_labels, choose_labels

        if self.columns:
            return self.columns
        if self.wanted.top:
            return best_labels(found.scores, self.wanted.top)
        present = None if truth is None else truth.targets == 1
        least, most = (4, 4) if self.wanted.contact_sheet else (3, 11)
        return choose_labels(found.scores, found.decided, present, least=least, most=most)

    def _write_pictures(self, shown: ImageShown, name: str) -> None:
        from manylabel.explain.pictures.sheets import draw_label, draw_sheet

        if not self.wanted.each_label:
            self._write(self.wanted.folder / name, draw_sheet(shown, self._about, self._look))
            return
        digits = len(str(len(shown.labels)))
        for position, label in enumerate(shown.labels):
            file = f"{position + 1:0{digits}}-{file_name(label.name)}"
            drawing = draw_label(shown, position, self._about, self._look)
            self._write(self.wanted.folder / name / file, drawing)

    def _write_rows(self) -> None:
        """Write the rows of the contact sheet so far, if there are any."""
        from manylabel.explain.pictures.sheets import draw_contact_sheet

        if not self._rows:
            return
        self._sheets += 1
        number = f"-{self._sheets}" if self._sheets > 1 else ""
        title = counted(len(self._rows), "image")
        drawing = draw_contact_sheet(title, self._rows, self._about, self._look)
        self._rows = []
        name = f"contact-sheet-{file_name(self.method)}{number}"
        self._write(self.wanted.folder / name, drawing)

    @property
    def _look(self) -> Look:
        from manylabel.explain.pictures.panels import Look

        return Look(theme=self.wanted.theme, style=self.wanted.style)

    def _write(self, path: Path, drawing: Drawing) -> None:
        from manylabel.explain.pictures.png import to_png
        from manylabel.explain.pictures.svg import to_svg

        svg = self.wanted.picture_format == "svg"
        target = path.with_name(f"{path.name}.{self.wanted.picture_format}")
        data = to_svg(drawing) if svg else to_png(drawing, self._look.scale)
        with write_errors(target, "The picture"):
            write_bytes(target, data)
        say(f"Picture: {target}")


def table(shown: ImageShown, found: Explanation, columns: Sequence[int]) -> Iterator[str]:
    """A line for each label: score, threshold, verdict, and the highest point of its map."""
    from manylabel.explain.localisation import peaks

    width = max(5, *(len(visible(label.name)) for label in shown.labels))
    said = max(7, *(len(label.said) for label in shown.labels))
    yield f"{'label':{width}}  score  threshold  {'verdict':{said}}  highest at x, y"
    points = peaks(found.maps[list(columns)])
    for label, (x, y) in zip(shown.labels, points, strict=True):
        yield (
            f"{visible(label.name):{width}}  {label.score:.3f}  {label.threshold:9.3f}  "
            f"{label.said:{said}}  {x * shown.size[0]:.0f}, {y * shown.size[1]:.0f}"
        )


def _truth(subject: Subject, *, boxes: bool) -> Truth | None:
    from manylabel.explain.pictures.shown import Truth

    if subject.record is None:
        return None
    return Truth(subject.record.targets, subject.record.boxes if boxes else ())
