"""Files are written whole or not at all, whatever fails and whenever."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from full_disk import limited_files

from manylabel.atomic import placing
from manylabel.atomic.exchange import exchange
from manylabel.atomic.placing import placed
from manylabel.errors import DataError, RunError, os_errors_as
from manylabel.files import (
    MAX_READ,
    append_line,
    mend_last_line,
    open_regular,
    open_text,
    read_bytes,
    read_lines,
    read_text,
    replaced_file,
    replaced_folder,
    staging_folder,
    write_bytes,
    write_errors,
    write_text,
)

Failure = OSError | KeyboardInterrupt


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their paths in it, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def failing(failure: Failure) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise failure

    return fail


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Files


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "notes.txt", "naïve\r\n")
    assert contents(tmp_path) == {"new/notes.txt": "naïve\r\n".encode()}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("failure", [FULL, KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, failure: Failure, there: bool
) -> None:
    path = tmp_path / "figures.json"
    if there:
        path.write_bytes(b"before")
    before = contents(tmp_path)
    monkeypatch.setattr(os, call, failing(failure))
    with pytest.raises(type(failure)):
        write_bytes(path, b"after")
    assert contents(tmp_path) == before


def test_a_disk_that_fills_up_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_bytes(path, b"before")
    with limited_files(1000), pytest.raises(OSError, match="too large"):
        write_bytes(path, bytes(10_000))
    assert contents(tmp_path) == {"figures.json": b"before"}


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, "first")
    append_line(path, "zweité")
    for size in range(len("first\nzweité\n") + 1, 30):
        with limited_files(size), pytest.raises(OSError, match=r"too large|No space"):
            append_line(path, "x" * 30)
        assert path.read_text() == "first\nzweité\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [("", ""), ("a\nb\n", "a\nb\n"), ("a\nb", "a\n"), ("a", ""), ("é\n\n", "é\n\n")],
)
def test_a_line_that_was_cut_short_is_removed(tmp_path: Path, text: str, kept: str) -> None:
    path = tmp_path / "log.jsonl"
    mend_last_line(path)
    assert not path.exists()
    path.write_text(text)
    mend_last_line(path)
    assert path.read_text() == kept


def test_what_a_block_wrote_is_removed_when_it_raises(tmp_path: Path) -> None:
    def write_half() -> None:
        with replaced_file(tmp_path / "a.csv") as unfinished:
            unfinished.write_text("half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert contents(tmp_path) == {}


def test_the_unfinished_file_is_hidden_beside_and_keeps_the_ending(tmp_path: Path) -> None:
    path = tmp_path / "scores.tsv"
    with replaced_file(path) as first, replaced_file(path) as second:
        assert first != second
        for unfinished in (first, second):
            assert unfinished.parent == path.parent
            assert unfinished.name.startswith(".")
            assert unfinished.suffix == ".tsv"
        first.write_text("1")
        second.write_text("2")
        assert not path.exists()
    assert contents(tmp_path) == {"scores.tsv": b"1"}  # the first block ended last


def test_a_name_of_full_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".txt")
    write_text(path, "x")
    assert path.read_text() == "x"


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path) -> None:
    ordinary, written, folder = (tmp_path / name for name in ("ordinary", "written", "folder"))
    mask = os.umask(0o027)
    try:
        ordinary.write_bytes(b"")
        write_bytes(written, b"")
        with replaced_folder(folder):
            pass
    finally:
        os.umask(mask)
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode) == 0o640
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "far" / "target.txt", tmp_path / "link.txt"
    link.symlink_to(target)
    for text in ("created", "replaced"):
        write_text(target, "before") if text == "replaced" else target.parent.mkdir()
        write_text(link, text)
        assert link.is_symlink()
        assert contents(target.parent) == {"target.txt": text.encode()}


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_device_is_written_to_as_it_is() -> None:
    before = os.stat(os.devnull)
    write_bytes(Path(os.devnull), b"gone")
    assert os.path.samestat(os.stat(os.devnull), before)


def test_a_pipe_with_a_name_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.html"
    os.mkfifo(pipe)
    link = tmp_path / "link.html"
    link.symlink_to(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        write_text(link, "through the pipe")
        assert reader.communicate(timeout=10)[0] == "through the pipe"
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "pipe.html"]


WRITER = """
import sys
from pathlib import Path
from manylabel.files import write_text

write_text(Path(sys.argv[1]), "written\\n")
print("printed", flush=True)
"""


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="the system has no /dev/stdout")
@pytest.mark.parametrize("redirected", [True, False])
def test_stdout_by_name_is_written_to_as_it_is(tmp_path: Path, redirected: bool) -> None:
    command = [sys.executable, "-c", WRITER, "/dev/stdout"]
    path = tmp_path / "out.txt"
    if redirected:
        with path.open("ab") as stream:
            subprocess.run(command, stdout=stream, check=True)
        printed = path.read_bytes()
    else:
        printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert printed == b"written\nprinted\n"


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "weights").write_bytes(b"before")
    (folder / "old").write_bytes(b"old")
    return folder


def test_a_folder_is_replaced_whole(tmp_path: Path, folder: Path) -> None:
    with replaced_folder(folder) as new:
        (new / "weights").write_bytes(b"after")
        assert (folder / "weights").read_bytes() == b"before"
    assert contents(tmp_path) == {"bundle/weights": b"after"}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    with replaced_folder(tmp_path / "runs" / "first") as new:
        (new / "weights").write_bytes(b"x")
    assert contents(tmp_path) == {"runs/first/weights": b"x"}


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems that can only rename."""
    monkeypatch.setattr(placing, "exchange", lambda first, second: False)


