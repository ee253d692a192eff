"""The losses by name.

To add a loss, write a file with its config and its class, and add a line to each table here.

All losses are called as `loss(logits, targets)`, but there are two kinds. Most give a loss for each
entry (one image, one label) with a known target. For these, `partial.py` handles unknown targets
and the reduction. `two-way` compares the entries of an image and the entries of a label, so it
handles both itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import Field
from torch import Tensor

from manylabel.config import Config, default_name
from manylabel.losses.asymmetric import Asymmetric, AsymmetricConfig
from manylabel.losses.bce import BCE, BCEConfig
from manylabel.losses.counts import LabelCounts
from manylabel.losses.distribution_balanced import DistributionBalanced, DistributionBalancedConfig
from manylabel.losses.focal import Focal, FocalConfig
from manylabel.losses.partial import (
    EntropyConfig,
    ExpectedPositivesConfig,
    IgnoreConfig,
    NegativeConfig,
    SmoothedNegativeConfig,
    UnknownConfig,
    WeakNegativeConfig,
)
from manylabel.losses.two_way import TwoWay, TwoWayConfig

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits [N, C] and targets [N, C] in {1, 0, -1} to a scalar in 32 bits or more."""

LOSSES: Final[dict[str, tuple[type[Config], Callable[[Any, LabelCounts | None], Loss]]]] = {
    "bce": (BCEConfig, BCE),
    "asymmetric": (AsymmetricConfig, Asymmetric),
    "focal": (FocalConfig, Focal),
    "two-way": (TwoWayConfig, TwoWay),
    "distribution-balanced": (DistributionBalancedConfig, DistributionBalanced),
}
"""From name to (config, loss). A loss is built from (config, counts of the training targets)."""

LossConfig = Annotated[
    BCEConfig | AsymmetricConfig | FocalConfig | TwoWayConfig | DistributionBalancedConfig,
    Field(discriminator="name"),
    default_name("bce"),
]
"""The settings of any loss, told apart by `name`; a table without a name is cross-entropy's."""

__all__ = [
    "BCE",
    "LOSSES",
    "Asymmetric",
    "AsymmetricConfig",
    "BCEConfig",
    "DistributionBalanced",
    "DistributionBalancedConfig",
    "EntropyConfig",
    "ExpectedPositivesConfig",
    "Focal",
    "FocalConfig",
    "IgnoreConfig",
    "LabelCounts",
    "Loss",
    "LossConfig",
    "NegativeConfig",
    "SmoothedNegativeConfig",
    "TwoWay",
    "TwoWayConfig",
    "UnknownConfig",
    "WeakNegativeConfig",
]
