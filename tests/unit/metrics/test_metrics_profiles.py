from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from manylabel.errors import ConfigError, DataError
from manylabel.labels import LabelSpace
from manylabel.metrics import PROFILES, compare_profiles, explain_gap, measure

ABCD = LabelSpace(["ant", "bee", "cat", "dog"])

# Three images; "dog" has no positive and one target is unknown.
SCORES = np.array([[0.9, 0.8, 0.7, 0.6], [0.6, 0.5, 0.1, 0.2], [0.2, 0.9, 0.4, 0.3]])
TARGETS = np.array([[1, 1, 0, 0], [0, 1, -1, 0], [1, 0, 1, 0]], dtype=np.int8)


def figures(measures) -> dict:
    return {"mAP": measures.mAP, **measures.all.as_dict()}


def test_manylabel_by_hand():
    found = measure(SCORES, TARGETS, ABCD)
    # ant: positives at rank 1 and 3; bee: 2 and 3; cat: 2 of the two known images.
    ap = [(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, 1 / 2]
    assert [row.AP for row in found.per_label[:3]] == pytest.approx(ap)
    # Decided: image 0 all four, image 1 ant and bee (0.5 counts), image 2 bee.
    cp, cr = np.mean([1 / 2, 2 / 3, 0]), np.mean([1 / 2, 1, 0])
    op, recall = 3 / 7, 3 / 5
    assert figures(found) == pytest.approx(
        {
            "mAP": np.mean(ap),
            "CP": cp,
            "CR": cr,
            "CF1": 2 * cp * cr / (cp + cr),
            "OP": op,
            "OR": recall,
            "OF1": 2 * op * recall / (op + recall),
        }
    )
    assert found.skipped == ("dog",)
    assert found.unknown == 1
    assert found.num_images == 3


def test_top_three_by_hand_exactly_three():
    top3 = measure(SCORES, TARGETS, ABCD).top3
    # Best three: ant bee cat; ant bee dog; bee cat dog. Right: 2, 1, 1 of 9.
    cp, cr = np.mean([1 / 2, 2 / 3, 1 / 2]), np.mean([1 / 2, 1, 1])
    assert top3.as_dict() == pytest.approx(
        {
            "CP": cp,
            "CR": cr,
            "CF1": 2 * cp * cr / (cp + cr),
            "OP": 4 / 9,
            "OR": 4 / 5,
            "OF1": 2 * (4 / 9) * (4 / 5) / (4 / 9 + 4 / 5),
        }
    )
    assert top3.predicted.tolist() == [2, 3, 2, 2]


def test_srn_by_hand():
    found = measure(SCORES, TARGETS, ABCD, profile="srn")
    # The envelope lifts bee's first precision from 1/2 to 2/3.
    assert [row.AP for row in found.per_label[:3]] == pytest.approx([5 / 6, 2 / 3, 1 / 2])
    assert np.isnan(found.mAP)  # dog has none
    # Decided: image 0 all four, image 1 ant (0.5 does not count), image 2 bee.
    assert found.all.predicted.tolist() == [2, 2, 1, 1]
    # dog: one predicted of no positive: precision 0, recall 1 (eps over eps), F1 0.
    assert figures(found) == pytest.approx(
        {
            "mAP": np.nan,
            "CP": np.mean([1 / 2, 1 / 2, 0, 0]),
            "CR": np.mean([1 / 2, 1 / 2, 0, 1]),
            "CF1": np.mean([1 / 2, 1 / 2, 0, 0]),
            "OP": 2 / 6,
            "OR": 2 / 5,
            "OF1": 2 * 2 / (6 + 5),
        },
        nan_ok=True,
    )
    # At most three of those over 0.5: image 0 loses dog, which then has precision 1.
    assert found.top3.predicted.tolist() == [2, 2, 1, 0]
    assert pytest.approx(np.mean([1 / 2, 1 / 2, 0, 1])) == found.top3.CP
    assert found.skipped == ()
    assert found.remarks == ("mAP has no value, no positive: 1 label (dog)",)
    with_all = measure(SCORES[:, :3], TARGETS[:, :3], LabelSpace(ABCD.names[:3]), profile="srn")
    assert with_all.mAP == pytest.approx(np.mean([5 / 6, 2 / 3, 1 / 2]))


@pytest.mark.parametrize("profile", PROFILES)
def test_as_dict_is_json_and_says_its_definition(profile):
    tables = measure(SCORES, TARGETS, ABCD, profile=profile).as_dict()
    again = json.loads(json.dumps(tables, allow_nan=False))
    assert again == tables
    assert list(tables) == [
        "profile",
        "definition",
        "num_images",
        "num_labels",
        "num_unknown",
        "skipped_labels",
        "mAP",
        "CP",
        "CR",
        "CF1",
        "OP",
        "OR",
        "OF1",
        "top3",
        "remarks",
        "labels",
    ]
    assert tables["profile"] == profile
    assert tables["definition"] == PROFILES[profile].definition
    assert tables["num_labels"] == 4
    assert tables["num_unknown"] == 1
    assert tables["skipped_labels"] == (["dog"] if PROFILES[profile].ap.empty == "skipped" else [])
    assert list(tables["top3"]) == ["CP", "CR", "CF1", "OP", "OR", "OF1"]
    assert tables["labels"][3]["AP"] == (0 if PROFILES[profile].ap.empty == "zero" else None)
    first = tables["labels"][0]
    assert first.keys() == {"label", "positives", "AP", "precision", "recall", "F1", "threshold"}
    assert first["AP"] == pytest.approx(28 / 33 if profile == "voc07" else 5 / 6)
    decide = PROFILES[profile].decide
    assert first["threshold"] == (decide.threshold if decide else None)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("target", [0, -1], ids=["no positive", "all unknown"])
def test_nothing_to_rank_is_said_and_not_a_crash(profile, target):
    found = measure(SCORES, np.full((3, 4), target), ABCD, profile=profile)
    empty = PROFILES[profile].ap.empty
    np.testing.assert_equal(found.mAP, 0.0 if empty == "zero" else np.nan)
    assert found.skipped == (ABCD.names if empty == "skipped" else ())
    assert found.unknown == (12 if target == -1 else 0)
    assert any("4 labels" in remark and "ant, bee, cat, dog" in remark for remark in found.remarks)
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_all_positive(profile):
    found = measure(np.full((3, 4), 0.9), np.ones((3, 4)), ABCD, profile=profile.name)
    assert found.mAP == pytest.approx(1.0)
    if profile.decide is None:
        assert np.isnan(list(found.all.as_dict().values())).all()
        return
    assert found.all.as_dict() == pytest.approx(dict.fromkeys(found.all.as_dict(), 1.0))
    recall = {"none": np.nan, "third best": 1.0}.get(profile.decide.top3, 3 / 4)
    np.testing.assert_allclose(found.top3.OR, recall)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_one_label_and_one_image(profile):
    found = measure([[0.9]], [[1]], LabelSpace(["ant"]), profile=profile.name)
    assert found.mAP == 1
    if profile.decide is not None:
        assert found.all.as_dict() == pytest.approx(dict.fromkeys(found.all.as_dict(), 1.0))
        if profile.decide.top3 != "none":
            assert found.top3.as_dict() == pytest.approx(found.all.as_dict())


@pytest.mark.parametrize("profile", PROFILES)
def test_no_image(profile):
    found = measure(np.zeros((0, 4)), np.zeros((0, 4)), ABCD, profile=profile)
    np.testing.assert_equal(found.mAP, 0.0 if PROFILES[profile].ap.empty == "zero" else np.nan)
    assert found.num_images == 0


def test_a_profile_has_a_threshold_of_its_own_which_gives_way_to_one_given():
    scores, labels = [[0.9, 0.8, 0.7]], LabelSpace(["ant", "bee", "cat"])
    asl = measure(scores, [[1, 1, 1]], labels, profile="asl")
    assert asl.all.predicted.tolist() == [1, 0, 0]  # over 0.8
    assert {row.threshold for row in asl.per_label} == {0.8}
    given = measure(scores, [[1, 1, 1]], labels, profile="asl", thresholds=[0.5, 0.5, 0.7])
    assert given.all.predicted.tolist() == [1, 1, 0]
    assert [row.threshold for row in given.per_label] == [0.5, 0.5, 0.7]


def test_remarks_say_why_a_figure_has_no_value():
    def remarks(profile, scores=SCORES, targets=TARGETS):
        return measure(scores, targets, ABCD, profile=profile).remarks

    assert remarks("manylabel") == ()
    assert remarks("sklearn") == (
        "AP 0 in mAP, no positive: 1 label (dog)",
        "sklearn defines no top-3 figures",
    )
    assert remarks("q2l") == (
        "mAP has no value, no positive: 1 label (dog)",
        "q2l defines no precision, recall and F1",
    )
    assert remarks("ml-gcn")[1:] == (
        "CR, CF1: no value, divided by 0 (7 predicted, 3 right, 1 label without a positive)",
        "top-3 CR, CF1: no value, divided by 0 (6 predicted, 3 right, 1 label without a positive)",
    )
    assert remarks("c-tran", np.zeros((3, 4)))[0] == (
        "CF1, OF1: no value, divided by 0 (0 predicted, 0 right, 1 label without a positive)"
    )


def test_all_profiles_at_once_are_those_one_by_one():
    found = compare_profiles(SCORES, TARGETS, ABCD)
    assert [each.profile.name for each in found] == list(PROFILES)
    for each in found:
        assert each.as_dict() == measure(SCORES, TARGETS, ABCD, profile=each.profile.name).as_dict()
    higher = compare_profiles(SCORES, TARGETS, ABCD, thresholds=0.85)
    assert {row.threshold for each in higher if each.profile.decide for row in each.per_label} == {
        0.85
    }


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("manylabel", "manylabel", ""),
        ("ml-gcn", "csra", ""),
        ("sklearn", "torchmetrics", "decided where score > 0.5"),
        ("torchmetrics", "sklearn", "decided where score >= 0.5"),
        (
            "srn",
            "q2l",
            "unknown targets count as absent in AP; no precision, recall or F1",
        ),
        (
            "manylabel",
            "mmpretrain",
            "ties in the order of the data set; labels without a positive count as AP 0 in mAP; "
            "CF1 is the mean of the labels' F1; recall is 0 for labels without a positive; "
            "top-3 takes exactly three labels an image",
        ),
    ],
)
def test_the_gap_between_profiles_is_said_from_their_data(a, b, words):
    assert explain_gap(PROFILES[a], PROFILES[b]) == words


