"""The `StepState`: one object with all that trains a step, which checkpoints save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from manylabel.feed.loaders import Batch
from manylabel.models.backbones import FeatureMaps
from manylabel.models.classifier import Classifier, module_of_step
from manylabel.models.heads.base import HeadOutput
from manylabel.models.heads.steps import StepPlan
from manylabel.pixels import normalise
from manylabel.preprocess import InputSpec
from manylabel.train.job import Job
from manylabel.train.mixing import Mixture
from manylabel.train.optim import Schedule, build_optimizer, parameter_groups
from manylabel.train.parts import Part, load_parts, save_parts
from manylabel.train.steps import train_only


@final
@dataclass(frozen=True)
class StepState:
    """All that trains one step.

    Args:
        number: The step's position in the run, from 0.
        plan: The step's plan.
        trains: The names of the classifier's parts that are trained.
        module: The module that the step runs, wrapped by Fabric. It shares the classifier's
            weights.
        optimizer: The optimiser of the trained weights, wrapped by Fabric.
        schedule: Changes the learning rates.
        clip_norm: Gradients with a larger norm are scaled down to this norm; None: they are not
            scaled.
        fabric: Lightning Fabric, which handles devices and precision.
        encode: Makes the input of `module` from a batch.
        loss_of: The step's loss: a scalar from an output and targets [N, C].
    """

    number: int
    plan: StepPlan
    trains: tuple[str, ...]
    module: nn.Module
    optimizer: Any  # Fabric's wrapper behaves like the torch optimiser in it
    schedule: Schedule
    clip_norm: float | None
    fabric: Fabric
    encode: Callable[[Batch], object]
    loss_of: Callable[[HeadOutput, Tensor], Tensor]

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that change during the step, apart from the classifier, by name.

        They are saved and restored in this order. A new part, for instance averaged weights, needs
        only an entry here.
        """
        return {"optimizer": self.optimizer, "schedule": self.schedule}

    def loss(self, batch: Batch, mixture: Mixture) -> Tensor:
        """The loss of a batch, whose images are mixed as `mixture` says."""
        output: HeadOutput = self.module(mixture.inputs(self.encode(batch)))
        return mixture.loss(self.loss_of, output, batch.targets.to(output.logits.device))

    def update(self, loss: Tensor) -> None:
        """Do one iteration of the optimiser."""
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.clip_norm is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.clip_norm)
        self.optimizer.step()
        self.schedule.after_iteration()

    def state_dict(self) -> dict[str, Any]:
        """The state of each part."""
        return save_parts(self.parts)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a saved state of the same step.

        Raises:
            CheckpointError: The saved state has other parts.
        """
        load_parts(self.parts, state_dict)


def begin_step(job: Job, classifier: Classifier, number: int) -> StepState:
    """Freeze what a step does not train, and return a new state for the step."""
    step, plan, config = job.step(number), job.plan(number), job.optim(number)
    trains = job.run.parts_of(step)
    train_only(classifier, trains, step.freeze_stages)
    optimizer = build_optimizer(config, parameter_groups(config, classifier))
    schedule = Schedule(
        config,
        optimizer,
        iterations=step.epochs * max(1, job.epoch_images // job.run.batch_size),
        validated=job.val is not None and job.run.validate_every == 1,
    )
    module = module_of_step(classifier, plan, from_maps=job.run.features == "cached")
    return StepState(
        number=number,
        plan=plan,
        trains=trains,
        module=job.fabric.setup_module(module),
        optimizer=job.fabric.setup_optimizers(optimizer),
        schedule=schedule,
        clip_norm=config.clip_norm,
        fabric=job.fabric,
        encode=encoder(job.run.input, job.fabric.device),
        loss_of=_step_loss(job, plan),
    )


def encoder(spec: InputSpec, device: torch.device) -> Callable[[Batch], object]:
    """A function that makes a module's input from a batch: normalised images or feature maps."""

    def encode(batch: Batch) -> object:
        if isinstance(batch.inputs, Tensor):
            pixels = batch.inputs.to(device, non_blocking=True)
            return normalise(pixels, spec).to(memory_format=torch.channels_last)
        mid, final_map = (part.to(device).float() for part in batch.inputs)
        return FeatureMaps(mid, final_map)

    return encode


def _step_loss(job: Job, plan: StepPlan) -> Callable[[HeadOutput, Tensor], Tensor]:
    """The run's loss, summed over the logits that the step's plan names."""

    def loss_of(output: HeadOutput, targets: Tensor) -> Tensor:
        return torch.stack([job.loss(output.select(b), targets) for b in plan.losses]).sum()

    return loss_of
