"""The options of the pictures of `manylabel explain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, final

import click

from manylabel.cli.shared import Decorator, grouped

ROWS: Final = 12
"""The largest number of images in one contact sheet; further ones begin another file."""
FROM_DATA: Final = 24
"""The number of images of a data set that are drawn if nothing is said."""

_COUNT: Final = click.IntRange(min=1)

_WHAT: Final = (
    click.option(
        "--out",
        "folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The folder for the pictures. It is created if it does not exist. With --score: a "
        "JSON file for all figures, which may be left out.",
    ),
    click.option(
        "--method",
        metavar="METHOD",
        help="The method of the maps. An error lists the methods that the model has.  "
        "[default: the head's own attention, or its first method]",
    ),
    click.option(
        "--label",
        "names",
        multiple=True,
        metavar="NAME",
        help="Show this label. Can be repeated.",
    ),
    click.option(
        "--top", type=_COUNT, metavar="K", help="Show the K labels with the highest scores."
    ),
    click.option("--boxes", is_flag=True, help="Draw the boxes of the objects that --data has."),
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
        type=_COUNT,
        metavar="N",
        help="Draw the first N images only.  "
        f"[default: all images of PATHS; {FROM_DATA} of a data set]",
    ),
)
"""What is drawn."""

_HOW: Final = (
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
        type=click.Choice(("png", "jpg", "svg")),
        default="png",
        show_default=True,
        help="The format of the files. JPG is smaller; SVG has real text.",
    ),
    click.option(
        "--scale",
        type=click.FloatRange(0.5, 4),
        metavar="S",
        default=2,
        show_default=True,
        help="The size of the pictures; 1 is made for ordinary screens, 2 for fine ones.",
    ),
)
"""How it looks."""


@final
@dataclass(frozen=True, slots=True)
class PictureOptions:
    """What `manylabel explain` draws, and how."""

    folder: Path | None
    method: str | None
    names: tuple[str, ...]
    top: int | None
    boxes: bool
    each_label: bool
    contact_sheet: bool
    limit: int | None
    style: Literal["smooth", "grid"]
    theme: Literal["light", "dark"]
    picture_format: Literal["png", "jpg", "svg"]
    scale: float

    @property
    def into(self) -> Path:
        """The folder for the pictures, after `check_pictures`."""
        assert self.folder is not None
        return self.folder


def picture_options() -> Decorator:
    """Adds the options of pictures; the command gets `pictures`, a `PictureOptions`."""
    return grouped("pictures", PictureOptions, (*_WHAT, *_HOW))


def check_pictures(wanted: PictureOptions) -> None:
    """Refuse options that exclude one another.

    Raises:
        UsageError: They do.
    """
    if wanted.folder is None:
        raise click.UsageError("Missing option '--out': the folder for the pictures.")
    if wanted.names and wanted.top:
        raise click.UsageError("Give --label or --top, not both.")
    if wanted.each_label and wanted.contact_sheet:
        raise click.UsageError("Give --each-label or --contact-sheet, not both.")
