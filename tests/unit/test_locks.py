"""One process at a time, and no lock that outlives its process."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manylabel import locks
from manylabel.errors import ConfigError, RunError
from manylabel.locks import held, lock, lock_beside, remove_forgotten, unlock

pytestmark = pytest.mark.xdist_group("processes")

HOLDER = """
import os, sys, time
from pathlib import Path
from manylabel.locks import held

with held(Path(sys.argv[1])):
    if len(sys.argv) > 2:
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, b"x")
            time.sleep(5)
            os._exit(0)
        os.read(reading, 1)
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(path: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until a line is written to it, or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / ".lock"


def test_another_process_is_refused_and_told_who_holds_it(path: Path) -> None:
    with holder(path) as other:
        with pytest.raises(ConfigError) as caught, held(path, fix="Wait."):
            pytest.fail("two hold the lock")
        who = f"process {other.pid} on {socket.gethostname()}, since 20"
        assert caught.value.what.startswith(f"Another process is writing here: {who}")
        assert (caught.value.where, caught.value.fix) == (str(path), "Wait.")
        other.communicate("go\n")
    assert other.returncode == 0
    with held(path):
        assert path.exists()
    assert not path.exists()


def test_a_kill_releases_it(path: Path) -> None:
    with holder(path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    assert path.exists()
    with held(path):
        assert str(os.getpid()) in path.read_text()
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_child_of_the_killed_process_does_not_keep_it(path: Path) -> None:
    with holder(path, "with a child") as other:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        with held(path):
            pass


def test_whoever_waits_gets_it_after_the_other(path: Path) -> None:
    with holder(path) as other:
        waits = threading.Event()
        got: list[str] = []

        def wait() -> None:
            with held(path, on_wait=waits.set):
                got.append(path.read_text())

        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(10)
        assert got == []
        other.communicate("go\n")
        thread.join(10)
    assert f"process {os.getpid()} " in got[0]


def test_the_same_thread_may_take_it_twice_and_another_may_not(path: Path) -> None:
    caught: list[BaseException] = []

    def take() -> None:
        try:
            with held(path):
                pass
        except ConfigError as error:
            caught.append(error)

    with held(path):
        with held(path):
            pass
        assert path.exists(), "the inner one has released it"
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(10)
    assert len(caught) == 1


def test_a_lock_file_that_says_nothing_readable_is_no_trouble(path: Path) -> None:
    with holder(path):
        path.write_bytes(b"\xff\x00" * 10_000)
        with pytest.raises(ConfigError, match="it does not say which one"), held(path):
            pass


def test_only_a_forgotten_lock_file_is_removed(path: Path) -> None:
    remove_forgotten(path)
    with holder(path) as other:
        remove_forgotten(path)
        assert path.exists()
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    remove_forgotten(path)
    assert not path.exists()


def test_no_trace_is_left_of_work_that_wrote_nothing(tmp_path: Path) -> None:
    with held(tmp_path / "runs" / "first" / ".lock"):
        pass
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "runs" / "first" / ".lock"):
        (tmp_path / "runs" / "first" / "recipe").write_text("")
    assert [path.name for path in (tmp_path / "runs" / "first").iterdir()] == ["recipe"]


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        lock(tmp_path / "link")


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(
            RunError, match="cannot be written: There is a file where a folder is needed"
        ),
        held(tmp_path / "file" / "x"),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_the_work_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuses(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    assert locks.fcntl is not None
    monkeypatch.setattr(locks.fcntl, "flock", refuses)
    with held(path):
        pass
    assert not path.exists()


def test_without_flock_the_package_filelock_does_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with holder(path), pytest.raises(ConfigError, match="Another process"), held(path):
        pass
    with held(path):
        pass


def test_what_replaces_a_locked_file_can_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    first = lock(path)
    assert first is not None
    assert lock(path) is None
    path.unlink()
    path.write_text("new")
    second = lock(path)
    assert second is not None
    unlock(first)
    unlock(second)


def test_a_link_and_its_target_have_one_lock(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    assert lock_beside(tmp_path / "link") == lock_beside(tmp_path / "bundle")
    assert lock_beside(tmp_path / "bundle").name == ".bundle.lock"
