"""HTML pages from templates. Text from users is escaped, and a page loads no other files."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, final

import jinja2
from markupsafe import Markup

from manylabel.files import write_errors, write_text
from manylabel.text import visible

_PACKAGE: Final = "manylabel"


@final
@dataclass(frozen=True, slots=True)
class PageSection:
    """A part of a page that is drawn by one package and put into a page by another one.

    Args:
        anchor: The id of the section. All other ids in it begin with it and a hyphen, so a page can
            have two sections of a kind.
        title: Its heading.
        body: Its HTML, a `section` element.
        styles: The style sheets that it needs after `base.css`, as names for `asset`.
        scripts: The scripts that it needs once at the end of the page, as names for `asset`.
    """

    anchor: str
    title: str
    body: Markup
    styles: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()


def make_section(
    template: str,
    anchor: str,
    title: str,
    content: dict[str, Any],
    *,
    styles: tuple[str, ...] = (),
    scripts: tuple[str, ...] = (),
) -> PageSection:
    """Makes a section from a template, which gets `anchor` and `title` beside the content."""
    made = environment().get_template(template).render(anchor=anchor, title=title, **content)
    body = Markup(made)  # noqa: S704 (the template has escaped it)
    return PageSection(anchor, title, body, styles, scripts)


def needed(sections: Iterable[PageSection]) -> tuple[list[str], list[str]]:
    """The style sheets and the scripts that a page with these sections needs, each once."""
    sections = tuple(sections)
    styles = dict.fromkeys(name for each in sections for name in each.styles)
    return list(styles), list(dict.fromkeys(name for each in sections for name in each.scripts))


def environment() -> jinja2.Environment:
    """The Jinja environment: it finds the templates and has the filters that they use."""
    created = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    created.filters |= {"percent": percent, "change": change, "base64": _base64}
    created.globals["asset"] = asset
    return created


def _shown(value: object) -> object:
    """A value that a template writes. In a text, characters that are not shown are escaped."""
    if type(value) is not str:  # `Markup` is a str too: it is made by us
        return value
    return "\n".join(map(visible, value.split("\n")))


@cache
def asset(name: str) -> Markup:
    """A style sheet or a script from the folder of templates, to be put into a page unescaped.

    The address of a source map is left out, because a browser would try to load it.
    """
    text = files(_PACKAGE).joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text.partition("//# sourceMappingURL=")[0])


def write_html(path: Path, page: str) -> Path:
    """Write a page and return its path.

    Raises:
        RunError: The file cannot be written.
    """
    with write_errors(path, "The report"):
        write_text(path, page)
    return path


def percent(value: float | None) -> str:
    """A fraction as a percentage, or a dash if the value is None or NaN."""
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def change(value: float | None) -> str:
    """A difference of fractions in percentage points, with its sign. Minus is U+2212, not "-"."""
    if value is None or value != value:
        return "–"
    return f"{100 * value:+.1f}".replace("-", "−")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
