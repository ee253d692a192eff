"""Pages of the docs that are examples are carried out: their files, their commands."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from docs.generate import DOCS
from manylabel.cli.main import cli

FORMATS = sorted((DOCS / "formats").glob("*.md"))
PAGES = [*FORMATS, DOCS / "scoring.md", DOCS / "comparing.md", DOCS / "splits.md"]
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    sessions = 0
    for kind, content in BLOCK.findall(text):
        language, _, file = kind.partition(" file=")
        if file:
            write(Path(file), content)
        elif language == "images":
            for number, path in enumerate(content.split()):
                draw(Path(path), number)
        elif language == "console":
            sessions += 1
            for command, expected in commands(content):
                check(command, expected)
    assert sessions, "the page shows no command"


def test_every_kind_has_a_page():
    from manylabel.data.read import READERS

    assert {page.stem for page in FORMATS} == set(READERS)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def draw(path, number):
    """Blocks that differ from image to image, 48x40 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = bytes((number * 53 + i * 37) % 256 for i in range(6 * 5 * 3))
    image = Image.frombytes("RGB", (6, 5), pixels)
    image.resize((48, 40), Image.Resampling.NEAREST).save(path)


def commands(content):
    """Pairs of a command and the output that the page shows for it."""
    parts = re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]
    for part in parts:
        command, _, output = part.partition("\n")
        yield command, output


def check(command, expected):
    """Run `manylabel ...` in process; `...` in the expected output stands for anything."""
    words = shlex.split(command)
    assert words[0] == "manylabel", command
    done = CliRunner().invoke(cli, words[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*")
    assert re.fullmatch(pattern, done.output.strip(), re.DOTALL), done.output
