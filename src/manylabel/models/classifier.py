"""A classifier: a backbone and a head, joined by feature maps."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from manylabel.config import Config
from manylabel.labels import LabelSpace
from manylabel.models.backbones import Backbone, BackboneConfig, MapShapes
from manylabel.models.heads import HEADS, AnyHeadConfig, Head
from manylabel.models.heads.base import HeadOutput
from manylabel.models.heads.steps import StepPlan
from manylabel.preprocess import InputSpec


class ModelConfig(Config):
    """A backbone and a head."""

    backbone: BackboneConfig = BackboneConfig()
    """The backbone."""
    head: AnyHeadConfig
    """The head."""


@final
class Classifier(nn.Module):
    """A backbone and a head."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> HeadOutput:
        """The head's output for normalised images [N, 3, height, width]."""
        return self.head(self.backbone(images))


def build_classifier(
    config: ModelConfig, labels: LabelSpace, spec: InputSpec, shapes: MapShapes | None = None
) -> Classifier:
    """A new classifier of `labels`, with the backbone's weights loaded.

    Args:
        config: The backbone and the head.
        labels: The C labels, in the order of the logits.
        spec: The model's input; it gives the size of the images.
        shapes: The shapes of the backbone's maps at that size, if they are known.

    Raises:
        ConfigError: The backbone is unknown, or its weights cannot be loaded.
    """
    backbone = Backbone(config.backbone, (spec.height, spec.width))
    shapes = shapes or backbone.shapes(spec.height, spec.width)
    return Classifier(backbone, _head(config, shapes, labels))


def without_weights(config: ModelConfig) -> ModelConfig:
    """The same model, whose backbone starts from scratch: its weights come from elsewhere."""
    backbone = config.backbone.model_copy(update={"pretrained": False, "weights": None})
    return config.model_copy(update={"backbone": backbone})


def outline(
    config: ModelConfig, labels: LabelSpace, spec: InputSpec
) -> tuple[Classifier, MapShapes]:
    """A classifier whose tensors have names, types and shapes but no memory, and its maps' shapes.

    It lies on torch's device `meta`. So it takes little time and memory, however large it is.

    Args:
        config: The backbone, which must not ask for weights, and the head.
        labels: The C labels, in the order of the logits.
        spec: The model's input; it gives the size of the images.

    Raises:
        ConfigError: The backbone is unknown, or does not accept the size.
    """
    assert not config.backbone.pretrained, "an outline has no weights"
    with torch.device("meta"):
        backbone = Backbone(config.backbone, (spec.height, spec.width))
        shapes = backbone.shapes(spec.height, spec.width)
        return Classifier(backbone, _head(config, shapes, labels)), shapes


def module_of_step(classifier: Classifier, plan: StepPlan, *, from_maps: bool = False) -> nn.Module:
    """The module that a training step runs.

    It shares the classifier's weights and returns a `HeadOutput`.

    Args:
        classifier: The classifier that is trained.
        plan: The step.
        from_maps: Whether the module takes the backbone's feature maps, not normalised images.
    """
    head = classifier.get_submodule(plan.runs)
    return head if from_maps else nn.Sequential(classifier.backbone, head)


def _head(config: ModelConfig, shapes: MapShapes, labels: LabelSpace) -> Head:
    return HEADS[config.head.name](config.head, shapes, labels)
