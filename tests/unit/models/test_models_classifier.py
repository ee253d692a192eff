"""A backbone and a head joined, from settings."""

from __future__ import annotations

import pytest
import torch

from manylabel.config import parse, to_tables
from manylabel.errors import ConfigError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig, FeatureMaps
from manylabel.models.classifier import (
    Classifier,
    ModelConfig,
    build_classifier,
    module_of_step,
)
from manylabel.models.heads import HEADS, LinearConfig, SRNConfig, SRNHead
from manylabel.models.heads.main_net import MainNet
from manylabel.models.heads.steps import MAIN, WHOLE
from manylabel.preprocess import InputSpec

LABELS = 5
TINY = BackboneConfig(name="test_resnet", pretrained=False)
SPEC = InputSpec(height=64, width=96)


def build(head: str = "srn", spec: InputSpec = SPEC, **options) -> Classifier:
    small = {"attention_channels": 8, "relation_channels": 6} if head == "srn" else {}
    config = ModelConfig.model_validate(
        {"backbone": TINY, "head": {"name": head, **small, **options}}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_classifier(config, LabelSpace.numbered(LABELS), spec)


def draw(height: int = 64, width: int = 96, images: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(images, 3, height, width, generator=generator)


@pytest.mark.parametrize("head", HEADS)
def test_a_classifier_is_its_head_over_its_backbone(head):
    classifier = build(head).eval()
    with torch.no_grad():
        output = classifier(draw())
        expected = classifier.head(classifier.backbone(draw()))
    assert output.logits.shape == (2, LABELS)
    assert torch.equal(output.logits, expected.logits)
    assert output.branches.keys() == expected.branches.keys()


def test_the_defaults_are_the_papers():
    config = ModelConfig(head=SRNConfig())
    assert config.backbone.name == "resnet101"
    assert config.head == SRNConfig(topology="paper", pool="avg", alpha=0.5, scale_weighted=False)


def test_which_head_a_model_has_is_said():
    """A recipe alone has a default head; a second one would differ from it some day."""
    with pytest.raises(ConfigError, match="The key 'head' is missing"):
        parse(ModelConfig, {}, where="recipe.toml")
    with pytest.raises(ConfigError, match=r"The key 'head\.name' is missing"):
        parse(ModelConfig, {"head": {"pool": "max"}}, where="recipe.toml")


@pytest.mark.parametrize(
    ("given", "kind"), [({"name": "linear", "pool": "max"}, LinearConfig), ({}, SRNConfig)]
)
def test_a_recipes_head_is_told_by_its_name(given, kind):
    tables = {"head": {"name": kind.model_fields["name"].default, **given}}
    config = parse(ModelConfig, tables, where="recipe.toml")
    assert isinstance(config.head, kind)
    assert parse(ModelConfig, to_tables(config), where="recipe.toml") == config


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"name": "srn", "alhpa": 0.5}, r"Unknown key 'head\.alhpa'"),
        ({"name": "linear", "alpha": 0.5}, r"Unknown key 'head\.alpha'"),
        ({"name": "srn", "alpha": 1.5}, r"'head\.alpha' does not fit"),
        ({"name": "srn", "topology": "text"}, r"'head\.topology' does not fit"),
        ({"name": "nonsense"}, r"'head\.name' does not fit: there is no head 'nonsense'"),
        ({"name": "srn", "extra_blocks": 1}, r"'head\.extra_blocks' does not fit: it belongs to"),
        ({"name": "srn-att", "extra_blocks": 0}, r"'head\.extra_blocks' does not fit"),
    ],
)
def test_settings_that_do_not_fit(head, said):
    with pytest.raises(ConfigError, match=said):
        parse(ModelConfig, {"head": head}, where="recipe.toml")


@pytest.mark.parametrize(
    ("spec", "grid"),
    [(InputSpec(height=64, width=96), (4, 6)), (InputSpec(height=224, width=224), (14, 14))],
    ids=["64x96", "224x224"],
)
def test_conv4_covers_the_map_of_the_input(spec, grid):
    head = build(spec=spec).head
    assert isinstance(head, SRNHead)
    assert head.regularisation.grid == grid
    assert head.regularisation.conv4.weight.shape == (6 * 4, 1, *grid)


def test_a_grid_that_was_asked_for_is_kept():
    head = build(grid=(14, 14)).head
    assert isinstance(head, SRNHead)
    assert head.regularisation.grid == (14, 14)


@pytest.mark.parametrize("size", [(64, 96), (128, 192), (96, 64)], ids=str)
def test_images_of_other_sizes(size):
    """A classifier takes images of any size: its maps follow the size, its logits do not."""
    classifier = build().eval()
    with torch.no_grad():
        output = classifier(draw(*size))
    assert output.maps["weighted"].shape == (2, LABELS, size[0] // 16, size[1] // 16)
    assert output.logits.shape == (2, LABELS)


def test_weights_of_the_head_fit_every_input_when_the_grid_is_named():
    """What trains at one size goes on at another: `grid` fixes conv4's kernels."""
    small = build(grid=(4, 4), spec=InputSpec(height=64, width=64))
    large = build(grid=(4, 4), spec=InputSpec(height=128, width=128))
    large.load_state_dict(small.state_dict())
    with torch.no_grad():
        one, two = small.eval()(draw(128, 128)), large.eval()(draw(128, 128))
    assert torch.equal(one.logits, two.logits)


@pytest.mark.parametrize("head", ["linear", "srn", "srn-att", "semantic"])
def test_step_1_runs_the_main_net_alone_with_the_classifiers_weights(head):
    classifier = build(head).eval()
    module = module_of_step(classifier, MAIN)
    own = {id(parameter) for parameter in classifier.parameters()}
    assert {id(parameter) for parameter in module.parameters()} <= own
    main = module_of_step(classifier, MAIN, from_maps=True)
    assert isinstance(main, MainNet)
    with torch.no_grad():
        expected = classifier(draw()).branches["cls"]
        assert torch.equal(module(draw()).logits, expected)
        main.fc.bias += 1
        torch.testing.assert_close(classifier(draw()).branches["cls"], expected + 1)


def test_the_main_net_looks_at_the_final_map_alone():
    classifier = build().eval()
    maps = classifier.backbone(draw())
    head = module_of_step(classifier, MAIN, from_maps=True)
    nowhere = FeatureMaps(torch.full_like(maps.mid, torch.nan), maps.final)
    assert torch.isfinite(head(nowhere).logits).all()


@pytest.mark.parametrize("head", HEADS)
def test_a_step_of_the_whole_runs_the_classifier(head):
    """From images, and from maps that were computed before."""
    classifier = build(head).eval()
    with torch.no_grad():
        expected = classifier(draw())
        from_images = module_of_step(classifier, WHOLE)(draw())
        maps = classifier.backbone(draw())
        from_maps = module_of_step(classifier, WHOLE, from_maps=True)(maps)
    assert torch.equal(from_images.logits, expected.logits)
    assert torch.equal(from_maps.logits, expected.logits)


def test_channels_last_gives_the_same_numbers():
    """As training does it: the classifier and its images in that layout."""
    classifier = build(topology="released").eval()
    with torch.no_grad():
        expected = classifier(draw())
        classifier.to(memory_format=torch.channels_last)
        found = classifier(draw().to(memory_format=torch.channels_last))
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    for key, value in expected.maps.items():
        torch.testing.assert_close(found.maps[key], value, rtol=1e-4, atol=1e-5, msg=key)
