"""The command's output, files and exit codes, and the page as a reader of HTML sees it."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from manylabel.cli.data.check import check
from manylabel.data.doctor.duplicates import _KINDS


def photo(seed):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    return coarse.resize((320, 240), Image.Resampling.BICUBIC)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes photos.csv of rows (image, labels, split, number of the picture)."""
    monkeypatch.chdir(tmp_path)

    def build(*rows):
        lines = ["image,labels,split"]
        for name, labels, split, number in rows:
            photo(number).save(name)
            lines.append(f"{name},{labels},{split}")
        (tmp_path / "photos.csv").write_text("\n".join(lines) + "\n")

    return build


GOOD = [("a.png", "x|y", "train", 0), ("b.png", "x", "train", 1)]


def run(*arguments):
    return CliRunner().invoke(check, ["photos.csv", *arguments], catch_exceptions=False)


def test_a_leak_is_told_and_exits_with_1(table):
    table(*GOOD, ("<c>.png", "x|y", "test", 0))
    done = run("--json", "found.json", "--html", "found.html")
    assert done.exit_code == 1
    assert "error  1 picture: the same file is in two splits" in done.output
    assert "    a.png (train) = <c>.png (test)\n" in done.output
    assert "\n  fix:  Remove the copy from train" in done.output
    assert "3 images opened in " in done.output
    with open("found.json", encoding="utf-8") as file:
        told = json.load(file)
    assert told["findings"][0]["kind"] == "duplicates.leak"
    assert f"{told['severities']['error']} error" in done.output


def test_warnings_exit_with_1_only_if_strict(table):
    table(*GOOD)  # two labels with few positives each: a warning, no error
    assert (run().exit_code, run("--strict").exit_code) == (0, 1)


def test_quick_opens_no_image(table):
    table(*GOOD, ("c.png", "x|y", "test", 0))
    done = run("--quick")
    assert done.exit_code == 0
    assert "no image opened" in done.output
    assert "duplicates" not in done.output


def test_the_comparison_of_many_labels_is_told(table):
    names = [f"l{number}" for number in range(1200)]
    table(("a.png", "|".join(names), "train", 0), ("b.png", "l0", "train", 1))
    done = run("--quick")
    assert "Comparing 1,200 labels with one another" in done.stderr


@pytest.mark.parametrize("workers", ["0", "x"])
def test_workers_are_a_number(table, workers):
    table(*GOOD)
    assert run("--workers", workers).exit_code == 2


class Page(HTMLParser):
    """Open tags, pictures, outside addresses and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.links, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "img":
            self.pictures.append(attributes["src"])
        self.links += [v for k, v in attributes.items() if k in ("src", "href") and v != "data:,"]
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_stands_alone(table):
    table(*GOOD, ("<c>.png", "x|y", "test", 0))
    run("--html", "sub/found.html")
    with open("sub/found.html", encoding="utf-8") as file:
        page = Page(file.read())
    assert page.open == []
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert len(page.pictures) == 2
    for source in page.pictures:
        image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        assert image.size == (200, 150)
    text = " ".join(" ".join(page.text).split())
    assert "<c>.png" in text  # escaped in the source
    assert "test: x, y" in text
    assert "duplicates.leak" in text


def test_an_image_that_went_after_the_check_leaves_a_gap(table, tmp_path):
    from manylabel.data.doctor.check import check as diagnose
    from manylabel.data.doctor.page import render
    from manylabel.data.readers.table import read_table

    table(*GOOD, ("c.png", "x|y", "test", 0))
    records = read_table(tmp_path / "photos.csv")
    found = diagnose(records, workers=1)
    (tmp_path / "c.png").unlink()
    assert len(Page(render(found, records)).pictures) == 1


def test_a_page_that_cannot_be_written_is_told(table, tmp_path):
    from manylabel.errors import RunError

    table(*GOOD)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        run("--html", "file/found.html")


def test_the_docs_tell_of_every_finding():
    root = Path(__file__).parents[4]
    text = (root / "docs" / "doctor.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (root / "src/manylabel/data/doctor").glob("*.py")
    )
    kinds = set(re.findall(r'kind="([a-z]+\.[a-z_]+)"', code)) | {
        f"duplicates.{name}" for name in _KINDS
    }
    assert len(kinds) == 27
    assert kinds == set(re.findall(r"`([a-z]+\.[a-z_]+)`", text)) - {"benchmarks.doctor"}
