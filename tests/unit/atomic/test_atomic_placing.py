"""What a kill in the middle of a move leaves can be put back, wherever it came."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from manylabel.atomic import placing
from manylabel.atomic.placing import placed, undo
from manylabel.atomic.unfinished import sweep
from manylabel.files import staging_folder


class Killed(BaseException):
    """As if the process had ended here: nothing after it runs."""


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def killing(monkeypatch: pytest.MonkeyPatch, at: int, *, exchanges: bool) -> None:
    """Before the move number `at`, the process ends: every later move and removal fails, too."""
    count = iter(range(1, 1000))
    dead = False

    def alive(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **named: object) -> object:
            nonlocal dead
            dead = dead or next(count) >= at
            if dead:
                raise Killed
            return call(*arguments, **named)

        return wrapped

    real = placing.exchange if exchanges else (lambda first, second: False)
    monkeypatch.setattr(placing, "exchange", alive(real) if exchanges else real)
    monkeypatch.setattr(os, "rename", alive(os.rename))
    monkeypatch.setattr(os, "unlink", alive(os.unlink))
    monkeypatch.setattr(Path, "unlink", alive(Path.unlink))
    monkeypatch.setattr("shutil.rmtree", alive(lambda *_, **__: None))


def place_new_ones(home: Path) -> None:
    with staging_folder(home) as staging:
        for name in ("a", "b", "c.csv"):
            (staging / name).mkdir() if name != "c.csv" else None
            (staging / name / "x" if name != "c.csv" else staging / name).write_text("new")
        with placed(staging, home):
            pass


OLD = {"a/x": "old", "a/only old": "old", "c.csv": "old", "other": "mine"}
NEW = {"a/x": "new", "b/x": "new", "c.csv": "new", "other": "mine"}


def prepared(home: Path) -> Path:
    for name, text in OLD.items():
        (home / name).parent.mkdir(exist_ok=True, parents=True)
        (home / name).write_text(text)
    return home


@pytest.mark.parametrize("exchanges", [True, False])
def test_after_a_kill_the_next_writer_finds_the_old_or_the_new(
    tmp_path: Path, exchanges: bool
) -> None:
    """Killed before each move, and then killed again before each move that puts things back."""
    seen = set()
    for first in range(1, 20):
        for second in range(1, 12):
            home = prepared(tmp_path / f"{first} {second}")
            with pytest.MonkeyPatch.context() as patch:
                killing(patch, first, exchanges=exchanges)
                with suppress(Killed):
                    place_new_ones(home)
            with pytest.MonkeyPatch.context() as patch:
                killing(patch, second, exchanges=exchanges)
                with suppress(Killed):
                    sweep(home)
            sweep(home)
            found = contents(home)
            assert found in (OLD, NEW), (first, second)
            seen.add(found == OLD)
    assert seen == {True, False}


def test_a_journal_that_was_cut_means_that_nothing_was_moved(tmp_path: Path) -> None:
    home = prepared(tmp_path / "home")
    (tmp_path / "journal").write_text('{"a": 12')
    undo(tmp_path, home)
    assert contents(home) == OLD
    assert not (tmp_path / "journal").exists()


def test_what_cannot_be_put_back_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = prepared(tmp_path / "home")
    monkeypatch.setattr(placing, "exchange", lambda first, second: False)
    calls = iter(range(100))
    rename = os.rename

    def fails(origin: Path, goal: Path) -> None:
        if next(calls) in (1, 2):  # the new one cannot come, and the old one cannot go back
            raise OSError(28, "No space left on device")
        rename(origin, goal)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="No space"):
        place_new_ones(home)
    assert not (home / "a").exists()
    assert "old" in contents(home).values()
    sweep(home)
    assert contents(home) == OLD
