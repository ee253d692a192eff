"""The cache of squashed images: exact, shared, and whole or not used."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from held import held_elsewhere

from manylabel.data.records import Record, Records
from manylabel.errors import ImageError, RunError
from manylabel.feed import cache
from manylabel.feed.cache import (
    CachePlan,
    ImageCache,
    default_folder,
    fill_cache,
    forget_damaged,
    plan_cache,
)
from manylabel.images import Crop, open_image
from manylabel.labels import LabelSpace
from manylabel.locks import LOCK
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

SPEC = InputSpec(height=20, width=36)
IMAGES = 70
"""Two chunks and a bit."""


@pytest.fixture
def records(tmp_path: Path, make_image: Callable[..., Path]) -> Records:
    return drawn(tmp_path / "images", make_image)


def drawn(folder: Path, make_image: Callable[..., Path]) -> Records:
    items = []
    for i in range(IMAGES):
        ending = ("png", "jpg")[i % 2]
        path = make_image(folder / f"{i}.{ending}", seed=i, size=(40 + i % 7, 30 + i % 5))
        items.append(Record(f"{i}.{ending}", path, np.zeros(1, dtype=np.int8)))
    return Records.of(LabelSpace(["cat"]), tuple(items), "drawn images")


@pytest.fixture
def plan(records: Records, tmp_path: Path) -> CachePlan:
    return plan_cache(records, SPEC, tmp_path / "cache")


def require_exact(found: ImageCache, records: Records) -> None:
    """Every image has the bits that an uncached one has."""
    assert len(found) == len(records)
    for index, record in enumerate(records):
        expected = to_pixels(open_image(record.image), SPEC)
        assert torch.equal(found[index], expected), record.key


# Exact


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_cache_holds_the_uncached_bits(plan: CachePlan, records: Records, workers: int) -> None:
    seen: list[int] = []
    assert not plan.is_whole()
    fill_cache(plan, workers=workers, on_progress=seen.append)
    assert plan.is_whole()
    assert sum(seen) == IMAGES
    require_exact(ImageCache(plan), records)


def test_the_planned_size_is_the_size(plan: CachePlan) -> None:
    assert plan.planned_bytes == IMAGES * (20 * 36 * 3 + 4)
    fill_cache(plan, workers=1)
    assert plan.pixels_path.stat().st_size + plan.sums_path.stat().st_size == plan.planned_bytes


def test_building_again_decodes_nothing(plan: CachePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_cache(plan, workers=1)
    monkeypatch.setattr(cache, "prepared", lambda place, *_, **__: pytest.fail(f"{place} is read"))
    fill_cache(plan, workers=1)


def test_crops_are_cached_apart(records: Records, tmp_path: Path) -> None:
    first = records[0]
    image = first.image
    assert isinstance(image, Path)
    crops = [Crop(image, 0, 0, 20, 20), Crop(image, 10, 5, 30, 25)]
    items = tuple(replace(first, key=f"{i}", image=crop) for i, crop in enumerate(crops))
    people = Records.of(records.labels, items, records.source, records.notes)
    plan = plan_cache(people, SPEC, tmp_path / "cache")
    fill_cache(plan, workers=1)
    require_exact(ImageCache(plan), people)


# Named by what it depends on


def folder_of(records: Records, spec: InputSpec = SPEC) -> Path:
    return plan_cache(records, spec, Path("somewhere")).folder


def test_the_same_is_the_same_cache(records: Records) -> None:
    ones = np.ones_like(records.targets)
    same = folder_of(records)
    assert same.parent == Path("somewhere")
    assert folder_of(replace(records, targets=ones, source="elsewhere")) == same
    assert folder_of(records, SPEC.model_copy(update={"mean": (0.1, 0.2, 0.3)})) == same


def test_another_list_or_size_is_another_cache(records: Records) -> None:
    items = tuple(records)
    lists = [items, items[1:], items[::-1], (*items, items[0]), (replace(items[0], key="0"),)]
    sizes = [{"height": 21}, {"width": 35}, {"resize": "bicubic"}, {"height": 36, "width": 20}]
    folders = [
        folder_of(Records.of(records.labels, each, records.source, records.notes)) for each in lists
    ]
    folders += [folder_of(records, SPEC.model_copy(update=size)) for size in sizes]
    assert len(set(folders)) == len(lists) + len(sizes)


@pytest.mark.parametrize("package", ["pillow", "torch", "simplejpeg"])
def test_another_decoder_is_another_cache(
    records: Records, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before, version = folder_of(records), cache.version
    monkeypatch.setattr(cache, "version", lambda name: version(name) + "x" * (name == package))
    assert folder_of(records) != before


def test_a_touched_file_is_another_cache(
    records: Records, plan: CachePlan, tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    fill_cache(plan, workers=1)
    make_image(tmp_path / "images" / "3.jpg", seed=999, size=(44, 31))
    os.utime(tmp_path / "images" / "3.jpg", ns=(1, 1))
    anew = plan_cache(records, SPEC, tmp_path / "cache")
    assert anew.folder != plan.folder
    assert not anew.is_whole()
    fill_cache(anew, workers=1)
    require_exact(ImageCache(anew), records)
    assert not torch.equal(ImageCache(anew)[3], ImageCache(plan)[3])


def test_the_default_folder_is_the_users_for_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "manylabel"
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for given in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert default_folder() == tmp_path / "me" / ".cache" / "manylabel"


# Shared


def test_a_pickled_cache_is_opened_anew(plan: CachePlan, records: Records) -> None:
    fill_cache(plan, workers=1)
    pickled = pickle.dumps(ImageCache(plan))
    assert len(pickled) < 1000
    require_exact(pickle.loads(pickled), records)


def test_a_spawned_process_reads_the_same(plan: CachePlan) -> None:
    fill_cache(plan, workers=1)
    found = ImageCache(plan)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        total = pool.apply(_sum_of, (found, 5))
    assert total == int(found[5].sum())


def _sum_of(found: ImageCache, index: int) -> int:
    return int(found[index].sum())


def test_a_cache_that_may_only_be_read_is_read(plan: CachePlan, records: Records) -> None:
    fill_cache(plan, workers=1)
    for path in (plan.pixels_path, plan.sums_path):
        path.chmod(0o444)
    require_exact(ImageCache(plan), records)


# Whole or not used


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plan: os.truncate(plan.pixels_path, plan.pixels_path.stat().st_size - 1),
        lambda plan: os.truncate(plan.pixels_path, 0),
        lambda plan: os.truncate(plan.sums_path, 4 * IMAGES - 1),
        lambda plan: plan.pixels_path.unlink(),
        lambda plan: plan.sums_path.unlink(),
        lambda plan: plan.sums_path.write_bytes(plan.sums_path.read_bytes()[:-4] + bytes(4)),
        lambda plan: shutil.rmtree(plan.folder),
    ],
    ids=["pixels cut", "pixels empty", "sums cut", "no pixels", "no sums", "one sum", "nothing"],
)
def test_a_damaged_cache_is_noticed_and_rebuilt(
    plan: CachePlan, records: Records, spoil: Callable[[CachePlan], None]
) -> None:
    fill_cache(plan, workers=2)
    spoil(plan)
    assert not plan.is_whole()
    with pytest.raises(AssertionError, match="not complete"):
        ImageCache(plan)
    fill_cache(plan, workers=2)
    require_exact(ImageCache(plan), records)


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 16]))


@pytest.mark.parametrize("name", ["pixels", "sums"])
def test_one_changed_bit_anywhere_is_found_and_mended(
    plan: CachePlan, records: Records, name: str
) -> None:
    fill_cache(plan, workers=2)
    assert forget_damaged(plan, workers=2) == 0
    path = plan.folder / name
    for position in [0, path.stat().st_size // 2, path.stat().st_size - 1]:
        flip(path, position)
        assert forget_damaged(plan, workers=2) == 1
        assert plan.written().sum() == IMAGES - 1
        fill_cache(plan, workers=2)
        require_exact(ImageCache(plan), records)
        assert forget_damaged(plan, workers=2) == 0


def test_images_that_changed_places_are_damaged(plan: CachePlan, records: Records) -> None:
    fill_cache(plan, workers=1)
    size = 20 * 36 * 3
    data = plan.pixels_path.read_bytes()
    plan.pixels_path.write_bytes(data[size : 2 * size] + data[:size] + data[2 * size :])
    sums = plan.sums_path.read_bytes()
    plan.sums_path.write_bytes(sums[4:8] + sums[:4] + sums[8:])
    assert forget_damaged(plan, workers=1) == 2
    fill_cache(plan, workers=1)
    require_exact(ImageCache(plan), records)


def test_a_reader_gets_the_mended_pixels(plan: CachePlan, records: Records) -> None:
    fill_cache(plan, workers=1)
    reader = ImageCache(plan)
    flip(plan.pixels_path, 0)
    forget_damaged(plan, workers=1)
    fill_cache(plan, workers=1)
    require_exact(reader, records)


def test_mending_waits_for_another_process(plan: CachePlan) -> None:
    fill_cache(plan, workers=1)
    flip(plan.pixels_path, 0)
    waiting = threading.Event()
    with held_elsewhere(plan.folder / LOCK):
        mender = threading.Thread(
            target=forget_damaged, args=(plan,), kwargs={"workers": 1, "on_wait": waiting.set}
        )
        mender.start()
        assert waiting.wait(10)
        assert plan.is_whole()
    mender.join(10)
    assert not plan.is_whole()


def test_a_cache_that_cannot_be_read_is_told(
    plan: CachePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_cache(plan, workers=1)

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cache, "_sum_of", fails)
    with pytest.raises(RunError, match="cannot be read: Input/output error") as told:
        forget_damaged(plan, workers=1)
    assert told.value.where == str(plan.folder)


def test_rebuilding_leaves_readers_what_they_have_open(plan: CachePlan, records: Records) -> None:
    fill_cache(plan, workers=1)
    reader = ImageCache(plan)
    plan.sums_path.unlink()
    fill_cache(plan, workers=1)
    require_exact(reader, records)


def test_a_bad_image_is_told_and_the_rest_is_kept(
    plan: CachePlan, records: Records, make_image: Callable[..., Path]
) -> None:
    path = records[-1].image
    assert isinstance(path, Path)
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    with pytest.raises(ImageError) as expected:
        open_image(path)
    (told,) = fill_cache(plan, workers=2)
    assert str(told) == str(expected.value)
    assert plan.written().sum() == IMAGES - 1
    assert not plan.is_whole()

    path.write_bytes(whole)
    seen: list[int] = []
    fill_cache(plan, workers=2, on_progress=seen.append)
    assert seen[0] > 0
    assert sum(seen) == IMAGES
    require_exact(ImageCache(plan), records)


def test_bad_images_are_told_together_in_order(records: Records, tmp_path: Path) -> None:
    paths = [records.images[i] for i in (4, 7)]
    assert all(isinstance(path, Path) for path in paths)
    whole = folder_of(records)
    Path(str(paths[1])).write_bytes(b"")
    Path(str(paths[0])).unlink()
    assert folder_of(records) != whole
    bad = fill_cache(plan_cache(records, SPEC, tmp_path / "cache"), workers=2)
    assert [error.where for error in bad] == [str(path) for path in paths]
    assert "cannot be read: No such file" in bad[0].what
    assert "empty" in bad[1].what


# What cannot be written


def test_a_disk_without_room_is_told_before_anything_is_written(
    plan: CachePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")  # noqa: PYI024
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(plan.planned_bytes - 1))
    with pytest.raises(
        RunError, match=r"needs 0.0 GB more, but the disk has only 0.0 GB free"
    ) as told:
        fill_cache(plan, workers=1)
    assert told.value.where == str(plan.folder)
    assert not plan.pixels_path.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(plan.planned_bytes))
    fill_cache(plan, workers=1)


def test_room_is_asked_for_what_is_missing_only(
    plan: CachePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_cache(plan, workers=1)
    usage = namedtuple("usage", "free")  # noqa: PYI024
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0))
    fill_cache(plan, workers=1)


def test_a_folder_that_is_none_is_told(records: Records, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    plan = plan_cache(records, SPEC, tmp_path / "file")
    assert not plan.is_whole()
    with pytest.raises(RunError, match="cannot be written: ") as told:
        fill_cache(plan, workers=1)
    assert "cache_folder" in told.value.fix


def test_a_full_disk_is_told(plan: CachePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        fill_cache(plan, workers=2)
    assert not plan.written().any()


# Two builders, and a killed one


def test_a_second_builder_waits_and_finds_it_whole(plan: CachePlan, records: Records) -> None:
    """The first one is played by a lock."""
    plan.folder.mkdir(parents=True)
    waiting = threading.Event()
    lock = FileLock(plan.folder / LOCK)
    with lock:
        second = threading.Thread(
            target=fill_cache, args=(plan,), kwargs={"workers": 1, "on_wait": waiting.set}
        )
        second.start()
        assert waiting.wait(10)
        time.sleep(0.1)
        assert not plan.pixels_path.exists()
    second.join(10)
    require_exact(ImageCache(plan), records)


BUILDER = """
    import sys, time
    from pathlib import Path
    import numpy as np
    import torch
    from manylabel.feed import cache
    from manylabel.data.records import Record, Records
    from manylabel.labels import LabelSpace
    from manylabel.preprocess import InputSpec

    torch.set_num_threads(1)
    folder, hang_from = Path(sys.argv[1]), int(sys.argv[2])
    paths = sorted((folder / "images").iterdir(), key=lambda path: int(path.stem))
    items = tuple(Record(path.name, path, np.zeros(1, dtype=np.int8)) for path in paths)
    records = Records.of(LabelSpace(["cat"]), items, "drawn images")
    load, opened = cache.prepared, 0

    def slowly(place, *rest, **more):
        global opened
        opened += 1
        time.sleep(600 if int(place.stem) >= hang_from else 0.005)
        return load(place, *rest, **more)

    cache.prepared = slowly
    plan = cache.plan_cache(records, InputSpec(height=20, width=36), folder / "cache")
    print("ready", flush=True)
    sys.stdin.readline()
    cache.fill_cache(
        plan,
        workers=2,
        on_progress=lambda images: print("done", images, flush=True),
        on_wait=lambda: print("waiting", flush=True),
    )
    assert plan.is_whole()
    print("opened", opened, flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that is about to build; it begins when a line is written to it.

    From image `hang_from` on it comes to nothing. All are ended with the test.
    """
    with ExitStack() as ends:

        def start(hang_from: int = IMAGES) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(BUILDER), str(tmp_path), str(hang_from)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            ends.enter_context(process)
            ends.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            return process

        yield start


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.xdist_group("processes")
def test_two_processes_build_at_once(plan: CachePlan, records: Records, start) -> None:
    processes = [start() for _ in range(2)]
    for process in processes:
        begin(process)
    told = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    opened = sorted(int(lines[-1].split()[1]) for lines in told)
    assert opened == [0, IMAGES]
    assert sum("waiting" in lines for lines in told) == 1
    require_exact(ImageCache(plan), records)


@pytest.mark.xdist_group("processes")
def test_a_killed_builder_is_gone_on_with(plan: CachePlan, records: Records, start) -> None:
    first, second = start(hang_from=40), start()
    begin(first)
    assert first.stdout is not None
    assert first.stdout.readline() == "done 0\n"
    assert first.stdout.readline() == "done 32\n"
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    kept = int(plan.written().sum())
    assert kept == 32  # the first chunk; of the second some pixels only

    begin(second)
    told = second.communicate(timeout=60)[0].splitlines()
    assert second.returncode == 0
    assert "waiting" not in told
    assert told[0] == f"done {kept}"
    assert told[-1] == f"opened {IMAGES - kept}"
    require_exact(ImageCache(plan), records)
