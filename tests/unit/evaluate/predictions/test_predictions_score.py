"""Predictions from any kind of file, matched by name."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy
from sklearn.metrics import average_precision_score

from manylabel.data.read import DataSource, read
from manylabel.data.records import Record, Records
from manylabel.errors import DataError, RunError
from manylabel.evaluate.predictions.score import Inputs, read_thresholds, score_predictions
from manylabel.evaluate.predictions.table import (
    Predictions,
    matched,
    read_predictions,
    write_predictions,
)
from manylabel.labels import LabelSpace

LABELS = ("cat", "dog, small", "owl")


@pytest.fixture
def predictions():
    scores = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    keys = tuple(f"photos/{i}.jpg" for i in range(20))
    return Predictions(keys, LabelSpace(LABELS), scores, "made")


def truth_of(predictions, seed=1):
    targets = np.random.default_rng(seed).integers(-1, 2, predictions.scores.shape, dtype=np.int8)
    items = tuple(
        Record(key, Path(key), row) for key, row in zip(predictions.keys, targets, strict=True)
    )
    return Records.of(predictions.labels, items, "truth")


def write_truth(path, records):
    rows = [
        ",".join([record.key, *("" if t < 0 else str(t) for t in record.targets)])
        for record in records
    ]
    header = ",".join(["image", *(f'"{name}"' for name in records.labels)])
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".npz"])
def test_what_is_written_is_read(tmp_path, predictions, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = write_predictions(tmp_path / f"scores{ending}", predictions)
    found = read_predictions(path)
    assert (found.keys, found.labels) == (predictions.keys, predictions.labels)
    np.testing.assert_array_equal(found.scores.astype(np.float32), predictions.scores)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_predictions_that_cannot_be_written(tmp_path, predictions):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_predictions(tmp_path / "file" / "scores.csv", predictions)
    with pytest.raises(DataError, match="'.xlsx'"):
        write_predictions(tmp_path / "scores.xlsx", predictions)


def test_lists_hold_logits_of_listed_images(tmp_path):
    (tmp_path / "p.txt").write_text("0.000000 -800.0\n800.0 1.098612\n")
    (tmp_path / "list.txt").write_text("a\\1.jpg 2\nb/2.jpg 1\n")
    path = tmp_path / "p.txt"
    found = read_predictions(path, logits=True, image_list=tmp_path / "list.txt")
    assert found.keys == ("a/1.jpg", "b/2.jpg")
    assert found.labels.names == ("1", "2")
    np.testing.assert_allclose(found.scores, [[0.5, 0], [1, 0.75]], atol=1e-7)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    named = read_predictions(
        path, logits=True, image_list=tmp_path / "list.txt", label_names=tmp_path / "names.txt"
    )
    assert named.labels.names == ("cat", "dog")


def test_the_best_of_several_coco_results_counts(tmp_path):
    instances = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 5, "file_name": "b.jpg"}],
        "annotations": [],
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    results = [
        {"image_id": 7, "category_id": 9, "score": 0.25, "bbox": [0, 0, 1, 1]},
        {"image_id": 7, "category_id": 9, "score": 0.5},
        {"image_id": 5, "category_id": 2, "score": 1},
    ]
    (tmp_path / "i.json").write_text(json.dumps(instances))
    (tmp_path / "r.json").write_text(json.dumps(results))
    found = read_predictions(tmp_path / "r.json", instances=tmp_path / "i.json")
    assert (found.keys, found.labels.names) == (("a.jpg", "b.jpg"), ("cat", "dog"))
    assert found.scores.tolist() == [[0, 0.5], [1, 0]]
    assert found.notes == ("Pairs of image and label with score 0, without a result: 2",)


def test_the_order_of_rows_and_columns_does_not_matter(predictions):
    truth = truth_of(predictions)
    rng = np.random.default_rng(2)
    rows, columns = rng.permutation(20), rng.permutation(3)
    shuffled = Predictions(
        tuple(predictions.keys[i] for i in rows),
        LabelSpace([LABELS[i] for i in columns]),
        predictions.scores[np.ix_(rows, columns)],
        "shuffled",
    )
    found, kept = matched(shuffled, truth)
    np.testing.assert_array_equal(found.scores, predictions.scores)
    assert found.keys == predictions.keys
    assert kept.keys == truth.keys


def test_common_images_are_kept_when_asked(predictions):
    truth = truth_of(predictions)
    part = Predictions(predictions.keys[3:], predictions.labels, predictions.scores[3:], "part")
    fewer = truth.select(range(len(truth) - 2))
    with pytest.raises(DataError, match=r"3 have targets but no .* 2 have predictions but no"):
        matched(part, fewer)
    found, kept = matched(part, fewer, common=True)
    assert found.keys == tuple(kept.keys) == predictions.keys[3:-2]
    assert kept.notes[-1] == "Images left out because only one side has them: 5"


def test_figures_are_those_of_scikit_learn(tmp_path, predictions):
    truth = truth_of(predictions)
    scores = write_predictions(tmp_path / "scores.csv", predictions)
    targets = write_truth(tmp_path / "truth.csv", truth)
    found = score_predictions(scores, Inputs(targets=targets))
    known = truth.targets >= 0
    each = [
        average_precision_score(truth.targets[known[:, c], c], predictions.scores[known[:, c], c])
        for c in range(3)
    ]
    told = found.as_dict()
    assert told["mAP"] == pytest.approx(np.mean(each), abs=1e-12)
    assert {"CP", "CR", "CF1", "OP", "OR", "OF1", "top3"} <= set(told)
    records = read(DataSource(path=tmp_path / "truth.csv"))
    assert told["receipt"]["data_sha256"] == records.fingerprint()
    assert told["receipt"]["images"] == 20


BAD = {
    "nan": ("s.csv", "image,x\na.jpg,0.5\nb.jpg,nan\n", "1 of 2 scores are NaN or infinite: b.jpg"),
    "logits": ("s.csv", "image,x\na.jpg,-2.5\nb.jpg,3\n", "2 of 2 scores are outside 0..1"),
    "twice": ("s.csv", "image,x\na.jpg,0\nb.jpg,0\n./a.jpg,1\n", "1 image occurs more than once"),
    "no image": ("s.csv", "file,x\na.jpg,0\n", "no column 'image'"),
    "word": ("s.csv", "image,x,y\na.jpg,0,high\n", "'high' is not a number"),
    "short row": ("s.csv", "image,x,y\na.jpg,0\n", "2 cells, but the header has 3"),
    "no rows": ("s.csv", "image,x\n", "no rows"),
    "no list": ("s.txt", "0.5 0.5\n", "does not name the images"),
    "no npz": ("s.npz", "PK no", "not an NPZ file"),
    "ending": ("s.xlsx", "", "'.xlsx'"),
}


@pytest.mark.parametrize(("name", "content", "what"), BAD.values(), ids=BAD)
def test_bad_files_are_errors(tmp_path, name, content, what):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read_predictions(tmp_path / name)
    assert what in caught.value.what
    assert str(tmp_path / name) in caught.value.where


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, images=np.array([object()]), labels=["x"], scores=np.zeros((1, 1)))
    with pytest.raises(DataError, match="not an NPZ file of plain arrays"):
        read_predictions(path)


def test_other_labels_are_an_error(predictions):
    truth = truth_of(predictions)
    other = Predictions(
        predictions.keys, LabelSpace(("cat", "dog", "owl")), predictions.scores, "other"
    )
    with pytest.raises(DataError, match=r"1 without predictions \(dog, small\) and 1 without"):
        matched(other, truth)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.data(), name=st.sampled_from(["s.csv", "s.json", "s.txt", "s.npz"]))
def test_mutated_files_are_read_or_are_errors(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("fuzz")
    made = Predictions(("a.jpg", "b.jpg"), LabelSpace(["x", "y"]), np.eye(2), "made")
    (folder / "list.txt").write_text("a.jpg\nb.jpg\n")
    (folder / "i.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "x"}]}'
    )
    originals = {
        "s.csv": b"image,x,y\na.jpg,1.0,0.0\nb.jpg,0.0,1.0\n",
        "s.json": b'[{"image_id": 1, "category_id": 1, "score": 0.5}]',
        "s.txt": b"1.0 0.0\n0.0 1.0\n",
        "s.npz": write_predictions(folder / "o.npz", made).read_bytes(),
    }
    content = bytearray(originals[name])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = read_predictions(
            folder / name, image_list=folder / "list.txt", instances=folder / "i.json"
        )
    except DataError:
        return
    assert found.scores.shape == (len(found.keys), len(found.labels))
    assert np.isfinite(found.scores).all()


def test_damaged_and_doubtful_parquet_is_told(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "scores.parquet"
    columns = {"image": ["a.jpg"], "cat": [0.5]}
    parquet.write_table(pyarrow.table(columns), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"a.jpg", b"\xff.jpg"))
    with pytest.raises(DataError, match="The Parquet file cannot be read"):
        read_predictions(path)
    twice = [pyarrow.array(values) for values in (["a.jpg"], [0.5], [0.25])]
    parquet.write_table(pyarrow.Table.from_arrays(twice, names=["image", "cat", "cat"]), path)
    with pytest.raises(DataError, match="given more than once: cat"):
        read_predictions(path)


def test_thresholds_that_are_no_object_are_told(tmp_path) -> None:
    path = tmp_path / "thresholds.json"
    for text in ('{"thresholds": ["cat"]}', '{"thresholds": "cat"}', '{"thresholds": null}'):
        path.write_text(text)
        with pytest.raises(DataError, match="does not hold a threshold"):
            read_thresholds(path, LabelSpace(["cat"]))


def test_arrays_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "scores.npz"
    scores = np.zeros((1000, 1000))  # 8 MB, which take 8 KB in the file
    np.savez_compressed(path, images=np.arange(1000), labels=np.arange(1000), scores=scores)
    monkeypatch.setattr("manylabel.data.formats.room.free_bytes", lambda: 1_000_000)
    with pytest.raises(DataError, match="need 0.0 GB of memory"):
        read_predictions(path)


def test_arrays_whose_sizes_are_not_in_the_file(tmp_path, monkeypatch) -> None:
    """Values without a size, and texts that take more as strings than as an array."""
    path = tmp_path / "scores.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, descr, shape in (("images", "|S0", (10**11,)), ("labels", "<U1", (0,))):
            header = io.BytesIO()
            npy.write_array_header_1_0(
                header, {"descr": descr, "fortran_order": False, "shape": shape}
            )
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(DataError, match="the values of images.npy have no size"):
        read_predictions(path)
    keys = np.zeros(100_000, "S1")
    np.savez_compressed(path, images=keys, labels=np.array(["a"]), scores=np.zeros((100_000, 1)))
    monkeypatch.setattr("manylabel.data.formats.room.free_bytes", lambda: 6_000_000)
    with pytest.raises(DataError, match="The arrays would need"):
        read_predictions(path)
    np.savez(path, images=keys[:9], labels=np.array([], "U1"), scores=np.zeros((9, 0)))
    with pytest.raises(DataError, match="'labels' is empty"):
        read_predictions(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.npz", "p.parquet", "p.txt"])
def test_a_pipe_holds_no_predictions(tmp_path, name) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="not an ordinary file"):
        read_predictions(tmp_path / name, image_list=tmp_path / name)


# Labels that the targets never name.


def test_a_label_that_the_targets_do_not_name_is_absent(tmp_path):
    (tmp_path / "t.csv").write_text("image,labels\na,owl\nb,owl;cat\nc,\n")
    (tmp_path / "p.csv").write_text("image,owl,bee,cat\na,.9,.2,.1\nb,.8,.3,.4\nc,.1,.1,.2\n")
    found = score_predictions(tmp_path / "p.csv", Inputs(targets=tmp_path / "t.csv"))
    assert found.truth.labels.names == ("cat", "owl", "bee")
    assert found.truth.targets.tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert found.predictions.scores.tolist()[1] == [0.4, 0.8, 0.3]
    assert found.measures.mAP == 1.0
    assert any("taken as absent: 1 (bee)" in note for note in found.notes)


def test_a_label_that_only_the_targets_have_is_an_error(tmp_path):
    (tmp_path / "t.csv").write_text("image,labels\na,owl\nb,owl;cat\n")
    (tmp_path / "p.csv").write_text("image,owl,bee\na,.9,.2\nb,.8,.3\n")
    with pytest.raises(DataError, match="without predictions \\(cat\\)"):
        score_predictions(tmp_path / "p.csv", Inputs(targets=tmp_path / "t.csv"))
