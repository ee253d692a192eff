"""A classifier: a backbone and a head, joined by feature maps."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from manylabel.config import Config
from manylabel.models.backbones import Backbone, BackboneConfig
from manylabel.models.heads import HEADS, Head, HeadConfig, LinearHead
from manylabel.models.heads.base import HeadOutput, main_of
from manylabel.preprocess import InputSpec


class ModelConfig(Config):
    """A backbone and a head."""

    backbone: BackboneConfig = BackboneConfig()
    """The backbone."""
    head: HeadConfig
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


def build_classifier(config: ModelConfig, num_labels: int, spec: InputSpec) -> Classifier:
    """A new classifier for images of `spec`'s size; the backbone's weights are loaded.

    Raises:
        ConfigError: The backbone or its weights cannot be had.
    """
    backbone = Backbone(config.backbone, (spec.height, spec.width))
    _, build_head = HEADS[config.head.name]
    shapes = backbone.shapes(spec.height, spec.width)
    return Classifier(backbone, build_head(config.head, shapes, num_labels))


def main_net(classifier: Classifier) -> Classifier:
    """The main net of a classifier alone; it shares the classifier's weights."""
    return Classifier(classifier.backbone, LinearHead(main_of(classifier.head)))
