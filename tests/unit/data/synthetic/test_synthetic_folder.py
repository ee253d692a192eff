from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from held import held_elsewhere
from PIL import Image

from manylabel.atomic.unfinished import _prefix
from manylabel.data.readers.coco import read_coco
from manylabel.data.synthetic.folder import draw_scenes, scenes_are_drawn
from manylabel.data.synthetic.layout import sample_scene
from manylabel.data.synthetic.picture import render_scene
from manylabel.data.synthetic.rules import LABELS, VERSION, Relations
from manylabel.errors import ConfigError, DataError, RunError
from manylabel.locks import LOCK

SMALL = {"train": 7, "val": 2, "test": 3}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_bytes_however_many_workers(tmp_path: Path) -> None:
    counts = {"train": 155, "val": 3}
    one = draw_scenes(tmp_path / "one", seed=9, counts=counts, size=64, workers=1)
    two = draw_scenes(tmp_path / "two", seed=9, counts=counts, size=64, workers=2)
    assert files_of(one) == files_of(two)
    assert len(files_of(one)) == 155 + 3 + 2 + 1


def test_other_seed_draws_other_bytes(tmp_path: Path) -> None:
    zero = files_of(draw_scenes(tmp_path / "0", seed=0, counts=SMALL, workers=1))
    one = files_of(draw_scenes(tmp_path / "1", seed=1, counts=SMALL, workers=1))
    assert zero.keys() == one.keys()
    assert all(zero[name] != one[name] for name in zero)


def test_folder_reads_as_coco(tmp_path: Path) -> None:
    folder = draw_scenes(tmp_path / "scenes", seed=3, counts=SMALL, workers=1)
    records = read_coco(folder)
    assert records.labels.names == LABELS
    assert {split: len(records.split(split)) for split in records.split_names()} == SMALL
    for split in records.split_names():
        for index, record in enumerate(records.split(split)):
            scene = sample_scene(3, split, index)
            present = [LABELS[i] for i in np.flatnonzero(record.targets == 1)]
            assert present == list(scene.labels)
            with Image.open(record.image) as image:
                assert (image.size, image.mode) == ((128, 128), "RGB")
            truth = {box.label: box for box in render_scene(scene).boxes}
            assert {box.label for box in record.boxes} == set(truth)
            for box in record.boxes:
                assert box.left == pytest.approx(truth[box.label].left, abs=1e-3)
                assert box.bottom == pytest.approx(truth[box.label].bottom, abs=1e-3)


def test_header_tells_how_it_was_made(tmp_path: Path) -> None:
    folder = draw_scenes(tmp_path, seed=3, counts=SMALL, size=64, workers=1)
    header = json.loads((folder / "scenes.json").read_text())
    assert (header["seed"], header["size"], header["counts"]) == (3, 64, SMALL)
    assert header["version"] == VERSION
    assert [row["name"] for row in header["labels"]] == list(LABELS)
    assert header["labels"][0]["prior"] == 0.38


def test_finished_folder_is_left_alone(tmp_path: Path) -> None:
    settings = {"seed": 2, "counts": SMALL, "size": 64}
    assert not scenes_are_drawn(tmp_path, **settings)
    seen: list[int] = []
    draw_scenes(tmp_path, **settings, workers=1, on_progress=seen.append)
    assert seen == [7, 9, 12]
    assert scenes_are_drawn(tmp_path, **settings)
    (tmp_path / "images" / "val" / "00000.jpg").write_bytes(b"touched")
    draw_scenes(tmp_path, **settings, workers=1, on_progress=seen.append)
    assert seen == [7, 9, 12]
    assert (tmp_path / "images" / "val" / "00000.jpg").read_bytes() == b"touched"


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 3},
        {"size": 65},
        {"counts": SMALL | {"val": 4}},
        {"relations": Relations(strength=0.5)},
        {"relations": Relations(distance="far")},
    ],
    ids=["seed", "size", "n", "strength", "distance"],
)
def test_folder_of_other_scenes_is_refused(tmp_path: Path, other: dict) -> None:
    settings = {"seed": 2, "counts": SMALL, "size": 64, "workers": 1}
    before = files_of(draw_scenes(tmp_path, **settings))
    with pytest.raises(DataError, match="another seed"):
        draw_scenes(tmp_path, **(settings | other))
    assert files_of(tmp_path) == before


