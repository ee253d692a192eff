"""A data set that names files elsewhere: they are found, said, and not copied in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cases import case
from PIL import Image

from manylabel.data.doctor.check import check
from manylabel.data.outside import files_outside, note_of_outside
from manylabel.data.read import DataSource, read
from manylabel.data.writers.convert import convert, plan
from manylabel.errors import DataError, ImageError


@pytest.fixture
def data(tmp_path, make_image) -> Path:
    """A folder with the data set, beside a folder with an image that is not its own."""
    make_image(tmp_path / "data" / "a.png")
    make_image(tmp_path / "elsewhere" / "secret.png", seed=1)
    return tmp_path / "data"


def table(data: Path, second: str, name: str = "photos.csv") -> Path:
    path = data / name
    path.write_text(f"image,cat,dog\na.png,1,0\n{second},0,1\n")
    return path


def found(path: Path, **settings: object) -> list[Path]:
    return files_outside(read(DataSource(path=path, **settings)))


def test_finds_absolute_paths_ways_up_and_links(data: Path) -> None:
    secret = data.parent / "elsewhere" / "secret.png"
    (data / "link.png").symlink_to(secret)
    (data / "folder").symlink_to(secret.parent, target_is_directory=True)
    (data / "own.png").symlink_to(data / "a.png")
    for second, outside in (
        (str(secret), True),
        ("../elsewhere/secret.png", True),
        ("link.png", True),
        ("folder/secret.png", True),
        ("folder/..", True),
        ("own.png", False),
        (str(data / "own.png"), False),
        ("../data/own.png", False),
        ("absent.png", False),
    ):
        with case(second=second):
            assert found(table(data, second)) == ([data / second] if outside else [])


def test_the_folders_that_the_user_named_are_not_outside(data: Path) -> None:
    secret = data.parent / "elsewhere" / "secret.png"
    assert found(table(data, str(secret)), images=secret.parent) == []
    linked = data.parent / "linked"
    linked.symlink_to(data, target_is_directory=True)
    assert found(table(linked, "a2.png")) == []


def test_coco_finds_its_images_beside_its_annotations(data: Path) -> None:
    folder = data / "annotations"
    folder.mkdir()
    for name, outside in (("../elsewhere/secret.png", 1), ("a.png", 0)):
        image = {"id": 1, "file_name": name, "width": 8, "height": 8}
        document = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "x"}]}
        path = folder / "instances_val.json"
        path.write_text(json.dumps(document))
        for source in (path, folder, data):
            with case(name=name, source=source):
                assert len(found(source)) == outside


def test_masks_count_too(data: Path) -> None:
    path = data / "photos.csv"
    path.write_text("image,cat,mask\na.png,1,/etc/mask.png\n")
    assert found(path) == [Path("/etc/mask.png")]
    path.write_text("image,cat,mask\na.png,1,mask.png\n")
    assert found(path) == []


def test_check_notes_them_with_examples(data: Path) -> None:
    records = read(DataSource(path=table(data, "/etc/hostname")))
    assert note_of_outside(files_outside(records)) == (
        "Files outside the folder of the data set: 1, for example /etc/hostname"
    )
    (finding,) = (f for f in check(records).findings if f.kind == "images.outside")
    assert (finding.severity, finding.count) == ("note", 1)
    assert finding.examples == ("/etc/hostname",)


def test_no_file_from_outside_is_copied_unless_it_is_allowed(data: Path) -> None:
    records = read(DataSource(path=table(data, "../elsewhere/secret.png")))
    out = data.parent / "shards"
    with pytest.raises(DataError, match="1, for example") as refused:
        plan(records, out, to="webdataset")
    assert "--allow-outside" in refused.value.fix
    assert len(convert(plan(records, out, to="webdataset", allow_outside=True))) == 2
    referring = plan(records, data / "photos.parquet")
    assert referring.notes[-1].startswith("Files outside the folder of the data set: 1")


def test_only_images_are_copied(data: Path) -> None:
    for name, content in (("a.jpg", b"root:x:0:0"), ("b.png", b""), ("c.jpg", b"%!PS-Adobe-3.0")):
        (data / name).write_bytes(content)
        records = read(DataSource(path=table(data, name)))
        with (
            case(name=name),
            pytest.raises(ImageError, match="not an image of a known format|is empty"),
        ):
            convert(plan(records, data.parent / "shards", to="webdataset"))
        assert not os.path.exists(data.parent / "shards")


def test_formats_that_are_not_known_are_not_copied(data: Path) -> None:
    Image.new("RGB", (8, 8)).save(data / "b.jpg", "ICO")
    records = read(DataSource(path=table(data, "b.jpg")))
    with pytest.raises(ImageError, match="not an image of a known format"):
        convert(plan(records, data.parent / "shards", to="webdataset"))


def test_a_hugging_face_data_set_may_refer_to_files(data: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "cat": datasets.Value("bool")})
    content = (data / "a.png").read_bytes()
    images = [{"bytes": content, "path": "/etc/not-read.png"}, {"bytes": None, "path": "/etc/x"}]
    rows = {"image": images, "cat": [True, False]}
    table = datasets.Dataset.from_dict(rows, features=features).data.table
    (data / "saved").mkdir()
    pytest.importorskip("pyarrow.parquet").write_table(table, data / "saved" / "train.parquet")
    assert found(data / "saved", format="huggingface") == [Path("/etc/x")]
