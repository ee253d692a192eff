"""`manylabel relations`: what it prints, what it writes, and how it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from manylabel.cli.main import main
from manylabel.models.heads import LinearConfig, SRNConfig

SMALL = SRNConfig(attention_channels=8, relation_channels=8, units_per_channel=1)


@pytest.fixture(scope="module")
def table(make_image, tmp_path_factory) -> Path:
    """40 images of the split test with the labels cat, dog and owl; dog follows cat."""
    folder = tmp_path_factory.mktemp("data")
    lines = ["image,split,cat,dog,owl"]
    for i in range(40):
        make_image(folder / f"{i}.png", seed=i)
        lines.append(f"{i}.png,test,{i % 2},{int(i % 2 or i % 5 == 0)},{int(i % 3 == 0)}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return folder / "data.csv"


@pytest.fixture(scope="module")
def bundle(make_bundle, tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("srn") / "bundle", head=SMALL)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["relations", *map(str, arguments)])
    return int(exit_.value.code or 0)


def test_prints_relations_and_writes_page_and_tables(bundle, table, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert run(bundle, "--data", table, "--out", out, "--seed", 3) == 0
    printed = capsys.readouterr().out
    assert f"{bundle} on {table}, split: test, seed: 3" in printed
    assert "(the final logit gets 50 % of them)" in printed
    assert "Units: 8." in printed
    assert "No image has boxes of two labels" in printed
    names = ["relations.csv", "units.csv", "relations.html"]
    assert [line for line in printed.splitlines() if line.startswith("Wrote")] == [
        f"Wrote {out / name}" for name in names
    ]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)


def test_a_head_without_relations_is_said_before_the_data_are_read(make_bundle, tmp_path, capsys):
    other = make_bundle(tmp_path / "bundle", head=LinearConfig())
    assert run(other, "--data", tmp_path / "missing.csv", "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "no branch that reads the maps of all labels" in said
    assert "srn or srn-modern" in said
    assert not (tmp_path / "out").exists()


def test_other_labels_and_a_file_in_the_way_are_said_in_time(bundle, table, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text("image,ufo\n0.png,1\n")
    assert run(bundle, "--data", other, "--images", table.parent, "--out", tmp_path / "a") == 2
    assert "The labels of the data set are not the model's" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert run(bundle, "--data", table, "--out", tmp_path / "file") == 1
    assert "The folder cannot be written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
