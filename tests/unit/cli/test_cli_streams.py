"""No traceback and no false success when nobody can take the output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")

# A command whose output is larger than any buffer, and one that writes to stderr.
MANY = """
import click
from manylabel.cli import main as frame

def lines():
    for i in range(100_000):
        click.echo(f"line {i}")

def words():
    click.echo("some words", err=True)
    click.echo("done")

def rich():
    from manylabel.cli.shared import terminal
    terminal().print("x" * 100_000)

def letters():
    from manylabel.cli.shared import output
    click.echo("\u96ea")
    with output(None) as stream:
        stream.write("\u96ea")

def named():
    from pathlib import Path
    from manylabel.cli.shared import output
    with output(Path("/dev/stdout")) as stream:
        stream.write("x" * 1_000_000)

for each in (lines, words, rich, letters, named):
    name = each.__name__
    setattr(frame, name, click.Command(name, callback=each))
    frame.COMMANDS[name] = frame.CommandEntry(f"manylabel.cli.main:{name}", "")
frame.main()
"""


def run(*arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MANY, *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # pyright: ignore
        text=True,
        check=False,
    )


@contextmanager
def without_reader() -> Iterator[int]:
    """The writing end of a pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize("call", ["--help", "data draw --help", "lines", "rich", "named"])
def test_a_reader_that_has_left_ends_the_command_in_silence(call: str) -> None:
    with without_reader() as pipe:
        done = run(*call.split(), stdout=pipe)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_reader_of_stderr_that_has_left_ends_the_command_too() -> None:
    with without_reader() as pipe:
        done = run("words", stderr=pipe)
    assert (done.returncode, done.stdout) == (141, "")


@needs_full
@pytest.mark.parametrize("call", ["--help", "data draw --help", "lines", "rich"])
def test_output_on_a_full_disk_is_an_error_without_a_traceback(call: str) -> None:
    with FULL.open("w") as full:
        done = run(*call.split(), stdout=full)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: The output cannot be written: No space left on device.\n"
        "  where: stdout\n"
        "  fix:   Make room on the disk, or send the output to another place.\n"
    )


@needs_full
@pytest.mark.parametrize(("call", "code"), [("words", 1), ("nonsense", 2)])
def test_messages_on_a_full_disk_leave_the_exit_code(call: str, code: int) -> None:
    with FULL.open("w") as full:
        done = run(call, stderr=full)
    assert (done.returncode, done.stdout) == (code, "")


def test_closed_streams_are_no_trouble() -> None:
    command = f"{sys.executable} -c '{MANY}' words >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0


def test_letters_that_the_encoding_lacks_are_escapes_and_data_are_utf8() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-c", MANY, "letters"], capture_output=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"\\u96ea\n" + "\u96ea".encode()


def test_output_that_is_taken_is_whole() -> None:
    done = run("lines")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"line {i}" for i in range(100_000)]
