"""Names that hold commands for a terminal go through every command, and none reaches it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from manylabel.cli.main import main
from manylabel.data.read import DataSource, read
from manylabel.text import visible

ESC = "\x1b[2J\x1b]0;owned\x07"
HOSTILE = (f"cat{ESC}", "dog\x9b31m\x7f", "owl\u202egpj\u2066\n  fix:   run this")
COUNT = 12


@pytest.fixture(scope="module")
def folder(make_image, make_bundle, tmp_path_factory) -> Path:
    """A data set and a bundle whose labels, keys and paths are hostile."""
    folder = tmp_path_factory.mktemp("hostile") / f"f{ESC}"
    folder.mkdir()
    make_bundle(folder / "bundle", labels=HOSTILE)
    names = [f"{number}{ESC}\u202e\n.png" for number in range(COUNT)]
    for number, name in enumerate(names):
        make_image(folder / name, seed=number)
    make_image(folder.parent / f"out{ESC}.png")
    for path, splits in (("data.csv", "train val"), ("val.csv", "val val")):
        with (folder / path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *HOSTILE, "split", f"other{ESC}"])
            for number, name in enumerate(names):
                targets = [(number + label) % 2 for label in range(3)]
                writer.writerow([name, *targets, splits.split()[number % 2], f"x{ESC}"])
    (folder / f"bad{ESC}.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def run(folder, capsys):
    """Runs a command and gives its exit code and output, which may hold no control character."""

    def call(line: str, *more: str) -> tuple[int, str]:
        words = [word.replace("IN/", f"{folder}/") for word in line.split()]
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        captured = capsys.readouterr()
        shown = captured.out + captured.err
        assert all(visible(part) == part for part in shown.split("\n"))
        assert "\n  fix:   run this" not in shown
        return int(ended.value.code or 0), shown

    return call


def test_data_sets(run, folder: Path) -> None:
    for line in (
        "data show IN/data.csv",
        "data show IN/data.csv --json",
        "data check IN/data.csv",
        "data convert IN/data.csv IN/data.parquet",
        "data convert IN/data.csv IN/shards --to webdataset",
        "data split IN/data.csv --out IN/split.parquet",
    ):
        code, shown = run(line)
        assert code in {0, 1}, (line, shown)
    assert read(DataSource(path=folder / "data.parquet")).labels.names == HOSTILE


def test_models(run, folder: Path) -> None:
    own = f"f{ESC}"
    for line in (
        "predict IN/bundle IN/",
        "predict IN/bundle IN/ --format jsonl",
        "explain IN/bundle IN/out.png --out IN/explained",
        "evaluate IN/bundle --data IN/data.csv --per-label --save-predictions IN/scores.csv",
        "score --predictions IN/scores.csv --targets IN/val.csv --common --per-label --more",
        "score --predictions IN/scores.csv --targets IN/val.csv --common --intervals",
        "compare IN/scores.csv IN/scores.csv --targets IN/val.csv --common",
        "compare IN/scores.csv --targets IN/val.csv --common",
        "tune IN/bundle --data IN/val.csv --out IN/tuned",
        "report IN/bundle --data IN/data.csv --out IN/report.html",
    ):
        code, shown = run(line.replace("IN/out", f"IN/../out{ESC}"))
        assert code in {0, 1}, (line, shown)
        assert visible(own) in shown or "jsonl" in line or "--intervals" in line, line
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(character not in page for character in "\x1b\x9b\u202e\u2066")


def test_json_lines_keep_the_exact_names(folder: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["predict", str(folder / "bundle"), str(folder), "--format", "jsonl", "--top", "3"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert set(rows[0]["labels"]) == set(HOSTILE)
    assert rows[0]["image"].startswith(str(folder))


def test_errors(run) -> None:
    for line, *more in (
        ("data show IN/missing.csv",),
        ("data show", f"missing{ESC}.csv"),
        ("data show IN/data.csv --split-column", f"none{ESC}"),
        ("predict IN/nothing IN/data.csv",),
        ("explain IN/bundle IN/data.csv --out IN/x --label", f"none{ESC}"),
        ("train --set", f"a{ESC}=1"),
        ("train --data IN/data.csv --set", f"head.{ESC}=1"),
        (f"data {ESC}",),
        (ESC,),
        (f"data show --{ESC}",),
        ("predict --format", ESC, "bundle", "photo"),
        ("score --predictions IN/data.csv --targets IN/val.csv",),
    ):
        code, shown = run(line, *more)
        assert code == 2, (line, shown)
