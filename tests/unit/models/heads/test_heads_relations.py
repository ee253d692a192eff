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


@pytest.mark.parametrize("name", sorted(HAVE))
@torch.no_grad()
def test_it_computes_what_the_head_computes(name):
    head, maps = head_of(name), feature_maps()
    output, branch = head(maps), head.relations()
    logits, units = branch.compute(output.maps[branch.reads])
    torch.testing.assert_close(logits, output.branches["sr"], rtol=0, atol=0)
    torch.testing.assert_close(units, output.units, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "settings"), [("srn", {"alpha": 0.3}), ("srn-modern", {})])
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
        ("srn-modern", {}),
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
    head.regularisation(u)
    rise = (seen[0][1, :, 3, 4] - seen[0][0, :, 3, 4]).numpy()
    np.testing.assert_allclose(weights.label_to_group[:, 2], rise, rtol=1e-4, atol=1e-6)
    kernels = head.regularisation.conv4.weight.detach().numpy()
    np.testing.assert_array_equal(weights.kernels, kernels[:, 0])
