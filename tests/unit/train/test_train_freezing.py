"""Backbones with frozen stages, and learning rates that fall layer by layer."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from manylabel.errors import ConfigError
from manylabel.labels import LabelSpace
from manylabel.losses import BCE, BCEConfig
from manylabel.models.backbones import BackboneConfig, count_stages
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig
from manylabel.preprocess import InputSpec
from manylabel.train.config import RunConfig, resolve
from manylabel.train.optim import (
    AdamWConfig,
    OptimConfig,
    Schedule,
    SGDConfig,
    build_optimizer,
    parameter_groups,
)
from manylabel.train.steps import train_only


def build(name: str, **options: object) -> Classifier:
    backbone = BackboneConfig(name=name, pretrained=False, options=options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ModelConfig(backbone=backbone, head=LinearConfig())
        return build_classifier(model, LabelSpace.numbered(3), InputSpec(height=64, width=64))


def iterate(classifier: Classifier, optim: OptimConfig) -> None:
    """One training iteration."""
    optimizer = build_optimizer(optim, parameter_groups(optim, classifier))
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    loss = BCE(BCEConfig())(classifier(images).logits, torch.ones(4, 3, dtype=torch.int8))
    loss.backward()
    optimizer.step()


def rates(classifier: Classifier, optim: OptimConfig) -> dict[str, float]:
    """The learning rate of each trained parameter by name."""
    names = {id(parameter): name for name, parameter in classifier.named_parameters()}
    optimizer = build_optimizer(optim, parameter_groups(optim, classifier))
    return {
        names[id(parameter)]: group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


# ---- learning rates ---------------------------------------------------------------------------


def layer_of_resnet18(name: str) -> int:
    """The stem is 0, the eight blocks are 1 to 8, the head comes after them."""
    if name.startswith("head."):
        return 9
    block = re.match(r"backbone\.model\.layer(\d)\.(\d)\.", name)
    return 2 * (int(block[1]) - 1) + int(block[2]) + 1 if block else 0


def layer_of_test_vit(name: str) -> int:
    """Tokens, positions and patches are 0, the six blocks 1 to 6 with the last norm, the head 7."""
    if name.startswith("head."):
        return 7
    if name.startswith("backbone.model.norm."):
        return 6
    block = re.match(r"backbone\.model\.blocks\.(\d+)\.", name)
    return int(block[1]) + 1 if block else 0


@pytest.mark.parametrize("optimiser", [SGDConfig, AdamWConfig])
@pytest.mark.parametrize(
    ("name", "layer_of", "head"),
    [("resnet18", layer_of_resnet18, 9), ("test_vit", layer_of_test_vit, 7)],
)
def test_each_layers_rate_is_a_fraction_of_the_one_above(name, layer_of, head, optimiser):
    classifier = build(name)
    found = rates(classifier, optimiser(lr=0.1, layer_decay=0.7))
    assert found.keys() == {name for name, _ in classifier.named_parameters()}
    for parameter, rate in found.items():
        assert rate == pytest.approx(0.1 * 0.7 ** (head - layer_of(parameter))), parameter


def test_registers_are_part_of_the_stem():
    found = rates(build("vit_small_patch16_dinov3", depth=2), SGDConfig(lr=1, layer_decay=0.5))
    for name in ("cls_token", "reg_token", "patch_embed.proj.weight"):
        assert found[f"backbone.model.{name}"] == pytest.approx(0.5**3)


def test_without_layer_decay_there_is_one_group():
    classifier = build("test_resnet")
    parameters = train_only(classifier, ("backbone", "head.main"))
    (group,) = parameter_groups(SGDConfig(lr=0.1), classifier)
    assert group["lr"] == 0.1
    assert [id(p) for p in group["params"]] == [id(p) for p in parameters]


def test_frozen_parameters_are_in_no_group_and_change_no_rate():
    classifier, optim = build("resnet18"), SGDConfig(lr=0.1, layer_decay=0.7)
    whole = rates(classifier, optim)
    classifier.backbone.freeze(3)
    part = rates(classifier, optim)
    assert {layer_of_resnet18(name) for name in part} == {7, 8, 9}
    assert part == {name: whole[name] for name in part}


@pytest.mark.parametrize("name", ["constant", "cosine", "one-cycle", "milestones", "plateau"])
def test_schedules_keep_the_rates_in_proportion(name):
    classifier = build("resnet18")
    own = {"milestones": {"epochs": [1]}, "plateau": {"patience": 0, "smallest": 0.05}}
    schedule = {"name": name, **own.get(name, {})}
    optim = SGDConfig.model_validate({"lr": 0.1, "layer_decay": 0.7, "schedule": schedule})
    optimizer = build_optimizer(optim, parameter_groups(optim, classifier))
    moved = Schedule(optim, optimizer, iterations=12, validated=True)
    seen = []
    for _ in range(4):
        for _ in range(3):
            optimizer.step()
            moved.after_iteration()
            seen.append(optimizer.param_groups[0]["lr"])
            wanted = [seen[-1] * 0.7**depth for depth in range(10)]
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(wanted)
        moved.after_epoch(1.0)
    assert name == "constant" or len(set(seen)) > 1


# ---- stages -----------------------------------------------------------------------------------


def stage_of_resnet18(name: str) -> int:
    stage = re.match(r"backbone\.model\.layer(\d)\.", name)
    return 5 if name.startswith("head.") else int(stage[1]) if stage else 0


@pytest.mark.parametrize("stages", [0, 2, 4])
def test_frozen_stages_do_not_change(stages):
    """No gradient, no weight decay, and the same batch statistics; everything else changes."""
    classifier = build("resnet18", zero_init_last=False)  # else some first gradients are 0
    train_only(classifier, ("backbone", "head.main"))
    classifier.backbone.freeze(stages)
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    iterate(classifier, SGDConfig(lr=0.1, weight_decay=0.1))
    for key, value in classifier.state_dict().items():
        held = stage_of_resnet18(key) <= stages
        assert torch.equal(value, before[key]) is held, key


def test_frozen_stages_have_no_dropout():
    classifier = build("test_convnext", drop_path_rate=0.5)
    train_only(classifier, ("backbone", "head.main"))
    classifier.backbone.freeze(2)
    for number, stage in enumerate(classifier.backbone.model.stages):
        assert {module.training for module in stage.modules()} == {number >= 2}


def test_stages_can_be_frozen_again_before_each_epoch():
    """`train_only` is called before each epoch; the stages are frozen again then."""
    classifier = build("resnet18")
    for _ in range(2):
        train_only(classifier, ("backbone", "head.main"))
        classifier.backbone.freeze(4)
        trained = [name for name, p in classifier.named_parameters() if p.requires_grad]
        assert trained == ["head.main.fc.weight", "head.main.fc.bias"]


def test_more_stages_than_there_are():
    with pytest.raises(ConfigError, match="has 4 stages after its stem, not 5"):
        build("resnet18").backbone.freeze(5)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet101", 4),
        ("resnetv2_101", 4),
        ("convnext_tiny", 4),
        ("densenet121", 4),
        ("swin_tiny_patch4_window7_224", 4),
        ("efficientnet_b0", 7),
        ("vit_small_patch14_reg4_dinov2", 12),
        ("eva02_tiny_patch14_224", 12),
    ],
)
def test_stages_are_counted_without_weights(name, stages):
    assert count_stages(BackboneConfig(name=name)) == stages


# ---- recipes ----------------------------------------------------------------------------------


def recipe(step: dict[str, object], optim: dict[str, object] | None = None, **keys) -> RunConfig:
    tables = {
        "backbone": {"name": "resnet18"},
        "head": {"name": "srn"},
        "steps": [{"epochs": 1, **step}],
        "optim": optim or {},
    }
    return resolve({**tables, **keys}, where="recipe.toml")


def test_recipe():
    run = recipe({"kind": "main", "freeze_stages": 4}, {"layer_decay": 0.8})
    assert run.steps[0].freeze_stages == 4
    assert run.optim.layer_decay == 0.8


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"kind": "main", "freeze_stages": 5}, "'resnet18' has 4 stages after its stem, not 5"),
        ({"kind": "main", "freeze_stages": -1}, "greater than or equal to 0"),
        ({"kind": "attention", "freeze_stages": 1}, "'attention' does not train the backbone"),
        ({"kind": "main", "freeze": ["backbone"], "freeze_stages": 1}, "leave out its freeze_sta"),
        ({"kind": "main", "freeze": ["backbon"]}, "did you mean 'backbone'"),
        ({"kind": "joint", "freeze": ["head.atention"]}, "did you mean 'head.attention'"),
        ({"kind": "main", "freeze": ["backbone.layer1"]}, "freeze_stages freezes a part"),
        ({"kind": "main", "frezee": ["backbone"]}, "Unknown key 'steps.0.frezee'"),
    ],
)
def test_recipes_that_are_refused(step, said):
    with pytest.raises(ConfigError) as caught:
        recipe(step)
    assert said in caught.value.what


@pytest.mark.parametrize("decay", [0, 1.1, "small"])
def test_rates_that_are_refused(decay):
    with pytest.raises(ConfigError, match="'optim.layer_decay' does not fit"):
        recipe({"kind": "main"}, {"layer_decay": decay})


@pytest.mark.parametrize(
    ("step", "optim"), [({"freeze_stages": 1}, {}), ({}, {"layer_decay": 0.9})]
)
def test_a_backbone_without_known_layers(step, optim):
    with pytest.raises(ConfigError, match="timm does not know the layers of 'pit_ti_224'"):
        recipe({"kind": "main", **step}, optim, backbone={"name": "pit_ti_224"})


def test_gradients_of_frozen_stages_are_none():
    classifier = build("resnet18")
    train_only(classifier, ("backbone", "head.main"))
    classifier.backbone.freeze(1)
    iterate(classifier, SGDConfig(lr=0.1))
    gradients: dict[str, Tensor | None] = {n: p.grad for n, p in classifier.named_parameters()}
    for name, gradient in gradients.items():
        assert (gradient is None) is (stage_of_resnet18(name) <= 1), name
