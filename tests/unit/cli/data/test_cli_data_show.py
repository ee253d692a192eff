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
