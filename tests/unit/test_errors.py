"""What a user's mistake is told as, and that it survives the way between processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from manylabel import errors
from manylabel.errors import DataError, ImageError, ManylabelError

KINDS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ManylabelError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_where_and_fix(kind: type[ManylabelError]) -> None:
    error = kind("It broke.", where="here", fix="Mend it.")
    assert (error.what, error.where, error.fix) == ("It broke.", "here", "Mend it.")
    assert str(error) == "It broke.\n  where: here\n  fix:   Mend it."


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_between_processes(kind: type[ManylabelError]) -> None:
    error = kind("It broke.", where="here", fix="Mend it.")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is kind
        assert str(other) == str(error)


def test_an_error_shows_no_character_that_a_terminal_obeys() -> None:
    error = DataError("\x1b[2J.", where="a\nb", fix="\u202e", details=("\x9b1m", "\udcff"))
    assert str(error).splitlines() == [
        "\\x1b[2J.",
        "    \\x9b1m",
        "    \\udcff",
        "  where: a\\nb",
        "  fix:   \\u202e",
    ]
    assert (error.what, error.where, error.fix) == ("\x1b[2J.", "a\nb", "\u202e")
    assert pickle.loads(pickle.dumps(error)).details == error.details


def test_the_tree_and_its_exit_codes_are_those_of_the_docstring() -> None:
    assert issubclass(ImageError, DataError)
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "── " in line]
    told = {line.split("── ")[1].split()[0]: int(line.split()[-1]) for line in drawn}
    real = {kind.__name__: kind.exit_code for kind in KINDS if kind is not ManylabelError}
    assert told == real
