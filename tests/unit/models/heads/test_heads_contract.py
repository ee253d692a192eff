"""What every head keeps beyond shapes and gradients: sizes of label sets, compiling, saving.

Over the table of heads, like `test_models_heads.py`: a new head is tested by being listed there.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads import HEADS, Head
from manylabel.models.heads.base import HeadOutput, has_main, main_of

SHAPES = MapShapes(mid_channels=16, final_channels=12, grid=(6, 4))
LABELS = 5
SETTINGS = [
    *((name, {}) for name in HEADS),
    ("csra", {"temperatures": (1, 2), "normalised": False}),
    ("ml-decoder", {"num_groups": 2}),
    ("query2label", {"encoder_layers": 0, "self_attention": False}),
    ("linear", {"pool": "gem"}),
    ("srn", {"topology": "released", "pool": "gem"}),
    ("srn-att", {"topology": "released"}),
    ("semantic", {"pool": "max"}),
    ("ml-gcn", {"vectors": "fixed", "pool": "gem"}),
]
"""Each head at its defaults, and settings that change what is computed."""
SMALL = {
    "srn": {"attention_channels": 8, "relation_channels": 6},
    "srn-att": {"attention_channels": 8},
    "semantic": {"relation_channels": 8},
    "ml-gcn": {"vector_size": 6, "hidden_channels": 8},
    "ml-decoder": {"channels": 16, "feedforward_channels": 24, "dropout": 0.0},
    "query2label": {"channels": 16, "feedforward_channels": 24, "dropout": 0.0},
    "srn-modern": {"channels": 8, "relation_channels": 6},
}
"""Options that make a head quick; a head that is not here is tested at its own sizes."""

over_heads = pytest.mark.parametrize(
    ("name", "options"),
    SETTINGS,
    ids=[",".join([name, *map(str, options.values())]) for name, options in SETTINGS],
)


def build(name: str, options: dict, num_labels: int = LABELS, seed: int = 0) -> Head:
    config_type, build_head = HEADS[name]
    config = config_type(**{**SMALL.get(name, {}), **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_head(config, SHAPES, num_labels)


def draw(images: int = 3, size: tuple[int, int] = (6, 4)) -> FeatureMaps:
    """Maps as a backbone gives them: not negative, the final one at half the resolution."""
    generator = torch.Generator().manual_seed(1)
    mid = torch.randn(images, SHAPES.mid_channels, *size, generator=generator)
    half = [-(-side // 2) for side in size]
    final = torch.randn(images, SHAPES.final_channels, *half, generator=generator)
    return FeatureMaps(mid.relu(), final.relu())


def tensors(output: HeadOutput) -> dict[str, Tensor]:
    """All that a head says, by name."""
    units = {} if output.units is None else {"units": output.units}
    return {"final": output.logits, **output.branches, **output.maps, **units}


def assert_near(found: HeadOutput, expected: HeadOutput) -> None:
    assert tensors(found).keys() == tensors(expected).keys()
    for key, value in tensors(expected).items():
        torch.testing.assert_close(tensors(found)[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.fixture
def compiler() -> Iterator[None]:
    """What was compiled for one head is forgotten before the next."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def gradients(output: HeadOutput, head: Head) -> tuple[Tensor, ...]:
    """Of the answer, for every parameter; zeros where it has no part in it."""
    parameters = list(head.parameters())
    return torch.autograd.grad(output.logits.square().sum(), parameters, materialize_grads=True)


@over_heads
@pytest.mark.usefixtures("compiler")
def test_compiles_in_one_graph(name, options):
    """Forward and backward, on the grid and on another map; a graph break is an error."""
    for size in ((6, 4), (5, 9)):
        head = build(name, options).eval()
        compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
        found, expected = compiled(draw(size=size)), head(draw(size=size))
        assert_near(found, expected)
        for one, two in zip(gradients(found, head), gradients(expected, head), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@over_heads
def test_saved_and_loaded_the_same_bits(name, options):
    """Through the format of bundles: all that a head's answer depends on is in its weights."""
    head, other = build(name, options), build(name, options, seed=7).eval()
    head.train()(draw())  # moves batch statistics away from their initial values
    head.eval()
    other.load_state_dict(load(save(head.state_dict())))
    with torch.no_grad():
        one, two = tensors(head(draw())), tensors(other(draw()))
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


@over_heads
@pytest.mark.parametrize("num_labels", [1, 2, 1000])
def test_any_number_of_labels(name, options, num_labels):
    head = build(name, options, num_labels).train()
    output = head(draw())
    assert output.logits.shape == (3, num_labels)
    output.logits.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


@over_heads
def test_one_image_in_evaluation(name, options):
    output = build(name, options).eval()(draw(images=1))
    assert output.logits.shape == (1, LABELS)
    assert output.logits.isfinite().all()


@over_heads
def test_gradients_are_finite_in_bf16(name, options):
    head = build(name, options).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = head(draw())
    output.logits.float().square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


@over_heads
def test_maps_that_are_zero(name, options):
    """A dead backbone gives finite logits and gradients."""
    head, maps = build(name, options).train(), draw()
    maps = FeatureMaps(*(torch.zeros_like(part).requires_grad_() for part in maps))
    output = head(maps)
    output.logits.square().sum().backward()
    assert output.logits.isfinite().all()
    for gradient in (maps.mid.grad, maps.final.grad, *(p.grad for p in head.parameters())):
        assert gradient is None or gradient.isfinite().all()


@over_heads
def test_a_main_net_is_the_branch_cls(name, options):
    head = build(name, options).eval()
    branches = head(draw()).branches
    assert has_main(head) == ("cls" in branches)
    if has_main(head):
        torch.testing.assert_close(main_of(head)(draw().final), branches["cls"])
        assert head.label_weights() is main_of(head).fc.weight


@over_heads
def test_label_weights_fit_the_final_map(name, options):
    """What class activation maps are made of."""
    weights = build(name, options).label_weights()
    assert weights is None or weights.shape == (LABELS, SHAPES.final_channels)
