"""Freezing: what a step trains is trainable, and the rest of the classifier is held still."""

from __future__ import annotations

from torch import nn

from manylabel.models.classifier import Classifier


def train_only(
    classifier: Classifier, parts: tuple[str, ...], freeze_stages: int | None = None
) -> list[nn.Parameter]:
    """The parameters of `parts`, now trainable; the rest of the classifier is held still.

    A part that is held is in evaluation mode, so that its batch statistics do not move either.
    Evaluating puts every part into that mode: call this again before training goes on.

    Args:
        classifier: The classifier.
        parts: Modules of it, by name.
        freeze_stages: Hold the backbone's stem and so many stages after it, too.
    """
    classifier.eval()
    classifier.requires_grad_(False)
    for part in parts:
        module = classifier.get_submodule(part)
        module.train()
        module.requires_grad_(True)
    if freeze_stages is not None:
        classifier.backbone.hold(freeze_stages)
    return [parameter for parameter in classifier.parameters() if parameter.requires_grad]
