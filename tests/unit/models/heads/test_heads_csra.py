"""CSRA against its equations: features weighed for each label, in float64 and with loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from manylabel.config import parse
from manylabel.errors import ConfigError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.csra import CSRAConfig, CSRAHead

Array = NDArray[np.float64]

IMAGES, LABELS, CHANNELS = 2, 3, 6
SHAPES = MapShapes(mid_channels=4, final_channels=CHANNELS, grid=(14, 14))


def build(**options) -> CSRAHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = CSRAHead(CSRAConfig(**options), SHAPES, LabelSpace.numbered(LABELS)).eval()
    with torch.no_grad():
        head.classifier.weight.mul_(4)  # attention that is far from uniform
    return head


def draw(height: int = 4, width: int = 5, seed: int = 1) -> FeatureMaps:
    generator = torch.Generator().manual_seed(seed)
    final = torch.randn(IMAGES, CHANNELS, height, width, generator=generator)
    return FeatureMaps(torch.zeros(IMAGES, 4, 2 * height, 2 * width), final)


def logit_of(x: Array, m: Array, temperature: float, weight: float) -> float:
    """y of one label of one head for positions x [P, D] and classifier m [D]: Eq. 2 to 6."""
    if temperature == 99:
        attended = max(x, key=lambda x_j: np.dot(x_j, m))
    else:
        powers = [np.exp(temperature * np.dot(x_j, m)) for x_j in x]
        scores = [power / sum(powers) for power in powers]  # Eq. 2
        attended = sum(s_j * x_j for s_j, x_j in zip(scores, x, strict=True))  # Eq. 3
    average = sum(x) / len(x)  # Eq. 4
    return float(np.dot(m, average + weight * attended))  # Eq. 5, 6


def reference(head: CSRAHead, final: Tensor, temperatures: tuple[float, ...]) -> Array:
    weights = head.classifier.weight.detach().double().numpy().reshape(-1, LABELS, CHANNELS)
    logits = np.zeros((IMAGES, LABELS))
    for image in range(IMAGES):
        x = final[image].double().numpy().reshape(CHANNELS, -1).T
        for head_weights, temperature in zip(weights, temperatures, strict=True):
            for label, m in enumerate(head_weights):
                m_used = m / np.sqrt((m**2).sum()) if head.normalised else m
                logits[image, label] += logit_of(x, m_used, temperature, head.attention_weight)
    return logits


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(
    "temperatures", [(1.0,), (0.5, 3.0), (1.0, 99.0), (1.0, 2.0, 4.0, 99.0)], ids=str
)
@pytest.mark.parametrize("size", [(4, 5), (1, 1), (7, 2)], ids=str)
def test_logits_are_those_of_the_equations(temperatures, normalised, size):
    head = build(temperatures=temperatures, normalised=normalised, attention_weight=0.7)
    maps = draw(*size)
    found = head(maps).logits.detach().numpy()
    np.testing.assert_allclose(found, reference(head, maps.final, temperatures), atol=2e-5)


def test_two_positions_by_hand():
    """One channel of 0 and 1 with classifier 2: logits 0 and 2."""
    head = CSRAHead(
        CSRAConfig(temperatures=(1, 99), attention_weight=0.5, normalised=False),
        MapShapes(1, 1, (2, 2)),
        LabelSpace.numbered(1),
    )
    torch.nn.init.constant_(head.classifier.weight, 2)
    output = head(FeatureMaps(torch.zeros(1, 1, 2, 4), torch.tensor([[[[0.0, 1.0]]]])))
    second = np.exp(2) / (1 + np.exp(2))
    assert output.branches["avg"].item() == pytest.approx(1 + 1)
    assert output.branches["att"].item() == pytest.approx(2 * second + 2)
    assert output.logits.item() == pytest.approx(2 + 0.5 * (2 * second + 2))
    assert output.maps["attention"].flatten().tolist() == pytest.approx([1 - second, second])
    assert output.maps["confidence"].flatten().tolist() == pytest.approx([0, 2 + 2])


def test_without_attention_it_is_a_linear_layer_on_the_average():
    head, maps = build(temperatures=(1,), attention_weight=0, normalised=False), draw()
    weight = head.classifier.weight.flatten(1)
    expected = torch.nn.functional.linear(maps.final.mean((2, 3)), weight)
    torch.testing.assert_close(head(maps).logits, expected)


def test_the_attended_logits_go_from_the_average_to_the_maximum():
    """They grow with the temperature, between those two."""
    maps = draw()
    outputs = [build(temperatures=(temperature,))(maps) for temperature in (1e-4, 1, 5, 98)]
    found = [output.branches["att"] for output in outputs]
    maximum = outputs[0].maps["confidence"].amax((2, 3))
    torch.testing.assert_close(found[0], outputs[0].branches["avg"], atol=1e-3, rtol=0)
    assert all((one < other).all() for one, other in pairwise(found))
    torch.testing.assert_close(found[-1], maximum, atol=0.02, rtol=0)
    assert (found[-1] <= maximum).all()


def test_the_order_of_positions_does_not_matter():
    head, maps = build(), draw()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    shuffled = maps.final.flatten(2)[:, :, order].unflatten(2, (4, 5))
    torch.testing.assert_close(
        head(maps).logits, head(FeatureMaps(maps.mid, shuffled)).logits, atol=1e-5, rtol=1e-5
    )


def test_a_normalised_classifier_has_no_length():
    head, maps = build(), draw()
    before = head(maps).logits
    with torch.no_grad():
        head.classifier.weight.mul_(torch.rand(6 * LABELS, 1, 1, 1) + 0.5)
    torch.testing.assert_close(head(maps).logits, before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("normalised", [True, False])
def test_label_weights_are_those_of_the_confidence(normalised):
    """Class activation maps made of them are the map `confidence`."""
    head, maps = build(normalised=normalised), draw()
    cam = torch.einsum("nehw,ce->nchw", maps.final, head.label_weights())
    torch.testing.assert_close(head(maps).maps["confidence"], cam, atol=1e-4, rtol=1e-5)


def test_attention_is_that_of_the_first_head():
    head, maps = build(temperatures=(0.5, 5), normalised=False), draw()
    first = torch.einsum("nehw,ce->nchw", maps.final, head.classifier.weight[:LABELS, :, 0, 0])
    expected = (0.5 * first).flatten(2).softmax(2).unflatten(2, (4, 5))
    torch.testing.assert_close(head(maps).maps["attention"], expected)


def test_maps_and_branches():
    head, maps = build(), draw()
    output = head(maps)
    attention, confidence = output.maps["attention"], output.maps["confidence"]
    assert attention.shape == confidence.shape == (IMAGES, LABELS, 4, 5)
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(IMAGES, LABELS))
    torch.testing.assert_close(confidence.mean((2, 3)), output.branches["avg"])
    expected = output.branches["avg"] + head.attention_weight * output.branches["att"]
    torch.testing.assert_close(output.logits, expected)
    assert attention.amax() > 3 / 20


def shares_of(x: Array, m: Array, temperature: float, weight: float) -> Array:
    """What each position x_j of x [P, D] adds to y of one label of one head, [P]: Eq. 2 to 6."""
    s = np.array([np.dot(x_j, m) for x_j in x])
    if temperature == 99:
        attention = np.eye(len(x))[s.argmax()]
    else:
        attention = np.exp(temperature * s) / np.exp(temperature * s).sum()
    return np.array([(1 / len(x) + weight * attention[j]) * s[j] for j in range(len(x))])


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("temperatures", [(1.0,), (0.5, 3.0), (1.0, 2.0, 99.0)], ids=str)
def test_the_spatial_scores_are_what_each_position_adds_to_the_logit(temperatures, normalised):
    head = build(temperatures=temperatures, normalised=normalised, attention_weight=0.7)
    maps = draw()
    output = head(maps)
    found = head.evidence()["spatial-scores"].maps(maps, output).detach()
    torch.testing.assert_close(found.sum((2, 3)), output.logits, atol=2e-5, rtol=1e-5)
    weights = head.classifier.weight.detach().double().numpy().reshape(-1, LABELS, CHANNELS)
    for image, label in np.ndindex(IMAGES, LABELS):
        x = maps.final[image].double().numpy().reshape(CHANNELS, -1).T
        expected = np.zeros(len(x))
        for m, temperature in zip(weights[:, label], temperatures, strict=True):
            used = m / np.sqrt((m**2).sum()) if normalised else m
            expected += shares_of(x, used, temperature, 0.7)
        np.testing.assert_allclose(found[image, label].flatten(), expected, atol=2e-5)


def test_of_equal_maxima_the_first_has_all_the_attention():
    """All positions are equal: the sum is the logit, whichever position is taken."""
    head = build(temperatures=(1, 99))
    maps = FeatureMaps(torch.zeros(1, 4, 2, 4), torch.ones(1, CHANNELS, 1, 2))
    output = head(maps)
    found = head.spatial_scores(maps.final)
    torch.testing.assert_close(found.sum((2, 3)), output.logits)
    hard = head.attention_weight * head.classifier.weight.flatten(1)[LABELS:]
    hard = (hard / head.classifier.weight.flatten(1)[LABELS:].norm(dim=1, keepdim=True)).sum(1)
    torch.testing.assert_close(found[0, :, 0, 0] - found[0, :, 0, 1], hard)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_maps_are_fp32_under_autocast(dtype, normalised):
    head, maps = build(normalised=normalised), draw()
    with torch.autocast("cpu", dtype):
        output = head(maps)
    assert {value.dtype for value in output.maps.values()} == {torch.float32}
    torch.testing.assert_close(
        output.maps["attention"].sum((2, 3)), torch.ones(IMAGES, LABELS), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(output.logits, head(maps).logits, atol=0.2, rtol=0.02)


def test_compiled_whole():
    """No graph break, and the same answer and gradients."""
    head, maps = build(), draw()
    head(maps).logits.square().sum().backward()
    plain = head.classifier.weight.grad
    head.zero_grad()
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    output = compiled(maps)
    output.logits.square().sum().backward()
    torch.testing.assert_close(output.logits, head(maps).logits)
    torch.testing.assert_close(head.classifier.weight.grad, plain)


@pytest.mark.parametrize(
    ("temperatures", "message"),
    [([2, 1], "increase"), ([1, 1], "increase"), ([99], "below 99"), ([0], "greater than 0")],
)
def test_temperatures_that_are_refused(temperatures, message):
    with pytest.raises(ConfigError, match=message) as raised:
        parse(CSRAConfig, {"temperatures": temperatures}, where="recipe.toml")
    assert "temperatures" in raised.value.what


def test_parameters_of_resnet101():
    """A classifier without bias for each of the six heads."""
    with torch.device("meta"):
        head = CSRAHead(CSRAConfig(), MapShapes(1024, 2048, (14, 14)), LabelSpace.numbered(80))
    assert sum(parameter.numel() for parameter in head.parameters()) == 6 * 80 * 2048
