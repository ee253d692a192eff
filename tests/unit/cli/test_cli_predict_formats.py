"""What the formats of `manylabel predict` hold, and that it is read back."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from manylabel.cli.predict_formats import FORMATS, Choice, Shown
from manylabel.data.read import DataSource, read
from manylabel.evaluate.predictions.table import read_predictions
from manylabel.labels import LabelSpace
from manylabel.predict import Prediction

SCORES = {
    "a/one.jpg": [0.25, 0.75, 0.5],
    "two.jpg": [0.125, 0.0, 0.375],
    "=2+2.jpg": [1.0, 0.9, 0.0],
}


def written(form: str, labels: list[str], choice: Choice | None = None) -> str:
    choice, space = choice or Choice(None, any_score=True), LabelSpace(labels)
    results = [
        Prediction(key, space, np.array(scores, np.float32), np.array(scores) >= 0.5)
        for key, scores in SCORES.items()
    ]
    stream = io.StringIO()
    FORMATS[form](results, Shown(space, choice, "manylabel 0123"), stream)
    return stream.getvalue()


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_spreadsheet_has_the_labels_and_then_the_scores() -> None:
    assert rows(written("spreadsheet", ["cat", "big dog", "owl"])) == [
        ["image", "labels", "cat", "big dog", "owl"],
        ["a/one.jpg", "big dog | owl", "0.250000", "0.750000", "0.500000"],
        ["two.jpg", "", "0.125000", "0.000000", "0.375000"],
        ["'=2+2.jpg", "cat | big dog", "1.000000", "0.900000", "0.000000"],
    ]


def test_csv_is_numbers_alone() -> None:
    assert rows(written("csv", ["cat", "big dog", "owl"])) == [
        ["image", "labels: cat", "labels: big dog", "labels: owl", "cat", "big dog", "owl"],
        ["a/one.jpg", "0", "1", "1", "0.250000", "0.750000", "0.500000"],
        ["two.jpg", "0", "0", "0", "0.125000", "0.000000", "0.375000"],
        ["'=2+2.jpg", "1", "1", "0", "1.000000", "0.900000", "0.000000"],
    ]


@pytest.mark.parametrize("form", ["spreadsheet", "csv"])
def test_a_choice_lists_other_labels(form: str) -> None:
    table = rows(written(form, ["cat", "dog", "owl"], Choice(1, any_score=True)))
    listed = [row[1:-3] for row in table[1:]]
    if form == "csv":
        assert listed == [["0", "1", "0"], ["0", "0", "1"], ["1", "0", "0"]]
    else:
        assert listed == [["dog"], ["owl"], ["cat"]]


@pytest.mark.parametrize("form", ["spreadsheet", "csv"])
@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog", "owl"],
        ["a|b", "c;d", "e,f"],  # every usual mark
        ["labels", "labels: owl", "owl"],
        ["1", "0", "0.5"],
        ["=1", "'=2", '"quoted"'],
    ],
    ids=" ".join,
)
def test_tables_are_read_back_as_predictions(tmp_path: Path, form: str, labels: list[str]) -> None:
    path = tmp_path / "p.csv"
    path.write_text(written(form, labels), encoding="utf-8")
    found = read_predictions(path)
    assert found.labels.names == tuple(labels)
    assert found.keys == tuple(SCORES)
    np.testing.assert_allclose(found.scores, list(SCORES.values()), atol=1e-6)
    (note,) = found.notes
    assert "not read as scores" in note


def test_scores_of_a_label_called_labels_are_scores(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("image,labels,cat\na.jpg,0.5,1\nb.jpg,1,0\n")
    assert read_predictions(path).labels.names == ("labels", "cat")
    path.write_text("image,labels,cat\na.jpg,0.5,1\nb.jpg,dog,0\n")
    with pytest.raises(Exception, match="'dog' is not a number"):
        read_predictions(path)
    path.write_text("image,labels: cat,cat\na.jpg,0.5,1\nb.jpg,1,0\n")
    assert read_predictions(path).labels.names == ("labels: cat", "cat")


# Label Studio


def test_tasks_of_label_studio(capsys) -> None:
    tasks = json.loads(written("label-studio", ["cat", "dog & <co>", "owl"]))
    assert tasks[0] == {
        "data": {"image": "/data/local-files/?d=a/one.jpg"},
        "predictions": [
            {
                "model_version": "manylabel 0123",
                "score": 0.5,  # owl: the label that it is least sure of
                "result": [
                    {
                        "from_name": "labels",
                        "to_name": "image",
                        "type": "choices",
                        "value": {"choices": ["dog & <co>", "owl"]},
                    }
                ],
            }
        ],
    }
    assert tasks[1]["predictions"][0]["result"] == []
    assert tasks[1]["predictions"][0]["score"] == 0.625  # 1 - 0.375
    first, interface = capsys.readouterr().err.splitlines()
    assert first.startswith("Label Studio needs")
    view = ElementTree.fromstring(interface)
    assert [each.get("value") for each in view.iter("Choice")] == ["cat", "dog & <co>", "owl"]
    names = {(each.get("name"), each.get("toName")) for each in view}
    assert names == {("image", None), ("labels", "image")}


def test_no_image_is_an_empty_list(capsys) -> None:
    stream = io.StringIO()
    shown = Shown(LabelSpace(["a"]), Choice(None, any_score=True), "m")
    FORMATS["label-studio"]([], shown, stream)
    assert json.loads(stream.getvalue()) == []
    assert capsys.readouterr().err


@pytest.mark.parametrize("absolute", [False, True])
def test_annotated_tasks_are_read_back(
    tmp_path: Path, make_image, monkeypatch, capsys, absolute: bool
) -> None:
    """Label Studio exports what it imported, with the annotations of whoever accepted them."""
    monkeypatch.chdir(tmp_path)
    keys = [f"photos {i}/ü {i}.jpg" for i in range(2)]
    for i, key in enumerate(keys):
        make_image(tmp_path / key, i)
    space = LabelSpace(["cat", "dog"])
    results = [
        Prediction(
            str(tmp_path / key) if absolute else f"./{key}",
            space,
            np.array(scores, np.float32),
            np.array(scores) >= 0.5,
        )
        for key, scores in zip(keys, [[0.75, 0.5], [0.25, 0.875]], strict=True)
    ]
    stream = io.StringIO()
    FORMATS["label-studio"](results, Shown(space, Choice(None, True), "m"), stream)
    tasks = json.loads(stream.getvalue())
    for number, task in enumerate(tasks):
        (found,) = task["predictions"]
        task |= {"id": number, "annotations": [{"result": found["result"]}]}
    (tmp_path / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
    records = read(DataSource(path=tmp_path / "export.json"))
    assert records.labels.names == ("cat", "dog")
    assert records.targets.tolist() == [[1, 1], [0, 1]]
    assert [path.resolve() for path in records.images] == [
        (tmp_path / key).resolve() for key in keys
    ]
    capsys.readouterr()
