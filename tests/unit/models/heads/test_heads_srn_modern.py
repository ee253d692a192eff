"""SRN modernised against its page's equations, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.blocks import relative_sums
from manylabel.models.heads import SRNModernConfig, SRNModernHead
from manylabel.models.heads.srn_modern import AbsoluteRelations, RelativeRelations

LABELS, MID, FINAL, CHANNELS, RELATIONS, PER = 3, 6, 5, 4, 7, 2
GRID = (4, 6)


def build(relations: str) -> SRNModernHead:
    """A head whose batch statistics are not the trivial ones."""
    config = SRNModernConfig.model_validate(
        {
            "channels": CHANNELS,
            "relations": relations,
            "relation_channels": RELATIONS,
            "units_per_channel": PER,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        head = SRNModernHead(config, MapShapes(MID, FINAL, GRID), LabelSpace.numbered(LABELS))
        for module in head.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (module.running_var, module.weight, module.running_mean, module.bias):
                    if tensor is not None:
                        tensor.data = torch.rand_like(tensor) + 0.5
    return head.eval()


def draw(size: tuple[int, int] = GRID) -> FeatureMaps:
    generator = torch.Generator().manual_seed(1)
    half = (size[0] // 2, size[1] // 2)
    mid = torch.rand(2, MID, *size, generator=generator)
    return FeatureMaps(mid, torch.rand(2, FINAL, *half, generator=generator))


def array(tensor: torch.Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().numpy()


def normalised(x: np.ndarray, norm: nn.Module) -> np.ndarray:
    """Batch normalisation of [D] or [D, H, W] by stored statistics."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    scale = norm.weight if norm.affine else torch.ones(len(x))
    shift = norm.bias if norm.affine else torch.zeros(len(x))
    mean, var, weight, bias = (
        array(part).reshape(-1, *[1] * (x.ndim - 1))
        for part in (norm.running_mean, norm.running_var, scale, shift)
    )
    return (x - mean) / np.sqrt(var + norm.eps) * weight + bias


def pointwise(x: np.ndarray, conv: nn.Module) -> np.ndarray:
    """A 1x1 convolution of [D, H, W], without bias."""
    assert isinstance(conv, nn.Conv2d)
    return np.einsum("oi,ihw->ohw", array(conv.weight)[:, :, 0, 0], x)


def around(x: np.ndarray, conv: nn.Module) -> np.ndarray:
    """A 3x3 convolution of [D, H, W], zeros outside."""
    assert isinstance(conv, nn.Conv2d)
    kernels, padded = array(conv.weight), np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(kernels), *x.shape[1:]))
    for d, h, w in np.ndindex(*out.shape):
        out[d, h, w] = (kernels[d] * padded[:, h : h + 3, w : w + 3]).sum()
    return out