@pytest.mark.parametrize("failure", [FULL, KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("home", "call", "number"),
    [(os, "fsync", 1), (placing, "exchange", 1), (os, "rename", 1), (os, "rename", 2)],
)
def test_a_folder_that_fails_changes_nothing(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    home: ModuleType,
    call: str,
    number: int,
    failure: Failure,
) -> None:
    if call == "rename":
        without_exchange(monkeypatch)
    before = contents(tmp_path)
    real, calls = getattr(home, call), iter(range(1, 100))

    def fails_once(*arguments: object) -> object:
        if next(calls) == number:
            raise failure
        return real(*arguments)

    monkeypatch.setattr(home, call, fails_once)
    with pytest.raises(type(failure)), replaced_folder(folder) as new:
        (new / "weights").write_bytes(b"after")
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("home", "call", "number"), [(placing, "exchange", 1), (os, "rename", 1), (os, "rename", 2)]
)
def test_ctrl_c_right_after_a_move_loses_nothing(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    home: ModuleType,
    call: str,
    number: int,
) -> None:
    if call == "rename":
        without_exchange(monkeypatch)
    before, real, calls = contents(folder), getattr(home, call), iter(range(1, 100))

    def interrupted(origin: Path, goal: Path) -> object:
        result = real(origin, goal)
        if next(calls) == number:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(home, call, interrupted)
    with pytest.raises(KeyboardInterrupt), replaced_folder(folder) as new:
        (new / "other.txt").write_text("new")
    assert contents(folder) == before
    assert [entry.name for entry in tmp_path.iterdir()] == [folder.name]


def test_a_folder_is_there_at_every_moment(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    if not exchange(folder, tmp_path / "other") or not exchange(folder, tmp_path / "other"):
        pytest.skip("the system or the file system cannot exchange")
    rename, seen = os.rename, []

    def watched(origin: Path, goal: Path) -> None:
        rename(origin, goal)
        seen.append(folder.exists())

    monkeypatch.setattr(os, "rename", watched)
    with replaced_folder(folder) as new:
        (new / "weights").write_bytes(b"after")
    assert all(seen)
    assert contents(folder) == {"weights": b"after"}


def test_a_link_to_a_folder_stays(tmp_path: Path, folder: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(folder, target_is_directory=True)
    with replaced_folder(link) as new:
        (new / "weights").write_bytes(b"after")
    assert link.is_symlink()
    assert contents(folder) == {"weights": b"after"}


# Several files at once


def test_what_is_placed_is_undone_when_the_block_raises(tmp_path: Path) -> None:
    for name in ("a", "kept"):
        (tmp_path / name).write_text("before")
    before = contents(tmp_path)

    def place_and_fail() -> None:
        with staging_folder(tmp_path) as staging:
            (staging / "a").write_text("after")
            (staging / "b").mkdir()
            (staging / "b" / "c").write_text("new")
            with placed(staging, tmp_path):
                assert (tmp_path / "a").read_text() == "after"
                assert (tmp_path / "b" / "c").read_text() == "new"
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        place_and_fail()
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "kept"]


# Errors


def test_an_error_of_the_system_becomes_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "no" / "file"
    with (
        pytest.raises(RunError) as caught,
        os_errors_as(RunError, "The page cannot be read", where=path, fix="Look."),
    ):
        path.read_bytes()
    assert caught.value.what == "The page cannot be read: No such file or directory."
    assert (caught.value.where, caught.value.fix) == (str(path), "Look.")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), os_errors_as(RunError, "x", where="y", fix="z"):
        _ = 1 / 0
    with (
        pytest.raises(RunError, match="ours"),
        os_errors_as(RunError, "x", where=tmp_path, fix="z"),
    ):
        raise RunError("ours", where="there", fix="so")


def test_a_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    from manylabel.errors import DataError

    with pytest.raises(DataError, match="does not exist"):
        read_bytes(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read: .* not an ordinary file"):
        read_bytes(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_only_ordinary_files_are_opened_as_such(tmp_path: Path) -> None:
    """A pipe without a writer would wait for ever, and a device may have no end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path):
        with pytest.raises(OSError, match="not an ordinary file"):
            open_regular(path)
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "other").symlink_to(tmp_path / "file")
    for name in ("file", "other"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"abc"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")


def test_the_fix_is_that_of_the_cause(tmp_path: Path) -> None:
    for path, fix in ((tmp_path / "no" / "x", "Make its folder"), (tmp_path, "the path of a file")):
        with pytest.raises(RunError) as caught, write_errors(path):
            path.write_text("x")
        assert fix in caught.value.fix


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_whatever_is_read_is_an_ordinary_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        for read in (read_bytes, read_text, read_lines, open_text):
            with pytest.raises(DataError, match="not an ordinary file"):
                read(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", at_most=5) == b"12345"
    with pytest.raises(DataError, match="5 bytes, and may have 4"):
        read_bytes(tmp_path / "a", at_most=4)
    with (tmp_path / "b").open("wb") as file:
        file.truncate(MAX_READ + 1)  # it takes no place on the disk
    with pytest.raises(DataError, match="and may have 2,147,483,648"):
        read_bytes(tmp_path / "b")
