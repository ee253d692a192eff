from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_score

from manylabel.data.records import Record, Records
from manylabel.data.splits.split import with_splits
from manylabel.errors import ConfigError, DataError
from manylabel.evaluate.overlap import UNKNOWN
from manylabel.evaluate.run import evaluate, held_out, take_split
from manylabel.labels import LabelSpace
from manylabel.metrics import measure
from manylabel.predict import Predictor

LABELS = LabelSpace(["cat", "dog", "owl"])


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    return Predictor.load(tiny_bundle, device="cpu", batch_size=4)


def record(path: Path, targets, split=None) -> Record:
    return Record(path.name, path, np.array(targets, dtype=np.int8), split)


@pytest.fixture
def records(make_image, tmp_path: Path) -> Records:
    targets = np.random.default_rng(0).integers(0, 2, (10, 3))
    items = [record(make_image(tmp_path / f"{i}.png", i), row) for i, row in enumerate(targets)]
    return Records.of(LABELS, tuple(items), "photos", ("A note.",))


def with_bad(records: Records, *positions: int) -> Records:
    for position in positions:
        records[position].image.write_bytes(b"no image")
    return records


def test_figures_are_those_of_the_predictions(predictor, records: Records) -> None:
    found = evaluate(predictor, records)
    scores = np.stack([predictor.predict(item.image).scores for item in records])
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    assert np.array_equal(found.targets, records.targets)
    ap = [average_precision_score(records.targets[:, c], scores[:, c]) for c in range(3)]
    assert found.measures.mAP == pytest.approx(np.mean(ap))
    op = precision_score(records.targets, scores >= 0.5, average="micro")
    assert pytest.approx(op) == found.measures.all.OP
    assert found.keys == tuple(records.keys)
    assert found.data_fingerprint == records.fingerprint()
    assert (found.source, found.notes) == ("photos", ("A note.", UNKNOWN))


def test_labels_are_matched_by_name(predictor, records: Records) -> None:
    shuffled = LabelSpace(["owl", "cat", "dog"])
    items = tuple(record(item.image, item.targets[[2, 0, 1]]) for item in records)
    found = evaluate(predictor, Records.of(shuffled, items, "photos"))
    assert np.array_equal(found.targets, records.targets)
    assert found.measures.mAP == evaluate(predictor, records).measures.mAP
    assert [row.label for row in found.measures.per_label] == ["cat", "dog", "owl"]


def test_other_labels_are_refused(predictor, records: Records) -> None:
    other = Records.of(LabelSpace(["cat", "dog", "cow"]), records, "photos")
    with pytest.raises(DataError, match=r"missing \(owl\).*not known to the model \(cow\)"):
        evaluate(predictor, other)


def test_the_bundles_thresholds_decide(make_bundle, tmp_path: Path, records: Records) -> None:
    never = Predictor.load(make_bundle(tmp_path / "never", thresholds=(1.0, 1.0, 0.0)))
    rows = evaluate(never, records).measures.per_label
    assert [row.recall for row in rows] == [0, 0, 1]
    assert [row.threshold for row in rows] == [1, 1, 0]


@pytest.mark.parametrize(
    ("thresholds", "profile", "each", "rule"),
    [
        ((0.5, 0.5, 0.5), "manylabel", 0.5, "the profile's own, 0.5 for all"),
        ((0.5, 0.5, 0.5), "asl", 0.8, "the profile's own, 0.8 for all"),
        ((0.5, 0.5, 0.5), "voc07", None, "none"),
        ((0.3, 0.3, 0.3), "asl", 0.3, "the bundle's, 0.3 for all"),
        ((0.5, 0.25, 0.5), "asl", (0.5, 0.25, 0.5), "the bundle's, per label"),
    ],
)
def test_tuned_thresholds_decide_else_the_profiles_own(
    make_bundle, tmp_path: Path, records: Records, thresholds, profile: str, each, rule: str
) -> None:
    bundle = make_bundle(tmp_path / "tuned", thresholds=thresholds)
    found = evaluate(Predictor.load(bundle), records, profile=profile)
    assert found.receipt.thresholds == rule
    if rule.startswith("the profile's"):
        tuned = make_bundle(tmp_path / "half", thresholds=thresholds, tuned={"rule": "f1"})
        kept = evaluate(Predictor.load(tuned), records, profile=profile)
        assert kept.receipt.thresholds == "the bundle's, 0.5 for all"
        assert {row.threshold for row in kept.measures.per_label} == {0.5}
    wanted = measure(found.scores, found.targets, LABELS, profile=profile, thresholds=each)
    assert found.measures.as_dict() == wanted.as_dict()


def test_the_bundles_limits_decide(make_bundle, tmp_path: Path, records: Records) -> None:
    bundle = make_bundle(tmp_path / "one", thresholds=(0.0, 0.0, 0.0), at_most=1)
    found = evaluate(Predictor.load(bundle), records)
    assert found.measures.all.predicted.sum() <= len(records)
    assert found.receipt.thresholds == "the bundle's, 0 for all, 0 to 1 labels an image"


