"""The branch that reads the maps of all labels: the same numbers as in the head, for every head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads import HEADS

SHAPES = MapShapes(mid_channels=16, final_channels=24, grid=(6, 5))
LABELS = LabelSpace(["ant", "bee", "cat", "dog"])
SMALL = {
    "srn": {"attention_channels": 8, "relation_channels": 12, "units_per_channel": 2},
    "srn-modern": {"channels": 8, "relation_channels": 12, "units_per_channel": 2},
}
HAVE = set(SMALL)
ABSOLUTE = {"relations": "absolute"}


def head_of(name: str, **settings):
    torch.manual_seed(0)
    head = HEADS[name](HEADS[name].Config(**{**SMALL[name], **settings}), SHAPES, LABELS)
    for module in head.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1)
    return head.eval()


def feature_maps(images: int = 3) -> FeatureMaps:
    torch.manual_seed(1)
    return FeatureMaps(torch.randn(images, 16, 6, 5), torch.randn(images, 24, 3, 3))


@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_heads_that_read_the_maps_of_all_labels_are_these(name):
    has = HEADS[name].relations is not super(HEADS[name], HEADS[name]).relations
    assert has == (name in HAVE)


@pytest.mark.parametrize(
    ("name", "settings"), [("srn", {}), ("srn-modern", {}), ("srn-modern", ABSOLUTE)]
)
@torch.no_grad()
def test_it_computes_what_the_head_computes(name, settings):
    head, maps = head_of(name, **settings), feature_maps()
    output, branch = head(maps), head.relations()
    read = branch.reads(maps, output)
    torch.testing.assert_close(read[:, :4], output.maps["weighted"], rtol=0, atol=0)
    logits, units = branch.compute(read)
    torch.testing.assert_close(logits, output.branches["sr"], rtol=0, atol=0)
    torch.testing.assert_close(units, output.units, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "settings"), [("srn", {"alpha": 0.3}), ("srn-modern", ABSOLUTE)])
@torch.no_grad()
def test_the_share_is_what_reaches_the_final_logits(name, settings):
    head, maps = head_of(name, **settings), feature_maps()
    before = head(maps)
    head.regularisation.fc.bias += 2.0
    gained = head(maps).logits - before.logits
    torch.testing.assert_close(gained, torch.full_like(gained, 2 * head.relations().share))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("srn", {}),
        ("srn", {"topology": "released"}),
        ("srn", {"scale_weighted": True}),
        ("srn-modern", ABSOLUTE),
    ],
)
@torch.no_grad()
def test_the_weights_are_those_that_act(name, settings):
    """What one label does to a group is measured in the map before conv4."""
    head = head_of(name, **settings)
    weights = head.relations().weights()
    assert weights.kernels.shape == (24, 6, 5)
    assert weights.groups.tolist() == [i // 2 for i in range(24)]
    assert not weights.relative
    assert weights.unit_to_label.shape == (4, 24)
    seen = []
    head.regularisation.semantic.register_forward_hook(lambda *call: seen.append(call[2]))
    u = torch.zeros(2, 4, 6, 5)
    u[1, 2, 3, 4] = 1
    head.regularisation(u, *([u] if name == "srn-modern" else []))
    rise = (seen[0][1, :, 3, 4] - seen[0][0, :, 3, 4]).numpy()
    np.testing.assert_allclose(weights.label_to_group[:, 2], rise, rtol=1e-4, atol=1e-6)
    kernels = head.regularisation.conv4.weight.detach().numpy()
    np.testing.assert_array_equal(weights.kernels, kernels[:, 0])


@torch.no_grad()
def test_the_weights_of_a_second_look_act_in_directions():
    """Units planted with one label and one direction; both batch normalisations are counted."""
    head = head_of("srn-modern")
    look = head.regularisation
    conv = look.join[0][0]
    conv.weight.zero_()
    conv.weight[5, 2 * 9 + 7] = 3.0  # unit 5: label "cat" below
    conv.weight[6, 0 * 9 + 3] = -2.0  # unit 6: less where "ant" is on the left
    weights = head.relations().weights()
    assert weights.relative
    assert weights.kernels.shape == (12, 3, 3)
    assert weights.label_to_group.shape == (12, 4)
    assert weights.unit_to_label.shape == (4, 12)
    for unit, label, direction, sign in ((5, 2, (2, 1), 1), (6, 0, (1, 0), -1)):
        kernel = np.zeros((3, 3))
        kernel[direction] = 1
        np.testing.assert_allclose(weights.kernels[unit], kernel, atol=1e-6)
        strengths = weights.label_to_group[unit]
        assert np.flatnonzero(np.abs(strengths) > 1e-6).tolist() == [label]
        # By how much the unit's input differs where all of the label's U lies in that direction.
        u = torch.zeros(2, 4, 6, 5)
        u[1, label, 2 + 2 * (direction[0] - 1), 2 + 2 * (direction[1] - 1)] = 1
        without, having = inputs_of_units(look, u)[:, unit, 2, 2].tolist()
        rise = having - without
        assert np.sign(rise) == sign
        assert strengths[label] == pytest.approx(rise, rel=1e-4)


def inputs_of_units(look, u):
    """What the units get before their ReLU, [N, K, H, W]."""
    seen = []
    hook = look.join[0].register_forward_hook(lambda *call: seen.append(call[2].clone()))
    look(u, torch.zeros(len(u), 8, *u.shape[2:]))
    hook.remove()
    return seen[0]
