"""Optimisers and learning-rate schedules from a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
)

from manylabel.errors import ConfigError
from manylabel.models.classifier import Classifier
from manylabel.train.config import OptimConfig

Group = dict[str, Any]
"""Parameters (`params`) of one learning rate (`lr`), as torch's optimisers take them."""


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


def build_optimizer(
    config: OptimConfig, parameters: Iterable[nn.Parameter] | list[Group]
) -> Optimizer:
    """A new optimiser over `parameters`, which are all that will ever decay.

    Args:
        config: Its settings.
        parameters: All of one learning rate, or `parameter_groups`.
    """
    if config.name == "adamw":
        return AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


@final
class Schedule:
    """A step's learning rates: moved after each iteration or after each epoch, as its kind needs.

    The rates of all groups keep their proportions.

    Raises:
        ConfigError: `plateau` without a validation split to look at.
    """

    def __init__(
        self, config: OptimConfig, optimizer: Optimizer, *, iterations: int, validated: bool
    ) -> None:
        schedule = config.schedule
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._by_iteration: LRScheduler | None = None
        self._by_epoch: LRScheduler | None = None
        self._by_loss: ReduceLROnPlateau | None = None
        if schedule.name == "one-cycle":
            self._by_iteration = OneCycleLR(optimizer, rates, total_steps=iterations + 1)
        elif schedule.name == "cosine":
            self._by_iteration = CosineAnnealingLR(optimizer, iterations)
        elif schedule.name == "milestones":
            self._by_epoch = MultiStepLR(optimizer, list(schedule.epochs), schedule.factor)
        elif schedule.name == "plateau":
            if not validated:
                raise ConfigError(
                    "The schedule 'plateau' needs a validation loss in every epoch.",
                    where="optim.schedule.name",
                    fix="Give a data set with a val split and validate_every = 1, or take another "
                    "schedule.",
                )
            self._by_loss = ReduceLROnPlateau(
                optimizer,
                factor=schedule.factor,
                patience=schedule.patience,
                min_lr=[schedule.smallest * rate / config.lr for rate in rates],
            )

    def after_iteration(self) -> None:
        """Move on after an update of the weights."""
        if self._by_iteration is not None:
            self._by_iteration.step()

    def after_epoch(self, validation_loss: float | None) -> None:
        """Move on after an epoch."""
        if self._by_epoch is not None:
            self._by_epoch.step()
        if self._by_loss is not None and validation_loss is not None:
            self._by_loss.step(validation_loss)

    def state_dict(self) -> dict[str, object]:
        """All that a later `load_state_dict` needs to go on."""
        return self._active.state_dict() if self._active is not None else {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a saved state of the same schedule."""
        if self._active is not None:
            self._active.load_state_dict(state)

    @property
    def _active(self) -> LRScheduler | ReduceLROnPlateau | None:
        return self._by_iteration or self._by_epoch or self._by_loss
