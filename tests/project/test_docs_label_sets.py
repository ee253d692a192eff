"""The page on label sets is carried out: its files, its command, and the targets it shows."""

import csv
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from docs.generate import DOCS
from manylabel.cli.main import cli
from manylabel.config import Config
from manylabel.data.label_sets import LabelSet, apply, read_label_set
from manylabel.data.read import DataSource, read

TEXT = (DOCS / "label-sets.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n`]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def written(tmp_path, monkeypatch):
    """The page's files in the current folder."""
    monkeypatch.chdir(tmp_path)
    for kind, content in BLOCKS:
        _, _, file = kind.partition(" file=")
        if file:
            Path(file).write_text(content, encoding="utf-8")
        elif kind == "images":
            for path in map(Path, content.split()):
                path.parent.mkdir(exist_ok=True)
                Image.new("RGB", (8, 8)).save(path)


def blocks(kind):
    return [content for name, content in BLOCKS if name == kind]


def test_targets_are_as_the_page_shows():
    records = apply(read_label_set(Path("labels.toml")), read(DataSource(path=Path("photos.csv"))))
    (shown,) = blocks("csv targets")
    header, *rows = csv.reader(io.StringIO(shown))
    assert ["image", *records.labels] == header
    assert [[r.key, *map(str, r.targets.tolist())] for r in records] == rows


def test_the_command_prints_what_the_page_shows():
    (session,) = blocks("console")
    command, _, expected = session.removeprefix("$ manylabel ").partition("\n")
    done = CliRunner().invoke(cli, shlex.split(command), catch_exceptions=False)
    pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*")
    assert re.fullmatch(pattern, done.output.strip(), re.DOTALL), done.output


def test_every_part_is_on_the_page():
    assert issubclass(LabelSet, Config)
    for name in LabelSet.model_fields:
        assert f"`{name}`" in TEXT or f"`[{name}]`" in TEXT, name
