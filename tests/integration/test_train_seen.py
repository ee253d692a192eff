"""A run's bundles hold the hashes of its train and val images, however the run reads them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

from manylabel.bundle.folder import read_bundle
from manylabel.bundle.seen import SeenImages
from manylabel.cli.main import main
from manylabel.data.read import DataSource, read
from manylabel.data.synthetic import draw_scenes
from manylabel.images import rgb_pixels
from manylabel.images.content import pixels_content
from manylabel.train.optim import Schedule

RECIPE = {
    "batch_size": 16,
    "workers": 0,
    "device": "cpu",
    "input": {"height": 48, "width": 48},
    "augment": {"name": "flip"},
    "backbone": {"name": "test_resnet", "pretrained": False},
    "head": {"name": "linear"},
    "steps": [{"kind": "main", "epochs": 2}],
}
MAPS = {
    "features": "cached",
    "steps": [{"kind": "main", "epochs": 2, "freeze": ["backbone"]}],
}
COUNTS = {"train": 48, "val": 16, "test": 16}


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return draw_scenes(tmp_path / "drawn", counts=COUNTS, workers=1)


def expected(scenes: Path, *bad: Path) -> SeenImages:
    """What the bundles must hold, by Pillow's own decoding of all files."""
    records = read(DataSource(path=scenes))
    parts = {
        name: [
            pixels_content(rgb_pixels(Image.open(str(place)).convert("RGB")))
            for place in records.split(name).images
            if place not in bad
        ]
        for name in ("train", "val")
    }
    return SeenImages.of(trained=parts["train"], validated=parts["val"])


def train(scenes: Path, folder: Path, *options: str, code: int = 0, **changes: object) -> None:
    path = folder.with_suffix(".toml")
    path.write_text(tomli_w.dumps({**RECIPE, **changes}))
    arguments = ("--data", str(scenes), "--recipe", str(path), "--out", str(folder), *options)
    assert command("train", *arguments) == code


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def seen_in(folder: Path) -> SeenImages | None:
    found = [read_bundle(path).info.seen for path in (folder / "bundle", *folder.glob("steps/*"))]
    assert len(found) > 1
    assert all(each == found[0] for each in found)
    return found[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"workers": 2},
        {"augment": {"name": "crop"}, "cache": True},
        MAPS,
        {**MAPS, "workers": 2},
    ],
    ids=["live", "live, workers", "cached images", "cached maps", "cached maps, workers"],
)
def test_bundles_hold_what_was_trained_and_validated_on(
    changes: dict[str, object], scenes: Path, tmp_path: Path
) -> None:
    if "cache" in changes:
        changes = {**changes, "cache_folder": str(tmp_path / "cache")}
    train(scenes, tmp_path / "run", **changes)
    found = seen_in(tmp_path / "run")
    assert found == expected(scenes)
    assert len(np.frombuffer(found.trained, "<u8")) == 48  # drawn scenes differ
    if "cache" in changes:  # a second run reads the cache, and opens no image
        train(scenes, tmp_path / "again", **changes)
        assert seen_in(tmp_path / "again") == found


@pytest.mark.parametrize("changes", [{}, {"cache": True}, MAPS])
def test_images_that_were_left_out_are_not_held(
    changes: dict[str, object], scenes: Path, tmp_path: Path
) -> None:
    first = sorted((scenes / "images" / "train").iterdir())[0]
    first.write_bytes(b"no image")
    if "cache" in changes:
        changes = {**changes, "cache_folder": str(tmp_path / "cache")}
    train(scenes, tmp_path / "run", "--skip-bad-images", **changes)
    assert seen_in(tmp_path / "run") == expected(scenes, first)


@pytest.mark.parametrize("changes", [{}, MAPS])
def test_a_run_that_was_stopped_holds_all_of_them(
    changes: dict[str, object], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = Schedule.after_iteration, 0

    def stop_at_second(schedule: Schedule) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        original(schedule)

    monkeypatch.setattr(Schedule, "after_iteration", stop_at_second)
    train(scenes, tmp_path / "run", code=1, **changes)
    assert command("train", "--resume", str(tmp_path / "run")) == 0
    assert seen_in(tmp_path / "run") == expected(scenes)


def test_a_new_split_of_the_same_photographs_is_no_new_test(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`data split` calls photographs test that were trained on: figures of these look too good."""
    train(scenes, tmp_path / "run")
    table = tmp_path / "again.csv"
    asked = ("data", "split", str(scenes), "--out", str(table), "--test", "0.5", "--seed", "7")
    assert command(*asked) == 0
    records = read(DataSource(path=table)).split("test")
    given = {each.image: each.split for each in read(DataSource(path=scenes))}
    splits = [given[place] for place in records.images]
    trained, validated = splits.count("train"), splits.count("val")
    assert trained > 10

    capsys.readouterr()
    assert command("evaluate", str(tmp_path / "run" / "bundle"), "--data", str(table)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{trained} of 40 images were trained on ({validated} validated on)." in said
    assert f"{40 - trained} images, " in said


@pytest.mark.parametrize("changes", [{}, MAPS], ids=["live", "maps"])
def test_a_test_image_that_is_also_in_train_is_said(
    changes: dict[str, object],
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = sorted((scenes / "images" / "train").iterdir())[:2]
    hidden = sorted((scenes / "images" / "test").iterdir())[:2]
    shutil.copy(first, hidden[0])
    Image.open(second).save(hidden[1].with_suffix(".webp"), lossless=True)
    hidden[1].with_suffix(".webp").rename(hidden[1])
    train(scenes, tmp_path / "run", **changes)
    said = " ".join(capsys.readouterr().err.split())
    assert "2 of 16 images of test are also in train, so the figures of this run are too" in said
    results = json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"]["1"]
    assert results["receipt"]["trained_on"] == 2
    assert results["receipt"]["trained_kept"] is True
