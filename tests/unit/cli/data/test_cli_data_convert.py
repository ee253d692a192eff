from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from manylabel.cli.data.convert import FORMATS, convert
from manylabel.data.read import DataSource, read
from manylabel.data.writers.convert import WRITERS
from manylabel.errors import ConfigError


@pytest.fixture
def table(tmp_path, make_image):
    make_image(tmp_path / "a.png")
    make_image(tmp_path / "b.png", seed=1)
    path = tmp_path / "photos.csv"
    path.write_text("image,cat,dog,split\na.png,1,,train\nb.png,0,1,test\n")
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(convert, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_what_can_be_written_is_what_the_library_writes() -> None:
    assert tuple(WRITERS) == FORMATS


def test_says_what_was_written(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "photos.tsv"
    shown = run(table, out)
    written = read(DataSource(path=out))
    assert shown == (
        f"Wrote {written.summary()}\nsha256 of list and targets: {written.fingerprint()}\n"
    )
    assert written.fingerprint() == read(DataSource(path=table)).fingerprint()
    with pytest.raises(ConfigError, match="exists already"):
        run(table, out)
    assert run(table, out, "--overwrite") == shown


def test_says_beforehand_what_changes(table: Path, tmp_path: Path) -> None:
    with_boxes = tmp_path / "boxes.json"
    run(table, with_boxes)
    document = with_boxes.read_text().replace(
        '"annotations": []',
        '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]',
    )
    with_boxes.write_text(document)
    first, *_ = run(with_boxes, tmp_path / "x.csv").splitlines()
    assert first == "Boxes that are left out because the format cannot hold them: 1."


def test_options_of_the_data_set_hold(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not apply"):
        run(table, tmp_path / "x.json", "--option", "difficult=absent")
    with pytest.raises(ConfigError, match="belongs to no format"):
        run(table, tmp_path / "x")
    run(table, tmp_path / "c", "--to", "coco")
    assert (tmp_path / "c" / "instances_train.json").is_file()
