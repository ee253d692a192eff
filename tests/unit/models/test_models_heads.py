"""What every head keeps, over the table of heads: a new head is tested by being listed there."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads import HEADS, Head, HeadConfig, SRNAttHead, SRNConfig, SRNHead
from manylabel.models.heads.base import HeadOutput

LABELS = 5
SHAPES = MapShapes(mid_channels=16, final_channels=12, grid=(14, 14))
TRANSFORMER = {"channels": 16, "feedforward_channels": 24, "dropout": 0.0}
SMALL = {
    "srn": {"attention_channels": 8, "relation_channels": 6},
    "srn-att": {"attention_channels": 8},
    "srn-modern": {"channels": 8, "relation_channels": 6},
    "semantic": {"relation_channels": 8},
    "ml-gcn": {"vector_size": 6, "hidden_channels": 8},
    "ml-decoder": TRANSFORMER,
    "query2label": TRANSFORMER,
}
"""Options that make a head quick; a head that is not here is tested at its defaults."""
VARIANTS = [
    ("linear", {"pool": "max"}),
    ("srn", {"topology": "released"}),
    ("srn", {"scale_weighted": True}),
    ("linear", {"pool": "gem"}),
    ("srn-att", {"topology": "released"}),
    ("srn-modern", {"pool": "max"}),
    ("ml-gcn", {"vectors": "fixed"}),
    ("csra", {"temperatures": (1, 2), "normalised": False}),
    ("ml-decoder", {"num_groups": 2}),
    ("query2label", {"encoder_layers": 0, "self_attention": False}),
]
"""Settings that change what is computed, beside each head's defaults."""

over_heads = pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in HEADS), *VARIANTS],
    ids=lambda value: value if isinstance(value, str) else ",".join(map(str, value.values())),
)


