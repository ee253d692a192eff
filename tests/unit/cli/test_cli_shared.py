from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from manylabel.cli import evaluate as evaluate_command
from manylabel.cli.main import cli
from manylabel.cli.shared import (
    DATA_FORMATS,
    DataOptions,
    ModelOptions,
    data_options,
    data_source,
    model_options,
    output,
    part_to_use,
    progress,
    split_option,
)
from manylabel.data.read import READERS, DataSource
from manylabel.data.records import Record, Records
from manylabel.errors import ConfigError, DataError, RunError
from manylabel.labels import LabelSpace
from manylabel.metrics.profiles import PROFILES

NONE_GIVEN = DataOptions(None, None, None, None, None, None, None)


def given(decorator, *arguments: str) -> dict[str, object]:
    """The arguments that a command with these options gets."""
    got: dict[str, object] = {}
    command = click.command()(decorator(lambda **named: got.update(named)))
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return got


# Options


def test_data_options_become_one_argument_and_then_a_data_source() -> None:
    arguments = [
        *("--data", "photos.csv", "--format", "table", "--images", "all"),
        *("--image-column", "file", "--label-column", "tags"),
        *("--label-delimiter", ";", "--split-column", "part"),
    ]
    got = given(data_options(required=True), *arguments)
    assert set(got) == {"data"}
    assert isinstance(got["data"], DataOptions)
    assert data_source(got["data"]) == DataSource(
        path=Path("photos.csv"),
        format="table",
        images=Path("all"),
        image_column="file",
        label_column="tags",
        label_delimiter=";",
        split_column="part",
    )


def test_options_that_are_not_given_stay_the_data_sources_own() -> None:
    got = given(data_options(required=True), "--data", "photos.csv")["data"]
    assert isinstance(got, DataOptions)
    assert got.settings() == {"path": "photos.csv"}
    assert data_source(got) == DataSource(path=Path("photos.csv"))


def test_data_may_be_left_to_a_recipe() -> None:
    assert given(data_options(required=False)) == {"data": NONE_GIVEN}
    assert NONE_GIVEN.settings() == {}
    with pytest.raises(ConfigError, match="'path' is missing"):
        data_source(NONE_GIVEN)


def test_an_option_that_does_not_fit_is_named() -> None:
    options = given(data_options(required=True), "--data", "x.csv", "--label-delimiter", "")["data"]
    assert isinstance(options, DataOptions)
    with pytest.raises(ConfigError, match="label_delimiter"):
        data_source(options)


def test_model_options_become_one_argument() -> None:
    got = given(model_options, "runs/bundle", "--device", "cpu", "--batch-size", "4")
    assert got == {"model": ModelOptions(Path("runs/bundle"), "cpu", 4)}
    assert given(model_options, "b") == {"model": ModelOptions(Path("b"), "auto", 32)}


def test_choices_are_those_of_the_code_they_stand_for() -> None:
    assert set(DATA_FORMATS) == {"auto", *READERS}
    for name in DATA_FORMATS:
        assert DataSource.model_validate({"path": "x", "format": name}).format == name
    assert set(evaluate_command.PROFILES) == set(PROFILES)
    assert set(DataOptions.__dataclass_fields__) - {"options"} <= set(DataSource.model_fields)


# Output


def test_output_without_a_file_is_stdout(capsys) -> None:
    with output(None) as stream:
        assert stream is sys.stdout
        stream.write("x\n")
    assert capsys.readouterr().out == "x\n"


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("before")
    with output(path) as stream:
        stream.write("a,b\n")
        assert path.read_text() == "before"
    assert path.read_bytes() == b"a,b\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_fault_leaves_the_file_as_it_was(tmp_path: Path, fault) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("before")

    def write_half() -> None:
        with output(path) as stream:
            stream.write("half")
            raise fault

    with pytest.raises(fault):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="No space left") as caught, output(path) as stream:
        stream.write("whole")
    assert caught.value.where == str(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"), output(tmp_path / "no" / "x.csv"):
        pass


# Progress


def test_without_a_terminal_only_lines_are_said_and_on_stderr(capsys) -> None:
    with progress("scoring", 2) as report:
        report.done(1)
        report.say("Skipped [red]a.jpg: " + "x" * 200)
        report.done(2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Skipped [red]a.jpg: " + "x" * 200 + "\n"


def test_a_path_through_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"), output(tmp_path / "file" / "x.csv"):
        pass


# The part of a data set


def marked(*splits: str | None) -> Records:
    rows = np.ones((len(splits), 1), dtype=np.int8)
    items = (
        Record(f"{i}.png", Path(f"{i}.png"), row, split=split)  # pyright: ignore[reportArgumentType]
        for i, (row, split) in enumerate(zip(rows, splits, strict=True))
    )
    return Records.of(LabelSpace(["cat"]), tuple(items), "photos")


@pytest.mark.parametrize(
    ("split", "default", "part", "keys"),
    [
        (None, None, "test", ["2.png"]),
        (None, "all", "all", ["0.png", "1.png", "2.png"]),
        (None, "val", "val", ["1.png"]),
        ("train", "val", "train", ["0.png"]),
        ("all", None, "all", ["0.png", "1.png", "2.png"]),
    ],
)
def test_the_part_is_the_split_or_the_default_or_what_is_held_out(split, default, part, keys):
    records, name = part_to_use(marked("train", "val", "test"), split, default=default)
    assert (name, list(records.keys)) == (part, keys)


def test_a_split_without_images_names_those_that_there_are():
    with pytest.raises(DataError, match=r"'val' has no image\. The splits are: test 2\."):
        part_to_use(marked("test", "test"), "val")


@pytest.mark.parametrize("name", ["evaluate", "audit", "relations", "report", "explain", "tune"])
def test_every_command_on_a_data_set_has_the_same_splits(name):
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    option = next(each for each in found.params if each.name == "split")
    own = given(split_option())
    assert own == {"split": None}
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == ["test", "val", "train", "all"]
