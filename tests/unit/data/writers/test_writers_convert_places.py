"""Where a conversion may write: links, devices, and what another process does meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from held import held_elsewhere

from manylabel.data.records import Record, Records
from manylabel.data.writers.convert import convert, plan
from manylabel.errors import ConfigError
from manylabel.images import FilePart
from manylabel.labels import LabelSpace
from manylabel.locks import lock_beside


@pytest.fixture
def records(make_image, tmp_path: Path) -> Records:
    return drawn(make_image, tmp_path, 1)


def drawn(make_image, folder: Path, target: int) -> Records:
    path = make_image(folder / "photos" / "0.png")
    record = Record("a", path, np.array([target], dtype=np.int8))
    return Records.of(LabelSpace(["cat"]), (record,), "photos")


@pytest.mark.parametrize("kind", ["table", "coco"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_points_to_is_written(
    records: Records, tmp_path: Path, kind, there: bool
) -> None:
    name = {"table": "table.csv", "coco": "set"}[kind]
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / name, tmp_path / f"link{Path(name).suffix}"
    if there:
        convert(plan(records, target, to=kind))
    link.symlink_to(target)
    planned = plan(records, link, to=kind, overwrite=there)
    assert planned.notes == (f"The path is a link; what it points to is written: {target}",)
    convert(planned)
    assert link.is_symlink()
    assert target.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", link.name, "photos"]


def test_a_pipe_or_device_is_refused_and_stays(records: Records, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    device = tmp_path / "device.csv"
    device.symlink_to(os.devnull)
    before = os.stat(os.devnull)
    for path, to in ((pipe, "table"), (device, "table"), (Path(os.devnull), "coco")):
        with pytest.raises(ConfigError):
            plan(records, path, to=to, overwrite=True)
    assert pipe.is_fifo()
    assert os.path.samestat(os.stat(os.devnull), before)


def test_what_another_process_wrote_meanwhile_is_not_replaced(
    make_image, records: Records, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    first, second = plan(records, out), plan(drawn(make_image, tmp_path, 0), out)
    convert(first)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        convert(second)
    assert out.read_bytes() == before


def test_two_conversions_to_one_place_are_not_mixed(records: Records, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with held_elsewhere(lock_beside(out)):
        with pytest.raises(ConfigError, match="Another process is writing here: process 7"):
            convert(plan(records, out))
        assert not out.exists()
    convert(plan(records, out))


def test_copies_and_their_table_are_replaced_together(
    make_image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies of images lie beside the table; the last move fails."""
    for seed in (0, 1):
        path = make_image(tmp_path / f"{seed}.png", seed)
        part = FilePart(path, 0, path.stat().st_size, "0.png")
        record = Record("a", part, np.ones(1, dtype=np.int8))
        planned = plan(
            Records.of(LabelSpace(["cat"]), (record,), "shard"),
            tmp_path / "out.csv",
            overwrite=True,
        )
        if seed == 0:
            convert(planned)
            before = {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    monkeypatch.setattr(
        "manylabel.data.writers.convert._read_back", lambda _: pytest.fail("stopped")
    )
    with pytest.raises(pytest.fail.Exception):
        convert(planned)
    after = {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert after == {**before, "1.png": (tmp_path / "1.png").read_bytes()}
