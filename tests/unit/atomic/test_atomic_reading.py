"""Readers during replacements: each gets one of the two, whole."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from manylabel.atomic.reading import read_whole
from manylabel.errors import DataError
from manylabel.files import replaced_folder


class Reader:
    """Reads two files that must belong together, and counts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.seen = folder, 0, set[str]()

    def __call__(self) -> str:
        self.calls += 1
        try:
            first = (self.folder / "first").read_text()
            second = (self.folder / "second").read_text()
        except OSError as error:
            raise DataError(str(error), where="", fix="") from None
        if first != second:
            raise DataError("mixed", where="", fix="")
        self.seen.add(first)
        return first


def write(folder: Path, text: str) -> None:
    with replaced_folder(folder) as new:
        (new / "first").write_text(text)
        (new / "second").write_text(text)


WRITER = """
import sys, time
from pathlib import Path
from manylabel.atomic import placing
sys.path.insert(0, sys.argv[3])
from test_atomic_reading import write

if sys.argv[2] == "renames":
    placing.exchange = lambda first, second: False
count, end = 0, time.monotonic() + 1
while time.monotonic() < end:
    count += 1
    write(Path(sys.argv[1]), str(count))
print(count)
"""


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("how", ["exchanges", "renames"])
def test_no_read_fails_while_the_folder_is_replaced(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "bundle"
    write(folder, "0")
    reader, reads = Reader(folder), 0
    command = [sys.executable, "-c", WRITER, str(folder), how, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        while writer.poll() is None:
            read_whole(folder, reader)
            reads += 1
        assert writer.stdout is not None
        count = int(writer.stdout.read())
    assert writer.returncode == 0
    assert count > 20
    assert reads > 100
    assert len(reader.seen) > 10


def test_a_fault_of_the_folder_is_raised_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write(folder, "0")
    (folder / "second").write_text("1")
    reader = Reader(folder)
    with pytest.raises(DataError, match="mixed"):
        read_whole(folder, reader)
    assert reader.calls == 1


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "none", tmp_path / "file"):
        reader = Reader(folder)
        began = time.monotonic()
        with pytest.raises(DataError):
            read_whole(folder, reader)
        assert reader.calls == 1
        assert time.monotonic() - began < 0.5


def test_a_folder_that_is_replaced_between_two_files_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    write(folder, "0")
    reader = Reader(folder)
    real = Path.read_text

    def slow(path: Path) -> str:
        text = real(path)
        if path.name == "first" and reader.calls < 3:
            write(folder, f"{reader.calls}")
        return text

    monkeypatch.setattr(Path, "read_text", slow)
    assert read_whole(folder, reader) == "2"
    assert reader.calls == 3
