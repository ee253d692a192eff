from __future__ import annotations

import errno
from pathlib import Path

import pytest

from manylabel.atomic import exchange as module
from manylabel.atomic.exchange import exchange


def test_two_folders_change_places(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "sécond"
    for each in (first, second):
        each.mkdir()
        (each / "name").write_text(each.name)
    if not exchange(first, second):
        pytest.skip("the system or the file system cannot exchange")
    assert (first / "name").read_text() == "sécond"
    assert (second / "name").read_text() == "first"


def test_a_file_and_a_folder_change_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    if not exchange(tmp_path / "file", tmp_path / "folder"):
        pytest.skip("the system or the file system cannot exchange")
    assert (tmp_path / "folder").read_text() == "text"


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    if module._renameat2() is None:
        pytest.skip("the system cannot exchange")
    (tmp_path / "there").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "there", tmp_path / "not there")
    assert (tmp_path / "there").is_dir()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_a_system_that_cannot_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(module, "_renameat2", lambda: lambda *_: -1)
    monkeypatch.setattr(module.ctypes, "get_errno", lambda: number)
    assert exchange(tmp_path, tmp_path) is False
    monkeypatch.setattr(module, "_renameat2", lambda: None)
    assert exchange(tmp_path, tmp_path) is False