def softmax(z: np.ndarray) -> np.ndarray:
    """Over the positions of [C, H, W]."""
    return np.exp(z) / np.exp(z).sum((1, 2), keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def transcribed(head: SRNModernHead, mid: np.ndarray, final: np.ndarray) -> dict[str, np.ndarray]:
    """What the page says of one image: logits [C], maps [C, H, W]."""
    part = head.attention
    reduce = part.reduce[0]
    assert isinstance(reduce, nn.Sequential)
    read = np.maximum(0, normalised(pointwise(mid, reduce[0]), reduce[1]))
    context = part.context[0]
    assert isinstance(context, nn.Sequential)
    features = read + np.maximum(0, normalised(around(read, context[0]), context[1]))
    attention = softmax(pointwise(features, part.z))
    confidence = pointwise(features, part.s) + array(part.s.bias)[:, None, None]
    weighted = attention * sigmoid(confidence)
    y_cls = array(head.main.fc.weight) @ final.mean((1, 2)) + array(head.main.fc.bias)
    y_att = (attention * confidence).sum((1, 2))
    if isinstance(head.regularisation, RelativeRelations):
        y_sr, units, maps = relative(head.regularisation, weighted, features)
    else:
        y_sr, units, maps = absolute(head.regularisation, weighted)
    return {
        "final": (y_cls + y_att + y_sr) / 3,
        **{"cls": y_cls, "att": y_att, "sr": y_sr, "units": units},
        **{"attention": attention, "confidence": confidence, "weighted": weighted},
        **maps,
    }


def relative(
    relations: RelativeRelations, weighted: np.ndarray, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    directions = np.array([in_direction(u, d) for u in weighted for d in range(9)])
    joined = np.concatenate([normalised(directions, relations.norm), features])
    join = relations.join[0]
    assert isinstance(join, nn.Sequential)
    hidden = np.maximum(0, normalised(pointwise(joined, join[0]), join[1]))
    attention = softmax(pointwise(hidden, relations.z))
    confidence = pointwise(hidden, relations.s) + array(relations.s.bias)[:, None, None]
    y_sr = (attention * confidence).sum((1, 2))
    return y_sr, hidden.max((1, 2)), {"related": attention * sigmoid(confidence)}


def in_direction(u: np.ndarray, direction: int) -> np.ndarray:
    """What of a map [H, W] lies above left, above, ..., below right of each position."""
    rows, columns = np.divmod(direction, 3)
    out = np.zeros_like(u)
    for p, q, h, w in np.ndindex(*u.shape, *u.shape):
        if np.sign(h - p) == rows - 1 and np.sign(w - q) == columns - 1:
            out[p, q] += u[h, w]
    return out


def absolute(
    relations: AbsoluteRelations, weighted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    hidden = weighted * weighted.shape[1] * weighted.shape[2]
    for layer in (relations.semantic[0], relations.semantic[2]):
        assert isinstance(layer, nn.Sequential)
        hidden = np.maximum(0, normalised(pointwise(hidden, layer[0]), layer[1]))
    kernels = array(relations.conv4.weight)[:, 0]
    units = np.array([(kernels[k] * hidden[k // PER]).sum() for k in range(len(kernels))])
    units = np.maximum(0, normalised(units, relations.norm4))
    return array(relations.fc.weight) @ units + array(relations.fc.bias), units, {}


@pytest.mark.parametrize("relations", ["relative", "absolute"])
def test_every_equation(relations):
    head, maps = build(relations), draw()
    output = head(maps)
    found = {"final": output.logits, "units": output.units, **output.branches, **output.maps}
    for n in range(2):
        wanted = transcribed(head, maps.mid[n].numpy(), maps.final[n].numpy())
        assert wanted.keys() == found.keys()
        for name, value in wanted.items():
            assert_allclose(array(found[name])[n], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("size", [(8, 12), (6, 6)])
def test_on_other_maps_only_u_is_pooled(size):
    """On a map of another size A sums to 1 as ever, and conv4 sees U's sums on its own grid."""
    head, maps = build("absolute"), draw(size)
    assert isinstance(head.regularisation, AbsoluteRelations)
    output = head(maps)
    assert output.maps["attention"].shape == (2, LABELS, *size)
    assert_allclose(array(output.maps["attention"].sum((2, 3))), 1, rtol=1e-5)
    seen = {}
    head.regularisation.semantic.register_forward_pre_hook(
        lambda module, given: seen.update(u=given[0])
    )
    head(maps)
    assert seen["u"].shape == (2, LABELS, *GRID)
    positions = GRID[0] * GRID[1]
    total = output.maps["weighted"].sum((2, 3)) * positions
    assert_allclose(array(seen["u"].sum((2, 3))), array(total), rtol=1e-5)


def test_a_layout_gives_the_same_relations_anywhere():
    """Moved by whole positions on a larger map, the directions are the same numbers."""
    u = torch.rand(1, LABELS, 3, 3, generator=torch.Generator().manual_seed(0))
    small = relative_sums(u)
    moved = relative_sums(nn.functional.pad(u, (2, 1, 4, 0)))
    assert_allclose(array(moved[..., 4:7, 2:5]), array(small), rtol=1e-6)
    assert_allclose(array(small.sum(2)), array(u.sum((2, 3), keepdim=True).expand_as(u)), rtol=1e-5)


def test_the_second_look_leaves_u_alone():
    """y_sr gives no gradient to what only U depends on: A's and S's own convolutions."""
    head, maps = build("relative"), draw()
    head(maps).branches["sr"].sum().backward()
    assert head.attention.z.weight.grad is None
    assert head.attention.s.weight.grad is None
    reduce = head.attention.reduce[0]
    assert isinstance(reduce, nn.Sequential)
    assert isinstance(reduce[0], nn.Conv2d)
    grad = reduce[0].weight.grad
    assert grad is not None
    assert grad.abs().max() > 0
