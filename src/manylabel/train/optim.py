"""Optimisers, their settings, and the learning rates that they train with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, Literal, final

from pydantic import Field
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from manylabel.config import Config, default_name
from manylabel.errors import ConfigError
from manylabel.models.classifier import Classifier
from manylabel.train.schedules import ConstantConfig, ScheduleConfig

Group = dict[str, Any]
"""Parameters (`params`) of one learning rate (`lr`), as torch's optimisers take them."""

Parameters = Iterable[nn.Parameter] | list[Group]
"""Parameters of one learning rate, or `parameter_groups`."""


class BaseOptimConfig(Config):
    """What the settings of all optimisers have."""

    name: Any  # of each optimiser, its own
    """Which optimiser."""
    lr: float = Field(default=1e-3, gt=0)
    """The initial learning rate; the highest one under `one-cycle`."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """On everything that is trained. What is frozen does not decay."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of each layer of the backbone is this times that of the layer above it;
    the head has `lr`. 1: the whole net has `lr`. Around 0.7 suits pre-trained transformers."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Gradients are scaled down to this norm; unset: never."""
    schedule: ScheduleConfig = ConstantConfig()
    """How the rate changes during a step."""

    @abstractmethod
    def build(self, parameters: Parameters) -> Optimizer:
        """A new optimiser over `parameters`, which are all that will ever decay."""


@final
class SGDConfig(BaseOptimConfig):
    """Stochastic gradient descent with momentum, the paper's; each step begins with a new one."""

    name: Literal["sgd"] = "sgd"
    """Which optimiser."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """How much of the last update goes into the next."""

    def build(self, parameters: Parameters) -> Optimizer:
        """A new SGD over `parameters`, which are all that will ever decay."""
        return SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


@final
class AdamWConfig(BaseOptimConfig):
    """AdamW, whose weight decay is apart from the gradient; each step begins with a new one."""

    name: Literal["adamw"] = "adamw"
    """Which optimiser."""

    def build(self, parameters: Parameters) -> Optimizer:
        """A new AdamW over `parameters`, which are all that will ever decay."""
        return AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)


OptimConfig = Annotated[SGDConfig | AdamWConfig, Field(discriminator="name"), default_name("sgd")]
"""The settings of any optimiser, told apart by `name`."""


def parameter_groups(config: OptimConfig, classifier: Classifier) -> list[Group]:
    """What a classifier trains now, in groups of one learning rate each, the highest rate first.

    The head has `lr`, the backbone's last layer `lr * layer_decay`, the layer below that
    `lr * layer_decay ** 2`, and so on down to the stem, whether or not a layer is held.

    Raises:
        ConfigError: The rate is to decay over the layers of a backbone that timm knows none of.
    """
    layers = classifier.backbone.layers() if config.layer_decay < 1 else {}
    top = max(layers.values(), default=0) + 1
    depths = {f"backbone.{name}": top - layer for name, layer in layers.items()}
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(depths.get(name, 0), []).append(parameter)
    return [
        {"params": groups[depth], "lr": config.lr * config.layer_decay**depth}
        for depth in sorted(groups)
    ]


def build_optimizer(config: OptimConfig, parameters: Parameters) -> Optimizer:
    """A new optimiser over `parameters`, which are all that will ever decay."""
    return config.build(parameters)


@final
class Schedule:
    """A step's learning rates: moved after each iteration or after each epoch, as its kind needs.

    The rates of all groups keep their proportions.

    Raises:
        ConfigError: The schedule moves by the validation loss, and there is none in every epoch.
    """

    def __init__(
        self, config: OptimConfig, optimizer: Optimizer, *, iterations: int, validated: bool
    ) -> None:
        self._moves_after = config.schedule.moves_after
        if self._moves_after == "validation" and not validated:
            raise ConfigError(
                f"The schedule '{config.schedule.name}' needs a validation loss in every epoch.",
                where="optim.schedule.name",
                fix="Give a data set with a val split and validate_every = 1, or take another "
                "schedule.",
            )
        # Any: of torch's schedulers, one alone takes a loss to move by.
        self._scheduler: Any = config.schedule.build(optimizer, lr=config.lr, iterations=iterations)

    def after_iteration(self) -> None:
        """Move on after an update of the weights."""
        if self._moves_after == "iteration":
            self._scheduler.step()

    def after_epoch(self, validation_loss: float | None) -> None:
        """Move on after an epoch."""
        if self._moves_after == "epoch":
            self._scheduler.step()
        elif self._moves_after == "validation" and validation_loss is not None:
            self._scheduler.step(validation_loss)

    def state_dict(self) -> dict[str, object]:
        """All that a later `load_state_dict` needs to go on."""
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a saved state of the same schedule."""
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state)
