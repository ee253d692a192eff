"""Many warnings of a library are few lines on the terminal."""

from __future__ import annotations

import warnings

import pytest

from manylabel.cli.warned import counted_warnings


def shown(capsys: pytest.CaptureFixture[str], *texts: str) -> list[str]:
    with counted_warnings():
        for text in texts:
            with warnings.catch_warnings():  # as libraries do: Python then forgets what it showed
                warnings.simplefilter("default")
                warnings.warn(text, UserWarning, stacklevel=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_each_warning_is_shown_once_and_counted(capsys) -> None:
    corrupt = [f"Corrupt EXIF: {number} bytes" for number in range(300)]
    assert shown(capsys, *corrupt, "Once.") == [
        "UserWarning: Corrupt EXIF: 0 bytes",
        "UserWarning: Once.",
        "UserWarning: Corrupt EXIF: 0 bytes (300 such warnings)",
    ]


def test_many_different_warnings_are_counted(capsys) -> None:
    lines = shown(capsys, *("x" * length for length in range(1, 301)))
    assert len(lines) == 21
    assert lines[-1] == "Other warnings, not shown: 280"


def test_a_warning_shows_no_control_character(capsys) -> None:
    assert shown(capsys, "\x1b[2J\n") == ["UserWarning: \\x1b[2J\\n"]


def test_warnings_are_counted_after_an_error_too(capsys) -> None:
    with pytest.raises(ZeroDivisionError):
        _fail_with_warnings()
    assert capsys.readouterr().err.splitlines()[-1] == "UserWarning: Again. (2 such warnings)"


def _fail_with_warnings() -> None:
    with counted_warnings():
        warnings.simplefilter("always")
        for _ in range(2):
            warnings.warn("Again.", UserWarning, stacklevel=1)
        raise ZeroDivisionError
