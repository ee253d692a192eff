from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from manylabel.cli.data.show import show


def test_says_which_files_are_outside(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text("image,cat,dog\n/etc/hostname,1,0\na.png,0,1\n")
    note = "Files outside the folder of the data set: 1, for example /etc/hostname"
    assert note in CliRunner().invoke(show, [str(path)]).stdout
    shown = CliRunner().invoke(show, [str(path), "--json"]).stdout
    assert json.loads(shown)["notes"][-1] == note


def table(path: Path, rows: str) -> str:
    path.write_text("image,labels,split\n" + rows, encoding="utf-8")
    return str(path)


def test_labels_are_named_with_their_counts(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "1.jpg,gull|kelp,train\n2.jpg,gull,test\n3.jpg,,test\n")
    shown = CliRunner().invoke(show, [path]).stdout.splitlines()
    assert shown[-2] == "Labels, with their images: gull 2, kelp 1"
    found = json.loads(CliRunner().invoke(show, [path, "--json"]).stdout)
    assert found["label_counts"] == {"gull": 2, "kelp": 1}


def test_one_split_is_shown(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "1.jpg,gull|kelp,train\n2.jpg,gull,test\n3.jpg,,test\n")
    shown = CliRunner().invoke(show, [path, "--split", "test"]).stdout
    assert ": 2 images, 2 labels" in shown
    assert "gull 1, kelp 0. Labels that no image has: 1 (kelp)" in shown
    result = CliRunner().invoke(show, [path, "--split", "val"])
    assert "The split 'val' has no image" in str(result.exception)


def test_a_split_that_is_not_given_is_drawn_as_in_training(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,gull,\n" for i in range(50))
    path = table(tmp_path / "a.csv", rows)
    found = CliRunner().invoke(show, [path, "--split", "test", "--json"]).stdout
    assert 0 < json.loads(found)["images"] < 50


def test_lists_the_first_labels_with_their_images(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    names = [f"l{number:02}" for number in range(23)]
    path.write_text("image,labels\na.png," + "|".join(names) + "\nb.png,l00|l01\n")
    shown = CliRunner().invoke(show, [str(path)]).stdout
    assert "Labels, with their images: l00 2, l01 2, l02 1, " in shown
    assert ", l19 1, and 3 more\n" in shown
