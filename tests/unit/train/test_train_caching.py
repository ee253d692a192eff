"""The check of a run's images by building their caches, against opening each image once."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from manylabel.data.records import Record, Records, Split
from manylabel.errors import DataError, ImageError
from manylabel.feed import cache
from manylabel.feed.cache import ImageCache
from manylabel.labels import LabelSpace
from manylabel.train.caching import _plan, cached_images, find_unusable, refuse_all
from manylabel.train.config import RunConfig, resolve
from manylabel.train.logs import Reporter

SPLITS: tuple[Split, ...] = ("test", "train", "val", "train", "test", "train")
BAD = (0, 3, 4)


@pytest.fixture
def records(tmp_path: Path, make_image: Callable[..., Path]) -> Records:
    """Images of all splits in turn; those of `BAD` are damaged."""
    items = []
    for i, split in enumerate(SPLITS):
        path = make_image(tmp_path / f"{i}.png", seed=i)
        if i in BAD:
            path.write_bytes(path.read_bytes()[:50])
        items.append(Record(path.name, path, np.zeros(1, dtype=np.int8), split))
    return Records.of(LabelSpace(["cat"]), items, "drawn images")


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(console=Console(file=io.StringIO(), width=200))


def recipe(folder: Path, **changes: object) -> RunConfig:
    tables = {
        "input": {"height": 32, "width": 32},
        "augment": {"name": "flip"},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "head": {"name": "linear"},
        "optim": {"name": "adamw"},
        "steps": [{"kind": "main", "epochs": 1}],
        "cache": True,
        "cache_folder": str(folder / "cache"),
    }
    return resolve({**tables, **changes}, where="test")


def test_caches_find_the_same_images_in_the_same_order(
    records: Records, tmp_path: Path, reporter: Reporter
) -> None:
    opened = find_unusable(None, records, reporter)
    cached = find_unusable(recipe(tmp_path), records, reporter)
    assert [error.where for error in opened] == [str(records.images[i]) for i in BAD]
    assert [str(error) for error in cached] == [str(error) for error in opened]


def test_images_are_opened_before_any_is_left_out(
    records: Records, tmp_path: Path, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "prepared", lambda place, *_, **__: pytest.fail(f"{place} is read"))
    config = recipe(tmp_path, skip_bad_images=True)
    assert len(find_unusable(config, records, reporter)) == len(BAD)


def test_a_cache_with_bad_images_is_refused(
    records: Records, tmp_path: Path, reporter: Reporter
) -> None:
    part = records.split("train")
    with pytest.raises(DataError, match="1 of 3 images cannot be used"):
        cached_images(recipe(tmp_path), part, "train", reporter)


def test_a_damaged_cache_is_mended_and_the_run_says_so(
    records: Records, tmp_path: Path, reporter: Reporter
) -> None:
    part = records.select([1, 5])
    before = cached_images(recipe(tmp_path), part, "train", reporter)[1].clone()
    (pixels,) = (tmp_path / "cache").rglob("pixels")
    with pixels.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    assert not torch.equal(ImageCache(_plan(recipe(tmp_path), part, "train"))[1], before)
    assert torch.equal(cached_images(recipe(tmp_path), part, "train", reporter)[1], before)
    said = reporter.console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert said.count("Damaged images in the cache") == 1
    assert "which are decoded again: 1." in said


def test_one_bad_image_makes_all_of_them_known(records: Records) -> None:
    met = ImageError("The image is damaged.", where="one", fix="Download it again.")
    with pytest.raises(DataError, match="3 of 6 images") as refused, refuse_all(records):
        raise met
    assert all(str(records.images[i]) in str(refused.value) for i in BAD)
