"""Images that a model has seen are found under other paths, in other formats, and re-split."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manylabel.bundle.folder import read_bundle
from manylabel.bundle.seen import SeenImages
from manylabel.cli.main import main
from manylabel.data.read import DataSource, read
from manylabel.data.records import Records
from manylabel.data.writers.convert import convert, plan
from manylabel.errors import DataError
from manylabel.evaluate.overlap import NEAR_COPIES, UNKNOWN
from manylabel.evaluate.run import evaluate
from manylabel.images import prepared
from manylabel.metrics import measure
from manylabel.predict import Predictor

NAMES = ("cat", "dog", "owl")
COUNT, TRAINED, VALIDATED = 40, range(26), range(26, 32)
"""Of 40 photos, the first 26 were trained on, the next 6 validated on, and the last 8 are new."""


def content(path: Path) -> int:
    found: list[int] = []
    prepared(path, lambda pixels: None, on_content=found.append)
    return found[0]


@pytest.fixture(scope="module")
def photos(make_image, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    return [make_image(folder / f"{i:02}.png", i) for i in range(COUNT)]


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (COUNT, 3)).astype(np.int8)


@pytest.fixture(scope="module")
def bundle(make_bundle, photos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    contents = np.array([content(path) for path in photos], dtype=np.uint64)
    seen = SeenImages.of(trained=contents[list(TRAINED)], validated=contents[list(VALIDATED)])
    return make_bundle(tmp_path_factory.mktemp("own") / "bundle", seen=seen)


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return Predictor.load(bundle, device="cpu", batch_size=16)


def table(path: Path, photos, targets, order, **columns) -> Path:
    """A table of the photos, in another order."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *NAMES, *columns])
        for i in order:
            more = [column(i) for column in columns.values()]
            writer.writerow([str(photos[i]), *targets[i].tolist(), *more])
    return path


def other_paths(photos, targets, folder: Path) -> Records:
    """Copies under other names, in another order."""
    (folder / "deep").mkdir()
    order = np.random.default_rng(1).permutation(COUNT).tolist()
    copies = {i: folder / "deep" / f"photo-{place}.png" for place, i in enumerate(order)}
    for i, copy in copies.items():
        shutil.copy(photos[i], copy)
    return read(DataSource(path=table(folder / "t.csv", copies, targets, order)))


def resplit(photos, targets, folder: Path) -> Records:
    """A table that calls every image a test image."""
    rows = range(COUNT)
    return read(DataSource(path=table(folder / "t.csv", photos, targets, rows, split=_test)))


def _test(_: int) -> str:
    return "test"


def encoded(ending: str, **options):
    def make(photos, targets, folder: Path) -> Records:
        copies = [folder / f"{i}.{ending}" for i in range(COUNT)]
        for path, copy in zip(photos, copies, strict=True):
            Image.open(path).save(copy, **options)
        return read(DataSource(path=table(folder / "t.csv", copies, targets, range(COUNT))))

    return make


def converted(to: str, name: str):
    def make(photos, targets, folder: Path) -> Records:
        given = read(DataSource(path=table(folder / "t.csv", photos, targets, range(COUNT))))
        return convert(plan(given, folder / name, to=to, allow_outside=True))  # type: ignore

    return make


def parquet_with_bytes(photos, targets, folder: Path) -> Records:
    datasets = pytest.importorskip("datasets")
    features = {
        "image": datasets.Image(),
        "labels": datasets.List(datasets.ClassLabel(names=list(NAMES))),
    }
    columns = {
        "image": [{"bytes": path.read_bytes(), "path": None} for path in photos],
        "labels": [np.flatnonzero(row).tolist() for row in targets],
    }
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    made.to_parquet(folder / "rows.parquet")
    return read(DataSource(path=folder / "rows.parquet", format="huggingface"))


HIDDEN = {
    "other paths": other_paths,
    "re-split": resplit,
    "webp without loss": encoded("webp", lossless=True),
    "bmp": encoded("bmp"),
    "tiff": encoded("tif"),
    "coco": converted("coco", "instances.json"),
    "webdataset": converted("webdataset", "shards"),
    "parquet": converted("parquet", "photos.parquet"),
    "parquet with bytes": parquet_with_bytes,
}