def build(name: str, options: dict, seed: int = 0) -> Head:
    config_type, build_head = HEADS[name]
    config = config_type(**{**SMALL.get(name, {}), **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_head(config, SHAPES, LABELS)


def draw(images: int = 3, height: int = 14, width: int = 14, seed: int = 1) -> FeatureMaps:
    """Maps as a backbone gives them: not negative, the final one at half the resolution."""
    generator = torch.Generator().manual_seed(seed)
    final_size = (-(-height // 2), -(-width // 2))
    mid = torch.randn(images, SHAPES.mid_channels, height, width, generator=generator)
    final = torch.randn(images, SHAPES.final_channels, *final_size, generator=generator)
    return FeatureMaps(mid.relu(), final.relu())


def tensors(output: HeadOutput) -> dict[str, torch.Tensor]:
    """All that a head says, by name."""
    units = {} if output.units is None else {"units": output.units}
    return {"final": output.logits, **output.branches, **output.maps, **units}


def assert_same_bits(one: HeadOutput, other: HeadOutput) -> None:
    assert tensors(one).keys() == tensors(other).keys()
    for key, value in tensors(one).items():
        assert torch.equal(value, tensors(other)[key]), key


def assert_shapes(output: HeadOutput, maps: FeatureMaps) -> None:
    images, _, height, width = maps.mid.shape
    for key, logits in {"final": output.logits, **output.branches}.items():
        assert logits.shape == (images, LABELS), key
    for key, value in output.maps.items():
        assert value.shape[:2] == (images, LABELS), key
        assert value.shape[2:] in {(height, width), maps.final.shape[2:]}, key
    if output.units is not None:
        assert output.units.ndim == 2
        assert len(output.units) == images


@pytest.mark.parametrize("name", HEADS)
def test_a_head_has_one_name(name):
    config_type, _ = HEADS[name]
    union = get_args(get_args(HeadConfig)[0])
    assert config_type.model_fields["name"].default == name
    assert config_type in union
    assert len(union) == len(HEADS)


@over_heads
def test_shapes(name, options):
    maps = draw()
    output = build(name, options).eval()(maps)
    assert isinstance(output, HeadOutput)
    assert_shapes(output, maps)
    assert {value.dtype for value in tensors(output).values()} == {torch.float32}


@over_heads
def test_select(name, options):
    output = build(name, options).eval()(draw())
    assert output.select("final") is output.logits
    for key, branch in output.branches.items():
        assert output.select(key) is branch
    with pytest.raises(KeyError):
        output.select("nonsense")


def test_names_of_linear():
    output = build("linear", {}).eval()(draw())
    assert set(output.branches) == {"cls"}
    assert not output.maps
    assert output.units is None
    assert torch.equal(output.logits, output.branches["cls"])


@pytest.mark.parametrize("topology", ["paper", "released"])
def test_names_of_srn(topology):
    output = build("srn", {"topology": topology, "units_per_channel": 3}).eval()(draw())
    assert set(output.branches) == {"cls", "att", "sr"}
    assert set(output.maps) == {"attention", "confidence", "weighted"}
    assert output.units is not None
    assert output.units.shape == (3, 6 * 3)


def loss(output: HeadOutput) -> torch.Tensor:
    """A number that all of a head has a part in: its answer and SRN's y_att.

    Their weights are drawn: of a plain sum, batch normalisation would cancel the gradient.
    """
    named = {"final": output.logits, **output.branches}
    felt = torch.stack([named[key] for key in ("final", "att") if key in named])
    return (felt * torch.randn(felt.shape, generator=torch.Generator().manual_seed(2))).sum()


@over_heads
def test_a_gradient_reaches_every_parameter(name, options):
    head = build(name, options).train()
    loss(head(draw(images=8))).backward()
    gradients = {key: parameter.grad for key, parameter in head.named_parameters()}
    assert gradients
    if isinstance(head, SRNHead | SRNAttHead):
        # A constant added to all positions of a label changes no softmax over them.
        dead = gradients.pop(f"attention.estimator.{len(head.attention.estimator) - 1}.bias")
        assert dead is not None
        assert dead.abs().max() < 1e-5
    for key, gradient in gradients.items():
        assert gradient is not None, key
        assert torch.isfinite(gradient).all(), key
        assert gradient.abs().max() > 5e-5, key


@over_heads
def test_eval_is_deterministic(name, options):
    head, maps = build(name, options).eval(), draw()
    with torch.no_grad():
        assert_same_bits(head(maps), head(maps))


@over_heads
def test_train_and_eval_give_the_same_type(name, options):
    head, maps = build(name, options), draw()
    trained, evaluated = head.train()(maps), head.eval()(maps)
    assert type(trained) is type(evaluated) is HeadOutput
    described = [
        {key: (value.shape, value.dtype) for key, value in tensors(output).items()}
        for output in (trained, evaluated)
    ]
    assert described[0] == described[1]


@over_heads
def test_state_dict_round_trip(name, options):
    head, other, maps = build(name, options), build(name, options, seed=7).eval(), draw()
    head.train()(maps)  # moves batch statistics away from their initial values
    head.eval()
    with torch.no_grad():
        assert not torch.equal(head(maps).logits, other(maps).logits)
        other.load_state_dict(head.state_dict())
        assert_same_bits(head(maps), other(maps))


@over_heads
def test_batch_of_one(name, options):
    """An image alone gives what it gives among others."""
    head, maps = build(name, options).eval(), draw()
    with torch.no_grad():
        among, alone = head(maps), head(FeatureMaps(maps.mid[1:2], maps.final[1:2]))
    for key, value in tensors(alone).items():
        torch.testing.assert_close(value, tensors(among)[key][1:2], msg=key)


@over_heads
@pytest.mark.parametrize("size", [(7, 7), (28, 28), (14, 20), (5, 9), (1, 1)], ids=str)
def test_other_map_sizes(name, options, size):
    head, maps = build(name, options).eval(), draw(2, *size)
    with torch.no_grad():
        output = head(maps)
    assert_shapes(output, maps)
    assert all(torch.isfinite(value).all() for value in tensors(output).values())


@over_heads
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_channels_last(name, options, mode):
    """The layout in memory changes neither what a head says nor its gradients."""
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        head = build(name, options).train(mode == "train").to(memory_format=layout)
        maps = FeatureMaps(*(part.contiguous(memory_format=layout) for part in draw(images=8)))
        output = head(maps)
        loss(output).backward()
        gradients = {key: parameter.grad for key, parameter in head.named_parameters()}
        found.append({**tensors(output), **gradients})
    plain, other = found
    for key, value in plain.items():
        assert torch.dist(value, other[key], torch.inf) <= 1e-4 * value.abs().max() + 1e-5, key


@over_heads
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_bf16_autocast(name, options, mode):
    """Finite, near fp32's answer, and with attention that still is a distribution."""
    head, maps = build(name, options).train(mode == "train"), draw()
    with torch.autocast("cpu", torch.bfloat16):
        output = head(maps)
    assert all(torch.isfinite(value).all() for value in tensors(output).values())
    if mode == "eval":  # in training, three images' statistics make much of a small difference
        for key, value in tensors(head(maps)).items():
            assert torch.dist(tensors(output)[key].float(), value, torch.inf) < 0.03, key
    if "attention" in output.maps:
        attention = output.maps["attention"]
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum((2, 3)), torch.ones(3, LABELS))
        assert {value.dtype for value in output.maps.values()} == {torch.float32}


@pytest.mark.parametrize("topology", ["paper", "released"])
@pytest.mark.parametrize("size", [(14, 14), (9, 20)], ids=str)
def test_attention_is_a_distribution(topology, size):
    maps = draw(3, *size)
    output = build("srn", {"topology": topology}).eval()(
        FeatureMaps(maps.mid * 100, maps.final)  # far from uniform
    )
    attention, weighted = output.maps["attention"], output.maps["weighted"]
    assert attention.min() >= 0
    assert attention.max() > 2 / math.prod(size)
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(3, LABELS))
    assert (weighted <= attention).all()


# Weights and biases by hand, C = 80 labels over X of 1024 channels on the 14x14 grid.
ATTENTION = (1024 * 512 + 512) + (9 * 512 * 512 + 512) + (512 * 80 + 80)
CONFIDENCE = 1024 * 80 + 80
CONV2, CONV3 = 80 * 512 + 512, 512 * 512 + 512
CONV4 = 512 * 4 * 14 * 14 + 2048
FC = 2048 * 80 + 80
PAPER = ATTENTION + CONFIDENCE + CONV2 + CONV3 + CONV4 + FC

BOTTLENECKS = 2 * (1024 * 256 + 9 * 256 * 256 + 256 * 1024)
SECOND_CONV1 = (1024 * 512) + (512 * 80 + 80)
BIASES_BEFORE_NORM = 512 + 512 + 512 + 512 + 2048
RELEASED = PAPER - CONFIDENCE + SECOND_CONV1 + BOTTLENECKS - BIASES_BEFORE_NORM
NORM_AFFINE = 2 * (2 * (1024 + 256 + 256) + 1024 + 512 * 2 + 512 + 512 * 2 + 2048)


def full_size_head(topology: str) -> SRNHead:
    config = SRNConfig.model_validate({"topology": topology})
    with torch.device("meta"):
        return SRNHead(config, MapShapes(1024, 2048, (14, 14)), num_labels=80)


def count(module: torch.nn.Module, *, norms: bool) -> int:
    """Parameters of a module, with or without those of batch normalisation."""
    return sum(
        parameter.numel()
        for inner in module.modules()
        if norms or not isinstance(inner, torch.nn.modules.batchnorm._BatchNorm)
        for parameter in inner.parameters(recurse=False)
    )


@pytest.mark.parametrize(
    ("topology", "known", "by_hand", "norm_affine"),
    [("paper", 3_879_152, PAPER, 0), ("released", 6_586_608, RELEASED, NORM_AFFINE)],
)
def test_parameter_counts(topology, known, by_hand, norm_affine):
    """Beyond the main net; the text's 3.88 M and the released network's 6.59 M."""
    head = full_size_head(topology)
    main = count(head.main, norms=True)
    assert main == 2048 * 80 + 80
    assert count(head, norms=False) - main == known == by_hand
    assert count(head, norms=True) - main == known + norm_affine


def test_grouping_saves_two_hundred_million_weights():
    conv4 = full_size_head("paper").regularisation.conv4
    ungrouped = torch.nn.Conv2d(512, 2048, 14, bias=False, device="meta")
    assert conv4.weight.numel() == 401_408
    assert ungrouped.weight.numel() == 205_520_896 == 512 * conv4.weight.numel()
