"""What a step trains changes, and what it freezes keeps every bit."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from manylabel.labels import LabelSpace
from manylabel.losses import BCE, BCEConfig
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import (
    Classifier,
    ModelConfig,
    build_classifier,
    module_of_step,
)
from manylabel.models.heads import (
    HeadConfig,
    LinearConfig,
    LinearHead,
    SemanticHead,
    SRNAttHead,
    SRNConfig,
    SRNHead,
    SRNModernHead,
)
from manylabel.preprocess import InputSpec
from manylabel.train.optim import AdamWConfig, OptimConfig, SGDConfig, build_optimizer
from manylabel.train.steps import train_only

LABELS = 4
STEPS = {**SRNAttHead.steps, **SRNHead.steps}  # SRN has the parts of every kind
PARTS = ("backbone", "head.main", "head.attention", "head.regularisation")
# Decay so strong that a held tensor that decayed would show in every bit.
OPTIMISERS = [
    SGDConfig(lr=0.05, momentum=0.9, weight_decay=0.1),
    AdamWConfig(lr=0.01, weight_decay=0.1),
]

over_kinds = pytest.mark.parametrize("kind", STEPS)
over_topologies = pytest.mark.parametrize("topology", ["paper", "released"])


def build(head: HeadConfig) -> Classifier:
    config = ModelConfig(backbone=BackboneConfig(name="test_resnet", pretrained=False), head=head)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_classifier(config, LabelSpace.numbered(LABELS), InputSpec(height=64, width=64))


def build_srn(topology: str = "released") -> Classifier:
    return build(
        SRNConfig.model_validate(
            {
                "topology": topology,
                "attention_channels": 8,
                "relation_channels": 6,
                "scale_weighted": True,
            }
        )
    )


def draw(images: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(images, 3, 64, 64, generator=generator)
    return pixels, torch.randint(0, 2, (images, LABELS), generator=generator)


def backward(classifier: nn.Module, kind: str) -> None:
    """The step's loss of a batch and its gradients."""
    images, targets = draw()
    output, loss = classifier(images), BCE(BCEConfig())
    torch.stack(
        [loss(output.select(name), targets) for name in STEPS[kind].losses]
    ).sum().backward()


def iterate(classifier: Classifier, kind: str, optim: OptimConfig) -> None:
    """Two iterations of a step: momentum and weight decay have an effect in the second."""
    optimizer = build_optimizer(optim, train_only(classifier, STEPS[kind].trains))
    for _ in range(2):
        optimizer.zero_grad()
        backward(classifier, kind)
        optimizer.step()


def hashes(module: nn.Module) -> dict[str, str]:
    """A hash of every parameter and buffer, batch statistics and their counters included."""
    return {
        key: hashlib.sha256(value.detach().contiguous().numpy().tobytes()).hexdigest()
        for key, value in module.state_dict().items()
    }


def belongs(key: str, parts: tuple[str, ...]) -> bool:
    return any(key.startswith(f"{part}.") for part in parts)


def test_the_parts_are_the_whole_classifier():
    """The parts that these tests check contain every tensor of a classifier."""
    for topology in ("paper", "released"):
        assert all(belongs(key, PARTS) for key in build_srn(topology).state_dict())


@pytest.mark.parametrize("optim", OPTIMISERS, ids=lambda optim: optim.name)
@over_topologies
@over_kinds
def test_frozen_tensors_do_not_change(kind, topology, optim):
    """After real iterations with weight decay, all trained tensors changed and no others."""
    classifier = build_srn(topology)
    before = hashes(classifier)
    iterate(classifier, kind, optim)
    after = hashes(classifier)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {key for key in before if belongs(key, STEPS[kind].trains)}


@pytest.mark.parametrize("kind", ["main", "attention", "regularisation"])
def test_a_change_of_a_frozen_tensor_would_be_found(kind):
    """The control: with the frozen parts in training mode, a batch changes their statistics."""
    classifier = build_srn()
    held = tuple(part for part in PARTS if part not in STEPS[kind].trains)
    before = hashes(classifier)
    train_only(classifier, STEPS[kind].trains)
    classifier.train()
    backward(classifier, kind)
    after = hashes(classifier)
    moved = {key for key in before if before[key] != after[key] and belongs(key, held)}
    normalised = {key for key in before if "running_" in key and belongs(key, held)}
    assert normalised
    assert normalised <= moved