@pytest.mark.parametrize("hidden", HIDDEN)
def test_seen_images_are_left_out_however_they_come(
    hidden: str, predictor: Predictor, photos, targets, tmp_path: Path
) -> None:
    records = HIDDEN[hidden](photos, targets, tmp_path)
    assert len(records) == COUNT
    found = evaluate(predictor, records)
    left = [i for i in range(COUNT) if i not in TRAINED]
    assert len(found.keys) == len(left) == 14
    assert "26 of 40 images were trained on (6 validated on)" in " ".join(found.notes)
    # The figures are those of the images that are left, chosen here by hand.
    scores = np.stack([predictor.predict(photos[i]).scores for i in left])
    expected = measure(scores, targets[left], predictor.labels)
    assert found.measures.mAP == pytest.approx(expected.mAP)
    assert pytest.approx(expected.all.OF1) == found.measures.all.OF1


def test_what_is_said_and_kept_in_the_receipt(
    predictor: Predictor, photos, targets, tmp_path: Path
) -> None:
    records = resplit(photos, targets, tmp_path)
    found = evaluate(predictor, records)
    said = [note for note in found.notes if note not in records.notes]
    assert said == [
        "26 of 40 images were trained on (6 validated on). They are left out; --keep-trained keeps "
        "them",
        "6 images of validation chose the model, such as its best epoch, so figures may be a "
        "little too high",
        NEAR_COPIES,
    ]
    receipt = found.receipt
    assert (receipt.images, receipt.trained_on, receipt.trained_kept) == (14, 26, False)
    assert (receipt.validated_on, receipt.tuned_on, receipt.bad_images) == (6, 0, None)
    assert "26 images trained on (left out), 6 images validated on" in receipt.lines()[-1]

    kept = evaluate(predictor, records, keep_trained=True)
    assert len(kept.keys) == 40
    assert "They are kept, so expect lower figures for new images" in " ".join(kept.notes)
    assert kept.receipt.trained_kept is True
    assert "26 images trained on (kept)" in kept.receipt.lines()[-1]


def test_new_images_are_said_to_be_new(predictor, make_image, targets, tmp_path: Path) -> None:
    new = [make_image(tmp_path / f"new{i}.png", 1000 + i) for i in range(COUNT)]
    found = evaluate(predictor, resplit(new, targets, tmp_path))
    assert "None of 40 images was trained on or validated on" in found.notes
    assert len(found.keys) == COUNT


def test_bad_images_and_trained_ones_are_left_out_together(
    predictor, photos, targets, tmp_path: Path
) -> None:
    records = other_paths(photos, targets, tmp_path)
    for place in (3, 17, 39):
        Path(str(records.images[place])).write_bytes(b"no image")
    found = evaluate(predictor, records, skip_bad=True)
    by_hand = [content(Path(str(p))) for i, p in enumerate(records.images) if i not in (3, 17, 39)]
    trained = {content(photos[i]) for i in TRAINED}
    assert found.receipt.bad_images == 3
    assert found.receipt.trained_on == sum(each in trained for each in by_hand)
    assert found.receipt.images == sum(each not in trained for each in by_hand)
    assert found.contents.tolist() == [each for each in by_hand if each not in trained]


def test_nothing_left_is_an_error(predictor, photos, targets, tmp_path: Path) -> None:
    records = resplit(photos, targets, tmp_path).select(list(TRAINED))
    with pytest.raises(DataError, match="trained on all of the 26 images") as refused:
        evaluate(predictor, records)
    assert "--keep-trained" in refused.value.fix
    assert len(evaluate(predictor, records, keep_trained=True).keys) == 26


def test_an_older_bundle_says_that_it_cannot_know(tiny_bundle, photos, targets, tmp_path) -> None:
    predictor = Predictor.load(tiny_bundle, device="cpu")
    found = evaluate(predictor, resplit(photos, targets, tmp_path))
    assert found.notes[-1] == UNKNOWN
    assert (len(found.keys), found.receipt.trained_on) == (COUNT, None)


# Commands


