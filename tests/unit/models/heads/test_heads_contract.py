"""What every head keeps, over the table of heads: a new head is tested by being listed there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest
import torch
from catalogue import (
    LABELS,
    SHAPES,
    assert_same_bits,
    assert_shapes,
    build,
    draw,
    over_heads,
    tensors,
)
from safetensors.torch import load, save
from torch import Tensor

from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads import HEADS, Head, HeadConfig, SRNAttHead, SRNHead
from manylabel.models.heads.base import HeadOutput, has_main, main_of

# ---- what a head says -------------------------------------------------------------------------


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


def test_names_of_linear():
    output = build("linear", {}).eval()(draw())
    assert set(output.branches) == {"cls"}
    assert not output.maps
    assert output.units is None
    assert torch.equal(output.logits, output.branches["cls"])


# ---- training and evaluation ------------------------------------------------------------------


def loss(output: HeadOutput) -> Tensor:
    """A number that all of a head has a part in: its answer and SRN's y_att.

    Their weights are drawn: of a plain sum, batch normalisation would cancel the gradient.
    """
    named = {"final": output.logits, **output.branches}
    felt = torch.stack([named[key] for key in ("final", "att") if key in named])
    return (felt * torch.randn(felt.shape, generator=torch.Generator().manual_seed(2))).sum()


@over_heads
def test_a_gradient_reaches_every_parameter(name, options):
    head = build(name, options).train()
    generator = torch.Generator().manual_seed(3)
    for key, parameter in head.named_parameters():
        if key.endswith("bias"):  # of zeros, a normalisation forgets the scale before it
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
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


# ---- sizes ------------------------------------------------------------------------------------


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
    head, maps = build(name, options).eval(), draw(2, size)
    with torch.no_grad():
        output = head(maps)
    assert_shapes(output, maps)
    assert all(torch.isfinite(value).all() for value in tensors(output).values())


@over_heads
@pytest.mark.parametrize("num_labels", [1, 2, 1000])
def test_any_number_of_labels(name, options, num_labels):
    head = build(name, options, num_labels).train()
    output = head(draw())
    assert output.logits.shape == (3, num_labels)
    output.logits.square().sum().backward()
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


# ---- layouts and precisions --------------------------------------------------------------------


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
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_autocast(name, options, mode, dtype):
    """Finite, near fp32's answer, with attention that still is a distribution; gradients, too."""
    head, maps = build(name, options).train(mode == "train"), draw()
    with torch.autocast("cpu", dtype):
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
    output.logits.float().square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


# ---- compiling and saving -------------------------------------------------------------------


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
