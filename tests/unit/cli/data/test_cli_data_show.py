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


def test_lists_the_first_labels_with_their_images(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    names = [f"l{number:02}" for number in range(23)]
    path.write_text("image,labels\na.png," + "|".join(names) + "\nb.png,l00|l01\n")
    shown = CliRunner().invoke(show, [str(path)]).stdout
    assert "Labels, with their images: l00 2, l01 2, l02 1, " in shown
    assert ", l19 1, and 3 more\n" in shown