def run(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return " ".join(said.out.split())


@pytest.fixture
def csv_of_all(photos, targets, tmp_path: Path) -> Path:
    return table(tmp_path / "all.csv", photos, targets, range(COUNT))


@pytest.fixture
def with_train(photos, targets, tmp_path: Path) -> Path:
    """A table that calls the trained images train, the others val."""
    path = tmp_path / "split.csv"
    return table(
        path, photos, targets, range(COUNT), split=lambda i: "train" if i in TRAINED else "val"
    )


def test_evaluate_leaves_out_unless_told_otherwise(bundle, csv_of_all, capsys) -> None:
    printed = run(capsys, "evaluate", bundle, "--data", csv_of_all)
    assert "26 of 40 images were trained on (6 validated on)." in printed
    assert "14 images, 3 labels" in printed
    assert "use --split test" not in printed  # what training drew needs no guess
    kept = run(capsys, "evaluate", bundle, "--data", csv_of_all, "--keep-trained")
    assert "40 images, 3 labels" in kept


def test_train_is_measured_by_intention(bundle, with_train, capsys) -> None:
    printed = run(capsys, "evaluate", bundle, "--data", with_train, "--split", "train")
    assert "26 of 26 images were trained on (0 validated on). They are kept" in printed
    assert "26 images, 3 labels" in printed


@pytest.mark.parametrize("split", [None, "all"])
def test_tune_leaves_out_the_trained_ones_only(
    split, bundle, with_train, tmp_path: Path, photos, capsys
) -> None:
    chosen = [] if split is None else ["--split", split]
    out = tmp_path / "tuned"
    printed = run(capsys, "tune", bundle, "--data", with_train, *chosen, "--out", out)
    told = "26 of 40 images were trained on (6 validated on). They are left out"
    assert (told in printed) is (split == "all")
    assert "14 images of" in printed
    left = {content(photos[i]) for i in range(COUNT) if i not in TRAINED}
    seen = read_bundle(out).info.seen
    assert seen is not None
    assert set(np.frombuffer(seen.tuned, "<u8").tolist()) == left
    again = run(capsys, "evaluate", out, "--data", with_train, "--split", "val")
    assert "The thresholds were tuned on 14 images of these" in again


def test_tune_on_train_is_by_intention(bundle, with_train, tmp_path: Path, capsys) -> None:
    out = tmp_path / "tuned"
    printed = run(capsys, "tune", bundle, "--data", with_train, "--split", "train", "--out", out)
    assert "26 images of" in printed
    assert "They are kept" in printed


def test_audit_and_report_leave_out(bundle, csv_of_all, tmp_path: Path, capsys) -> None:
    arguments = ("--data", csv_of_all, "--out", tmp_path / "audit", "--fewest", 3)
    assert "14 images" in run(capsys, "audit", bundle, *arguments)
    pytest.importorskip("plotly")
    run(capsys, "report", bundle, "--data", csv_of_all, "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "26 of 40 images were trained on (6 validated on)" in page


def test_a_report_of_two_is_of_images_that_are_new_to_both(
    bundle, make_bundle, photos, csv_of_all, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("plotly")
    last = np.array([content(path) for path in photos[-4:]], dtype=np.uint64)
    other = make_bundle(tmp_path / "other", seed=1, seen=SeenImages.of(trained=last))
    from manylabel.evaluate.report.sources import report_from_bundles

    models = [(name, Predictor.load(path, device="cpu")) for name, path in
              (("one", bundle), ("two", other))]  # fmt: skip
    found = report_from_bundles(models, read(DataSource(path=csv_of_all)))
    assert len(found.truth) == 10
    assert [len(model.scores) for model in found.models] == [10, 10]
    told = " ".join(found.notes)
    assert "one: 26 of 40 images were trained on" in told
    assert "two: 4 of 40 images were trained on" in told
    for (_, predictor), model in zip(models, found.models, strict=True):
        by_hand = np.stack([predictor.predict(photos[i]).scores for i in range(26, 36)])
        np.testing.assert_allclose(model.scores, by_hand, atol=1e-5)
        assert model.receipt.images == 10


def test_saved_predictions_say_that_they_are_of_trained_images(
    bundle, csv_of_all, tmp_path: Path, capsys
) -> None:
    kept, out = tmp_path / "kept.csv", tmp_path / "out.csv"
    run(capsys, "evaluate", bundle, "--data", csv_of_all, "--save-predictions", out)
    assert len(out.read_text().splitlines()) == 1 + 14
    receipt = json.loads((tmp_path / "out.receipt.json").read_text())["receipt"]
    assert (receipt["trained_on"], receipt["trained_kept"]) == (26, False)
    run(capsys, "evaluate", bundle, "--data", csv_of_all, "--save-predictions", kept,
        "--keep-trained")  # fmt: skip
    told = f"{kept}: the model was trained on 26 images of these"
    for path, expected in ((kept, True), (out, False)):
        targets = path.with_suffix(".targets.csv")
        scored = run(capsys, "score", "--predictions", path, "--targets", targets)
        assert (told in scored) is expected
    targets = out.with_suffix(".targets.csv")
    compared = run(capsys, "compare", kept, out, "--targets", targets, "--common")
    assert "trained on" in compared