def test_scenes_of_another_version_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_scenes(tmp_path, counts={"val": 1}, workers=1)
    monkeypatch.setattr("manylabel.data.synthetic.folder.VERSION", VERSION + 1)
    with pytest.raises(DataError, match="version"):
        draw_scenes(tmp_path, counts={"val": 1}, workers=1)


def test_foreign_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="not empty"):
        draw_scenes(tmp_path, counts=SMALL, workers=1)
    with pytest.raises(DataError, match="not a folder"):
        draw_scenes(tmp_path / "holiday.jpg", counts=SMALL, workers=1)
    assert files_of(tmp_path) == {"holiday.jpg": b"mine"}


def test_folder_that_must_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DataError, match="not a folder that can be read"):
        scenes_are_drawn(tmp_path, seed=0, counts=SMALL, size=64)


def test_damaged_header_is_no_drawn_folder(tmp_path: Path) -> None:
    settings = {"counts": {"val": 1}, "size": 64, "workers": 1}
    header = draw_scenes(tmp_path, **settings) / "scenes.json"
    header.write_bytes(header.read_bytes()[:100])
    with pytest.raises(DataError, match="holds scenes"):
        draw_scenes(tmp_path, **settings)


def test_interrupted_drawing_is_not_whole_and_can_be_completed(tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        draw_scenes(broken, counts=SMALL, size=64, workers=1, on_progress=interrupt)
    assert not (broken / "scenes.json").exists()
    assert not scenes_are_drawn(broken, seed=0, counts=SMALL, size=64)
    with pytest.raises(DataError, match="interrupted"):
        draw_scenes(broken, seed=1, counts=SMALL, size=64, workers=1)
    draw_scenes(broken, counts=SMALL, size=64, workers=1)
    whole = draw_scenes(tmp_path / "whole", counts=SMALL, size=64, workers=1)
    assert files_of(broken) == files_of(whole)


def test_what_a_kill_left_before_the_first_file_is_no_content(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("process 7")
    (tmp_path / f"{_prefix()}01234567.json").write_text("{")
    draw_scenes(tmp_path, counts=SMALL, size=64, workers=1)
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()


def test_two_drawings_into_one_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    with held_elsewhere(folder / LOCK), pytest.raises(ConfigError, match="Another process"):
        draw_scenes(folder, counts=SMALL, size=64, workers=1)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"seed": -1}, "seed"),
        ({"size": 32}, "size"),
        ({"size": 5000}, "size"),
        ({"counts": {"train": 0}}, "counts['train']"),
        ({"counts": {"training": 5}}, "counts"),
        ({"counts": {}}, "counts"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    tmp_path: Path, settings: dict, where: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        draw_scenes(tmp_path / "scenes", workers=1, **settings)
    assert caught.value.where == where
    assert not (tmp_path / "scenes").exists()


def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(RunError, match="No space left") as caught:
        draw_scenes(tmp_path / "scenes", counts=SMALL, workers=1)
    assert caught.value.where == str(tmp_path / "scenes")
    assert not (tmp_path / "scenes" / "scenes.json").exists()


@pytest.mark.parametrize(
    ("relations", "said"),
    [
        (Relations(strength=1.5), "strength of the relations is 1.5"),
        (Relations(strength=float("nan")), "strength of the relations is nan"),
        (Relations(distance="wide"), "no distance 'wide'"),  # type: ignore[arg-type]
    ],
)
def test_relations_out_of_range_are_refused(
    tmp_path: Path, relations: Relations, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        draw_scenes(tmp_path, counts=SMALL, relations=relations, workers=1)
    assert files_of(tmp_path) == {}
