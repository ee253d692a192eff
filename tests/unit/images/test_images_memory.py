"""Memory that threads share, and how a limit is said."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from manylabel.errors import ConfigError, ImageError
from manylabel.images import Memory, free_memory_share, load_rgb, parse_size, prepared
from manylabel.images import memory as module


def test_threads_stay_below_the_limit() -> None:
    memory, lock = Memory(1000), threading.Lock()
    used, most = 0, 0

    def work(size: int) -> None:
        nonlocal used, most
        with memory.room(size):
            with lock:
                used += size
                most = max(most, used)
            threading.Event().wait(0.002)
            with lock:
                used -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [100, 400, 1000, 300, 650, 50] * 10))
    assert 650 < most <= 1000


def test_more_than_the_limit_is_the_error_of_the_image(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (400, 300)).save(path)
    with pytest.raises(
        ImageError, match="needs about 1 MB of memory, and 0 MB are allowed"
    ) as told:
        prepared(path, len, memory=Memory(100_000))
    assert told.value.where == str(path)
    assert told.value.fix == "Make it smaller first, or free memory."
    assert prepared(path, len, memory=Memory(1_000_000)) == 300


def test_room_is_given_back_after_an_error(tmp_path: Path) -> None:
    memory = Memory(1_000_000)
    (tmp_path / "bad.png").write_bytes(b"no image")
    for _ in range(5):
        with pytest.raises(ImageError):
            prepared(tmp_path / "bad.png", len, memory=memory)
    with memory.room(1_000_000):
        pass


def test_large_files_are_read_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGE_FILE", 10)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    memory, inside = Memory(10**9), []

    def prepare(pixels: object) -> int:
        inside.append(1)
        assert len(inside) == 1
        threading.Event().wait(0.01)
        inside.pop()
        return 0

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(prepared, tmp_path / "a.png", prepare, memory=memory) for _ in range(8)]
        assert [job.result() for job in jobs] == [0] * 8


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("1.5 gb", 15 * 10**8),
        ("512MiB", 512 * 2**20),
        ("300MB", 3 * 10**8),
        ("2TiB", 2 * 2**40),
    ],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["4", "GB", "-1GB", "0MB", "4 bytes", "1e9GB", "", "nan%", "4G", "101%", "٣GB"]
)
def test_sizes_without_units_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size of memory") as caught:
        parse_size(text)
    assert "4GB, 512MiB or 50%" in caught.value.fix


def test_a_percentage_is_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "total_bytes", lambda: 8 * 10**9)
    assert parse_size("50%") == 4 * 10**9


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "group"
    inner.mkdir()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1\n")
    (inner / "memory.max").write_text("600000000\n")
    (inner / "memory.current").write_text("500000000\n")
    (inner / "memory.stat").write_text("anon 100000000\ninactive_file 300000000\nactive_file 0\n")
    monkeypatch.setattr(module, "_control_groups", lambda: [tmp_path, inner])
    assert module.total_bytes() == 600_000_000
    assert module.free_bytes() == 400_000_000  # the cache of files can be taken


def test_images_share_most_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, limit in [(10 * 10**9, 8 * 10**9), (10**6, module.LEAST)]:
        monkeypatch.setattr(module, "free_bytes", lambda free=free: free)
        assert free_memory_share().limit == limit


def test_this_machine_has_memory() -> None:
    assert 10**8 < module.free_bytes() <= module.total_bytes()
    assert module.own_bytes() > 10**7
    assert load_rgb(Image.new("RGB", (3, 3))).shape == (3, 3, 3)
