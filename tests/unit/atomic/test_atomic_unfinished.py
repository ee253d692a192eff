"""What a killed writer left is removed by the next one. What a living one writes is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manylabel.atomic import unfinished
from manylabel.atomic.unfinished import sweep, unfinished_file, unfinished_folder
from manylabel.files import write_text

pytestmark = pytest.mark.xdist_group("processes")

WRITER = """
import sys, time
from pathlib import Path
from manylabel.files import replaced_file, staging_folder

home = Path(sys.argv[1])
with replaced_file(home / "table.csv") as file, staging_folder(home) as folder:
    file.write_text("half")
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(30)
"""


@contextmanager
def writer(home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def names(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_only_what_a_dead_writer_left_is_removed(tmp_path: Path) -> None:
    with writer(tmp_path) as process:
        living = names(tmp_path)
        assert len(living) == 2
        write_text(tmp_path / "other", "x")
        assert names(tmp_path) == [*living, "other"]
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert names(tmp_path) == [*living, "other"]
    write_text(tmp_path / "other", "y")
    assert names(tmp_path) == ["other"]


def test_own_files_are_not_removed_while_they_are_written(tmp_path: Path) -> None:
    with unfinished_file(tmp_path / "a.csv") as file, unfinished_folder(tmp_path) as folder:
        file.write_text("again")  # another descriptor, the same file
        for _ in range(3):
            sweep(tmp_path)
        assert file.read_text() == "again"
        assert folder.is_dir()
    assert names(tmp_path) == []


def left(home: Path, name: str, *, days: float = 0) -> Path:
    path = home / name
    path.write_text("left")
    then = time.time() - days * 24 * 3600
    os.utime(path, (then, then))
    return path


def test_what_another_machine_left_is_removed_after_a_day(tmp_path: Path) -> None:
    own = unfinished._prefix()
    foreign = ".unfinished-0000-" if own != ".unfinished-0000-" else ".unfinished-1111-"
    left(tmp_path, f"{own}01234567.csv")
    left(tmp_path, f"{foreign}01234567.csv", days=1.1)
    kept = left(tmp_path, f"{foreign}01234568.csv", days=0.9)
    sweep(tmp_path)
    assert names(tmp_path) == [kept.name]


def test_what_only_looks_alike_is_kept(tmp_path: Path) -> None:
    """Names of other programs and of earlier versions, whose writers hold no lock; and links."""
    own = unfinished._prefix()
    for name in (".unfinished-01234567.csv", f"{own}0123456", f"{own}01234567x", f"x{own}01234567"):
        left(tmp_path, name, days=9)
    target = left(tmp_path, "target")
    (tmp_path / f"{own}01234567").symlink_to(target)
    os.mkfifo(tmp_path / f"{own}01234568")
    before = names(tmp_path)
    sweep(tmp_path)
    assert names(tmp_path) == before
    assert target.read_text() == "left"


def test_a_sweeper_between_making_and_locking_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = unfinished.lock, iter(range(100))

    def swept_before(path: Path, **named: bool) -> int | None:
        if next(calls) in (0, 2):
            path.unlink() if path.is_file() else path.rmdir()
        return real(path, **named)

    monkeypatch.setattr(unfinished, "lock", swept_before)
    with unfinished_file(tmp_path / "a.csv") as file, unfinished_folder(tmp_path) as folder:
        file.write_text("x")
        (folder / "x").write_text("x")


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    sweep(tmp_path / "none")
