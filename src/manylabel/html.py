"""HTML pages from templates: text of users is escaped, and all that a page needs is in it."""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from manylabel.files import write_errors, write_text

_PACKAGE: Final = "manylabel"


def environment() -> jinja2.Environment:
    """Where the templates of pages are found, with what they call."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"percent": percent, "change": change, "base64": _base64}
    made.globals["asset"] = asset
    return made


@cache
def asset(name: str) -> Markup:
    """A style sheet or a script beside the templates, to be put into a page as it is.

    The address of a source map is left out: a browser would look for it.
    """
    text = files(_PACKAGE).joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text.partition("//# sourceMappingURL=")[0])


def write_html(path: Path, page: str) -> Path:
    """Write a page, and give its path back.

    Raises:
        RunError: The file cannot be written.
    """
    with write_errors(path, "The report"):
        write_text(path, page)
    return path


def percent(value: float | None) -> str:
    """A fraction in percent; a dash where the figure is not defined."""
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def change(value: float | None) -> str:
    """A difference in points with its sign, a real minus among them."""
    if value is None or value != value:
        return "–"
    return f"{100 * value:+.1f}".replace("-", "−")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
