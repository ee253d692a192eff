"""The command `report`: which ways it can be called, and what it writes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from manylabel.cli.report import report
from manylabel.errors import BundleError, DataError


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Targets, two files of scores and the images, in the working folder."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    rows = [f"{i}.png" for i in range(12)]
    for row in rows:
        Image.new("RGB", (40, 40), "green").save(tmp_path / row)
    (tmp_path / "truth.csv").write_text(
        "image,cat,dog\n" + "".join(f"{row},{i % 2},{i % 3 == 0:d}\n" for i, row in enumerate(rows))
    )
    for name in ("a.csv", "b.csv"):
        lines = [f"{row},{random.random():.3f},{random.random():.3f}" for row in reversed(rows)]
        (tmp_path / name).write_text("image,dog,cat\n" + "\n".join(lines) + "\n")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(report, arguments, catch_exceptions=True)


def payload(page: str):
    return json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])


def test_predictions_become_one_file(files):
    done = run("--predictions", "a.csv", "--targets", "truth.csv")
    assert (done.exit_code, done.output) == (0, "Report: report.html\n")
    page = (files / "report.html").read_text("utf-8")
    assert payload(page)["labels"] == ["cat", "dog"]
    assert payload(page)["positives"] == [6, 4]
    assert page.count("data:image/jpeg") > 3
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_two_files_are_held_against_each_other(files):
    done = run(
        "--predictions", "a.csv", "--predictions2", "b.csv", "--targets", "truth.csv",
        "--out", "pages/two.html",
    )  # fmt: skip
    assert done.exit_code == 0
    found = payload((files / "pages" / "two.html").read_text("utf-8"))
    assert len(found["models"]) == 2
    assert len(found["differences"]) == 2


def test_data_is_another_word_for_targets(files):
    assert run("--predictions", "a.csv", "--data", "truth.csv").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one bundle or two, or --predictions"),
        (["bundle", "--predictions", "a.csv"], "one bundle or two, or --predictions"),
        (["a", "b", "c", "--data", "truth.csv"], "not 3"),
        (["--predictions", "a.csv"], "--targets"),
        (["bundle", "--data", "d", "--predictions2", "b.csv"], "--predictions"),
        (["bundle", "--targets", "truth.csv"], "--data"),
    ],
)
def test_what_does_not_go_together_is_refused(files, arguments, says):
    done = run(*arguments)
    assert done.exit_code == 2
    assert says in done.output


def test_faulty_files_are_told_by_name(files):
    (files / "b.csv").write_text("image,cat,dog\n0.png,0.5,0.5\n")
    done = run("--predictions", "b.csv", "--targets", "truth.csv")
    assert isinstance(done.exception, DataError)
    assert "11 have targets but no predictions" in str(done.exception)
    assert isinstance(run("none", "--data", "truth.csv").exception, BundleError)