@over_topologies
@over_kinds
def test_gradients_reach_only_what_a_step_trains(kind, topology):
    classifier = build_srn(topology)
    train_only(classifier, STEPS[kind].trains)
    backward(classifier, kind)
    reached = {key for key, value in classifier.named_parameters() if value.grad is not None}
    trained = {key for key, _ in classifier.named_parameters() if belongs(key, STEPS[kind].trains)}
    assert reached == trained
    assert trained


@over_kinds
def test_train_only_returns_the_parameters_of_its_parts(kind):
    classifier, parts = build_srn(), STEPS[kind].trains
    found = train_only(classifier, parts)
    wanted = [value for key, value in classifier.named_parameters() if belongs(key, parts)]
    assert [id(value) for value in found] == [id(value) for value in wanted]
    for key, value in classifier.named_parameters():
        assert value.requires_grad is belongs(key, parts), key
    for key, module in classifier.named_modules():
        if belongs(f"{key}.", parts):
            assert module.training, key
        elif belongs(f"{key}.", PARTS):
            assert not module.training, key


def test_a_later_step_trains_what_an_earlier_step_froze():
    classifier = build_srn()
    sizes = {kind: len(train_only(classifier, STEPS[kind].trains)) for kind in SRNHead.steps}
    parts = sizes["main"] + sizes["attention"] + sizes["regularisation"]
    assert parts == sizes["joint"] == sizes["joint-released"] == sizes["whole"]


def test_calling_it_again_after_an_evaluation_restores_the_modes():
    classifier, parts = build_srn(), STEPS["attention"].trains
    train_only(classifier, parts)
    classifier.eval()
    train_only(classifier, parts)
    assert classifier.head.get_submodule("attention").training
    assert not classifier.backbone.training


def test_a_step_can_freeze_a_part_that_its_kind_trains():
    classifier = build_srn()
    before = hashes(classifier.backbone)
    parts = tuple(part for part in STEPS["joint"].trains if part != "backbone")
    optimizer = build_optimizer(OPTIMISERS[0], train_only(classifier, parts))
    backward(classifier, "joint")
    optimizer.step()
    assert hashes(classifier.backbone) == before
    assert hashes(classifier.head) != hashes(build_srn().head)


def test_the_linear_head_trains_in_step_1():
    classifier = build(LinearConfig())
    before = hashes(classifier)
    iterate(classifier, "main", OPTIMISERS[0])
    after = hashes(classifier)
    assert all(before[key] != after[key] for key in before)


def test_the_main_net_alone_trains_as_it_does_within_srn():
    """Step 1 may leave out the rest of SRN: the gradients are the same for the same parameters."""
    whole, alone = build_srn(), build_srn()
    for classifier, module in ((whole, whole), (alone, module_of_step(alone, STEPS["main"]))):
        train_only(classifier, STEPS["main"].trains)
        backward(module, "main")
    for (key, one), (_, two) in zip(
        whole.named_parameters(), alone.named_parameters(), strict=True
    ):
        assert (one.grad is None) == (two.grad is None), key
        if one.grad is not None:
            assert two.grad is not None
            assert torch.equal(one.grad, two.grad), key


def test_the_steps_are_those_of_the_paper():
    """The table in the documentation, written as data."""
    table = {kind: (plan.number, plan.trains, plan.losses) for kind, plan in STEPS.items()}
    assert table == {
        "main": (1, ("backbone", "head.main"), ("cls",)),
        "attention": (2, ("head.attention",), ("att",)),
        "regularisation": (3, ("head.regularisation",), ("final",)),
        "joint": (4, PARTS, ("final", "att")),
        "joint-released": (4, PARTS, ("cls", "att", "sr")),
        "joint-attention": (4, PARTS[:3], ("final", "att")),
        "whole": (1, ("backbone", "head"), ("final",)),
        "whole-branches": (1, ("backbone", "head"), ("final", "cls", "att", "sr")),
    }
    assert {kind: plan.scores for kind, plan in STEPS.items()} == {
        "main": "cls",
        "attention": "att",
        "regularisation": "final",
        "joint": "final",
        "joint-released": "final",
        "joint-attention": "final",
        "whole": "final",
        "whole-branches": "final",
    }


def test_each_head_has_the_steps_of_its_parts():
    assert list(LinearHead.steps) == ["main", "whole"]
    assert list(SemanticHead.steps) == ["main", "regularisation", "whole"]
    assert list(SRNAttHead.steps) == ["main", "attention", "joint-attention", "whole"]
    assert SRNModernHead.steps == SRNHead.steps
    assert set(STEPS) - set(SRNHead.steps) == {"joint-attention"}
