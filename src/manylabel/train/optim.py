"""Optimisers and their settings, and the learning rates during a step."""

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
"""Parameters (`params`) that share a learning rate (`lr`), in the format of torch's optimisers."""

Parameters = Iterable[nn.Parameter] | list[Group]
"""Parameters that share a learning rate, or `parameter_groups`."""


class BaseOptimConfig(Config):
    """The settings that all optimisers have."""

    name: Any  # each optimiser makes it a `Literal`
    """Which optimiser."""
    lr: float = Field(default=1e-3, gt=0)
    """The initial learning rate. Under `one-cycle`, the highest learning rate."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """The weight decay of all parameters that are trained. Frozen parameters do not decay."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of each layer of the backbone is that of the layer above it times this. The
    head has `lr`. With 1, the whole net has `lr`. About 0.7 suits pre-trained transformers."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Gradients with a larger norm are scaled down to this norm. If it is not set, they are never
    scaled."""
    schedule: ScheduleConfig = ConstantConfig()
    """How the learning rate changes during a step."""

    @abstractmethod
    def build(self, parameters: Parameters) -> Optimizer:
        """A new optimiser over `parameters`. No other parameters decay."""


@final
class SGDConfig(BaseOptimConfig):
    """Stochastic gradient descent with momentum, as in the paper. Each step has a new optimiser."""

    name: Literal["sgd"] = "sgd"
    """Which optimiser."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """The momentum: the fraction of the previous update that is added to the next one."""

    def build(self, parameters: Parameters) -> Optimizer:
        """A new SGD optimiser over `parameters`. No other parameters decay."""
        return SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


@final
class AdamWConfig(BaseOptimConfig):
    """AdamW: Adam with decoupled weight decay. Each step has a new optimiser."""

    name: Literal["adamw"] = "adamw"
    """Which optimiser."""

    def build(self, parameters: Parameters) -> Optimizer:
        """A new AdamW optimiser over `parameters`. No other parameters decay."""
        return AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)


OptimConfig = Annotated[SGDConfig | AdamWConfig, Field(discriminator="name"), default_name("sgd")]
"""The settings of any optimiser; `name` says which one they are for."""


def parameter_groups(config: OptimConfig, classifier: Classifier) -> list[Group]:
    """The trainable parameters of a classifier in groups by learning rate, the highest rate first.

    The head has `lr`, the backbone's last layer has `lr * layer_decay`, the layer below that has
    `lr * layer_decay ** 2`, and so on down to the stem. Frozen layers count, too.

    Raises:
        ConfigError: `layer_decay` is below 1, and timm does not know the layers of the backbone.
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
    """A new optimiser over `parameters`. No other parameters decay."""
    return config.build(parameters)


@final
class Schedule:
    """Changes the learning rates of a step, after iterations or after epochs.

    The ratios between the rates of the groups stay the same.

    Args:
        config: The settings of the optimiser.
        optimizer: The optimiser, with its initial rates.
        iterations: The number of iterations of the whole step.
        validated: Whether there is a validation loss after each epoch.

    Raises:
        ConfigError: The schedule needs a validation loss after each epoch, and there is none.
    """

    def __init__(
        self, config: OptimConfig, optimizer: Optimizer, *, iterations: int, validated: bool
    ) -> None:
        self._moves_after = config.schedule.moves_after
        if self._moves_after == "validation" and not validated:
            raise ConfigError(
                f"The schedule '{config.schedule.name}' needs a validation loss in every epoch.",
                where="optim.schedule.name",
                fix="Give a data set with a val split and set validate_every = 1, or use another "
                "schedule.",
            )
        # Any: only one of torch's schedulers takes a loss.
        self._scheduler: Any = config.schedule.build(optimizer, lr=config.lr, iterations=iterations)

    def after_iteration(self) -> None:
        """Change the rates, if the schedule changes them after iterations."""
        if self._moves_after == "iteration":
            self._scheduler.step()

    def after_epoch(self, validation_loss: float | None) -> None:
        """Change the rates, if the schedule changes them after epochs or validations."""
        if self._moves_after == "epoch":
            self._scheduler.step()
        elif self._moves_after == "validation" and validation_loss is not None:
            self._scheduler.step(validation_loss)

    def state_dict(self) -> dict[str, object]:
        """The state that `load_state_dict` needs."""
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore a saved state of the same schedule."""
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state)
