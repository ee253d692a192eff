"""The work of `manylabel explain`: draws images with their labels, and writes the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from manylabel.cli.explain_options import ROWS, PictureOptions
from manylabel.cli.explain_subjects import Subject, file_name, unique_names
from manylabel.cli.shared import Bar, say
from manylabel.errors import ConfigError, ImageError
from manylabel.files import write_bytes, write_errors
from manylabel.text import counted, visible

if TYPE_CHECKING:
    from manylabel.explain.explaining import Explanation
    from manylabel.explain.pictures.drawing import Drawing
    from manylabel.explain.pictures.panels import Look
    from manylabel.explain.pictures.shown import ImageShown, Truth
    from manylabel.images import Place
    from manylabel.predict import Prediction, Predictor

MOST_LABELS: Final = 100
"""The largest number of labels in one picture of one image."""
MOST_IN_A_ROW: Final = 12
"""The largest number of labels of an image in a contact sheet."""


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
        from manylabel.evidence import find_method
        from manylabel.explain.explaining import methods

        labels, names = self.predictor.labels, dict.fromkeys(self.wanted.names)
        known = methods(self.predictor.engine)
        self.method = find_method(self.wanted.method, known)
        self.kind = known[self.method]
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
        from manylabel.explain.pictures.sheets import LARGEST, SMALL
        from manylabel.explain.pictures.shown import about, image_shown, open_shown

        truth = _truth(subject, boxes=self.wanted.boxes)
        found, columns = self._explained(subject.place, truth)
        name, memory = Path(subject.name).name, self.predictor.memory
        largest = SMALL if self.wanted.contact_sheet else 2 * LARGEST
        pixels = round(largest * self._look.scale)
        opened = open_shown(subject.place, name, largest=pixels, memory=memory)
        shown = image_shown(self.predictor, opened, found, columns, truth)
        self._about = about(self.predictor, found)
        for line in (f"Image: {subject.name}", shown.summary, *table(shown, found, columns)):
            say(line)
        if not self.wanted.contact_sheet:
            self._write_pictures(shown, f"{file}-{file_name(self.method)}")
            return
        self._rows.append(shown)
        if len(self._rows) == ROWS:
            self._write_rows()

    def _explained(self, place: Place, truth: Truth | None) -> tuple[Explanation, list[int]]:
        """The explanation of an image, and the columns of the labels to show."""
        from manylabel.explain.explaining import explain_image

        predictor = self.predictor
        if not self.kind.costly:
            found = explain_image(predictor, place, self.method)
            return found, self._columns(found, truth)
        columns = self._columns(predictor.predict(place), truth)  # so few labels are computed
        names = [predictor.labels[column] for column in columns]
        return explain_image(predictor, place, self.method, names), columns

    def _columns(self, found: Explanation | Prediction, truth: Truth | None) -> list[int]:
        """The columns of the labels to show, in the order of the picture."""
        from manylabel.explain.pictures.shown import best_labels, choose_labels

        if self.columns:
            return self.columns
        if self.wanted.top:
            return best_labels(found.scores, self.wanted.top)
        present = None if truth is None else truth.targets == 1
        least, most = (2, 4) if self.wanted.contact_sheet else (3, 11)
        return choose_labels(found.scores, found.decided, present, least=least, most=most)

    def _write_pictures(self, shown: ImageShown, name: str) -> None:
        from manylabel.explain.pictures.sheets import draw_label, draw_sheet

        if not self.wanted.each_label:
            self._write(self.wanted.into / name, draw_sheet(shown, self._about, self._look))
            return
        digits = len(str(len(shown.labels)))
        for position, label in enumerate(shown.labels):
            file = f"{position + 1:0{digits}}-{file_name(label.name)}"
            drawing = draw_label(shown, position, self._about, self._look)
            self._write(self.wanted.into / name / file, drawing)

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
        self._write(self.wanted.into / name, drawing)

    @property
    def _look(self) -> Look:
        from manylabel.explain.pictures.panels import Look

        return Look(theme=self.wanted.theme, style=self.wanted.style, scale=self.wanted.scale)

    def _write(self, path: Path, drawing: Drawing) -> None:
        from manylabel.explain.pictures.raster import to_pixels
        from manylabel.explain.pictures.svg import to_svg

        form, scale = self.wanted.picture_format, self._look.scale
        target = path.with_name(f"{path.name}.{form}")
        data = to_svg(drawing) if form == "svg" else to_pixels(drawing, form, scale)
        with write_errors(target, "The picture"):
            write_bytes(target, data)
        say(f"Picture: {target}")


def table(shown: ImageShown, found: Explanation, columns: Sequence[int]) -> Iterator[str]:
    """A line for each label: score, threshold, verdict, and the highest point of its map."""
    from manylabel.explain.localisation import peaks

    width = max(5, *(len(visible(label.name)) for label in shown.labels))
    said = max(7, *(len(label.said) for label in shown.labels))
    yield f"{'label':{width}}  score  threshold  {'verdict':{said}}  highest at x, y"
    rows = [found.columns.index(column) for column in columns]
    points = peaks(found.maps[rows])
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
