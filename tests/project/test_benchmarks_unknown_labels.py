"""What the study of unknown labels hides, and that pooling its maps changes no logit."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.unknown_labels import _pooled, half_known, single_positive
from manylabel.data.records import Records
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads.main_net import MainNet
from manylabel.train.features import CachedFeatures


def truth(rows=400, labels=6):
    return (np.random.default_rng(0).random((rows, labels)) < 0.3).astype(np.int8)


def test_single_positive_keeps_one_present_label_and_draws_it_evenly():
    targets = truth()
    hidden = single_positive(targets, np.random.default_rng(1))
    kept = hidden == 1
    assert (kept.sum(1) == targets.any(1)).all()
    assert (targets[kept] == 1).all()
    assert (hidden[~kept] == -1).all()
    both = single_positive(np.tile(np.int8([1, 0, 1]), (400, 1)), np.random.default_rng(1))
    assert 160 < (both[:, 0] == 1).sum() < 240


def test_half_known_leaves_what_it_shows():
    targets = truth()
    hidden = half_known(targets, np.random.default_rng(1))
    known = hidden != -1
    assert (hidden[known] == targets[known]).all()
    assert 0.45 < known.mean() < 0.55


def test_pooled_maps_give_the_linear_head_the_same_logits():
    maps = FeatureMaps(torch.rand(3, 4, 6, 6).half(), torch.rand(3, 5, 3, 3).half())
    records = Records.of(LabelSpace(["cat"]), (), "nowhere")
    pooled = _pooled({"train": CachedFeatures(records, [maps])})["train"].views[0]
    net = MainNet(5, 2, "avg").eval()
    one, two = (net(FeatureMaps(*(part.float() for part in each))) for each in (pooled, maps))
    torch.testing.assert_close(one.logits, two.logits)
