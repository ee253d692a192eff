"""The demo's figures by group, and its sentence, on cases made by hand."""

import numpy as np
import pytest

from manylabel.data.synthetic import LABELS
from manylabel.data.synthetic.observer import GROUPS
from manylabel.demo.figures import Gain, by_group, gain_of, in_words, pointing_by_group
from manylabel.explain.localisation import PointingGame
from manylabel.metrics.bootstrap import Interval


def measured(**changed):
    """The figures of a head whose labels have an AP of 0.5, but for those that are given."""
    rows = [{"label": name, "AP": changed.get(name, 0.5)} for name in LABELS]
    known = [row["AP"] for row in rows if row["AP"] is not None]
    return {"labels": rows, "mAP": sum(known) / len(known)}


def test_a_groups_ap_is_the_mean_over_its_labels_that_are_there():
    found = by_group(measured(bird=0.9, fish=0.7, cloud=None, balloon=None, windmill=None))
    assert found["told apart by layout"] == pytest.approx((0.9 + 0.7 + 0.5) / 3)
    assert found["companions"] == 0.5
    assert found["alone"] is None
    assert found["all"] == pytest.approx((0.9 + 0.7 + 10 * 0.5) / 12)


def test_the_groups_hold_each_label_once():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(LABELS)


def test_gains_are_divided_among_the_groups():
    """Bird gains 0.3 and bee loses 0.15: over 15 labels, that is 0.02 and -0.01 of mAP."""
    heads = {"srn": measured(bird=0.8, bee=0.35), "attention-alone": measured()}
    rng = np.random.default_rng(0)
    targets = (rng.random((60, 15)) < 0.5).astype(np.int8)
    perfect, noise = targets.astype(float), rng.random((60, 15))
    gain = gain_of(heads, {"srn": perfect, "attention-alone": noise}, targets)
    assert gain.total.value == pytest.approx(0.01)
    assert gain.shares == pytest.approx(
        {"told apart by layout": 0.02, "hidden or tiny": -0.01, "companions": 0, "alone": 0}
    )
    assert gain.groups["told apart by layout"] == pytest.approx(0.3 / 4)
    # The draws are of the logits: those of a perfect head against noise are far above 0.
    assert 0.2 < gain.total.low < gain.total.high < 0.8


def test_shares_of_hits_are_over_all_tries_of_a_group():
    def game(hits, misses, chance=0.1):
        return PointingGame(hits, misses, chance)

    none = PointingGame(0, 0, float("nan"))
    tried = {"bird": game(3, 1, 0.1), "fish": game(1, 5, 0.2), "car": game(2, 2, 0.3)}
    whole = PointingGame(6, 8, 0.2, {name: tried.get(name, none) for name in LABELS})
    found = pointing_by_group({"attention": whole, "related-attention": whole, "cam": whole})
    assert found["cam"]["told apart by layout"] == pytest.approx(4 / 10)
    assert found["chance"]["told apart by layout"] == pytest.approx((4 * 0.1 + 6 * 0.2) / 10)
    assert found["attention"]["hidden or tiny"] == 0.5
    assert found["attention"]["alone"] is None
    assert found["attention"]["all"] == pytest.approx(6 / 14)


def words(total, low, high, shares, **maps):
    heads = {
        name: {"mAP": maps.get(name.replace("-", "_"), 0.5)}
        for name in ("main-net", "both-maps", "attention-alone", "srn")
    }
    shares = dict(zip(GROUPS, shares, strict=True))
    return in_words(heads, Gain(Interval(total, low, high), shares, shares))


def test_a_gain_is_told_with_where_it_comes_from():
    said = words(0.051, 0.04, 0.06, (0.049, -0.001, 0.003, 0.0), srn=0.801, attention_alone=0.75)
    assert said == (
        "SRN gains 5.1 points of mAP over attention alone (95 % interval over the test images: "
        "+4.0 to +6.0). By group of labels, this is +4.9 from 'told apart by layout', +0.3 from "
        "'companions', −0.1 from 'hidden or tiny', +0.0 from 'alone'."
    )


def test_a_loss_is_told_as_a_loss():
    said = words(-0.02, -0.03, -0.01, (-0.02, 0, 0, 0), srn=0.7, attention_alone=0.72)
    assert said.startswith("SRN loses 2.0 points of mAP against attention alone")


@pytest.mark.parametrize("total", [0.004, -0.004])
def test_what_may_be_chance_is_no_gain(total):
    said = words(total, total - 0.01, total + 0.01, (total, 0, 0, 0), srn=0.6)
    assert "which may be chance" in said
    assert "gains" not in said
    assert "loses" not in said


def test_a_better_baseline_is_named():
    said = words(0.02, 0.01, 0.03, (0.02, 0, 0, 0), srn=0.7, attention_alone=0.68, both_maps=0.75)
    assert said.endswith(
        "The best baseline is the plain head on both maps; SRN is 5.0 points below it."
    )
