"""SRN modernised against its page's equations, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads import SRNModernConfig, SRNModernHead

LABELS, MID, FINAL, CHANNELS, RELATIONS, PER = 3, 6, 5, 4, 7, 2
GRID = (4, 6)


def build(grid: tuple[int, int] | None = None) -> SRNModernHead:
    """A head whose batch statistics are not the trivial ones."""
    config = SRNModernConfig(
        channels=CHANNELS, relation_channels=RELATIONS, units_per_channel=PER, grid=grid
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        head = SRNModernHead(config, MapShapes(MID, FINAL, GRID), LabelSpace.numbered(LABELS))
        for module in head.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (module.running_var, module.weight, module.running_mean, module.bias):
                    assert tensor is not None
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
    mean, var, weight, bias = (
        array(part).reshape(-1, *[1] * (x.ndim - 1))
        for part in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
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


def transcribed(head: SRNModernHead, mid: np.ndarray, final: np.ndarray) -> dict[str, np.ndarray]:
    """What the page says of one image: logits [C], maps [C, H, W]."""
    part, relations = head.attention, head.regularisation
    reduce = part.reduce[0]
    assert isinstance(reduce, nn.Sequential)
    read = np.maximum(0, normalised(pointwise(mid, reduce[0]), reduce[1]))
    context = part.context[0]
    assert isinstance(context, nn.Sequential)
    features = read + np.maximum(0, normalised(around(read, context[0]), context[1]))
    z = pointwise(features, part.z)
    attention = np.exp(z) / np.exp(z).sum((1, 2), keepdims=True)
    confidence = pointwise(features, part.s) + array(part.s.bias)[:, None, None]
    weighted = attention / (1 + np.exp(-confidence))
    hidden = weighted * mid.shape[1] * mid.shape[2]
    for layer in (relations.semantic[0], relations.semantic[2]):
        assert isinstance(layer, nn.Sequential)
        hidden = np.maximum(0, normalised(pointwise(hidden, layer[0]), layer[1]))
    kernels = array(relations.conv4.weight)[:, 0]
    units = np.array([(kernels[k] * hidden[k // PER]).sum() for k in range(len(kernels))])
    units = np.maximum(0, normalised(units, relations.norm4))
    y_sr = array(relations.fc.weight) @ units + array(relations.fc.bias)
    y_cls = array(head.main.fc.weight) @ final.mean((1, 2)) + array(head.main.fc.bias)
    y_att = (attention * confidence).sum((1, 2))
    return {
        "final": (y_cls + y_att + y_sr) / 3,
        **{"cls": y_cls, "att": y_att, "sr": y_sr},
        **{"attention": attention, "confidence": confidence, "weighted": weighted},
    }


def test_every_equation():
    head, maps = build(), draw()
    output = head(maps)
    found = {"final": output.logits, **output.branches, **output.maps}
    for n in range(2):
        wanted = transcribed(head, maps.mid[n].numpy(), maps.final[n].numpy())
        assert wanted.keys() == found.keys()
        for name, value in wanted.items():
            assert_allclose(array(found[name])[n], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("size", [(8, 12), (6, 6)])
def test_on_other_maps_only_u_is_pooled(size):
    """On a map of another size A sums to 1 as ever, and conv4 sees U's sums on its own grid."""
    head, maps = build(), draw(size)
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
