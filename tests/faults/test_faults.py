"""The short form of the faults job, and proofs that it can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from killing import Tally, Writer, count_points, fill_disk, kill_at, kill_within_files
from writers import WRITERS, nothing

pytestmark = [
    pytest.mark.xdist_group("faults"),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc names the files of descriptors"),
]

SHORT = {
    writer.name: writer
    for writer in WRITERS
    if writer.name
    in {
        "a bundle over another",
        "a checkpoint",
        "predictions, scores.csv",
        "convert to shards",
        "the cache of images",
    }
}


@pytest.mark.parametrize("name", SHORT)
def test_killed_writers_leave_the_old_or_the_new(name: str) -> None:
    writer, tally = SHORT[name], Tally()
    last = count_points(writer)
    assert last > 4
    kill_at(writer, (last // 2, last - 1), tally)
    kill_within_files(writer, (100,), tally)
    fill_disk(writer, (100,), tally)
    assert tally.tries == 4
    assert tally.examples == []


def in_place(text: str):
    return lambda home: (home / "page").write_text(text * 10_000) and None


def left_over(home: Path) -> None:
    in_place("new")(home)
    (home / ".unfinished-0000-00000000").write_text("")


def state(home: Path) -> str:
    words = {"old" * 10_000: "old", "new" * 10_000: "new"}
    return words.get((home / "page").read_text(), "half")


def test_writing_in_place_fails() -> None:
    writer, tally = Writer("in place", in_place("old"), in_place("new"), state), Tally()
    assert count_points(writer) == 1
    kill_at(writer, (1, 2), tally)
    assert (tally.tries, tally.examples) == (2, [])
    kill_within_files(writer, (100,), tally)
    fill_disk(writer, (100,), tally)
    assert tally.failures["neither old nor new"] == 2
    assert tally.failures["ended otherwise"] == 1  # a traceback


def test_what_is_left_behind_fails() -> None:
    tally = Tally()
    kill_at(Writer("left over", nothing, left_over, state, before="none"), (3,), tally)
    assert dict(tally.failures) == {"left behind": 1}
