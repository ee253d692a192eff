"""The protocol of all heads.

A head is one class in one file. Code outside the head never asks which head it is: this protocol
holds all that training, bundles and explanations need from a head.

    Config      the head's settings; `name` is the head's name in recipes and bundles
    steps       the kinds of training steps that the head has
    takes       the backbone's maps that the head takes
    __init__    builds the head from its settings, the shapes of the feature maps and the labels
    prepare     reads what the head needs from the training targets before the first step
    forward     returns a `HeadOutput` for feature maps
    evidence    returns the head's evidence maps, by method
    relations   returns the branch that reads the maps of all labels, if the head has one
    settled     returns settings that rebuild the head together with its weights
    label_axes  says where its tensors hold the entries of each label
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from manylabel.config import Config
from manylabel.evidence import (
    CLASS_ACTIVATION,
    CONFIDENCE,
    UNWEIGHTED_ATTENTION,
    WEIGHTED_ATTENTION,
    MapKind,
    RelationWeights,
)
from manylabel.labels import LabelSpace
from manylabel.models.backbone_options import MAX_CHANNELS
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.steps import WHOLE, StepPlan
from manylabel.preprocess import MAX_SIDE

Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
"""A number of channels or units."""
AttentionHeads = Annotated[int, Field(ge=1, le=256)]
"""A number of heads of an attention layer."""
MapName = Literal["mid", "final"]
"""One of the backbone's maps, a field of `FeatureMaps`."""
GridSide = Annotated[int, Field(ge=1, le=MAX_SIDE)]
"""The height or width of a map."""


class HeadConfig(Config):
    """The settings of a head. Each head has its own class of settings, with its own `name`."""

    name: Any  # each head makes it a `Literal`; a field of type str could not be narrowed to that
    """Which head."""


@final
class HeadOutput(NamedTuple):
    """A head's output for N images, the same in training and evaluation.

    `branches` and `maps` hold tensors that `forward` computes in any case, so they cost nothing.
    """

    logits: Tensor
    """The head's final logits [N, C], before the sigmoid."""
    branches: Mapping[str, Tensor]
    """Further logits [N, C] by name; SRN's are `cls`, `att` and `sr`."""
    maps: Mapping[str, Tensor]
    """Per-label maps [N, C, H, W] by name; SRN's are `attention` (A), `confidence` (S, logits)
    and `weighted` (U)."""
    units: Tensor | None = None
    """Activations of the last hidden units [N, K]; SRN's are conv4's."""

    def select(self, name: str) -> Tensor:
        """The logits [N, C] called `name`; `final` means the head's final logits."""
        return self.logits if name == "final" else self.branches[name]


@final
@dataclass(frozen=True, slots=True)
class Evidence:
    """One method of evidence maps.

    Args:
        kind: What the values of its maps mean.
        maps: Returns the evidence maps [N, C, H, W], which cover whole images. Its arguments are
            the feature maps of N images and the head's output for them.
    """

    kind: MapKind
    maps: Callable[[FeatureMaps, HeadOutput], Tensor]


@final
@dataclass(frozen=True, slots=True)
class RelationBranch:
    """The branch of a head that reads the maps of all labels, so that it can learn relations.

    It says nothing of how the branch is computed, so that a branch of another form fits, too.

    Args:
        reads: Returns the maps [N, M, H, W] that it reads, for the feature maps of N images and the
            head's output. The first C are those of the labels; the branch may read further ones.
        share: What one unit of its logits adds to the head's final logits.
        compute: Returns the branch's logits [N, C] and its units [N, K], for maps [N, M, H, W].
        weights: Returns what can be shown of its weights.
    """

    reads: Callable[[FeatureMaps, HeadOutput], Tensor]
    share: float
    compute: Callable[[Tensor], tuple[Tensor, Tensor]]
    weights: Callable[[], RelationWeights]


@final
class LabelAxis(NamedTuple):
    """Where a tensor of a head holds the entries of its labels.

    Along the axis, all labels follow one another. What comes after them belongs to no label.
    """

    axis: int = 0
    """The axis of the tensor."""
    each: int = 1
    """How many entries of a label follow one another."""
    times: int = 1
    """How often the row of all labels is repeated."""

    def entries(self, chosen: Sequence[int], num_labels: int) -> list[int]:
        """The positions along the axis that belong to chosen labels, of `num_labels`."""
        starts = [
            (time * num_labels + label) * self.each
            for time in range(self.times)
            for label in chosen
        ]
        return [start + entry for start in starts for entry in range(self.each)]


