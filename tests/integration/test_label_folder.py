"""`manylabel label`: from a table of examples to labels, a page, and again with corrections."""

import csv
import json

import pytest
from click.testing import CliRunner
from PIL import Image

from manylabel.cli.main import cli
from manylabel.data.read import DataSource, read
from manylabel.data.synthetic import draw_scenes
from manylabel.errors import ConfigError, StoppedError
from manylabel.predict import Predictor

SMALL = (
    "backbone.name=test_resnet",
    "backbone.pretrained=false",
    "input.height=64",
    "input.width=64",
    "workers=0",
    "steps.0.epochs=2",
)
EXAMPLES, OTHERS = 64, 20
"""So many that thresholds are tuned: a third of the examples is measured on."""

pytestmark = pytest.mark.xdist_group("label-folder")


def call(*arguments):
    # So little time that only the linear head is trained.
    quick = ["--device", "cpu", "--minutes", "0.001"]
    settings = [part for each in SMALL for part in ("--set", each)]
    return CliRunner().invoke(cli, ["label", *map(str, arguments), *quick, *settings])


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["image"]: row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """A folder of photographs, one of them damaged, beside a table of some of them."""
    home = tmp_path_factory.mktemp("label")
    counts = {"train": EXAMPLES, "test": OTHERS}
    scenes = read(DataSource(path=draw_scenes(home / "drawn", counts=counts, workers=1)))
    (home / "photos" / "more").mkdir(parents=True)
    labels = {}
    for number, (record, name) in enumerate(zip(scenes, names(len(scenes)), strict=True)):
        with Image.open(record.image) as image:
            image.convert("RGB").save(home / "photos" / name)
        labels[name] = scenes.labels.decode(record.targets)
        assert number < EXAMPLES or record.split == "test"
    (home / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (home / "photos" / "notes.txt").write_text("no photograph")
    write_table(home / "mine.csv", {name: labels[name] for name in names(EXAMPLES)})
    return home, labels


def names(count):
    return [f"{'more/' if i % 5 == 0 else ''}{i:03}.jpg" for i in range(count)]


def write_table(path, labels, source=None):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "labels", *(["source"] if source else [])])
        for name, found in labels.items():
            writer.writerow([name, "|".join(found), *([source] if source else [])])


@pytest.fixture(scope="module")
def first(truth):
    home, _ = truth
    arguments = (home / "photos", "--examples", home / "mine.csv", "--out", home / "out")
    return call(*arguments, "--check", "6"), home / "out"


def test_one_command_gives_all_files_and_says_what_to_do_next(first):
    result, out = first
    assert result.exit_code == 1  # one photograph is damaged
    found = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert found == {
        "check.csv",
        "check.html",
        "examples.csv",
        "label.json",
        "labels.csv",
        "run",
    }
    for words in ("64 examples", f"Labelled: {OTHERS} photographs", "Next:", "examples.csv"):
        assert words in result.output
    assert "broken.jpg" in result.output
    assert "1 photograph cannot be read" in result.output
    assert "1 .txt" in result.output
    assert ".unfinished" not in result.output


def test_the_table_has_what_was_given_and_what_the_bundle_predicts(first, truth):
    home, labels = truth
    rows = rows_of(first[1] / "labels.csv")
    assert set(rows) == set(labels)
    predictor = Predictor.load(first[1] / "run" / "bundle", device="cpu")
    for name, row in rows.items():
        found = set(filter(None, row["labels"].split("|")))
        if row["source"] == "given":
            assert found == set(labels[name])
            assert row[f"score: {predictor.labels[0]}"] == ""
        else:
            wanted = predictor.predict(home / "photos" / name)
            assert found == set(wanted.names)
            scores = [float(row[f"score: {label}"]) for label in predictor.labels]
            assert scores == pytest.approx(wanted.scores.tolist(), abs=1e-4)
    assert sum(row["source"] == "given" for row in rows.values()) == EXAMPLES


def test_the_photographs_to_check_are_predicted_ones(first):
    rows, check = rows_of(first[1] / "labels.csv"), rows_of(first[1] / "check.csv")
    assert len(check) == 6
    for name, row in check.items():
        assert rows[name]["source"] == "predicted"
        assert set(row["labels"].split("|")) == set(rows[name]["labels"].split("|"))
        assert name in (first[1] / "check.html").read_text()


def test_a_third_of_the_examples_is_kept_out_of_training_to_measure_on(first):
    summary = json.loads((first[1] / "label.json").read_text())
    metrics = json.loads((first[1] / "run" / "metrics.json").read_text())
    assert metrics["plan"]["images"] == {"train": 44, "val": 20}
    assert f"{100 * metrics['ways']['linear']['mAP']:.1f} on 20 examples" in summary["figures"] or (
        metrics["tuned"] is not None
    )
    assert ".unfinished" not in json.dumps(metrics)


def test_corrections_are_given_into_the_same_folder(first, truth, monkeypatch):
    home, labels = truth
    out = first[1]
    corrected = {name: labels[name] for name in rows_of(out / "check.csv")}
    write_table(out / "check.csv", corrected, source="to check")
    before = (out / "labels.csv").read_bytes()
    forgotten = call(
        home / "photos", "--examples", out / "examples.csv", "--out", out, "--check", "2"
    )
    assert isinstance(forgotten.exception, ConfigError)
    assert "check.csv was changed" in forgotten.exception.what
    assert (out / "labels.csv").read_bytes() == before
    arguments = ("--examples", out / "examples.csv", "--examples", out / "check.csv")
    result = call(home / "photos", *arguments, "--out", out, "--check", "2")
    assert result.exit_code == 1, result.output
    rows = rows_of(out / "labels.csv")
    for name, found in corrected.items():
        assert rows[name]["source"] == "given"
        assert set(rows[name]["labels"].split("|")) == set(found) or not found
    assert sum(row["source"] == "given" for row in rows.values()) == EXAMPLES + 6
    assert len(rows_of(out / "examples.csv")) == EXAMPLES + 6
    assert rows_of(out / "check-changed-1.csv").keys() == corrected.keys()
    assert not set(rows_of(out / "check.csv")) & set(corrected)


def test_a_run_that_is_stopped_leaves_the_results_of_before(first, truth, monkeypatch):
    from manylabel.labelling import run

    home, _ = truth
    out = first[1]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def stop(records, folder, *given, **named):
        raise StoppedError("Stopped.", where=str(folder), fix=f"Use --resume {folder}.")

    monkeypatch.setattr(run, "train_best", stop)
    result = call(home / "photos", "--examples", out / "examples.csv", "--out", out)
    assert isinstance(result.exception, StoppedError)
    assert "--resume" not in str(result.exception)
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {p: d for p, d in after.items() if p.name != ".lock"} == {
        p: d for p, d in before.items() if p.name != ".lock"
    }


def test_results_do_not_go_among_the_photographs(truth):
    home, _ = truth
    result = call(
        home / "photos", "--examples", home / "mine.csv", "--out", home / "photos" / "out"
    )
    assert isinstance(result.exception, ConfigError)
    assert not (home / "photos" / "out").exists()


def test_a_folder_that_does_not_exist_is_said(tmp_path):
    result = call(tmp_path / "none", "--examples", tmp_path / "t.csv")
    assert "no such folder" in str(result.exception)
