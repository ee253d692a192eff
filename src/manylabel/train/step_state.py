"""What a run trains one step with, as one object that is saved and restored whole."""

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
    """What trains one step.

    Args:
        number: The step's position in the run, from 0.
        plan: What the step trains, and on what.
        trains: The parts of the classifier that are trained, by name.
        module: What is trained, as Fabric wraps it. It shares the classifier's weights.
        optimizer: Over the trained weights, as Fabric wraps it.
        schedule: The learning rates.
        clip_norm: The norm that gradients are scaled down to; None: they are left as they are.
        fabric: Devices and precision.
        encode: From a batch to what `module` takes.
        loss_of: The step's loss, from an output and targets [N, C] to a scalar.
    """

    number: int
    plan: StepPlan
    trains: tuple[str, ...]
    module: nn.Module
    optimizer: Any  # imitates the torch optimiser that it wraps
    schedule: Schedule
    clip_norm: float | None
    fabric: Fabric
    encode: Callable[[Batch], object]
    loss_of: Callable[[HeadOutput, Tensor], Tensor]

    @property
    def parts(self) -> dict[str, Part]:
        """All that changes during the step beside the classifier; saved and restored in order.

        A new part of a step, such as averaged weights, is one more entry here.
        """
        return {"optimizer": self.optimizer, "schedule": self.schedule}

    def loss(self, batch: Batch, mixture: Mixture) -> Tensor:
        """The loss of a batch whose images are mixed with one another by `mixture`."""
        output: HeadOutput = self.module(mixture.inputs(self.encode(batch)))
        return mixture.loss(self.loss_of, output, batch.targets.to(output.logits.device))

    def update(self, loss: Tensor) -> None:
        """One iteration of the optimiser."""
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.clip_norm is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.clip_norm)
        self.optimizer.step()
        self.schedule.after_iteration()

    def state_dict(self) -> dict[str, Any]:
        """The state of every part."""
        return save_parts(self.parts)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state of the same step.

        Raises:
            CheckpointError: The state is one of other parts.
        """
        load_parts(self.parts, state_dict)


def begin_step(job: Job, classifier: Classifier, number: int) -> StepState:
    """Hold still what a step does not train, and build what trains the rest."""
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
    """What a module takes for a batch: normalised images of pixels, or cached feature maps."""

    def encode(batch: Batch) -> object:
        if isinstance(batch.inputs, Tensor):
            pixels = batch.inputs.to(device, non_blocking=True)
            return normalise(pixels, spec).to(memory_format=torch.channels_last)
        mid, final_map = (part.to(device).float() for part in batch.inputs)
        return FeatureMaps(mid, final_map)

    return encode


def _step_loss(job: Job, plan: StepPlan) -> Callable[[HeadOutput, Tensor], Tensor]:
    """The run's loss, summed over the logits that the step looks at."""

    def loss_of(output: HeadOutput, targets: Tensor) -> Tensor:
        return torch.stack([job.loss(output.select(b), targets) for b in plan.losses]).sum()

    return loss_of