def test_profiles_without_a_gap_in_words_give_the_same_figures():
    """Over all pairs: where no aspect differs, neither does a figure."""
    found = {each.profile.name: each.as_dict() for each in compare_profiles(SCORES, TARGETS, ABCD)}
    for a, b in itertools.combinations(PROFILES, 2):
        if not explain_gap(PROFILES[a], PROFILES[b]):
            for figure in ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "top3"):
                assert found[a][figure] == found[b][figure]


def test_thresholds_by_label_decide_and_are_reported():
    thresholds = [0.1, 0.85, 0.35, 0.9]
    found = measure(SCORES, TARGETS, ABCD, thresholds=thresholds)
    assert [row.threshold for row in found.per_label] == thresholds
    assert found.all.predicted.tolist() == [3, 1, 2, 0]
    assert found.mAP == measure(SCORES, TARGETS, ABCD).mAP
    assert found.top3.OF1 == measure(SCORES, TARGETS, ABCD).top3.OF1


def test_limits_of_labels_an_image_decide_beside_the_thresholds():
    """At most one: the score farthest above the threshold, in logits; at least one likewise."""
    thresholds, (at_least, at_most) = np.array([0.1, 0.85, 0.35, 0.9]), (1, 1)
    found = measure(
        SCORES, TARGETS, ABCD, thresholds=thresholds, at_least=at_least, at_most=at_most
    )
    margins = np.log(SCORES / (1 - SCORES)) - np.log(thresholds / (1 - thresholds))
    only = np.zeros_like(SCORES, dtype=int)
    only[np.arange(len(SCORES)), margins.argmax(1)] = 1
    known = TARGETS != -1
    assert found.all.predicted.tolist() == (only * known).sum(0).tolist()
    assert (only & (TARGETS == 1)).sum() / (TARGETS == 1).sum() == found.all.OR
    assert found.mAP == measure(SCORES, TARGETS, ABCD).mAP


