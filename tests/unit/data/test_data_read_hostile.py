"""Pipes, devices and sizes in data sets: refused in words, without waiting or taking memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from manylabel.data.label_sets import read_label_set
from manylabel.data.read import DataSource, read
from manylabel.errors import DataError

ROOM = "manylabel.data.formats.room.free_bytes"

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, device])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.parquet", "a.tar"])
def test_a_pipe_or_a_device_is_no_data_set(tmp_path, make, name) -> None:
    make(tmp_path / name)
    kind = {"a.json": "coco", "a.parquet": "parquet", "a.tar": "webdataset"}.get(name, "table")
    for format_name in ("auto", kind):
        with pytest.raises(DataError, match="not an ordinary file|not a data set of a known kind"):
            read(DataSource(path=tmp_path / name, format=format_name))


@pytest.mark.parametrize("make", [pipe, device])
def test_a_pipe_or_a_device_in_a_folder(tmp_path, make) -> None:
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir()
    (tmp_path / "JPEGImages" / "a.jpg").touch()
    make(tmp_path / "Annotations" / "a.xml")
    with pytest.raises(DataError, match="not an ordinary file"):
        read(DataSource(path=tmp_path, format="voc"))


@pytest.mark.parametrize("make", [pipe, device])
def test_a_pipe_or_a_device_is_no_label_set(tmp_path, make) -> None:
    make(tmp_path / "a.toml")
    with pytest.raises(DataError, match="not an ordinary file"):
        read_label_set(tmp_path / "a.toml")


def test_xml_of_one_image_is_bounded(tmp_path) -> None:
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir()
    (tmp_path / "JPEGImages" / "a.jpg").touch()
    with (tmp_path / "Annotations" / "a.xml").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(DataError, match="68,157,440 bytes, and may have 67,108,864"):
        read(DataSource(path=tmp_path, format="voc"))


def test_each_image_with_a_label_of_its_own(tmp_path, monkeypatch) -> None:
    """A number for each image and label: N x C from a file of N + C lines."""
    (tmp_path / "0.jpg").touch()
    rows = "".join(f"{i}.jpg,l{i}\n" for i in range(1000))
    (tmp_path / "a.csv").write_text("image,labels\n" + rows)
    monkeypatch.setattr(ROOM, lambda: 1_000_000)
    with pytest.raises(DataError, match="1,000 images and 1,000 labels"):
        read(DataSource(path=tmp_path / "a.csv"))
    monkeypatch.setattr(ROOM, lambda: 2_100_000)
    assert read(DataSource(path=tmp_path / "a.csv")).targets.shape == (1000, 1000)


def test_records_are_counted_while_they_are_made(tmp_path, monkeypatch) -> None:
    (tmp_path / "0.jpg").touch()
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(100)],
        "categories": [{"id": i, "name": f"c{i}"} for i in range(100)],
        "annotations": [],
    }
    (tmp_path / "instances_a.json").write_text(json.dumps(document))
    monkeypatch.setattr("manylabel.data.records.UNCHECKED", 1000)
    monkeypatch.setattr(ROOM, lambda: 3000)
    with pytest.raises(DataError, match="The targets would need"):
        read(DataSource(path=tmp_path / "instances_a.json", format="coco"))


def test_a_parquet_file_with_many_equal_rows(tmp_path, monkeypatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = 1_000_000
    (tmp_path / "0.jpg").touch()
    keys = pyarrow.array(["0.jpg"]).take(pyarrow.array(np.zeros(rows, np.int32)))
    table = pyarrow.table({"image": keys, "cat": np.ones(rows, np.bool_)})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    monkeypatch.setattr(ROOM, lambda: 80_000_000)
    with pytest.raises(DataError, match=r"would need 0.1 GB of memory"):
        read(DataSource(path=tmp_path / "a.parquet"))