def test_the_receipt_says_what_the_figures_depend_on(predictor, records: Records) -> None:
    receipt = evaluate(predictor, records, profile="csra").receipt
    assert (receipt.profile, receipt.images, receipt.labels) == ("csra", 10, 3)
    assert receipt.data_sha256 == records.fingerprint()
    assert receipt.bundle_sha256 == predictor.engine.weights_sha256
    assert receipt.input == predictor.spec
    assert (receipt.scores_from, receipt.ema) == ("final", False)
    assert {"manylabel", "torch", "numpy", "timm"} <= set(receipt.versions)


def test_bad_images_are_counted_after_the_whole_pass(predictor, records: Records) -> None:
    done = []
    with pytest.raises(DataError, match="2 of 10 images cannot be used") as caught:
        evaluate(predictor, with_bad(records, 1, 8), on_progress=done.append)
    assert done == list(range(1, 11))
    assert "1.png" in str(caught.value)
    assert "8.png" in str(caught.value)
    assert "--skip-bad-images" in caught.value.fix


def test_of_many_bad_images_the_first_are_named(predictor, records: Records) -> None:
    with pytest.raises(DataError, match="7 of 10") as caught:
        evaluate(predictor, with_bad(records, *range(7)))
    assert "4.png" in str(caught.value)
    assert "5.png" not in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_skipped_images_are_in_the_notes_and_do_not_move_the_rest(
    predictor, records: Records
) -> None:
    whole = evaluate(predictor, records)
    found = evaluate(predictor, with_bad(records, 0, 5), skip_bad=True)
    rest = [1, 2, 3, 4, 6, 7, 8, 9]
    np.testing.assert_allclose(found.scores, whole.scores[rest], atol=1e-5)
    assert np.array_equal(found.targets, whole.targets[rest])
    assert found.keys == tuple(whole.keys[i] for i in rest)
    assert found.data_fingerprint != whole.data_fingerprint
    assert found.notes[0] == "A note."
    assert "left out" in found.notes[1]
    assert "2" in found.notes[1]


def test_no_image_to_measure_is_an_error(predictor, records: Records) -> None:
    with pytest.raises(DataError, match="no image"):
        evaluate(predictor, Records.of(LABELS, (), "photos"))
    with pytest.raises(DataError, match="no image"):
        evaluate(predictor, with_bad(records, *range(10)), skip_bad=True)


def test_an_unknown_profile_is_an_error_before_the_work(predictor, records: Records) -> None:
    done = []
    with pytest.raises(ConfigError, match="profile"):
        evaluate(predictor, records, profile="srm", on_progress=done.append)
    assert done == []


def test_as_dict_has_the_figures_and_what_they_are_of(predictor, records: Records) -> None:
    found = evaluate(predictor, records, profile="srn")
    tables = found.as_dict()
    assert tables["data"] == "photos"
    assert tables["data_fingerprint"] == records.fingerprint()
    assert tables["notes"] == ["A note.", UNKNOWN]
    assert tables["profile"] == "srn"
    assert tables["mAP"] == found.measures.mAP


# Splits


def split_records(*splits: str | None) -> Records:
    items = [record(Path(f"{i}.png"), [1, 0, 0], split) for i, split in enumerate(splits)]
    return Records.of(LABELS, tuple(items), "photos")


@pytest.mark.parametrize(
    ("splits", "name", "keys"),
    [
        (("train", "val", "test", "test"), "test", ["2.png", "3.png"]),
        (("train", "val"), "val", ["1.png"]),
        (("train", "train"), "all", ["0.png", "1.png"]),
        ((None, None), "all", ["0.png", "1.png"]),
    ],
)
def test_held_out_is_test_else_val_else_all(splits, name: str, keys: list[str]) -> None:
    records, said = held_out(split_records(*splits))
    assert (said, list(records.keys)) == (name, keys)
    assert any("--split test" in note for note in records.notes) == (name == "all")


def test_on_its_training_data_set_a_model_is_measured_on_the_rest() -> None:
    records = split_records(*[None] * 60)
    drawn = with_splits(records)
    trained_on = drawn.split("train").fingerprint()
    found, said = held_out(records, trained_on=trained_on)
    assert (said, found.keys) == ("test", drawn.split("test").keys)
    assert any("trained on this data set" in note for note in found.notes)
    assert held_out(records, trained_on="another")[1] == "all"


def test_a_single_image_can_be_measured() -> None:
    for name in "abcdefgh":  # wherever its hash falls
        items = (record(Path(f"{name}.png"), [1, 0, 0]),)
        found, said = held_out(Records.of(LABELS, items, "photos"), trained_on="another")
        assert (len(found), said) == (1, "all")


def test_a_given_split_is_taken_as_it_is() -> None:
    assert list(take_split(split_records("train", "val", "test"), "val").keys) == ["1.png"]


def test_a_missing_split_is_drawn_as_training_draws_it() -> None:
    records = split_records(*[None] * 60)
    taken = take_split(records, "test")
    assert 0 < len(taken) < 60
    assert taken.keys == with_splits(records).split("test").keys
    assert any("drawn" in note for note in taken.notes)


def test_a_split_without_images_is_an_error() -> None:
    with pytest.raises(DataError, match="'val' has no image. The splits are: test 2"):
        take_split(split_records("test", "test"), "val")
