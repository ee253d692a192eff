"""Pooling of a map to one number a channel, beside plain NumPy and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads.main_net import MainNet, Pooling, generalised_mean


def draw(size: tuple[int, int] = (3, 5)) -> Tensor:
    """A map [2, 4, *size] with negative entries."""
    return torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 7.5])
@pytest.mark.parametrize("size", [(3, 5), (1, 1), (8, 8)], ids=str)
def test_generalised_mean_is_the_formula(power, size):
    features = draw(size)
    found = generalised_mean(features, torch.tensor(power))
    values = np.maximum(features.numpy(), 1e-6)
    expected = (values**power).mean((2, 3)) ** (1 / power)
    assert found.dtype == features.dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_between_average_and_maximum():
    features = draw().abs()
    means = [generalised_mean(features, torch.tensor(p)) for p in (1.0, 2.0, 5.0, 2000.0)]
    torch.testing.assert_close(means[0], features.mean((2, 3)), rtol=1e-5, atol=0)
    torch.testing.assert_close(means[-1], features.amax((2, 3)), rtol=2e-3, atol=0)
    for lower, higher in zip(means, means[1:], strict=False):
        assert (lower < higher).all()


@pytest.mark.parametrize("power", [1.0, 0.5, 0.0, -3.0])
def test_a_power_below_one_is_the_average(power):
    features = draw().abs() + 0.1
    found = generalised_mean(features, torch.tensor(power))
    torch.testing.assert_close(found, features.mean((2, 3)), rtol=1e-5, atol=0)


def test_gradients_are_those_of_the_formula():
    """By autograd through the formula as it is written, in double precision."""
    features = (draw().abs() + 0.2).float()
    ours, p = features.clone().requires_grad_(), torch.tensor(3.3, requires_grad=True)
    plain, q = features.double().requires_grad_(), torch.tensor(3.3).double().requires_grad_()
    weights = torch.arange(8.0).view(2, 4).cos()
    (generalised_mean(ours, p) * weights).sum().backward()
    (plain.pow(q).mean((2, 3)).pow(1 / q) * weights).sum().backward()
    assert ours.grad is not None
    assert plain.grad is not None
    assert p.grad is not None
    torch.testing.assert_close(ours.grad.double(), plain.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(p.grad.double(), q.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1e-4, 6e4])
def test_no_size_of_features_overflows(dtype, scale):
    """60,000 to the 30th is beyond every format."""
    features = (torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * scale).to(
        dtype
    )
    features.requires_grad_()
    power = torch.tensor(30.0, requires_grad=True)
    mean = generalised_mean(features, power)
    assert mean.dtype == dtype
    peak = features.amax((2, 3))
    assert ((mean > 0.8 * peak) & (mean <= peak)).all()
    mean.float().sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert power.grad is not None
    assert power.grad.isfinite()


def test_gem_learns_one_power_from_three():
    pooling = Pooling("gem")
    assert {key: value.item() for key, value in pooling.state_dict().items()} == {"power": 3.0}
    pooling(draw()).sum().backward()
    assert pooling.get_parameter("power").grad is not None
    for pool in ("avg", "max"):
        assert not Pooling(pool).state_dict()


@pytest.mark.parametrize(
    ("pool", "pooled"),
    [
        ("avg", lambda x: x.mean((2, 3))),
        ("max", lambda x: x.max((2, 3))),
        ("gem", lambda x: (np.maximum(x, 1e-6) ** 3).mean((2, 3)) ** (1 / 3)),
    ],
)
def test_the_main_net_classifies_what_is_pooled(pool, pooled):
    main, features = MainNet(4, 3, pool), draw().float()
    weight, bias = main.fc.weight.detach().numpy(), main.fc.bias.detach().numpy()
    expected = pooled(features.numpy()) @ weight.T + bias
    output = main(FeatureMaps(torch.full((1, 1, 1, 1), torch.nan), features))
    np.testing.assert_allclose(output.logits.detach().numpy(), expected, rtol=1e-4, atol=1e-6)
    assert output.select("cls") is output.logits
    assert {"fc.weight", "fc.bias"} <= main.state_dict().keys()
