"""Grad-CAM and LayerCAM of every head: Grad-CAM beside captum, LayerCAM beside loops."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import LayerGradCam
from catalogue import LABELS, build, draw, over_heads
from torch import Tensor, nn

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.gradients import gradient_maps, gradient_methods
from manylabel.models.heads import Head, SRNModernConfig, SRNModernHead

ASKED = [4, 0, 2]
"""Some labels, not in order."""


class Layers(nn.Module):
    """A head as captum needs it: the maps are the outputs of layers, and the output is logits."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head, self.mid, self.final = head, nn.Identity(), nn.Identity()

    def forward(self, mid: Tensor, final: Tensor) -> Tensor:
        return self.head(FeatureMaps(self.mid(mid), self.final(final))).logits


def found(head: Head, maps: FeatureMaps, columns: list[int]) -> dict[str, Tensor]:
    with torch.no_grad():  # as an engine runs
        return gradient_maps(
            lambda each: head(each).logits, maps, columns, gradient_methods(head.takes)
        )


def layer_cam_by_loops(head: Head, maps: FeatureMaps, of: str, image: int, label: int):
    """LayerCAM [h, w] of one image and label: one position and channel at a time."""
    mid, final = (each[image : image + 1].clone().requires_grad_() for each in maps)
    taken = {"mid": mid, "final": final}[of]
    (gradient,) = torch.autograd.grad(head(FeatureMaps(mid, final)).logits[0, label], taken)
    features, gradient = taken[0].detach().numpy(), gradient[0].numpy()
    channels, height, width = features.shape
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            for k in range(channels):
                weight = max(gradient[k, row, column], 0)
                result[row, column] += weight * features[k, row, column]
    return np.maximum(result, 0)


def assert_close(value: Tensor, expected: np.ndarray | Tensor, name: str) -> None:
    """Equal within a hundred-thousandth of the largest value."""
    expected = np.asarray(expected)
    tolerance = 1e-5 * max(np.abs(expected).max(), 1e-6)
    np.testing.assert_allclose(value.numpy(), expected, atol=tolerance, rtol=1e-5, err_msg=name)


@over_heads
def test_grad_cam_is_that_of_captum(name, options):
    head, maps = build(name, options).eval(), draw()
    maps = FeatureMaps(*(each - 0.2 for each in maps))  # negative features, as transformers have
    layers, mine = Layers(head), found(head, maps, ASKED)
    for of, method in {"final": "grad-cam", "mid": "grad-cam-mid"}.items():
        if of not in head.takes:
            assert method not in mine
            continue
        oracle = LayerGradCam(layers, layers.get_submodule(of))
        for position, label in enumerate(ASKED):
            expected = oracle.attribute(tuple(maps), target=label, relu_attributions=True)
            assert isinstance(expected, Tensor)
            assert_close(mine[method][:, position], expected[:, 0].detach(), f"{method} {label}")
        assert mine[method].abs().max() > 0, method


@over_heads
def test_layer_cam_is_that_of_loops(name, options):
    head, maps = build(name, options).eval(), draw(images=2)
    mine = found(head, maps, ASKED)
    for of, method in {"final": "layer-cam", "mid": "layer-cam-mid"}.items():
        if of not in head.takes:
            assert method not in mine
            continue
        for image in range(2):
            for position, label in enumerate(ASKED):
                expected = layer_cam_by_loops(head, maps, of, image, label)
                assert_close(mine[method][image, position], expected, f"{method} {label}")
        assert mine[method].max() > 0, method


@over_heads
def test_a_head_says_which_maps_its_logits_depend_on(name, options):
    head, maps = build(name, options).eval(), draw()
    leaves = FeatureMaps(*(each.clone().requires_grad_() for each in maps))
    gradients = torch.autograd.grad(head(leaves).logits.sum(), leaves, allow_unused=True)
    depends = [each is not None and bool(each.any()) for each in gradients]
    assert [of in head.takes for of in ("mid", "final")] == depends


@over_heads
def test_the_head_is_as_it_was(name, options):
    """No gradient is left, frozen parameters stay frozen, and evaluation mode stays."""
    head, maps = build(name, options).eval(), draw()
    frozen = next(iter(head.parameters())).requires_grad_(False)
    before = {key: each.clone() for key, each in head.state_dict().items()}
    found(head, maps, ASKED)
    assert all(each.grad is None for each in head.parameters())
    assert [each for each in head.parameters() if not each.requires_grad] == [frozen]
    assert not any(module.training for module in head.modules())
    assert all(torch.equal(each, before[key]) for key, each in head.state_dict().items())
    assert not any(each.requires_grad for each in maps)


def test_two_positions_by_hand():
    """Features (1, 2) and (3, -1), gradients (1, -2) and (0, 4), one channel after the other."""
    methods = gradient_methods(["final"])
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])
    gradients = torch.tensor([[[[1.0, -2.0]], [[0.0, 4.0]]]])
    # Mean gradients are -0.5 and 2: -0.5 * 1 + 2 * 3, and -0.5 * 2 + 2 * -1, which is negative.
    assert methods["grad-cam"].combine(features, gradients).tolist() == [[[5.5, 0.0]]]
    # Positive gradients alone: 1 * 1, and 4 * -1, which is negative.
    assert methods["layer-cam"].combine(features, gradients).tolist() == [[[1.0, 0.0]]]


def test_logits_that_do_not_depend_on_a_map_have_an_empty_one():
    """For instance y_att of SRN, which the final map has no part in."""
    head, maps = build("srn", {}).eval(), draw()
    methods = gradient_methods(head.takes)
    with torch.no_grad():
        att = gradient_maps(lambda each: head(each).branches["att"], maps, [1], methods)
        none = gradient_maps(lambda each: torch.zeros(3, LABELS), maps, [1], methods)
    assert att["grad-cam-mid"].max() > 0
    assert not att["grad-cam"].any()
    assert not any(each.any() for each in none.values())


def test_one_map_that_is_both_has_the_gradients_of_both_ways():
    """In a plain transformer the mid map is the final map."""
    shapes = MapShapes(mid_channels=12, final_channels=12, grid=(3, 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = SRNModernConfig(channels=8, relation_channels=6)
        head = SRNModernHead(config, shapes, LabelSpace.numbered(LABELS)).eval()
    one = draw().final
    mine = found(head, FeatureMaps(one, one), ASKED)
    leaf = one.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(FeatureMaps(leaf, leaf)).logits[:, 4].sum(), leaf)
    expected = (gradient.clamp(min=0) * one).sum(1).clamp(min=0)
    torch.testing.assert_close(mine["layer-cam"][:, 0], expected)
    torch.testing.assert_close(mine["layer-cam-mid"][:, 0], expected)
