"""Makes the parts that a step trains trainable, and freezes the rest of the classifier."""

from __future__ import annotations

from torch import nn

from manylabel.models.classifier import Classifier


def train_only(
    classifier: Classifier, parts: tuple[str, ...], freeze_stages: int | None = None
) -> list[nn.Parameter]:
    """Make `parts` trainable, freeze the rest of the classifier, and return what is trainable.

    Frozen parts are in evaluation mode, so their batch statistics do not change either. An
    evaluation puts all parts into that mode, so call this again before training continues.

    Args:
        classifier: The classifier.
        parts: Its modules to train, by name.
        freeze_stages: Also freeze the backbone's stem and this many stages after it; None: neither.

    Returns:
        The trainable parameters.
    """
    classifier.eval()
    classifier.requires_grad_(False)
    for part in parts:
        module = classifier.get_submodule(part)
        module.train()
        module.requires_grad_(True)
    if freeze_stages is not None:
        classifier.backbone.freeze(freeze_stages)
    return [parameter for parameter in classifier.parameters() if parameter.requires_grad]