class Head(nn.Module):
    """A classifier over feature maps.

    Args:
        config: The head's settings, an instance of its class `Config`.
        shapes: The shapes of the feature maps that it is built for.
        labels: The C labels, in the order of the logits.
    """

    Config: ClassVar[type[HeadConfig]]
    """The class of the head's settings."""
    steps: ClassVar[Mapping[str, StepPlan]] = {"whole": WHOLE}
    """The training steps that the head has, by kind."""
    takes: tuple[MapName, ...] = ("final",)
    """The backbone's maps that its logits depend on. Gradients are computed for these."""

    def __init__(self, config: HeadConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__()
        self.config = config
        self.labels = labels

    @abstractmethod
    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images."""

    @abstractmethod
    def evidence(self) -> Mapping[str, Evidence]:
        """The head's methods of evidence maps by name; the best method is first."""

    def relations(self) -> RelationBranch | None:
        """The branch that reads the maps of all labels; None if the head has none."""
        return None

    def prepare(self, targets: NDArray[np.int8]) -> None:
        """Read what the head needs from the training set, before the first step.

        What it reads becomes part of the head's weights. Most heads need nothing.

        Args:
            targets: [N, C] in 1 / 0 / -1, of the training split.

        Raises:
            DataError: A file that the settings name cannot be used.
        """
        assert targets.shape[1] == len(self.labels), (targets.shape, len(self.labels))

    def settled(self) -> HeadConfig:
        """The settings that rebuild the head together with its weights.

        They name no file. They also hold the values that the head took from the shapes of the maps.
        """
        return self.config

    def label_axes(self) -> Mapping[str, LabelAxis | None] | None:
        """The tensors that hold entries of labels, by their names in the state dict.

        By it, a new head takes from another one what this has learned of the labels that both have.
        None for a tensor: it comes from `prepare`, and is not taken. None in place of all: labels
        share entries, so a head of other labels takes nothing.
        """
        return None


def label_rows(head: Head, *layers: nn.Module) -> dict[str, LabelAxis]:
    """The axes of layers of a head with an output for each label."""
    names = {module: name for name, module in head.named_modules()}
    return {f"{names[layer]}.{key}": LabelAxis() for layer in layers for key in layer.state_dict()}


def label_columns(head: Head, layer: nn.Module, each: int = 1) -> dict[str, LabelAxis]:
    """The axis of a layer of a head whose first inputs are labels, with `each` inputs for each."""
    names = {module: name for name, module in head.named_modules()}
    return {f"{names[layer]}.weight": LabelAxis(axis=1, each=each)}


def output_map(name: str, kind: MapKind) -> Evidence:
    """A method whose evidence maps are already in the head's output, under `name`."""
    return Evidence(kind, lambda maps, output: output.maps[name])


def weighted_map(maps: FeatureMaps, output: HeadOutput) -> Tensor:
    """U, for a branch of relations that reads nothing else."""
    return output.maps["weighted"]


def attention_evidence() -> dict[str, Evidence]:
    """The methods of a head whose output has SRN's maps `attention`, `confidence` and `weighted`.

    The first one is the weighted attention U = sigmoid(S) * A (Eq. 8). Its factors follow.
    """
    return {
        "attention": output_map("weighted", WEIGHTED_ATTENTION),
        "unweighted-attention": output_map("attention", UNWEIGHTED_ATTENTION),
        "confidence": Evidence(
            CONFIDENCE, lambda maps, output: output.maps["confidence"].sigmoid()
        ),
    }


def class_activation(weights: Callable[[], Tensor]) -> Evidence:
    """The method of class activation maps, for a head with a linear classifier per label.

    The classifiers must take the pooled final map.

    Args:
        weights: Returns the classifiers' weights [C, E], one for each label and channel.
    """
    return Evidence(
        CLASS_ACTIVATION, lambda maps, output: class_activation_maps(weights(), maps.final)
    )


def class_activation_maps(weights: Tensor, final: Tensor) -> Tensor:
    """Class activation maps [N, C, h, w], in units of logits; they may be negative.

    With average pooling, a label's logit is exactly the mean of its map plus its bias. With max
    pooling there is no such equation. Then the value at a position is the logit, without the bias,
    that the label would have if the features at that position were the maximum of every channel.

    Args:
        weights: The classifiers' weights [C, E], one for each label and channel.
        final: The final map [N, E, h, w].

    Source: B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning Deep Features for
    Discriminative Localization", CVPR 2016, Eq. 2. The bias is left out: it belongs to no position.
    """
    return torch.einsum("nehw,ce->nchw", final, weights)