def test_profiles_differ_on_the_same_scores_as_documented():
    rng = np.random.default_rng(0)
    targets = (rng.random((500, 4)) < 0.3).astype(np.int8)
    scores = (1 / (1 + np.exp(-rng.normal(size=targets.shape) - targets))).round(2)
    ours, srn = (measure(scores, targets, ABCD, profile=name) for name in ("manylabel", "srn"))
    assert srn.mAP > ours.mAP  # an envelope never lies below what it envelops
    assert srn.top3.OP > ours.top3.OP


def test_logits_are_refused():
    with pytest.raises(DataError, match=r"must be in 0..1, but they are -3 to 2.5") as caught:
        measure([[2.5, -3, 0, 0]], [[1, 0, 0, 0]], ABCD)
    assert "not logits" in caught.value.fix


def test_columns_must_be_the_labels():
    with pytest.raises(DataError, match="2 columns for 4 labels"):
        measure([[0.1, 0.2]], [[1, 0]], ABCD)


@pytest.mark.parametrize(
    ("name", "fix"),
    [("manylable", "Did you mean 'manylabel'?"), ("coco", f"Known: {', '.join(PROFILES)}.")],
)
def test_an_unknown_profile_is_refused_with_the_known_ones(name, fix):
    with pytest.raises(ConfigError) as caught:
        measure(SCORES, TARGETS, ABCD, profile=name)
    assert caught.value.fix == fix
