"""`manylabel report --add`: which sections a report has, and what is said where it has none."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manylabel.cli.main import main
from manylabel.html import asset
from manylabel.models.heads import SRNConfig

SMALL = SRNConfig(attention_channels=8, relation_channels=8, units_per_channel=1)


@pytest.fixture(scope="module")
def bundles(make_bundle, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder / "srn", head=SMALL)
    make_bundle(folder / "linear", labels=("owl", "dog", "cat"))
    return folder


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """48 images of noise with boxes; a dog is nearly always beside a cat, owls are anywhere."""
    folder = tmp_path_factory.mktemp("coco")
    random = np.random.default_rng(0)
    images, boxes = [], []
    for i in range(48):
        pixels = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
        there = {1: i % 2 == 0, 2: i % 2 == 0 or i % 11 == 0, 3: i % 3 == 0}
        for label in (label for label, is_there in there.items() if is_there):
            box = {"bbox": [20 * (label - 1), 4, 18, 40], "area": 720, "iscrowd": 0}
            boxes.append({"id": len(boxes), "image_id": i, "category_id": label, **box})
    categories = [{"id": i, "name": name} for i, name in enumerate(("cat", "dog", "owl"), start=1)]
    written = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances_test.json").write_text(json.dumps(written))
    return folder / "instances_test.json"


@pytest.fixture(scope="module")
def table(coco) -> Path:
    """The same images without boxes."""
    rows = [f"{i}.png,{int(i % 2 == 0)},{int(i % 2 == 0)},{int(i % 3 == 0)}" for i in range(48)]
    (coco.parent / "data.csv").write_text("\n".join(["image,cat,dog,owl", *rows]) + "\n")
    return coco.parent / "data.csv"


def run(*arguments: object, command: str = "report") -> int:
    with pytest.raises(SystemExit) as exit_:
        main([command, *map(str, arguments)])
    return int(exit_.value.code or 0)


def ids(page: str) -> list[str]:
    return re.findall(r'\sid="([^"]+)"', page)


def relations_of(page: str, anchor: str = "relations") -> object:
    found = re.findall(rf'id="{anchor}-data">(.*?)</script>', page)
    return json.loads(found[0])


def test_one_bundle_gets_every_section_once(bundles, coco, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert run(bundles / "srn", "--data", coco, "--add", "all", "--out", out) == 0
    assert f"{bundles / 'srn'} on {coco}, split: test" in capsys.readouterr().out
    page = out.read_text("utf-8")
    anchors = ["explanations", "relations", "audit"]
    assert re.findall(r'<li><a href="#([a-z-]+)">', page) == anchors
    assert re.findall(r'<section[^>]* id="([a-z-]+)"', page) == anchors
    assert [name for name, times in Counter(ids(page)).items() if times > 1] == []
    for name in ("relations.css", "audit.css", "scores.css", "base.css", "relations.js"):
        assert page.count(str(asset(name)).strip()) == 1, name
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids(page))
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "<h3" in page.partition('id="audit"')[2]
    assert "<h1" not in page.partition("<main>")[2]


def test_the_figures_are_those_of_the_commands(bundles, coco, tmp_path):
    out, own = tmp_path / "report.html", tmp_path / "own"
    data = ("--data", coco)
    assert run(bundles / "srn", *data, "--add", "relations,audit", "--out", out) == 0
    assert run(bundles / "srn", *data, "--out", own, command="relations") == 0
    assert run(bundles / "srn", *data, "--out", own, command="audit") == 0
    page = out.read_text("utf-8")
    assert relations_of(page) == relations_of((own / "relations.html").read_text("utf-8"))
    rows = [
        re.findall(r'<table class="all-pairs">(.*?)</table>', text, re.DOTALL)[0]
        for text in (page, (own / "audit.html").read_text("utf-8"))
    ]
    assert rows[0] == rows[1]
    assert rows[0].count("<tr>") > 2


def test_two_bundles_have_their_own_sections(bundles, coco, tmp_path):
    out = tmp_path / "report.html"
    both = (bundles / "linear", bundles / "srn")
    assert run(*both, "--data", coco, "--add", "all", "--out", out) == 0
    page = out.read_text("utf-8")
    anchors = ["explanations-a", "explanations-b", "relations-b", "audit-a", "audit-b"]
    assert re.findall(r'<section[^>]* id="([a-z-]+)"', page) == anchors
    assert [name for name, times in Counter(ids(page)).items() if times > 1] == []
    assert "Labels that go together (B)</h2>" in page
    assert f"Note: {bundles / 'linear'} has no section relations. The head of the model" in page
    for name in ("relations.css", "audit.css", "scores.css", "relations.js"):
        assert page.count(str(asset(name)).strip()) == 1, name


def test_the_labels_of_scores_are_those_of_the_model(bundles, coco, tmp_path):
    """The second model has its labels in another order; its audit must be that of the command."""
    out, own = tmp_path / "report.html", tmp_path / "own"
    both = (bundles / "srn", bundles / "linear")
    assert run(*both, "--data", coco, "--add", "audit", "--out", out) == 0
    assert run(bundles / "linear", "--data", coco, "--out", own, command="audit") == 0
    tables = re.findall(
        r'<table class="all-pairs">(.*?)</table>', out.read_text("utf-8"), re.DOTALL
    )
    expected = (own / "audit.html").read_text("utf-8")
    expected = re.findall(r'<table class="all-pairs">(.*?)</table>', expected, re.DOTALL)

    def values(text: str) -> list[list[str]]:
        rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", text, re.DOTALL)
        return sorted(re.findall(r">([^<>]+)<", ">" + row) for row in rows)

    assert values(tables[1]) == values(expected[0])
    assert values(tables[0]) != values(tables[1])


def test_a_head_without_relations_is_told_what_it_can_have(bundles, coco, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert run(bundles / "linear", "--data", coco, "--add", "relations", "--out", out) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "The report cannot have the section relations: the head of the model has no" in said
    assert "Or give --add explanations,audit." in said
    assert not out.exists()


def test_data_without_boxes_have_no_scores_of_explanations(bundles, table, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert run(bundles / "srn", "--data", table, "--add", "explanations", "--out", out) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no image has a box of a label" in said
    assert "Or give --add relations,audit." in said
    assert run(bundles / "linear", "--data", table, "--add", "all", "--out", out) == 0
    page = out.read_text("utf-8")
    assert re.findall(r'<section[^>]* id="([a-z-]+)"', page) == ["audit"]
    assert "has no section explanations. No image has a box" in page
    assert "has no section relations." in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{srn}", "--data", "{coco}", "--add", "relation"), "Did you mean 'relations'?"),
        (("{srn}", "--data", "{coco}", "--add", "audit,"), "There are: explanations, relations"),
        (("--predictions", "a.csv", "--targets", "{coco}", "--add", "all"), "--add needs a bundle"),
    ],
)
def test_what_cannot_be_added_is_refused_before_the_work(
    arguments, said, bundles, coco, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = (each.format(srn=bundles / "srn", coco=coco) for each in arguments)
    assert run(*given) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "report.html").exists()


def test_without_add_the_report_is_as_before(bundles, coco, tmp_path):
    out = tmp_path / "report.html"
    assert run(bundles / "srn", "--data", coco, "--out", out) == 0
    page = out.read_text("utf-8")
    assert "<nav" not in page
    assert str(asset("relations.css")).strip() not in page
