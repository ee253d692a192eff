"""The contract of all heads, tested over the table of heads: a new head needs only a line there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from catalogue import (
    LABELS,
    SHAPES,
    TARGETS,
    assert_same_bits,
    assert_shapes,
    build,
    draw,
    over_heads,
    tensors,
)
from safetensors.torch import load, save
from torch import Tensor

from manylabel.config import parse, to_tables
from manylabel.errors import ConfigError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig, FeatureMaps
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier, module_of_step
from manylabel.models.heads import HEADS, Head, SRNAttHead, SRNHead
from manylabel.models.heads.base import HeadOutput
from manylabel.models.heads.main_net import MainNet
from manylabel.preprocess import InputSpec
from manylabel.train.steps import train_only

# ---- what a head says -------------------------------------------------------------------------


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
    head, maps = build(name, options).eval(), draw()
    mains = [each for each in head.modules() if isinstance(each, MainNet)]
    branches = head(maps).branches
    assert len(mains) == ("cls" in branches)
    for main in mains:
        assert main is head.get_submodule("main")
        torch.testing.assert_close(main(maps).logits, branches["cls"])


def test_names_of_linear():
    output = build("linear", {}).eval()(draw())
    assert set(output.branches) == {"cls"}
    assert not output.maps
    assert output.units is None
    assert torch.equal(output.logits, output.branches["cls"])


# ---- settings ---------------------------------------------------------------------------------


@over_heads
def test_settings_survive_the_way_through_a_recipe(name, options):
    head = build(name, options)
    assert type(head.config) is HEADS[name].Config
    assert head.config.name == name == HEADS[name].Config.model_fields["name"].default
    tables = {"head": to_tables(head.config)}
    assert parse(ModelConfig, tables, where="recipe.toml").head == head.config
    assert to_tables(ModelConfig(head=head.config))["head"] == tables["head"]


@over_heads
def test_an_unknown_key_of_the_settings_is_refused(name, options):
    tables = {"head": {**to_tables(build(name, options).config), "nmae": 1}}
    with pytest.raises(ConfigError, match=r"Unknown key 'head\.nmae'") as caught:
        parse(ModelConfig, tables, where="recipe.toml")
    assert caught.value.fix == "Did you mean 'head.name'?"


@over_heads
def test_settled_settings_and_weights_rebuild_the_head(name, options):
    """Even over maps of another size, and through the format of recipes and bundles."""
    head = build(name, options)
    head.prepare(TARGETS)
    head.train()(draw())  # moves batch statistics away from their initial values
    settled = head.eval().settled()
    tables = {"head": to_tables(settled)}
    config = parse(ModelConfig, tables, where="bundle.json").head
    other = HEADS[name](config, replace(SHAPES, grid=(3, 5)), head.labels).eval()
    other.load_state_dict(load(save(head.state_dict())))
    with torch.no_grad():
        assert_same_bits(head(draw()), other(draw()))
    assert other.settled() == settled


# ---- what a head takes from a training set ----------------------------------------------------


@over_heads
def test_preparing_keeps_shapes_and_the_random_state(name, options):
    """Prepared twice with the same targets it is the same head, and it draws nothing."""
    head, maps = build(name, options).eval(), draw()
    shapes = {key: value.shape for key, value in head.state_dict().items()}
    before = torch.random.get_rng_state()
    head.prepare(TARGETS)
    first = {key: value.clone() for key, value in head.state_dict().items()}
    head.prepare(TARGETS)
    assert torch.equal(before, torch.random.get_rng_state())
    assert {key: value.shape for key, value in head.state_dict().items()} == shapes
    assert all(torch.equal(value, first[key]) for key, value in head.state_dict().items())
    with torch.no_grad():
        assert_shapes(head(maps), maps)


@over_heads
def test_targets_of_other_labels_are_an_assertion_error(name, options):
    with pytest.raises(AssertionError):
        build(name, options).prepare(np.zeros((3, LABELS + 1), dtype=np.int8))


# ---- steps ------------------------------------------------------------------------------------


def classify(name: str, options: dict) -> Classifier:
    """The head over a small backbone, its weights drawn."""
    head = build(name, options).config
    model = ModelConfig(backbone=BackboneConfig(name="test_resnet", pretrained=False), head=head)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        labels = LabelSpace.numbered(LABELS)
        return build_classifier(model, labels, InputSpec(height=64, width=64))


@over_heads
def test_each_step_trains_what_it_names_and_its_loss_uses_logits_that_exist(name, options):
    """What a step runs gives its losses and scores, and its gradient stays in its parts."""
    assert "whole" in HEADS[name].steps
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for kind, plan in HEADS[name].steps.items():
        classifier = classify(name, options)
        train_only(classifier, plan.trains)
        output = module_of_step(classifier, plan)(images)
        assert isinstance(output, HeadOutput), kind
        assert output.select(plan.scores).shape == (4, LABELS), kind
        sum(output.select(each).square().sum() for each in plan.losses).backward()
        prefixes = tuple(f"{part}." for part in plan.trains)
        for key, parameter in classifier.named_parameters():
            assert parameter.requires_grad == key.startswith(prefixes), (kind, key)
            assert parameter.requires_grad or parameter.grad is None, (kind, key)
        reached = {key for key, each in classifier.named_parameters() if each.grad is not None}
        for prefix in prefixes:
            assert any(key.startswith(prefix) for key in reached), (kind, prefix)


# ---- evidence ---------------------------------------------------------------------------------


@over_heads
@pytest.mark.parametrize("size", [(6, 4), (5, 9), (1, 1)], ids=str)
def test_evidence_covers_each_label_within_its_range(name, options, size):
    head, maps = build(name, options).eval(), draw(size=size)
    with torch.no_grad():
        output = head(maps)
        found = {method: (each.kind, each.maps(maps, output)) for method, each in _methods(head)}
    assert found
    for method, (kind, evidence) in found.items():
        assert evidence.shape[:2] == (3, LABELS), method
        assert evidence.shape[2:] in {maps.mid.shape[2:], maps.final.shape[2:]}, method
        assert evidence.isfinite().all(), method
        assert kind.low is None or evidence.min() >= kind.low, method
        assert kind.high is None or evidence.max() <= kind.high + 1e-6, method
        assert kind.title


@over_heads
def test_the_methods_are_the_same_at_each_call_and_their_maps_too(name, options):
    head, maps = build(name, options).eval(), draw()
    with torch.no_grad():
        one, two = (
            {method: each.maps(maps, head(maps)) for method, each in _methods(head)}
            for _ in range(2)
        )
    assert list(one) == list(two)
    assert all(torch.equal(value, two[method]) for method, value in one.items())


def test_the_first_method_is_the_heads_own_attention():
    """Heads whose logits all come from their own attention list it first; the others list CAM."""
    first = {name: next(iter(build(name, {}).evidence())) for name in HEADS}
    assert first == {
        "linear": "cam",
        "srn": "attention",
        "srn-att": "attention",
        "semantic": "cam",
        "srn-modern": "attention",
        "csra": "spatial-scores",
        "ml-decoder": "queries",
        "query2label": "queries",
        "ml-gcn": "cam",
    }


def _methods(head: Head):
    return head.evidence().items()


# ---- training and evaluation ------------------------------------------------------------------


def loss(output: HeadOutput) -> Tensor:
    """A number that depends on every parameter of a head: the logits and SRN's y_att.

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
    """An image has the same output alone and in a batch."""
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
    """The layout in memory changes neither a head's output nor its gradients."""
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
    """The gradient of the logits for every parameter; zeros where they do not depend on it."""
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
    """Through the format of bundles: all that a head's output depends on is in its weights."""
    head, other = build(name, options), build(name, options, seed=7).eval()
    head.train()(draw())  # moves batch statistics away from their initial values
    head.eval()
    other.load_state_dict(load(save(head.state_dict())))
    with torch.no_grad():
        one, two = tensors(head(draw())), tensors(other(draw()))
    for key, value in one.items():
        assert torch.equal(value, two[key]), key
