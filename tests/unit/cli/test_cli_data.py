from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from manylabel.cli.data import data, draw
from manylabel.data.synthetic import COUNTS, LABELS
from manylabel.errors import ManylabelError


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


def test_command_help_has_an_example() -> None:
    shown = CliRunner().invoke(data, ["draw", "--help"]).output
    assert "manylabel data draw data/scenes --seed 1" in shown


def test_counts_unless_told_otherwise_are_those_of_the_library() -> None:
    defaults = {option.name: option.default for option in draw.params}
    assert {split: defaults[split] for split in COUNTS} == COUNTS


def test_help_of_the_group_names_what_there_is() -> None:
    assert isinstance(data, click.Group)
    assert list(data.commands) == ["draw"]
    assert "Draw a data set to learn on." in CliRunner().invoke(data, ["--help"]).output
