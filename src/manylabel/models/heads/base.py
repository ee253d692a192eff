"""What every head is: built from names, fed with feature maps, and whole in one file.

A head is one class. Nobody outside asks which head it is: all that training, bundles and
explanations need from a head is in this protocol.

    Config      its settings; `name` is the head's name in recipes and bundles
    steps       the kinds of training steps that it has
    __init__    from settings, the shapes of the maps and the labels
    prepare     what it takes from the training targets before its first step
    forward     feature maps in, one kind of output out
    evidence    its maps of evidence, by method
    settled     settings that rebuild it together with its weights
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manylabel.config import Config
from manylabel.evidence import CLASS_ACTIVATION, MapKind
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.steps import WHOLE, StepPlan


class HeadConfig(Config):
    """The settings of a head; each head has its own, with its own `name`."""

    name: Any  # of each head a `Literal`: a field of type str could not be narrowed to it
    """Which head."""


@final
class HeadOutput(NamedTuple):
    """What a head says of N images, in training and evaluation alike.

    The named parts share storage with what was computed on the way: naming them costs nothing.
    """

    logits: Tensor
    """The head's answer [N, C], before the sigmoid."""
    branches: Mapping[str, Tensor]
    """Further logits [N, C] by name; SRN's are `cls`, `att` and `sr`."""
    maps: Mapping[str, Tensor]
    """Per-label maps [N, C, H, W] by name; SRN's are `attention` (A), `confidence` (S, logits)
    and `weighted` (U)."""
    units: Tensor | None = None
    """Activations of the last hidden units [N, K]; SRN's are conv4's."""

    def select(self, name: str) -> Tensor:
        """The logits [N, C] called `name`; `final` is the head's answer."""
        return self.logits if name == "final" else self.branches[name]


@final
@dataclass(frozen=True, slots=True)
class Evidence:
    """One method that maps the evidence for each label.

    Args:
        kind: What the numbers of its maps are.
        maps: Gives the maps [N, C, H, W] over whole images, from the feature maps of N images and
            the head's output for them.
    """

    kind: MapKind
    maps: Callable[[FeatureMaps, HeadOutput], Tensor]


class Head(nn.Module):
    """A classifier over feature maps.

    Args:
        config: The head's settings, of its class `Config`.
        shapes: The shapes of the maps that it is built for.
        labels: The C labels, in the order of the logits.
    """

    Config: ClassVar[type[HeadConfig]]
    """The class of its settings."""
    steps: ClassVar[Mapping[str, StepPlan]] = {"whole": WHOLE}
    """The steps that train it, by kind."""

    def __init__(self, config: HeadConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__()
        self.config = config
        self.labels = labels

    @abstractmethod
    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images."""

    @abstractmethod
    def evidence(self) -> Mapping[str, Evidence]:
        """The head's maps of evidence by the name of the method; the best method is first."""

    def prepare(self, targets: NDArray[np.int8]) -> None:
        """Take what the head needs from the training set, before the first step.

        It becomes part of the weights. Most heads need nothing.

        Args:
            targets: [N, C] in 1 / 0 / -1, of the training split.

        Raises:
            DataError: A file that the settings name cannot be used.
        """
        assert targets.shape[1] == len(self.labels), (targets.shape, len(self.labels))

    def settled(self) -> HeadConfig:
        """Settings from which, with its weights, the head can be built again.

        They name no file, and hold what was taken from the shapes of the maps.
        """
        return self.config


def output_map(name: str, kind: MapKind) -> Evidence:
    """Evidence that the head's output holds already, as the map called `name`."""
    return Evidence(kind, lambda maps, output: output.maps[name])


def class_activation(weights: Callable[[], Tensor]) -> Evidence:
    """Class activation maps of a head that scores the pooled final map label by label.

    Args:
        weights: Gives what each label takes from each channel of the final map, [C, E].
    """
    return Evidence(
        CLASS_ACTIVATION, lambda maps, output: class_activation_maps(weights(), maps.final)
    )


def class_activation_maps(weights: Tensor, final: Tensor) -> Tensor:
    """Maps [N, C, h, w] of the final map [N, E, h, w], in logits, signed.

    Args:
        weights: What each label takes from each channel, [C, E].
        final: The map.

    With average pooling, the mean of a label's map plus its bias is its logit, exactly. With max
    pooling there is no such sum: a position then holds the logit, less the bias, that the label
    would get if that position's features were every channel's maximum.

    Source: B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning Deep Features for
    Discriminative Localization", CVPR 2016, Eq. 2. The bias is left out: it has no place.
    """
    return torch.einsum("nehw,ce->nchw", final, weights)
