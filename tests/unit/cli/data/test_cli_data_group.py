from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from manylabel.cli.data.draw import draw
from manylabel.cli.data.group import COMMANDS, data
from manylabel.data.read import DataSource, read
from manylabel.data.synthetic import COUNTS, LABELS
from manylabel.errors import ConfigError, ManylabelError


def test_command_draws_once(tmp_path: Path) -> None:
    folder = str(tmp_path / "scenes")
    arguments = ["draw", folder, "--train", "3", "--val", "1", "--test", "2", "--size", "64"]
    first = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    assert f"Drew 6 images with {len(LABELS)} labels into {folder}" in first.stdout
    again = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert again.stdout == f"Already drawn: {folder}\n"
    with pytest.raises(ManylabelError):
        CliRunner().invoke(data, [*arguments, "--seed", "8"], catch_exceptions=False)


def test_command_draws_with_the_dial(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    arguments = ["draw", str(folder), "--train", "1", "--val", "1", "--test", "1", "--size", "64"]
    dial = ["--relations", "0.5", "--distance", "far"]
    drawn = CliRunner().invoke(data, [*arguments, *dial], catch_exceptions=False)
    assert "relations of strength 0.5, far" in drawn.stdout
    header = json.loads((folder / "scenes.json").read_text())
    assert header["relations"] == {"strength": 0.5, "distance": "far"}
    with pytest.raises(ManylabelError, match="relations"):
        CliRunner().invoke(data, arguments, catch_exceptions=False)


@pytest.mark.parametrize("value", ["-0.1", "1.1", "much"])
def test_command_refuses_a_strength_outside_0_to_1(tmp_path: Path, value: str) -> None:
    refused = CliRunner().invoke(data, ["draw", str(tmp_path / "s"), "--relations", value])
    assert refused.exit_code == 2
    assert "--relations" in refused.stderr
    assert not (tmp_path / "s").exists()


def test_command_help_has_an_example() -> None:
    shown = CliRunner().invoke(data, ["draw", "--help"]).output
    assert "manylabel data draw data/scenes --seed 1" in shown


def test_counts_unless_told_otherwise_are_those_of_the_library() -> None:
    defaults = {option.name: option.default for option in draw.params}
    assert {split: defaults[split] for split in COUNTS} == COUNTS


def test_help_of_the_group_names_what_there_is() -> None:
    shown = CliRunner().invoke(data, ["--help"]).output
    for name, entry in COMMANDS.items():
        command = data.get_command(click.Context(data), name)
        assert command is not None
        assert command.name == name
        assert entry.help in shown


def test_show_says_what_was_understood(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("image,cat,dog,split\na.jpg,1,,train\nb.jpg,0,1,test\n")
    shown = CliRunner().invoke(data, ["show", str(table)], catch_exceptions=False).stdout
    assert "2 images, 2 labels, 1.00 positives per image; 25.0% of targets unknown" in shown
    records = read(DataSource(path=table))
    assert shown.splitlines()[-1] == f"sha256 of list and targets: {records.fingerprint()}"
    told = CliRunner().invoke(data, ["show", str(table), "--json"], catch_exceptions=False).stdout
    assert json.loads(told) == {**records.as_dict(), "label_counts": {"cat": 1, "dog": 1}}
    assert (records.as_dict()["positives"], records.as_dict()["unknown"]) == (2, 1)


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("difficult=present", "does not apply"),
        ("difficlt=x", "difficult"),
        ("images", "Cannot read the setting"),
    ],
)
def test_other_settings_are_checked(tmp_path: Path, option: str, what: str) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("image,labels\na.jpg,x\nb.jpg,y\n")
    with pytest.raises(ConfigError, match=what):
        CliRunner().invoke(data, ["show", str(table), "--option", option], catch_exceptions=False)
